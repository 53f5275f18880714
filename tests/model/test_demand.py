"""The demand for content is recovered from choices that a known demand made."""

import numpy as np
import pytest

from demure.model.demand import fit_demand

ITEMS, CLUSTERS = 1500, 6


def choices(log_demand, seed, *, per_item=8.0, rival_share=0.2, tail=0.8):
    """Draw choices by causes: popularity alone with ``rival_share``, else one of two modalities with its demand."""
    random = np.random.default_rng(seed)
    cluster = [random.integers(0, CLUSTERS, ITEMS) for _ in log_demand]
    popularity = random.pareto(1 / tail, ITEMS).clip(max=60) + 1  # a tail as in real data
    causes = [np.full(ITEMS, rival_share)]
    causes += [(1 - rival_share) / 2 * np.exp(g[c]) for g, c in zip(log_demand, cluster, strict=True)]
    rate_KI = np.stack(causes) * popularity
    counts_KI = random.poisson(rate_KI * per_item * ITEMS / rate_KI.sum())
    item_N = np.concatenate([np.repeat(np.arange(ITEMS), row) for row in counts_KI])
    cause_N = np.repeat(np.arange(3), counts_KI.sum(1))
    r_NM = np.stack([cause_N == 1, cause_N == 2], 1).astype(float)
    return item_N, r_NM, [np.eye(CLUSTERS)[c] for c in cluster]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_demand_that_made_the_choices_is_found(seed):
    random = np.random.default_rng(10 + seed)
    true = [random.normal(0, 0.5, CLUSTERS) for _ in range(2)]
    item_N, r_NM, memberships = choices(true, seed)
    fitted = fit_demand(item_N, r_NM, memberships)
    # The level of a modality is its share of the choices, so only differences between contents count.
    for own, g in zip(fitted.log_demand, true, strict=True):
        assert np.abs((own - own.mean()) - (g - g.mean())).max() < 0.25
        assert np.corrcoef(own, g)[0, 1] > 0.95
    drawn = fitted.draw(4000, random)
    for k, own in enumerate(fitted.log_demand):
        assert np.abs(drawn[k].mean(0) - own).max() < 0.02
    together = np.cov(np.concatenate(drawn, 1).T)
    assert np.abs(together - fitted.covariance).max() < 0.1 * np.diag(fitted.covariance).max()
    np.testing.assert_allclose(fitted.share_M, r_NM.mean(0))


def test_content_without_effect_has_none():
    fitted = fit_demand(*choices([np.zeros(CLUSTERS)] * 2, 3))
    assert max(np.ptp(g) for g in fitted.log_demand) < 0.12


def test_items_that_lack_a_modality_do_not_count_as_content_without_demand():
    item_N, r_NM, memberships = choices([np.zeros(CLUSTERS)] * 2, 4)
    lacking = np.random.default_rng(0).random(ITEMS) < 0.4
    kept = ~(lacking[item_N] & (r_NM[:, 0] > 0))  # a missing modality causes nothing
    memberships[0] = memberships[0] * ~lacking[:, None] / (1 - lacking.mean())
    fitted = fit_demand(item_N[kept], r_NM[kept], memberships)
    assert max(abs(g.mean()) for g in fitted.log_demand) < 0.1
    assert max(np.ptp(g) for g in fitted.log_demand) < 0.25  # chance alone gives that to so few choices
    assert np.linalg.eigvalsh(fitted.covariance).min() > 0


def test_choices_by_two_modalities_at_once_count_for_both():
    random = np.random.default_rng(5)
    true = [random.normal(0, 0.4, CLUSTERS) for _ in range(2)]
    item_N, r_NM, memberships = choices(true, 5, rival_share=0.5)
    both_I = np.exp(sum(own @ g for own, g in zip(memberships, true, strict=True)))
    popularity = np.bincount(item_N[r_NM.sum(1) == 0], minlength=ITEMS)
    pair_N = np.repeat(np.arange(ITEMS), random.poisson(0.5 * both_I * popularity))
    all_N, all_r_NM = np.concatenate([item_N, pair_N]), np.concatenate([r_NM, np.ones((len(pair_N), 2))])
    fitted = fit_demand(all_N, all_r_NM, memberships)
    np.testing.assert_allclose(fitted.share_M, all_r_NM.mean(0))
    assert np.abs(all_r_NM.sum(1) - 1).max() == 1  # what is left of a pair is -1
    for own, g in zip(fitted.log_demand, true, strict=True):
        assert np.corrcoef(own, g)[0, 1] > 0.95
        assert np.abs((own - own.mean()) - (g - g.mean())).max() < 0.25
