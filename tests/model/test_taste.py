"""Hidden taste: groups of users and items without features are found from co-occurrence."""

import numpy as np
import pytest
import torch

from demure.model.group_sums import GroupSums
from demure.model.taste import Taste

USERS, ITEMS = 200, 40


def two_groups(length=8, seed=0):
    """Even users choose even items, odd users odd ones, but for one choice of eight, which is anyone's: (users,
    items, whether the group chose)."""
    random = np.random.default_rng(seed)
    user, item, own = [], [], []
    for u in range(USERS):
        picked = random.choice(np.arange(u % 2, ITEMS, 2), length, replace=False)
        picked[-1] = random.choice(np.arange(1 - u % 2, ITEMS, 2))
        user += [u] * length
        item += picked.tolist()
        own += [True] * (length - 1) + [False]
    return np.array(user), np.array(item), np.array(own)


def taste(user, item, clusters=4, seed=0):
    flat = np.ones((ITEMS, 1), np.float32)
    return Taste(user, item, (USERS, ITEMS), np.zeros(len(user), np.int64), flat, clusters, seed)


def update(model, weight, learn):
    return model.update(torch.as_tensor(weight), torch.as_tensor(learn)).numpy()


def updated(model, learn=None, times=15):
    n = len(model.by_user.group_N)
    for _ in range(times):
        ratio = update(model, np.ones(n), np.ones(n) if learn is None else learn)
    return ratio


def test_two_groups_are_found():
    user, item, own = two_groups()
    ratio = updated(taste(user, item))
    assert np.mean(ratio[own] > 1) > 0.9
    assert np.mean(ratio[~own] < 1) > 0.9
    assert ratio[own].mean() > 1.5
    assert ratio[~own].mean() < 0.6


def test_choices_after_the_training_are_explained_in_the_same_way():
    user, item, _ = two_groups()
    model = taste(user, item)
    updated(model)
    u, i = np.repeat(np.arange(USERS), ITEMS), np.tile(np.arange(ITEMS), USERS)
    after = model.next_ratio(u, i).reshape(USERS, ITEMS)
    same = (np.arange(USERS)[:, None] - np.arange(ITEMS)) % 2 == 0
    assert after[same].mean() > 1.5
    assert after[~same].mean() < 0.6
    share = np.bincount(item, minlength=ITEMS) / len(item)
    np.testing.assert_allclose(after @ share, 1, atol=0.02)  # a density over the catalogue


def test_clusters_fit_the_choices_that_they_are_made_of():
    """Random choices: those that were not learned from look less like a taste."""
    random = np.random.default_rng(1)
    user = np.repeat(np.arange(USERS), 8)
    item = np.concatenate([random.choice(ITEMS, 8, replace=False) for _ in range(USERS)])
    masked = user % 3 == 0
    ratio = updated(taste(user, item), (~masked).astype(float))
    assert np.log(ratio[masked]).mean() < np.log(ratio[~masked]).mean() - 0.02
    assert np.abs(np.log(ratio)).mean() < 0.5


def test_masked_users_leave_no_trace_in_the_clusters():
    """Items chosen by the masked users alone: to the others they have no cluster, and their rate is the prior's."""
    user, item, _ = two_groups()
    masked = user >= 150
    item = np.where(masked & (item == 38), 36, item)
    item[np.flatnonzero(masked)[::7]] = 38
    item = np.where(~masked & (item == 38), 34, item)
    model = taste(user, item)
    ratio = updated(model, (~masked).astype(float))
    other = taste(user, item)
    other.cluster_posterior_NC = None
    everyone = updated(other)
    only_masked = item == 38
    assert only_masked.sum() > 20
    assert ratio[only_masked].max() < 1
    assert everyone[only_masked].mean() > ratio[only_masked].mean()


def test_masked_users_are_explained_by_the_clusters_of_the_others():
    """Their own tastes count, but the clusters stay those of the others: a group is found for them too."""
    user, item, own = two_groups()
    masked = user % 10 < 4
    ratio = updated(taste(user, item), (~masked).astype(float))
    assert np.mean(ratio[masked & own] > 1) > 0.9
    assert np.mean(ratio[masked & ~own] < 1) > 0.9


def test_choices_without_weight_form_no_taste():
    user, item, _ = two_groups()
    model = taste(user, item)
    for _ in range(5):
        ratio = update(model, np.full(len(user), 1e-9), np.ones(len(user)))
    np.testing.assert_allclose(ratio, 1, atol=1e-3)


def test_the_seed_decides():
    user, item, _ = two_groups()
    first, same = (updated(taste(user, item)) for _ in range(2))
    assert np.array_equal(first, same)


@pytest.mark.parametrize(("user", "item"), [([0], [0]), ([0, 0], [1, 2]), ([0, 1, 2], [5, 5, 5])])
def test_next_to_no_choices(user, item):
    ratio = updated(taste(np.array(user), np.array(item)), times=3)
    assert np.isfinite(ratio).all()
    assert (ratio > 0).all()


def test_a_state_is_restored():
    user, item, _ = two_groups()
    fitted, restored = taste(user, item), taste(user, item)
    updated(fitted, times=4)
    restored.restore(fitted.state())
    assert np.array_equal(fitted.next_ratio(user, item), restored.next_ratio(user, item))
    assert np.array_equal(updated(fitted, times=1), updated(restored, times=1))


def test_users_of_whom_nothing_is_learned_are_new_users():
    """The ratios that a fit gives to users outside of its clusters are those of new users, step by step."""
    user, item, _ = two_groups()
    model = taste(user, item)
    learn = (user % 5 > 0).astype(np.float64)
    updated(model, learn)
    outside = learn == 0
    model._leave_one_out_factor_N[:] = 1.0  # a new user's choice is no part of the popularity
    weight = np.random.default_rng(1).uniform(0.2, 1, len(user))
    weight[~outside] = 1
    before = model.cluster_posterior_NC[outside]  # a copy
    expected = update(model, weight, learn)[outside]
    clusters = model.for_new_users()
    by_user = GroupSums(torch.as_tensor(user[outside]), USERS)
    items = torch.as_tensor(item[outside])
    ratio, posterior = clusters.fold_in(items, by_user, torch.as_tensor(weight[outside]), before)
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)
    np.testing.assert_allclose(posterior, model.cluster_posterior_NC[outside], rtol=1e-6)
    assert np.allclose(clusters.start(torch.as_tensor(item)).sum(1), 1)
