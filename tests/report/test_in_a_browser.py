"""The page in a real browser, where one is installed: what is written to a file, and what is served."""

import contextlib
import itertools
import json
import threading
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from support.browser import chromium_path
from support.runs_by_hand import IMAGE_EXPLAINS_NOTHING, DiagnosisRow, run_with_interests, small_run, write_run

from demure.diagnosis.verdict import probability_of
from demure.report.build import report
from demure.web.serve import site

HOSTILE = "</script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">{{7*7}}&#x27;"


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open an address in a page that notes complaints and requests; both are checked when the test is over."""
    opened = []

    def go(url, *, width=1000, **options):
        page = chromium.new_page(viewport={"width": width, "height": 900}, **options)
        page.complaints, page.requests = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(url)
        page.wait_for_selector("html[data-ready=true]")
        opened.append((page, url))
        return page

    yield go
    for page, url in opened:
        assert page.complaints == []
        home = url.split("#")[0]
        outside = [asked for asked in page.requests if not asked.startswith((home, "data:", "blob:"))]
        assert outside == []
        page.close()


@pytest.fixture
def written(tmp_path):
    run = small_run(tmp_path)
    report(run, tmp_path / "page.html")
    return run, (tmp_path / "page.html").as_uri()


@pytest.fixture
def served(tmp_path):
    run = small_run(tmp_path)
    opened = site(run, port=0)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()
    yield run, opened.url.rstrip("/") + "/"
    opened.stop()
    thread.join(10)


@pytest.fixture(params=["written", "served"])
def page_of(request):
    return request.getfixturevalue(request.param)


def badges(page, where):
    return [
        (node.get_attribute("data-modality"), node.get_attribute("data-verdict"), node.inner_text())
        for node in page.query_selector_all(f"{where} [data-verdict]")
    ]


def test_a_user_opens_and_its_badges_show_the_verdicts_of_the_parquet(page_of, visit):
    run, url = page_of
    page = visit(f"{url}#user=ann")
    page.wait_for_selector("text=User ann")
    frame = pd.read_parquet(run / "diagnosis.parquet")
    mine = frame[frame["user_id"] == "ann"].sort_values("position", kind="stable")
    words = [
        (row.modality, row.verdict, f"{row.modality}: missing" if row.verdict == "missing" else
         f"{row.modality}: {row.verdict} {100 * probability_of(row.verdict, row.poi_probability):.0f} %")
        for row in mine.itertuples()
    ]  # fmt: skip
    assert badges(page, "#user") == words
    assert "like Brazil and i3" in page.inner_text("#user")
    assert "So few that the probabilities are uncertain" in page.inner_text("#user")


def test_every_chart_is_drawn(page_of, visit):
    page = visit(page_of[1])
    for chart in page.query_selector_all("[data-chart]"):
        assert chart.query_selector(".main-svg"), chart.get_attribute("data-chart")


def test_search_sort_and_links(page_of, visit):
    page = visit(page_of[1])
    shown = "#list-users a span:first-child"
    assert [node.inner_text() for node in page.query_selector_all(shown)] == ["ann", "bob", "cid"]
    page.fill("#find-users", "B")
    page.wait_for_selector("#found-users:has-text('1 user')")
    assert [node.inner_text() for node in page.query_selector_all(shown)] == ["bob"]
    page.press("#find-users", "Enter")
    page.wait_for_selector("h3:has-text('User bob')")
    page.click("#user .card a:has-text('Brazil')")
    page.wait_for_selector("#item h3:has-text('Brazil')")
    assert "2 choices in training" in page.inner_text("#item")
    page.click("#item th a:has-text('ann')")
    page.wait_for_selector("h3:has-text('User ann')")
    page.fill("#find-items", "ALIEN")
    page.wait_for_selector("#found-items:has-text('1 item')")
    page.fill("#find-items", "")
    page.wait_for_selector("#found-items:has-text('3 items')")
    page.select_option("#sort-items", "title")
    page.wait_for_selector("#list-items li:last-child:has-text('i3'), #list-items li:first-child:has-text('i3')")
    page.fill("#find-users", "")
    page.select_option("#sort-users", "reliance:image")
    page.wait_for_selector("#list-users li:first-child:has-text('60 %')")


def test_a_modality_below_its_placebo_gets_no_verdict(tmp_path, visit):
    report(small_run(tmp_path, manifest={"placebo": IMAGE_EXPLAINS_NOTHING}), tmp_path / "page.html")
    page = visit(f"{(tmp_path / 'page.html').as_uri()}#user=ann")
    page.wait_for_selector("text=User ann")
    assert [badge for badge in badges(page, "#user") if badge[0] == "image"] == [("image", "missing", "image: missing")]
    assert page.inner_text("#user").count("image: cannot tell") == 2
    assert "image 60 %" not in page.inner_text("#user")
    options = page.eval_on_selector_all("#user option", "(nodes) => nodes.map((node) => node.textContent)")
    assert "image was noise" not in options
    assert "text was noise" in options
    assert "reliance on image" not in page.inner_text("#sort-users")


@pytest.fixture
def address(tmp_path):
    """A function that gives the URL of the page of a run, written or served until the test ends."""
    with contextlib.ExitStack() as stack:

        def of(run, source):
            if source == "served":
                opened = site(run, port=0)
                threading.Thread(target=opened.serve, daemon=True).start()
                stack.callback(opened.stop)
                return opened.url
            report(run, tmp_path / "page.html")
            return (tmp_path / "page.html").as_uri()

        yield of


@pytest.mark.parametrize("source", ["written", "served"])
def test_an_interest_opens_below_its_card(tmp_path, visit, address, source):
    run = run_with_interests(tmp_path)
    url = address(run, source)
    page = visit(url)
    assert page.inner_text("#list-users li:first-child a").split("\n") == [
        "ann", "3 choices", "blue (image, 60 %); space, robot (text, 43 %)",
    ]  # fmt: skip
    page.wait_for_selector("#looked-at .pic img")
    page.click("#looked-at a:has-text('blue')")
    page.wait_for_selector(".opened h4:has-text('Blue')")
    assert page.evaluate("() => document.activeElement.className") == "opened"
    assert page.evaluate("() => document.querySelector('.opened').previousElementSibling.innerText").startswith("blue")
    shown = page.inner_text(".opened")
    assert "Blue: explains 45.0 % of the choices" in shown
    assert "Brazil\n\n2 of its 2 choices" in shown
    assert "1997-09-22" in shown
    page.keyboard.press("Escape")
    page.wait_for_selector(".opened", state="detached")
    assert page.evaluate("() => document.activeElement.textContent") == "blue"
    page.click("#interests .opens:has-text('space, robot')")
    page.click(".opened .people a:has-text('ann')")
    page.wait_for_selector("h3:has-text('User ann')")
    assert "Looks at blue (image, 60 %); space, robot (text, 43 %)." in page.inner_text("#user")


def test_a_verdict_less_probable_than_the_other_has_no_number(tmp_path, visit):
    rows = [DiagnosisRow("ann", k, f"i{k}", "image", "noise", p) for k, p in enumerate((0.67, 0.4, 0.03))]
    items = pd.DataFrame({"item_id": ["i0", "i1", "i2"], "title": ["a", "b", "c"]})
    report(write_run(tmp_path, rows, items), tmp_path / "page.html")
    page = visit(f"{(tmp_path / 'page.html').as_uri()}#user=ann")
    page.wait_for_selector("text=User ann")
    assert [text for _, _, text in badges(page, "#user")] == [
        "image: noise ?",
        "image: noise 60 % ?",
        "image: noise 97 %",
    ]


def test_an_item_compares_in_words(page_of, visit):
    page = visit(f"{page_of[1]}#item=i1")
    page.wait_for_selector("#item h3:has-text('Alien')")
    assert "noise in 67\u00a0% of 3 choices, where 40\u00a0% is usual; it explains its choices" in page.inner_text(
        "#item"
    )
    assert "“a”" in page.inner_text("#item")
    page.select_option("#sort-items", "below:image")
    page.wait_for_selector("#list-items a span:nth-child(2):has-text('typical')")
    assert "+" not in page.inner_text("#list-items")


def test_verdicts_can_be_picked(page_of, visit):
    page = visit(f"{page_of[1]}#user=ann")
    page.wait_for_selector("text=User ann")
    page.select_option("#user select", label="image was missing")
    assert page.text_content("#user ol:last-of-type .title") == "i3"
    assert "1 choice of 3" in page.inner_text("#user")


def test_by_keyboard_alone(page_of, visit):
    page = visit(page_of[1])
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Skip to the users"
    page.focus("#find-users")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("h3:has-text('User bob')")
    assert page.evaluate("() => document.activeElement.id") == "user"


def test_what_a_screen_reader_needs(page_of, visit):
    page = visit(page_of[1])
    assert page.get_attribute("html", "lang") == "en"
    for field in page.query_selector_all("input, select"):
        assert field.evaluate("(node) => node.labels.length") == 1
    for image in page.query_selector_all("img"):
        assert image.get_attribute("alt") is not None
    for section in page.query_selector_all("section"):
        assert page.inner_text(f"#{section.get_attribute('aria-labelledby')}")
    levels = page.eval_on_selector_all("h1,h2,h3,h4", "(nodes) => nodes.map((node) => +node.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("width", [400, 900, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out(written, visit, width, scheme):
    page = visit(f"{written[1]}#user=ann", width=width, color_scheme=scheme)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.emulate_media(media="print")
    assert not page.is_visible("#find-users")
    assert page.is_visible("#user h3")


def test_who_chose_an_item_fits_a_phone(written, visit):
    page = visit(f"{written[1]}#item=i1", width=390)
    assert page.eval_on_selector("#item .scroll", "(box) => box.scrollWidth <= box.clientWidth")
    assert page.inner_text("#item td .badge") == "poi 90 %"


def hostile_run(folder):
    rows = [
        DiagnosisRow(f"{HOSTILE}{user}", k, f"{HOSTILE}{k}", HOSTILE if m else "image", "poi", 0.9)
        for user in range(2)
        for k in range(3)
        for m in range(2)
    ]
    items = pd.DataFrame({"item_id": [f"{HOSTILE}{k}" for k in range(3)], "title": HOSTILE, "description": HOSTILE})
    items["genres"] = f"{HOSTILE}|b"
    run = write_run(
        folder,
        rows,
        items,
        recipe=HOSTILE,
        supports=[(rows[0].user, rows[0].item, 0, HOSTILE, 1, rows[2].item, 0.5)],
    )
    (run / "recipe.yaml").write_text(HOSTILE)
    return run


@pytest.mark.parametrize("source", ["written", "served"])
def test_hostile_texts_run_nothing(tmp_path, visit, address, source):
    run = hostile_run(tmp_path)
    url = address(run, source)
    page = visit(f"{url}#user={quote(HOSTILE + '1', safe='')}")
    page.wait_for_selector("#user h3:has-text('ran')")
    page.click("#user .card a")
    page.wait_for_selector("#item h3")
    assert page.title().startswith("demure: ")
    assert page.query_selector("img[src='x']") is None
    assert HOSTILE in page.inner_text("#item")
    assert "49" not in page.inner_text("#item h3")


def test_an_address_that_names_nobody(page_of, visit):
    page = visit(f"{page_of[1]}#user=nobody")
    page.wait_for_selector("text=There is no user nobody")


def test_what_is_embedded_is_what_is_served(tmp_path, visit):
    """The same user, by both ways, reads the same."""
    run = small_run(tmp_path)
    report(run, tmp_path / "page.html")
    opened = site(run, port=0)
    threading.Thread(target=opened.serve, daemon=True).start()
    texts = []
    for url in ((tmp_path / "page.html").as_uri(), opened.url):
        page = visit(f"{url}#user=bob")
        page.wait_for_selector("text=User bob")
        page.wait_for_selector("#item h3")
        texts.append(json.dumps([page.inner_text("#user"), page.inner_text("#item"), page.inner_text("#worklist")]))
    opened.stop()
    save = " \\u00b7 Save as a picture"  # the server alone draws cards: one of the user, one of the item
    assert (texts[0].count(save), texts[1].count(save)) == (0, 2)
    assert texts[0] == texts[1].replace(save, "")


@pytest.mark.slow  # a quarter of a minute, and only a person sees what is wrong
def test_screenshots_for_those_who_look(written, visit, tmp_path):
    for width in (400, 900, 1600):
        page = visit(written[1], width=width)
        page.screenshot(path=str(tmp_path / f"{width}.png"))
        assert Path(tmp_path / f"{width}.png").stat().st_size > 10_000
