import numpy as np
import pytest
from scipy import stats

from demure.errors import DemureError
from demure.evaluation.compare import bootstrap_interval, compare, holm
from demure.evaluation.ranking import Evaluation


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
def test_tests_agree_on_what_is_clear(three, test):
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


def test_refusals(three):
    with pytest.raises(DemureError, match="1 evaluation given"):
        compare({"a": three["a"]})
    with pytest.raises(DemureError, match="b was judged on 3 users and a on 3, 2 not shared"):
        compare({"a": evaluation([0, 0, 0]), "b": evaluation([0, 0, 0], users=[0, 1, 5])})
    with pytest.raises(DemureError, match="no ndcg@5 for a, same, better"):
        compare(three, ["ndcg@5"])
    with pytest.raises(DemureError, match="no user has a relevant item"):
        compare({"a": evaluation([]), "b": evaluation([])})
    with pytest.raises(DemureError, match="unknown test 'x'"):
        compare(three, test="x")
