import base64
import gzip
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from support.manifests import record
from support.runs_by_hand import (
    ABOVE,
    CAUSES,
    FEATURES,
    IMAGE_EXPLAINS_NOTHING,
    NOTHING,
    DiagnosisRow,
    run_with_interests,
    small_run,
    write_run,
)

from demure.cluster.executor import LOCAL
from demure.diagnosis.explain import DEVIATION_SENTENCES, SENTENCES
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError, RunError
from demure.progress import silent
from demure.report import budget
from demure.report.budget import UserSample, select_users
from demure.report.build import report
from demure.report.item_numbers import ItemRegistry, place_items
from demure.report.payload import PayloadBuilder, to_columns
from demure.report.user_bodies import user_bodies

HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>{{ 7*7 }}<!--'


class Elements(HTMLParser):
    """The elements that an independent parser finds in a page."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def rows_of(columns):
    """Columns of the payload as rows, as the page's script reads them."""
    length = len(next(iter(columns.values()), []))
    return [row_of(columns, k) for k in range(length)]


def row_of(columns, k):
    return {name: column[k] if isinstance(column, list) else row_of(column, k) for name, column in columns.items()}


def embedded(page):
    script = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(script.group(1))
    data["bodies"] = json.loads(gzip.decompress(base64.b64decode(data["bodies"])))
    return data | {"users": rows_of(data["users"]), "items": rows_of(data["items"])}


def test_columns_are_rows_again():
    rows = [{"id": "a", "shares": {"x": 1, "y": [2, 3]}}, {"id": "b", "shares": {"x": None, "y": []}}]
    assert to_columns(rows) == {"id": ["a", "b"], "shares": {"x": [1, None], "y": [[2, 3], []]}}
    assert rows_of(to_columns(rows)) == rows
    assert to_columns([]) == {}


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


@pytest.fixture
def page(tmp_path):
    done = report(small_run(tmp_path), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert done.bytes == (tmp_path / "page.html").stat().st_size
    assert (done.users, done.users_total) == (3, 3)
    return text


def test_the_page_has_the_verdicts_of_the_parquet(page):
    data = embedded(page)
    ann = [user["id"] for user in data["users"]].index("ann")
    body = data["bodies"][ann]
    first = rows_of(body["history"])[0]
    item = data["items"][first["item"]]
    assert (item["id"], item["title"]) == ("i1", "Alien")
    assert first["day"] == 874_965_478 // 86_400
    image, text = first["verdicts"]["image"], first["verdicts"]["text"]
    assert (image["verdict"], image["percent"], image["reason"]) == ("poi", 90, "similar")
    assert [data["items"][place]["id"] for place in image["items"]] == ["i2", "i3"]
    assert (text["verdict"], text["percent"], text["reason"]) == ("noise", 20, "no_support")
    assert data["sentences"] == {code.value: sentence for code, sentence in SENTENCES.items()}
    assert data["deviation_sentences"] == DEVIATION_SENTENCES
    reliance = {"image": 60, "text": 30, "none": 10}
    assert data["users"][ann] == {"id": "ann", "choices": 3, "reliance": reliance, "drifted": False}
    for name, (low, high) in body["reliance_interval"].items():
        assert low <= reliance[name] <= high
    assert (body["drift"], body["recommended"]) == (None, None)
    deviation = item["deviations"]["image"]
    assert (deviation["noise"], deviation["choices"], deviation["evidence"]) == (67, 3, -0.3)


def test_the_page_needs_nothing_from_outside(page):
    rest = without_scripts(page)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", rest)
    assert "@import" not in rest
    assert "default-src 'none'" in page
    plotly = re.search(r'<script type="text/plain" id="plotly">(.*?)</script>', page, re.S).group(1)
    assert gzip.decompress(base64.b64decode(plotly)).startswith(b"/**\n* plotly.js v")


def test_pictures_are_inlined(page):
    pictures = [item["picture"] for item in embedded(page)["items"]]
    assert len(pictures) == 3
    assert all(picture.startswith("data:image/webp;base64,") for picture in pictures)


def test_same_run_same_page(tmp_path):
    run = small_run(tmp_path)
    for name in ("a.html", "b.html"):
        report(run, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_hostile_texts_and_ids_stay_text(tmp_path):
    rows = [DiagnosisRow(HOSTILE, k, f"{HOSTILE}{k}", HOSTILE, "noise", 0.1) for k in range(2)]
    items = pd.DataFrame({"item_id": [row.item for row in rows], "title": HOSTILE, "description": HOSTILE})
    run = write_run(tmp_path, rows, items, recipe=HOSTILE)
    (run / "recipe.yaml").write_text(HOSTILE)
    report(run, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    elements = Elements()
    elements.feed(page)
    assert elements.tags.count("script") == 3
    assert elements.tags.count("img") == page.count('<img src="data:')
    data = embedded(page)
    assert data["users"][0]["id"] == HOSTILE
    assert data["items"][0]["title"] == HOSTILE
    assert "<" not in data["charts"]["shares"]["data"][0]["y"][0]


def test_two_points_are_numbers_and_not_a_line(tmp_path):
    run = small_run(tmp_path)
    epochs = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(epochs[:2]))
    report(run, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    charts = embedded(page)["charts"]
    assert "time" in charts  # three days
    assert not [key for key in charts if key.startswith("epochs")]
    assert "Likelihood and loss per epoch epoch training loss 1 5 2 2.5" in words_of(page)


def test_reliance_and_agreement_are_sentences(page):
    words = words_of(page)
    assert "1 user (33.3 %) relies most on image. 1 user (33.3 %) relies most on text." in words
    assert "1 user (33.3 %) relies most on what is not content (none)." in words
    assert (
        "Both image and text were points of interest in 20.0 % of these choices, image alone in 40.0 %, text alone in "
        "20.0 %, neither in 20.0 %;" in words
    )


def test_hostile_names_of_interests_and_work_stay_text(tmp_path):
    run = run_with_interests(tmp_path, recipe=HOSTILE)
    stored = json.loads((run / "interests.json").read_text())
    for own in stored.values():
        for interest in own:
            interest |= {"name": HOSTILE, "words": [HOSTILE]}
    (run / "interests.json").write_text(json.dumps(stored))
    report(run, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    elements = Elements()
    elements.feed(page)
    assert elements.tags.count("script") == 3
    assert "<img src=x" not in page
    assert embedded(page)["interests"][0]["name"] == HOSTILE


def test_the_first_screen_answers_what_people_look_at_and_what_to_do(tmp_path):
    report(run_with_interests(tmp_path), tmp_path / "page.html")
    page = words_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    looked_at = page.index("What people look at 1 interest in the pictures explains 45 % of the choices: blue 45 %")
    to_do = page.index(
        "What to do 4 items to look at, 4 findings: 4 sure. All in the work list Alien 3 choices Its picture is one"
    )
    made = page.index("How it was made By demure")
    assert page.index("What each choice was for Pictures explain") < looked_at < to_do < page.index("Interests What in")
    assert "3 more like it. “a”" in page
    assert "/run" not in page[:made]  # no path before the last section
    assert "45.0 % of the choices, 40.0 % above shuffled 66.7 % of the users; steady" in page


def test_an_item_that_nobody_chose_has_no_link(page):
    rest = without_scripts(page)
    assert 'data-item="i1"' in rest
    assert "Dune" in words_of(page)
    assert 'data-item="i4"' not in rest


def test_users_have_a_profile_where_the_run_has_interests(tmp_path):
    report(run_with_interests(tmp_path), tmp_path / "page.html")
    data = embedded((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert data["users"][0]["profile"] == [[0, 60], [1, 43]]
    assert [interest["key"] for interest in data["interests"]] == ["image 1", "text 1"]


def test_an_earlier_run_explains_how_to_get_interests(page):
    words = words_of(page)
    assert "What people look at This run has no interests: an earlier demure made it. Train the run again" in words
    assert 'href="#interests"' not in page
    assert all("profile" not in user for user in embedded(page)["users"])


def test_the_words_of_an_item_are_on_the_page(page):
    assert [item["text"] for item in embedded(page)["items"]] == ["a", "b", "c"]


def test_the_page_explains_which_users_it_holds(tmp_path):
    sample = UserSample([], "", ItemRegistry(), 6040, 0, 0)
    assert sample.note.startswith("This page holds 0 of 6,040 users, so that it stays small. They are evenly spaced")


def test_users_give_way_when_the_page_would_grow_too_large(tmp_path):
    rows = [DiagnosisRow(f"u{k:04}", 0, f"i{k}", "image", "poi", 0.5 + k % 50 / 100) for k in range(3000)]
    items = pd.DataFrame(
        {"item_id": [f"i{k}" for k in range(3000)], "title": [f"A title for {k} " * 20 for k in range(3000)]}
    )
    run = write_run(tmp_path, rows, items, pictures=False)
    builder = PayloadBuilder(DiagnosisReader.open(run))
    sample = select_users(builder, at_most_bytes=4000, at_most_rows=10_000, recommend=False)
    assert len(sample.packed) <= 4000
    assert 0 < len(sample.users) < sample.total == 3000
    ids = [user["id"] for user in sample.users]
    assert ids[0] == "u0000"
    assert ids[-1] == "u2999"
    assert ids == sorted(ids)


def test_items_are_numbered_in_the_order_of_the_users_who_chose_them(run):
    builder = PayloadBuilder(DiagnosisReader.open(run))
    one_by_one, together = ItemRegistry(), ItemRegistry()
    users = [7, 3, 11]
    expected = [builder.body(code, one_by_one) for code in users]
    bodies = user_bodies(builder, np.array(users), LOCAL, silent)
    assert [place_items(body, together) for body in bodies] == expected
    assert together.codes == one_by_one.codes


def test_a_run_without_epochs_pictures_or_timestamps(tmp_path):
    run = small_run(tmp_path, pictures=False, timestamps=False)
    (run / "metrics.jsonl").unlink()
    done = report(run, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert done.pictures == 0
    assert "recorded no epochs" in page
    assert embedded(page)["bodies"][0]["history"]["day"][0] is None


def test_pictures_outside_the_images_folder_are_not_read(tmp_path):
    run = small_run(tmp_path)
    items = tmp_path / "dataset" / "items.parquet"
    frame = pd.read_parquet(items)
    (tmp_path / "images" / "0.png").rename(tmp_path / "secret.png")
    frame["image"] = ["../secret.png", "1.png", "nowhere.png", None]
    frame.to_parquet(items)
    record(tmp_path / "dataset" / "dataset.json")
    assert report(run, tmp_path / "page.html").pictures == 1


def test_refusals(tmp_path):
    run = small_run(tmp_path)
    with pytest.raises(DemureError, match=r"ends in .html"):
        report(run, tmp_path / "page.pdf")
    (run / "diagnosis.parquet").unlink()
    with pytest.raises(RunError, match="no diagnosis"):
        report(run, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_calibration_where_the_truth_is_known(tmp_path):
    run = small_run(tmp_path)
    truth = pd.read_parquet(run / "diagnosis.parquet", columns=["user_id", "item_id", "modality", "verdict"])
    truth["caused"] = (truth.pop("verdict") == "poi").astype(int)
    truth.to_csv(tmp_path / "truth.csv", index=False)
    report(run, tmp_path / "page.html", truth=tmp_path / "truth.csv")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Compared with the truth" in page
    image = embedded(page)["charts"]["calibration"]["data"][1]
    assert image["x"] == [0.2, 0.9]
    assert image["y"] == [0, 1]
    assert image["customdata"] == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,item_id,modality\nann,i1,image\n", r"truth.csv: has no column caused"),
        ("user_id,item_id,modality,caused\nann,i1,image,maybe\n", r"truth.csv row 2: caused is 'maybe', not 0 or 1"),
        ("user_id,item_id,modality,caused\nx,y,z,1\n", r"shares no pair"),
        ("", r"truth.csv: cannot be read"),
    ],
)
def test_a_truth_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(DemureError, match=message):
        report(small_run(tmp_path), tmp_path / "page.html", truth=tmp_path / "truth.csv")
    assert not (tmp_path / "page.html").exists()


def test_how_it_was_made_is_in_words(page):
    rest = without_scripts(page)
    assert re.search(r"<dt>recipe</dt><dd[^>]*>default</dd>", rest)
    assert re.search(r"<dt>split</dt><dd[^>]*>bb</dd>", rest)


def test_numbers_stand_beside_every_chart_that_has_none_in_a_table(page):
    rest = without_scripts(page)
    for key in embedded(page)["charts"]:
        if key not in ("shares", "reliance"):
            assert re.search(rf'data-chart="{key}".*?<summary>The numbers</summary>', rest, re.S), key


def words_of(page):
    """The text that a reader sees without scripts, its white space folded."""
    styled = re.sub(r"<style.*?</style>", "", without_scripts(page), flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", styled)).split())


def page_with(folder, placebo, **changes):
    manifest = {"placebo": placebo, "causes": CAUSES, "features": FEATURES, **changes}
    report(small_run(folder, manifest=manifest), folder / "page.html")
    return (folder / "page.html").read_text(encoding="utf-8")


def test_the_first_sentences_are_those_of_inspect(tmp_path):
    page = words_of(page_with(tmp_path, ABOVE))
    first = (
        "What each choice was for "
        "Pictures explain 19 % of the choices more than shuffled pictures do (17 to 21 %). "
        "Texts explain 30 % of the choices more than shuffled texts do (26 to 34 %). "
        "Neither: 17 % of the choices have no point of interest in the content; of the causes other than content, "
    )
    assert first in page
    assert "image was the point of interest in 50 % 19 % above shuffled (17 to 21 %)" in page
    assert "no point of interest in 17 %" in page


def test_the_mean_stands_beside_the_excess_that_is_taken_of_it(tmp_path):
    page = words_of(page_with(tmp_path, ABOVE))
    assert "19 % above shuffled (17 to 21 %) of a mean probability of 62 %" in page  # 3.1 of 5
    assert "3 of these users have fewer than 5 choices" in page


@pytest.mark.parametrize("pictures", [True, False])
def test_data_without_pictures_has_no_room_for_them(tmp_path, pictures):
    report(small_run(tmp_path, pictures=pictures), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ('<body class="no-pictures">' in page) == (not pictures)


def test_times_that_are_only_an_order_have_no_days(tmp_path):
    report(small_run(tmp_path, first_time=0.0), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "time" not in embedded(page)["charts"]
    assert "1970" not in words_of(page)


def test_a_modality_below_its_placebo_is_nowhere_called_noise(tmp_path):
    page = page_with(tmp_path, IMAGE_EXPLAINS_NOTHING)
    words = words_of(page)
    assert "What each choice was for Pictures ( image ), as encoded by color , explain nothing here. Texts" in words
    assert "image was the point of interest in cannot tell" in words
    assert "Do the modalities agree" not in words
    data = embedded(page)
    assert data["cannotTell"] == ["image"]
    shares = {bar["name"]: bar["x"] for bar in data["charts"]["shares"]["data"]}  # text, then image
    assert (shares["noise"], shares["poi"]) == ([50, 0], [50, 0])
    assert shares["cannot tell"] == pytest.approx([0, 83.33])
    for key in ("probabilities", "time"):
        assert [line["name"] for line in data["charts"][key]["data"]] == ["text"]
    assert [line["name"] for line in data["charts"]["reliance"]["data"]] == ["text", "none"]
    colour = data["charts"]["time"]["data"][0]["line"]["color"]
    assert colour == data["colours"]["text"]


def test_where_nothing_explains_the_page_begins_with_it(tmp_path):
    page = page_with(tmp_path, NOTHING)
    words = words_of(page)
    assert "What each choice was for Nothing in the content explains the choices here: 17 % have" in words
    assert "so they do not show what users rely on" in words
    assert list(embedded(page)["charts"]) == ["shares", "epochs0", "epochs1"]


def test_an_older_run_shows_no_placebo(page):
    assert "shuffled" not in words_of(page)
    assert embedded(page)["cannotTell"] == []
    assert embedded(page)["madeOf"] == ""


def test_the_page_knows_what_a_list_is_made_of(tmp_path):
    pool = {"collaborative": 1.0, "content": 0.0, "scarce": 0.0}
    assert embedded(page_with(tmp_path, ABOVE, pool=pool, valid={"recall@20": 0.1}))["madeOf"] == (
        "Validation gave the content no weight in this list: recommendations follow what is taken together."
    )


def test_where_users_and_items_are_many_recommendations_are_for_some_users(run, monkeypatch):
    monkeypatch.setattr(budget, "_MAX_SCORES", 10 * 50)
    builder = PayloadBuilder(DiagnosisReader.open(run))
    users, reports = [str(user) for user in builder.table.user_ids], []
    by_user = budget._recommend(builder.reader, users, reports.append, LOCAL)
    assert len(by_user) == 10
    assert {users[0], users[-1]} <= set(by_user) <= set(users)
    assert f"10 of the {len(users)} users" in reports[0].text
