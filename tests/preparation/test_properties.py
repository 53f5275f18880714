"""No row is invented, and none is lost without a report: against a slow prepare in plain Python."""

import csv
import itertools
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_by_hand import rows

from demure.data.dataset import Dataset
from demure.errors import DemureError
from demure.preparation.prepare import PrepareOptions, prepare

USER = st.sampled_from(["", " ", "a", "b", "é", '"q"', "NA", "00", "x,y"])
ROW = st.tuples(
    USER,
    st.sampled_from(["", "1", "2", "3", "🧦", "0x"]),
    st.sampled_from(["", "0", "1", "2", "3.5", "x", "inf"]),
    st.sampled_from(["", "1", "2", "5", "?"]),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "split": st.sampled_from(["ratio", "time", "all"]),
        "since": st.sampled_from(["1", "2"]),
        "until": st.sampled_from(["3", "3.5", "9"]),
        "duplicates": st.sampled_from(["latest", "first", "best", "all"]),
        "min_rating": st.sampled_from([2.0, 3.0]),
        "k_core": st.integers(0, 2),
        "user_core": st.integers(0, 3),
        "item_core": st.integers(0, 3),
        "max_history": st.integers(2, 4),
        "min_history": st.integers(0, 2),
    },
)


def number(text):
    try:
        return float(text) if abs(float(text)) < float("inf") else None
    except ValueError:
        return None


def needs_ratings(options):
    return "min_rating" in options or options.get("duplicates") == "best"


def slowly(lines, options):
    """The lines that are kept, as `docs/formats.md` describes."""
    left = [
        (k, user, item, number(time), number(rating))
        for k, (user, item, time, rating) in enumerate(lines)
        if user.strip()
        and item.strip()
        and number(time) is not None
        and (rating == "" or number(rating) is not None or not needs_ratings(options))
    ]
    left = [x for x in left if float(options.get("since", -1)) <= x[3] < float(options.get("until", 99))]
    policy = options.get("duplicates", "latest")
    order = {
        "latest": lambda x: (x[3], x[0]),
        "first": lambda x: (-x[3], -x[0]),
        "best": lambda x: (-1 if x[4] is None else x[4], x[3], x[0]),
    }
    if policy != "all":
        groups = itertools.groupby(sorted(left, key=lambda x: x[1:3]), key=lambda x: x[1:3])
        left = sorted(max(group, key=order[policy]) for _, group in groups)
    left = [x for x in left if "min_rating" not in options or (x[4] is not None and x[4] >= options["min_rating"])]
    user_core, item_core = (options.get(name, options.get("k_core", 0)) for name in ("user_core", "item_core"))
    while True:
        users, items = Counter(x[1] for x in left), Counter(x[2] for x in left)
        kept = [x for x in left if users[x[1]] >= user_core and items[x[2]] >= item_core]
        if kept == left:
            break
        left = kept
    if most := options.get("max_history"):
        later = {x[0]: sum(y[1] == x[1] and (y[3], y[0]) > (x[3], x[0]) for y in left) for x in left}
        left = [x for x in left if later[x[0]] < most]
    users = Counter(x[1] for x in left)
    return [x for x in left if users[x[1]] >= options.get("min_history", 0)]


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=25), OPTIONS)
def test_as_the_slow_way(tmp_path_factory, lines, options):
    folder = tmp_path_factory.mktemp("property")
    with open(folder / "x.csv", "w", newline="") as handle:
        csv.writer(handle).writerows([("user_id", "item_id", "timestamp", "rating"), *lines])
    expected = slowly(lines, options)
    try:
        report = prepare(PrepareOptions(folder / "x.csv", folder / "out", **options))
    except DemureError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert [path.name for path in folder.iterdir()] == ["x.csv"]
        untimed = all(number(line[2]) is None for line in lines)

        needs_rating = needs_ratings(options) and all(number(line[3]) is None for line in lines)
        needs_train = options.get("split") in ("time", "all")
        assert not expected or untimed or needs_rating or needs_train
        return
    for folder in report.folders.values():
        dataset = Dataset.load(folder)
        assert Counter(rows(dataset)) == Counter(x[1:3] for x in expected)
        times = dataset.histories("train", "valid", "test").times
        if times is not None:
            assert sorted(times) == sorted(x[3] for x in expected)
        assert len(dataset.histories("train").items) > 0
    assert len(lines) - len(expected) == sum(step.removed for step in report.steps)
    assert [step.rows for step in report.steps] == list(
        itertools.accumulate([-step.removed for step in report.steps[1:]], initial=len(lines))
    )
    removed = {step.step: step.removed for step in report.steps}
    assert all(removed[kind] == x.count for kind, x in report.problems.items() if x.action == "dropped")
    last = report.steps[-1]
    assert (last.rows, last.users, last.items) == (
        len(expected), len({x[1] for x in expected}), len({x[2] for x in expected})
    )  # fmt: skip


def test_the_slow_way_by_hand():
    lines = [("a", "1", "1", "5"), ("a", "1", "2", "1"), ("a", "2", "1", ""), ("b", "1", "0", "")]
    assert [x[0] for x in slowly(lines, {})] == [1, 2, 3]
    assert [x[0] for x in slowly(lines, {"duplicates": "best", "min_rating": 2.0})] == [0]
    assert [x[0] for x in slowly(lines, {"item_core": 2})] == [1, 3]
    with pytest.raises(KeyError):
        slowly(lines, {"duplicates": "none"})
