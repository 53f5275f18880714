"""The ranking metrics against trec_eval itself, on random data."""

import numpy as np
import pytest

from demure.data.histories import Histories
from demure.evaluation.ranking import evaluate

pytrec_eval = pytest.importorskip("pytrec_eval", reason="trec_eval is not installed: pip install pytrec-eval-terrier")

KS = (1, 5, 20)
THEIRS = {"recall": "recall", "ndcg": "ndcg_cut", "hit": "success", "map": "map_cut", "precision": "P"}


@pytest.fixture(scope="module")
def both():
    """Scores without ties of 300 users over 60 items, up to 9 relevant and 12 past: ours, and trec_eval's per user."""
    random = np.random.default_rng(11)
    scores = random.permuted(np.tile(np.arange(60, dtype=np.float32), (300, 1)), axis=1)
    relevant = [random.choice(60, random.integers(0, 10), replace=False) for _ in scores]
    past = [random.choice(60, random.integers(0, 13), replace=False) for _ in scores]

    def histories(lists):
        return Histories(np.cumsum([0, *map(len, lists)]), np.concatenate(lists).astype(np.int64))

    ours = evaluate(lambda users: scores[users], histories(relevant), histories(past), KS)
    wanted = {user: set(relevant[user]) - set(past[user]) for user in range(300)}
    truth = {str(user): {str(item): 1 for item in items} for user, items in wanted.items() if items}
    run = {
        user: {str(item): float(scores[int(user), item]) for item in range(60) if item not in past[int(user)]}
        for user in truth
    }
    measures = {f"{name}.{','.join(map(str, KS))}" for name in THEIRS.values()} | {"recip_rank"}
    return ours, pytrec_eval.RelevanceEvaluator(truth, measures).evaluate(run), wanted


def test_the_same_users_are_evaluated(both):
    ours, theirs, _ = both
    assert [str(user) for user in ours.users] == sorted(theirs, key=int)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("name", list(THEIRS))
def test_agrees_with_trec_eval(both, name, k):
    ours, theirs, wanted = both
    expected = np.array([theirs[str(user)][f"{THEIRS[name]}_{k}"] for user in ours.users])
    if name == "map":  # trec_eval divides by all relevant items, we by those that k places can hold
        relevant = np.array([len(wanted[user]) for user in ours.users])
        expected = expected * relevant / np.minimum(k, relevant)
    assert ours.per_user[f"{name}@{k}"] == pytest.approx(expected, abs=1e-9)


def test_mrr_is_reciprocal_rank_as_far_as_the_list_goes(both):
    ours, theirs, _ = both
    expected = np.array([theirs[str(user)]["recip_rank"] for user in ours.users])
    assert ours.per_user["mrr@20"] == pytest.approx(np.where(expected >= 1 / 20 - 1e-9, expected, 0), abs=1e-9)
