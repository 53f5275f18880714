import base64
import gzip
import html
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from support.runs_by_hand import (
    ABOVE,
    CAUSES,
    FEATURES,
    IMAGE_EXPLAINS_NOTHING,
    NOTHING,
    DiagnosisRow,
    small_run,
    write_run,
)

from demure.diagnosis.reader import DiagnosisSource
from demure.errors import DemureError, RunError
from demure.report.budget import people
from demure.report.build import report
from demure.report.payload import Gatherer

HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>{{ 7*7 }}<!--'


class Elements(HTMLParser):
    """The elements that a parser which is not ours finds in a page."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def embedded(page):
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(found.group(1))
    data["bodies"] = json.loads(gzip.decompress(base64.b64decode(data["bodies"])))
    return data


def without_scripts(page):
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


@pytest.fixture
def page(tmp_path):
    done = report(small_run(tmp_path), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert done.bytes == (tmp_path / "page.html").stat().st_size
    assert (done.users, done.users_total) == (3, 3)
    return text


def test_the_page_tells_the_verdicts_of_the_parquet(page):
    data = embedded(page)
    ann = [user[0] for user in data["users"]].index("ann")
    intervals, drift, lines, recommended = data["bodies"][ann]
    item, day, image, text = lines[0]
    assert data["items"][item][:2] == ["i1", "Alien"]
    assert day == 874_965_478 // 86_400
    assert data["verdicts"][image[0]] == "poi"
    assert image[1:3] == [90, 16]  # per cent, and evidence in tenths of nats
    assert [data["items"][k][0] for k in image[3:]] == ["i2", "i3"]
    assert data["verdicts"][text[0]] == "noise"
    assert data["users"][ann] == ["ann", 3, [60, 30, 10], False]
    assert all(low <= share <= high for (low, high), share in zip(intervals, [60, 30, 10], strict=True))
    assert (drift, recommended) == (None, None)
    noise, of, evidence, *_ = data["items"][item][6][0]
    assert (noise, of, evidence) == (67, 3, -3)


def test_the_page_needs_nothing_from_outside(page):
    rest = without_scripts(page)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:|//)""", rest)
    assert "@import" not in rest
    assert "default-src 'none'" in page
    plotly = re.search(r'<script type="text/plain" id="plotly">(.*?)</script>', page, re.S).group(1)
    assert gzip.decompress(base64.b64decode(plotly)).startswith(b"/**\n* plotly.js v")


def test_pictures_are_inlined(page):
    pictures = [item[3] for item in embedded(page)["items"]]
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
    seen = Elements()
    seen.feed(page)
    assert seen.tags.count("script") == 3
    assert seen.tags.count("img") == page.count('<img src="data:')
    data = embedded(page)
    assert data["users"][0][0] == HOSTILE
    assert data["items"][0][1] == HOSTILE
    assert "<" not in data["charts"]["shares"]["data"][0]["y"][0]


def test_users_give_way_when_the_page_would_grow_too_large(tmp_path):
    rows = [DiagnosisRow(f"u{k:04}", 0, f"i{k}", "image", "poi", 0.5 + k % 50 / 100) for k in range(3000)]
    items = pd.DataFrame(
        {"item_id": [f"i{k}" for k in range(3000)], "title": [f"A title for {k} " * 20 for k in range(3000)]}
    )
    run = write_run(tmp_path, rows, items, pictures=False)
    gatherer = Gatherer(DiagnosisSource.open(run))
    told = people(gatherer, at_most_bytes=4000, at_most_rows=10_000, recommend=False)
    assert len(told.packed) <= 4000
    assert 0 < len(told.users) < told.total == 3000
    ids = [user[0] for user in told.users]
    assert ids[0] == "u0000"
    assert ids[-1] == "u2999"
    assert ids == sorted(ids)


def test_a_run_without_epochs_pictures_or_timestamps(tmp_path):
    run = small_run(tmp_path, pictures=False, timestamps=False)
    (run / "metrics.jsonl").unlink()
    done = report(run, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert done.pictures == 0
    assert "recorded no epochs" in page
    assert embedded(page)["bodies"][0][2][0][1] is None


def test_pictures_outside_the_images_folder_are_not_read(tmp_path):
    run = small_run(tmp_path)
    items = tmp_path / "dataset" / "items.parquet"
    frame = pd.read_parquet(items)
    (tmp_path / "images" / "0.png").rename(tmp_path / "secret.png")
    frame["image"] = ["../secret.png", "1.png", "nowhere.png", None]
    frame.to_parquet(items)
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
    assert "Against what is known to be true" in page
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


def page_with(folder, given, **changes):
    manifest = {"placebo": given, "causes": CAUSES, "features": FEATURES, **changes}
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


def test_what_cannot_be_told_is_nowhere_called_noise(tmp_path):
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
