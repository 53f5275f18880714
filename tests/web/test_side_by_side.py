"""The lists of several runs for one user: in the library, as `demure ui --compare` answers, and in its page."""

import numpy as np
import pytest
from support.browser import chromium_path
from support.serving import ask, serving

from demure.diagnosis.side_by_side import LISTED, SideBySide, UserLists
from demure.runs.load import load_run
from demure.training.run import train


@pytest.fixture(scope="module")
def popular(timed, tmp_path_factory):
    """A run of the baseline ``popularity`` on the data of ``run``."""
    out = tmp_path_factory.mktemp("popular") / "popular"
    train(timed, out, recipe="popularity", device="cpu")
    return out


@pytest.fixture(scope="module")
def served(run, popular):
    with serving(run, compare=[popular]) as site:
        yield site


@pytest.fixture(scope="module")
def lists(run, popular):
    users = [str(user) for user in load_run(run).dataset.user_ids]
    return SideBySide({"run": run, "popular": popular}).lists(users)


def test_the_training_history_alone_decides(lists, popular):
    """Oracle: the most frequent training items that the user did not have in training."""
    dataset = load_run(popular).dataset
    train_part, valid = dataset.histories("train"), dataset.histories("valid")
    counts = train_part.count_items(dataset.n_items)
    for code, user in enumerate(dataset.user_ids):
        items = [item.item_id for item in lists[str(user)].lists["popular"]]
        past = set(train_part.of(code).tolist())
        values = [counts[list(dataset.item_ids).index(item)] for item in items]
        others = [counts[k] for k in range(dataset.n_items) if k not in past]
        assert values == sorted(others, reverse=True)[:LISTED]
        assert not past & {list(dataset.item_ids).index(item) for item in items}
        assert lists[str(user)].held_out == dataset.item_ids[valid.of(code)].tolist()


def test_hits_and_shared_items_are_marked(lists):
    hits = 0
    for own in lists.values():
        names = {name: [item.item_id for item in items] for name, items in own.lists.items()}
        for name, other in (("run", "popular"), ("popular", "run")):
            for item in own.lists[name]:
                assert item.hit == (item.item_id in own.held_out)
                assert item.also == ([other] if item.item_id in names[other] else [])
                hits += item.hit
    assert hits  # otherwise the marks are not tested


def test_the_choices_of_the_test_split_are_not_marked(lists, run):
    dataset = load_run(run).dataset
    test = dataset.histories("test")
    for code, user in enumerate(dataset.user_ids):
        held_out = set(dataset.item_ids[test.of(code)]) - set(lists[str(user)].held_out)
        assert not any(
            item.hit for items in lists[str(user)].lists.values() for item in items if item.item_id in held_out
        )


def test_the_summary_counts_hits(lists):
    user, own = next((user, own) for user, own in lists.items() if any(item.hit for item in own.lists["run"]))
    assert own.summary.endswith(f"run lists 1, popular lists {sum(i.hit for i in own.lists['popular']) or 'none'}."), (
        user
    )
    assert "nothing is marked" in UserLists().summary


def test_a_run_that_cannot_be_loaded_is_noted(run, tmp_path):
    own = SideBySide({"run": run, "gone": tmp_path / "gone"}).lists([str(load_run(run).dataset.user_ids[0])])
    (answer,) = own.values()
    assert list(answer.lists) == ["run"]
    assert answer.notes[0].startswith("gone has no list: ")


def test_the_server_answers_the_lists(served, lists):
    user = next(user for user, own in lists.items() if own.held_out)
    answer = ask(served, "api/compared", id=user)
    assert [own["run"] for own in answer["lists"]] == ["run", "popular"]
    for own, name in zip(answer["lists"], lists[user].lists, strict=True):
        assert [row["id"] for row in own["rows"]] == [item.item_id for item in lists[user].lists[name]]
    assert [item["id"] for item in answer["held_out"]] == lists[user].held_out
    assert ask(served, "api/compared", id="nobody") is None


def test_the_page_shows_the_lists(served, lists):
    playwright = pytest.importorskip("playwright.sync_api")
    user = next(user for user, own in lists.items() if any(item.hit for item in own.lists["run"]))
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium_path(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{served.url}#user={user}")
        page.wait_for_selector("#user .lists li")
        assert page.locator("#user .lists h5").all_inner_texts() == ["run", "popular"]
        hits = [np.sum([item.hit for item in items]) for items in lists[user].lists.values()]
        columns = page.locator("#user .lists > div")
        assert [columns.nth(k).locator(".badge").count() for k in range(2)] == hits
        browser.close()
