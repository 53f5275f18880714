"""What mattered in a choice, and which items are alike, as `demure ui` answers and shows it."""

import base64
import io
import json
import threading
import urllib.parse
import urllib.request

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.browser import chromium_path
from support.runs_by_hand import small_run

from demure.diagnosis.attribution import explain_choice
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.similar_items import nearest_items
from demure.web.explanations import explain
from demure.web.lookup import Lookup
from demure.web.serve import site


@pytest.fixture(scope="module")
def served(informative_run):
    opened = site(informative_run, port=0)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()
    yield opened
    opened.stop()
    thread.join(10)


@pytest.fixture(scope="module")
def choice(informative_run):
    """The choice with the strongest evidence in its text."""
    frame = pd.read_parquet(informative_run / "diagnosis.parquet")
    row = frame[frame["modality"] == "text"].sort_values("evidence").iloc[-1]
    return str(row["user_id"]), str(row["item_id"])


def ask(served, user, item):
    query = urllib.parse.urlencode({"user": user, "item": item})
    with urllib.request.urlopen(f"{served.url}api/explain?{query}") as answer:
        return json.loads(answer.read())


def test_the_answer_is_the_explanation(served, choice, informative_run):
    answer, expected = ask(served, *choice), explain_choice(informative_run, *choice, device="cpu")
    (text,) = answer["texts"]
    assert "".join(part for part, _ in text["parts"]) == expected.texts[0].text
    strong = {effect.word for effect in expected.texts[0].words if effect.matters}
    assert {part.lower() for part, matters in text["parts"] if matters} == strong
    assert all(f"“{word}”" in text["sentence"] for word in list(strong)[:8])
    assert answer["notes"] == expected.notes
    assert len(answer["pictures"]) == len(expected.pictures) == 1
    kind, _, content = answer["pictures"][0]["heat"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (32, 32)
    assert ask(served, *choice) == answer  # kept


def test_only_choices_are_explained(served, choice):
    user, _ = choice
    assert ask(served, user, "n0") is None
    assert ask(served, "nobody", "i0") is None
    assert ask(served, "", "") is None


def test_a_run_without_a_model_explains_nothing(tmp_path):
    lookup = Lookup(DiagnosisReader.open(small_run(tmp_path)))
    assert lookup.has_choice("ann", "i1")
    assert set(lookup.explained("ann", "i1")) == {"problem"}
    assert not lookup.user("ann")["body"]["explains"]  # no button


def test_a_picture_that_has_gone_is_left_out(informative_run, choice, monkeypatch):
    lookup = Lookup(DiagnosisReader.open(informative_run))
    explanation = explain_choice(informative_run, *choice, device="cpu")
    monkeypatch.setattr(type(lookup._explainer), "explain", lambda *_: explanation)
    monkeypatch.setattr("demure.web.explanations.open_picture", lambda _: None)
    answer = explain(lookup._explainer, *choice)
    assert answer["texts"]
    assert not answer["pictures"]


def test_the_button(served, choice):
    playwright = pytest.importorskip("playwright.sync_api")
    user, item = choice
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{served.url}#user={urllib.parse.quote(user)}")
        page.wait_for_selector("html[data-ready=true]")
        card = page.locator("#user ol.cards:not(.next) > .card", has=page.locator(f"a[href='#item={item}']"))
        card.get_by_role("button", name="Explain").click()
        card.locator(".explained h4").first.wait_for()
        answer = ask(served, user, item)
        strong = [part for part, matters in answer["texts"][0]["parts"] if matters]
        assert card.locator("mark").all_inner_texts() == strong
        page.goto(f"{served.url}#item={item}")
        page.wait_for_selector("#item h4:has-text('Similar by text')")
        page.goto(f"{served.url}#user={urllib.parse.quote(user)}")
        assert "Heat map" in card.locator(".heat img").last.get_attribute("alt")
        assert card.locator(".heat img").last.evaluate("image => image.naturalWidth") == 32
        assert not errors
        browser.close()


def test_nearest_items_of_every_modality(informative_run):
    """Oracle: cosines of the scaled features, pair by pair; the items that nobody chose are left out."""
    reader = DiagnosisReader.open(informative_run)
    lookup = Lookup(reader)
    answer = lookup.item("i5")
    ids = answer["items"]["id"]
    for name, matches in answer["nearest"].items():
        unit, own = reader.unit_features[name], reader.item_rows["i5"]
        expected = {
            other: float(np.dot(unit[row], unit[own]))
            for other, row in reader.item_rows.items()
            if other != "i5" and other in lookup.table.item_code
        }
        shown = [ids[match["item"]] for match in matches]
        assert len(set(shown)) == len(shown) <= 6
        assert [match["similarity"] for match in matches] == [
            round(100 * cosine) for cosine in sorted(expected.values(), reverse=True)[: len(shown)]
        ]
        assert all(
            round(100 * expected[other]) == match["similarity"] for other, match in zip(shown, matches, strict=True)
        )
    assert set(answer["nearest"]) == set(reader.unit_features)
    assert "text" not in lookup.item("i3")["nearest"]  # it has none
    assert nearest_items(reader, "nobody's", ids, 3) == {}
