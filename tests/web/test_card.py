"""Cards: one user or item as a link and as a picture to share."""

import io
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from PIL import Image
from support.browser import chromium_path
from support.runs_by_hand import ABOVE, IMAGE_EXPLAINS_NOTHING, run_with_interests
from support.serving import serving

from demure.diagnosis.reader import DiagnosisReader
from demure.report.interests import page_interests
from demure.web import card
from demure.web.card import Badge, Card, Tile, draw_card
from demure.web.card_content import item_card, user_card
from demure.web.lookup import Lookup


def lookup_of(folder, placebos):
    reader = DiagnosisReader.open(run_with_interests(folder, manifest={"placebo": placebos}))
    interests = page_interests(reader)
    return Lookup(reader, interests.profiles, interests=interests.details, usual_noise={"image": 40})


@pytest.fixture(scope="module")
def lookup(tmp_path_factory):
    return lookup_of(tmp_path_factory.mktemp("cards"), ABOVE)


def test_the_card_of_a_user_has_the_profile_and_the_verdicts(lookup):
    content = user_card(lookup, "ann")
    assert content.heading == "User ann"
    # Of ann's three choices: text .2, .2 and .9, picture .9, .9 and missing.
    assert content.sentences == ["Looks at blue (image, 60 %); space, robot (text, 43 %)."]
    assert [(label, percent) for label, percent, _ in content.bar] == [("image", 60), ("text", 30), ("none", 10)]
    assert [tile.title for tile in content.tiles] == ["Alien", "Brazil", "i3"]
    assert [badge.text for badge in content.tiles[0].badges] == ["image: poi 90 %", "text: noise 80 %"]
    assert content.tiles[2].badges[0] == Badge("image: missing", "missing")
    assert content.tiles[0].picture.name == "0.png"
    assert user_card(lookup, "nobody") is None


def test_the_card_of_an_item_has_its_interests_and_deviations(lookup):
    content = item_card(lookup, "i1")
    assert (content.heading, content.picture.name) == ("Alien", "0.png")
    assert content.small_print == "i1 · 3 choices in training"
    # Its picture was chosen with .9 + .2 + .2, of which only the first is of an interest above its placebo.
    assert content.sentences == ["Chosen by space, robot (text, 43 %); blue (image, 30 %)."]
    assert [(badge.text, line) for badge, line in content.lines] == [
        ("image: about typical", "noise in 67 % of 3 choices, where 40 % is usual"),
        ("text: about typical", "noise in 67 % of 3 choices"),
    ]
    assert item_card(lookup, "i4") is None  # nobody chose it


def test_a_modality_that_explains_nothing_has_no_verdicts(tmp_path):
    lookup = lookup_of(tmp_path, IMAGE_EXPLAINS_NOTHING)
    assert user_card(lookup, "bob").tiles[0].badges[0] == Badge("image: cannot tell", "missing")
    assert item_card(lookup, "i1").lines[0] == (Badge("image: cannot tell", "missing"), "")


def test_the_picture_of_the_item_is_in_the_card(lookup):
    image = Image.open(io.BytesIO(draw_card(item_card(lookup, "i1"))))
    assert (image.format, image.size) == ("PNG", (1200, 630))
    pixel = np.array(image.convert("RGB"))[200, 150].astype(int)
    assert np.abs(pixel - (0, 90, 160)).max() < 12


def test_everything_stays_within_the_card():
    """Long words and more entries than there is room for leave the margins white."""
    long = "supercalifragilistic" * 20
    tile = Tile(None, long, [Badge(long, "poi"), Badge(long, "noise")])
    content = Card(long, long, "u1", [f"{long} {'and more ' * 200}"], [(long, 50, "#ff0000")] * 9, tiles=[tile] * 9)
    image = np.array(Image.open(io.BytesIO(draw_card(content))))
    assert (image[:, :40] == 255).all()
    assert (image[:, -24:] == 255).all()
    assert (image[:, 40:-24] != 255).any()


def test_letters_that_no_font_has_are_replaced(monkeypatch):
    monkeypatch.setattr(card, "_SYSTEM_FONTS", ())
    card._absent.cache_clear()
    assert card._legible("Plain words") == "Plain words"
    assert card._legible("Amélie Ж", "i1") == "Amelie ?"
    assert card._legible("千と千尋 a", "i1") == "i1"
    card._absent.cache_clear()


def test_the_server_sends_the_card_and_the_page_links_to_it(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    run = run_with_interests(tmp_path)
    with serving(run) as served, playwright.sync_playwright() as started:
        with urllib.request.urlopen(f"{served.url}card?item=i1") as answer:
            assert answer.headers["Content-Type"] == "image/png"
            assert Image.open(io.BytesIO(answer.read())).size == (1200, 630)
        for query in ("item=nobody's", "user=%00", "", "user=nobody&item=i1"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{served.url}card?{urllib.parse.quote(query, safe='=%&')}")
        browser = started.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{served.url}#user=bob")
        page.wait_for_selector("#user h3:has-text('User bob')")
        address = page.locator("#user a", has_text="Link to this card").evaluate("node => node.href")
        assert address == f"{served.url}#user=bob"
        with page.expect_download() as download:
            page.locator("#user a", has_text="Save as a picture").click()
        assert download.value.suggested_filename == "user-bob.png"
        assert Image.open(download.value.path()).size == (1200, 630)
        browser.close()
