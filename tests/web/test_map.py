"""The map of items and users: near points are alike, interests colour it, and a point opens its item."""

import numpy as np
import pytest
from support.browser import chromium_path
from support.runs_by_hand import run_with_interests, small_run
from support.serving import ask, serving

from demure.diagnosis.content_map import content_map
from demure.diagnosis.interests.view import measured_interests
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.web.lookup import Lookup


@pytest.fixture(scope="module")
def reader(informative_run):
    return DiagnosisReader.open(informative_run)


@pytest.fixture(scope="module")
def items(reader):
    return content_map(reader, "items", "text")


def test_near_points_have_similar_content(reader, items):
    """Oracle: cosines of the scaled features; the catalogue has four groups of words."""
    unit = reader.unit_features["text"][[reader.item_rows[str(name)] for name in reader.table.item_ids[items.codes]]]
    far = np.linalg.norm(items.places[:, None] - items.places[None], axis=2)
    np.fill_diagonal(far, np.inf)
    cosine = unit @ unit.T
    nearest = cosine[np.arange(len(far)), far.argmin(axis=1)]
    others = cosine[~np.eye(len(cosine), dtype=bool)]
    assert np.median(nearest) > 0.9 > np.median(others) + 0.3


def test_the_most_chosen_come_first_and_those_without_the_modality_are_left_out(reader, items):
    counts = reader.table.item_counts[items.codes]
    assert (np.diff(counts) <= 0).all()
    assert "i3" not in reader.table.item_ids[items.codes]  # it has no text
    assert items.places.min() >= -1e-6
    assert items.places.max() <= 1000 + 1e-6
    assert np.ptp(items.places, axis=0).max() == pytest.approx(1000)
    few = content_map(reader, "items", "text", most=20)
    assert few.codes.tolist() == items.codes[:20].tolist()
    assert f"the 20 of {len(items.codes)} items with the most choices" in few.note


def test_the_same_seed_gives_the_same_map(reader, items):
    again = content_map(reader, "items", "text")
    np.testing.assert_array_equal(again.places, items.places)


def test_too_few_points_and_absent_features_are_refused(tmp_path):
    reader = DiagnosisReader.open(run_with_interests(tmp_path))
    with pytest.raises(DemureError, match="only 2 users can be placed by image, too few"):
        content_map(reader, "users", "image")
    with pytest.raises(DemureError, match="the features 'image' are gone"):
        content_map(reader, "items", "image")


def test_every_user_has_the_largest_of_the_shown_interests(informative_run):
    reader = DiagnosisReader.open(informative_run)
    own = measured_interests(reader)
    own.__dict__["shown"] = np.ones(len(own.columns), bool)
    random = np.random.default_rng(0)
    own.shares.__dict__["by_user_UK"] = random.uniform(0, 0.01, (len(reader.table.user_ids), len(own.columns)))
    drawn = content_map(reader, "users", "image")
    columns = [k for k, (name, _) in enumerate(own.columns) if name == "image"]
    expected = own.shares.by_user_UK[drawn.codes][:, columns].argmax(axis=1)
    names = [f"image {own.numbers[columns[k]]}" for k in expected]
    assert [drawn.groups[group].key for group in drawn.group] == names
    assert [group.points for group in drawn.groups] == sorted((names.count(n) for n in set(names)), reverse=True)


def test_bad_maps_are_refused(reader):
    with pytest.raises(DemureError, match="no map of 'shops'"):
        content_map(reader, "shops", "text")
    with pytest.raises(DemureError, match="no modality 'sound'"):
        content_map(reader, "items", "sound")


def test_a_map_that_cannot_be_drawn_has_a_sentence(tmp_path):
    lookup = Lookup(DiagnosisReader.open(small_run(tmp_path)))
    assert lookup.mapped("users", "text") == {"problem": "Only 0 users can be placed by text, too few for a map."}


def test_a_point_opens_its_item(informative_run, items, reader):
    playwright = pytest.importorskip("playwright.sync_api")
    with serving(informative_run) as served, playwright.sync_playwright() as started:
        assert ask(served, "api/map", kind="items", modality="sound") is None
        assert ask(served, "api/map", kind="shops", modality="text") is None
        answer = ask(served, "api/map", kind="items", modality="text")
        assert answer["points"]["id"] == reader.table.item_ids[items.codes].tolist()
        browser = started.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(served.url)
        page.wait_for_selector("html[data-ready=true]")
        page.select_option("#map-of", label="items by text")
        page.click("#draw-map")
        page.wait_for_selector(".plane circle")
        assert page.locator(".plane circle").count() == len(items.codes)
        page.locator(".plane circle").last.hover(force=True)  # the most chosen item, on top of all others
        item = page.locator(".tip strong").inner_text()
        assert item in answer["points"]["title"]
        page.locator(".plane circle").last.click(force=True)
        page.wait_for_selector(f"#item h3:has-text('{item}')")
        page.locator(".map summary").first.click()
        # The same for those who cannot see the map; the list is made by an event that follows the click.
        page.wait_for_selector(".map details a")
        assert not errors
        browser.close()
