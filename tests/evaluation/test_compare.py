import numpy as np
import pytest
from scipy import stats

from demure.errors import DemureError
from demure.evaluation.compare import compare
from demure.evaluation.ranking import Evaluation
from demure.evaluation.stats import bootstrap_interval, holm, t_test


def evaluation(values, users=None):
    values = np.asarray(values, float)
    return Evaluation(np.arange(len(values)) if users is None else np.asarray(users), {"recall@20": values})


@pytest.fixture
def three():
    random = np.random.default_rng(3)
    base = random.random(200)
    return {
        "a": evaluation(base),
        "same": evaluation(base + 0.01 * random.standard_normal(200)),
        "better": evaluation(base + 0.1 + 0.05 * random.standard_normal(200)),
    }


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 with factors 4 3 2 1: .04, .06, .06, .06.
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_every_pair_once_with_the_sign_of_the_difference(three):
    result = compare(three)
    assert [(p.first, p.second) for p in result.pairs] == [("a", "same"), ("a", "better"), ("same", "better")]
    pair = result.pairs[1]
    assert pair.difference == pytest.approx(-0.1, abs=0.02)
    assert pair.low < pair.difference < pair.high < 0
    assert pair.effect < -1
    assert pair.p_adjusted < 1e-6
    assert result.pairs[0].p_adjusted > 0.05


def test_the_t_test_is_the_paired_one(three):
    pair = compare(three, ["recall@20"]).pairs[1]
    expected = stats.ttest_rel(three["a"].per_user["recall@20"], three["better"].per_user["recall@20"])
    assert pair.p_value == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_the_tests_agree_on_a_clear_difference(three, test):
    _, apart, _ = compare(three, test=test).pairs
    assert apart.p_adjusted < 0.01


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_nothing_differs(test):
    pair = compare({"a": evaluation([0, 1, 0.5]), "b": evaluation([0, 1, 0.5])}, test=test).pairs[0]
    assert (pair.p_value, pair.difference, pair.low, pair.high, pair.effect) == (1.0, 0.0, 0.0, 0.0, 0.0)


def test_false_alarms_stay_at_the_level():
    random = np.random.default_rng(0)
    p = [
        compare({"a": evaluation(x), "b": evaluation(y)}, resamples=10).pairs[0].p_value
        for x, y in zip(random.random((300, 40)), random.random((300, 40)), strict=True)
    ]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.035)


def test_the_interval_agrees_with_scipy():
    differences = np.random.default_rng(1).choice([-1.0, 0.0, 0.0, 1.0, 1.0], 300)
    ours = bootstrap_interval(differences, resamples=20_000, random=np.random.default_rng(0))
    theirs = stats.bootstrap((differences,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.015)


def test_the_same_seed_gives_the_same_table(three):
    assert compare(three, seed=4) == compare(three, seed=4)


def test_the_frame_has_a_row_for_each_pair(three):
    frame = compare(three).frame()
    assert len(frame) == 3
    assert list(frame.columns)[:3] == ["metric", "first", "second"]


@pytest.fixture
def seeds():
    """Two methods of equal worth, three seeds of each: users differ, and so do seeds by more than users would."""
    random = np.random.default_rng(5)
    base = random.random(400)
    luck = {"a0": 0.0, "a1": 0.06, "a2": 0.03, "b0": 0.02, "b1": -0.05, "b2": -0.03}
    return {name: evaluation(base + by + 0.05 * random.standard_normal(400)) for name, by in luck.items()}


METHODS = {"a": ["a0", "a1", "a2"], "b": ["b0", "b1", "b2"]}


def test_seeds_are_averaged_with_their_spread(seeds):
    a, _ = compare(seeds, methods=METHODS).methods
    means = [seeds[run].per_user["recall@20"].mean() for run in METHODS["a"]]
    assert a.runs == METHODS["a"]
    assert a.metrics["recall@20"].mean == pytest.approx(np.mean(means))
    assert a.metrics["recall@20"].sd == pytest.approx(np.std(means, ddof=1))
    assert a.metrics["recall@20"].low < np.mean(means) < a.metrics["recall@20"].high


def test_variance_between_seeds_is_not_a_difference_between_methods(seeds):
    over_seeds = compare(seeds, methods=METHODS).pairs[0]
    one_each = compare({name: seeds[name] for name in ("a1", "b1")}).pairs[0]
    assert one_each.p_value < 1e-6
    assert over_seeds.p_value > 0.05
    assert over_seeds.high - over_seeds.low > 2 * (one_each.high - one_each.low)


def test_the_test_over_users_and_seeds_by_hand():
    # Differences of four users with variance 2/3, so 1/6 of their mean; seeds' means 1, 3 and 0, 1, 2: 2/2 and 1/3.
    users, parts = np.array([2.0, 3.0, 2.0, 1.0]), [1 / 6, 1, 1 / 3]
    total = sum(parts)
    freedom = total**2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 1 + parts[2] ** 2 / 2)
    expected = 2 * stats.t.sf(2 / total**0.5, freedom)
    assert t_test(users, [np.array([1.0, 3.0]), np.array([0.0, 1.0, 2.0])]) == pytest.approx(expected)


def test_one_seed_each_is_the_paired_test_over_users():
    users = np.random.default_rng(0).standard_normal(30) + 0.2
    assert t_test(users, [np.array([1.0]), np.array([0.8])]) == pytest.approx(stats.ttest_1samp(users, 0).pvalue)


def test_false_alarms_over_seeds_stay_at_the_level_where_users_alone_would_raise_many():
    """Methods of equal worth whose seeds differ: three seeds each, 200 users."""
    random = np.random.default_rng(2)
    ours, naive, inside = [], [], []
    for _ in range(400):
        a, b = (random.standard_normal((3, 200)) + 0.1 * random.standard_normal((3, 1)) for _ in "ab")
        users, means = a.mean(axis=0) - b.mean(axis=0), [a.mean(axis=1), b.mean(axis=1)]
        ours.append(t_test(users, means))
        naive.append(stats.ttest_1samp(users, 0).pvalue)
        low, high = bootstrap_interval(users, means, resamples=300, random=random)
        inside.append(low <= 0 <= high)
    assert np.mean(np.array(ours) < 0.05) < 0.07
    assert np.mean(np.array(naive) < 0.05) > 0.15
    assert np.mean(inside) > 0.94


def test_all_against_one(three):
    result = compare(three, against="same")
    assert [(p.first, p.second) for p in result.pairs] == [("a", "same"), ("better", "same")]
    table = result.table().set_index("method")
    assert table.loc["better", "difference"] == result.pairs[1].difference
    assert np.isnan(table.loc["same", "difference"])


def test_users_without_a_value_are_left_out_of_that_metric():
    result = compare({"a": evaluation([0.5, np.nan, 1, 1]), "b": evaluation([0, 1, np.nan, 1])})
    assert result.pairs[0].difference == (0.5 + 0) / 2
    assert result.methods[0].metrics["recall@20"].mean == (0.5 + 1) / 2


def test_refusals(three):
    with pytest.raises(DemureError, match="1 evaluation given"):
        compare({"a": three["a"]})
    with pytest.raises(DemureError, match="b was evaluated on 3 users and a on 3, 2 not shared"):
        compare({"a": evaluation([0, 0, 0]), "b": evaluation([0, 0, 0], users=[0, 1, 5])})
    with pytest.raises(DemureError, match="no ndcg@5 for a, same, better"):
        compare(three, ["ndcg@5"])
    with pytest.raises(DemureError, match="no user has a relevant item"):
        compare({"a": evaluation([]), "b": evaluation([])})
    with pytest.raises(DemureError, match="unknown test 'x'"):
        compare(three, test="x")
    with pytest.raises(DemureError, match="no method 'x'; one of a, same, better"):
        compare(three, against="x")
    with pytest.raises(DemureError, match="no user has a value of recall@20"):
        compare({"a": evaluation([np.nan]), "b": evaluation([1])})
    covered = {
        name: Evaluation(evaluated.users, evaluated.per_user, {"coverage@20": 0.5}) for name, evaluated in three.items()
    }
    with pytest.raises(DemureError, match="coverage@20 is one value for all users together"):
        compare(covered, ["coverage@20"])
