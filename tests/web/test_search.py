"""The search by words, as `demure ui` answers and shows it."""

import pytest
from support.browser import chromium_path
from support.runs_by_hand import small_run
from support.serving import ask, serving
from support.small_catalogue import WORDS

from demure import Run
from demure.diagnosis.reader import DiagnosisReader
from demure.web.lookup import Lookup


@pytest.fixture(scope="module")
def served(informative_run):
    with serving(informative_run) as site:
        yield site


def test_the_answer_is_the_search_among_the_items_of_the_page(served, informative_run):
    answer = ask(served, "api/search", words="sword  dragon")
    (match,) = answer["matches"]
    assert match["modality"] == "text"
    frame = Run.load(informative_run).search("sword dragon", top=1000)
    chosen = set(DiagnosisReader.open(informative_run).table.item_code)
    expected = frame[frame["item_id"].isin(chosen)].head(24)
    assert [answer["items"]["id"][row["item"]] for row in match["rows"]] == expected["item_id"].tolist()
    assert [row["similarity"] for row in match["rows"]] == (100 * expected["similarity"]).round().tolist()
    assert ask(served, "api/search", words="sword xyzzy")["notes"]


def test_odd_words_have_a_plain_answer(served):
    assert ask(served, "api/search") is None
    assert ask(served, "api/search", words=" ") is None
    assert ask(served, "api/search", words="\x00")["notes"] == ["There are no words to search for."]
    assert ask(served, "api/search", words="sword " * 1000)["matches"][0]["rows"]


def test_features_that_are_gone_have_a_sentence(tmp_path):
    answer = Lookup(DiagnosisReader.open(small_run(tmp_path))).searched("robots")
    assert answer["matches"] == []
    assert [note.partition(":")[0] for note in answer["notes"]] == ["image", "text"]


def test_words_and_a_link_search_in_the_page(served):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{served.url}#search=alien")
        page.wait_for_selector("#matches li")
        assert page.input_value("#words") == "alien"
        assert set(page.inner_text("#matches li:first-child a").split()) <= set(WORDS[0].split())
        page.fill("#words", "castle xyzzy")
        page.keyboard.press("Enter")
        page.wait_for_selector("#found-words:has-text('xyzzy')")
        first = page.locator("#matches li a").first
        assert set(first.inner_text().split()) <= set(WORDS[3].split())
        first.click()
        page.wait_for_selector(f"#item h3:has-text('{first.inner_text()}')")
        assert not errors
        browser.close()
