import csv
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.runs_by_hand import ABOVE, FEATURES, IMAGE_EXPLAINS_NOTHING, DiagnosisRow, small_run, write_run

from demure.api.run import Run
from demure.diagnosis.calibration import auc
from demure.diagnosis.worklist import COLUMNS, list_content, worklist
from demure.diagnosis.worklist.finding import Sign, cost_sentence
from demure.diagnosis.worklist.fit import log_ratio
from demure.diagnosis.worklist.labels import unlike_neighbors
from demure.errors import DemureError
from demure_cli.app import main

PLACEHOLDER = "We have no summary of this title yet, be the first to write one."
WORDS = [
    "amber",
    "birch",
    "cedar",
    "dune",
    "ember",
    "fjord",
    "grove",
    "heath",
    "islet",
    "jetty",
    "knoll",
    "ledge",
    "marsh",
    "north",
    "orchid",
    "pond",
    "quay",
    "reef",
]


def prose(random, count=12):
    return " ".join(random.choice(WORDS, count))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Thirty items, each chosen by 12 users. i0: a text that explains nothing. i1 to i4: the same placeholder. i5: the
    text of i6. i7: no description. i8: an even picture. i9 and i10: one product. i11: no picture. i12, i13: one
    picture for two different things. i14, i15: pictures that were cut short, after the same bytes."""
    folder = tmp_path_factory.mktemp("worklist")
    random = np.random.default_rng(3)
    n = 30
    titles = [f"{name} {k}" for k, name in enumerate(random.permutation(WORDS + [f"{word}s" for word in WORDS])[:n])]
    texts = [prose(random) for _ in range(n)]
    texts[1] = texts[2] = texts[3] = texts[4] = PLACEHOLDER
    texts[6] = texts[5]
    texts[7] = ""
    titles[10], texts[10] = titles[9], texts[9]
    texts[13] = "=HYPERLINK(1) " + texts[13]
    (folder / "images").mkdir()
    for k in range(n):
        pixels = np.full((40, 30, 3), 90) if k == 8 else random.integers(0, 255, (40, 30, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{k}.png")
    images = [f"{k}.png" for k in range(n)]
    images[11], images[13] = None, "12.png"
    for k in (14, 15):
        (folder / f"images/{k}.png").write_bytes((folder / "images/0.png").read_bytes()[:60])
    (folder / "images/10.png").write_bytes((folder / "images/9.png").read_bytes())
    items = pd.DataFrame(
        {"item_id": [f"i{k}" for k in range(n)], "title": titles, "description": texts, "image": images}
    )
    rows = []
    for user in range(12):
        for item in range(n):
            for modality in ("image", "text"):
                poor = modality == "text" and item in (0, 1)
                probability = 0.02 if poor else float(random.uniform(0.5, 0.9))
                verdict = "missing" if modality == "image" and item == 11 else "noise" if poor else "poi"
                rows.append(
                    DiagnosisRow(
                        f"u{user:02}", item, f"i{item}", modality, verdict, 0.0 if verdict == "missing" else probability
                    )
                )
    manifest = {"placebo": ABOVE, "features": FEATURES}
    return write_run(folder, rows, items, pictures=False, manifest=manifest)


@pytest.fixture(scope="module")
def rows(run):
    return worklist(run).rows


def only(rows, **equal):
    for name, value in equal.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_a_text_that_fails_its_item_by_the_choices_alone_has_a_lesser_sign(rows):
    row = only(rows, item_id="i0", kind="content")
    assert (row["modality"], row["sign"], row["choices"]) == ("text", "fair", 12)
    assert "explains its 12 choices worse" in row["reason"]
    assert row["text"]
    assert row["picture"].endswith("0.png")


def test_a_placeholder_shared_by_unlike_items_is_found_on_each(rows):
    shared = rows[rows["reason"].str.contains("3 other items that have nothing else in common")]
    assert set(shared["item_id"]) == {"i1", "i2", "i3", "i4"}
    assert set(shared["sign"]) == {"sure"}
    assert shared.set_index("item_id").loc["i2", "others"] == ["i1", "i3", "i4"]
    assert "worse than is usual" in shared.set_index("item_id").loc["i1", "reason"]  # and the choices agree


def test_of_two_unlike_items_with_one_text_one_is_listed(rows):
    pair = rows[rows["item_id"].isin(["i5", "i6"]) & (rows["kind"] == "content")]
    assert len(pair) == 1
    assert "word for word" in pair["reason"].iloc[0]


def test_empty_texts_and_even_pictures_are_sure(rows):
    assert "description is empty" in only(rows, item_id="i7", kind="content")["reason"]
    row = only(rows, item_id="i8", kind="content")
    assert (row["modality"], row["sign"]) == ("image", "sure")
    assert "one even area of colour" in row["reason"]


def test_a_product_entered_twice_counts_the_choices_of_both(rows):
    row = only(rows, kind="duplicate")
    assert (row["item_id"], row["others"], row["choices"], row["sign"]) == ("i9", ["i10"], 24, "sure")
    assert "the same text and picture" in row["reason"]


def test_one_picture_on_different_things_is_a_fault_of_both(rows):
    shared = rows[rows["reason"].str.contains("the very picture of another item")]
    assert set(shared["item_id"]) == {"i12", "i13"}


def test_files_that_were_cut_short_are_unreadable_and_not_one_picture(rows):
    for item in ("i14", "i15"):
        broken = only(rows, kind="content", modality="image", item_id=item)
        assert "cannot be read" in broken["reason"]
        assert not broken["others"]
    assert not rows[rows["kind"] == "duplicate"]["item_id"].isin(["i14", "i15"]).any()


def test_a_missing_picture_costs_the_excess_over_the_placebo(rows):
    row = only(rows, kind="missing")
    assert (row["item_id"], row["choices"]) == ("i11", 12)
    assert row["cost"] == pytest.approx(12 * 0.19)
    assert "about 2 of its 12" in row["reason"]


def test_rows_are_ranked_by_choices_times_the_weight_of_the_sign(rows):
    weights = [Sign[sign.upper()].weight * choices for sign, choices in zip(rows["sign"], rows["choices"], strict=True)]
    assert weights == sorted(weights, reverse=True)
    assert list(rows["rank"]) == list(range(1, len(rows) + 1))
    assert list(rows.columns) == list(COLUMNS)


def test_a_modality_that_explains_nothing_is_one_row_and_flags_no_item(tmp_path):
    run = small_run(tmp_path, manifest={"placebo": IMAGE_EXPLAINS_NOTHING, "features": FEATURES})
    rows = worklist(run).rows
    row = only(rows, kind="modality")
    assert (row["modality"], row["item_id"]) == ("image", "")
    assert row["choices"] == 5  # i3 of the six choices has no picture
    assert rows[rows["kind"] == "missing"].empty


def test_the_file_opens_in_a_spreadsheet(run, rows, tmp_path):
    result = list_content(run, tmp_path / "list.csv")
    raw = (tmp_path / "list.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\n") == len(rows) + 1
    with open(tmp_path / "list.csv", encoding="utf-8-sig", newline="") as file:
        read = list(csv.DictReader(file))
    assert [line["item_id"] for line in read] == list(rows["item_id"])
    formula = next(line for line in read if line["item_id"] == "i13")
    assert formula["text"].startswith("'=HYPERLINK")
    assert result.out == str(tmp_path / "list.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "list.txt"], "ends in .csv"),
        (["--out", "folder.csv"], "is a folder"),
        (["--out", "x.csv", "--kind", "contents"], "content"),
        (["--out", "x.csv", "--where", "sing=sure"], "sign"),
    ],
)
def test_what_cannot_be_done_is_refused_and_writes_nothing(run, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    assert main(["worklist", str(run), *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


def test_the_command_prints_sentences_and_json_the_rows(run, rows, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["worklist", str(run)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{rows['item_id'].nunique()} items to look at")
    assert max(map(len, printed.splitlines())) <= 80
    assert main(["worklist", str(run), "--json", "--kind", "missing", "--kind", "duplicate", "--sort", "item_id"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["item_id"] for row in result["rows"]] == ["i11", "i9"]
    assert (result["matched"], result["total"]) == (2, len(rows))


def test_a_run_in_python_returns_the_same_rows(run, rows):
    frame = Run.load(run).worklist("content", top=3)
    assert list(frame["item_id"]) == list(rows[rows["kind"] == "content"]["item_id"][:3])
    with pytest.raises(DemureError, match="no kind"):
        Run.load(run).worklist("contant")


def test_a_fit_is_bad_where_pictures_were_dealt():
    random = np.random.default_rng(0)
    hidden = random.normal(size=(1500, 6))
    text = hidden @ random.normal(size=(6, 40)) + random.normal(size=(1500, 40))
    image = hidden @ random.normal(size=(6, 20)) + random.normal(size=(1500, 20))
    dealt = random.permutation(1500)[:100]
    image[dealt] = image[np.roll(dealt, 1)]
    truth = np.zeros(1500)
    truth[dealt] = 1
    ratio = log_ratio(text, image)
    assert auc(truth, -ratio) > 0.95
    assert np.median(ratio) > 0
    # Where the two have nothing in common, the ratio says that the prediction does not help.
    assert np.median(log_ratio(random.normal(size=(1500, 40)), image)) <= 0


def test_a_label_is_doubted_only_where_neighbours_agree_and_are_usually_right():
    # 200 items of two kinds whose neighbours are all of their kind; one of the items has the wrong label.
    values = np.array(["shirt"] * 100 + ["skirt"] * 100, dtype=object)
    neighbors = np.array([[(k + step) % 100 + (k // 100) * 100 for step in range(1, 11)] for k in range(200)])
    values[100] = "shirt"
    doubted = list(unlike_neighbors(values, neighbors))
    # The ten items that have item 100 for a neighbour have no unanimous neighbours.
    assert [(row, value) for row, value, _ in doubted] == [(100, "skirt")]
    assert doubted[0][2] == pytest.approx(189 / 190)
    # Five of the fifty items whose neighbours are rows 150 to 159 have another label: too many to be mistakes.
    neighbors[100:150] = np.arange(150, 160)
    values[100:105] = "shirt"
    assert list(unlike_neighbors(values, neighbors)) == []


def test_what_a_finding_costs():
    assert cost_sentence(4.4) == "It costs about 4 of the choices."
    assert cost_sentence(0.4) == cost_sentence(float("nan")) == ""
