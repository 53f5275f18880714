"""The kernel and the cluster expert: densities over the catalogue, and no item is evidence for itself."""

import numpy as np
import pytest
import torch
from support.small_models import ITEMS, small_denoiser, small_histories

from demure.model.batch import HistoryBatch
from demure.model.clusters import ClusterState, init_clusters
from demure.model.latent import fit_latent
from demure.model.modality import ModalityExpert


def state_on(denoiser, items, observed=None, *, shifted=True):
    """The first expert on a batch: (expert, view, batch, state), its centres moved by full responsibilities."""
    batch = HistoryBatch.build(items, observed, ordered=denoiser.ordered)
    expert, view = denoiser.experts()[0], denoiser.views()[0]
    state = expert.init_state(view, batch)
    if shifted:
        expert.shift_centres(state, view, batch, torch.ones_like(batch.valid_BT))
    return expert, view, batch, state


def own_popularity(denoiser):
    expert = denoiser.experts()[0]
    own = denoiser.popularity_I * expert.present_I
    return own / own.sum()


def present_histories(denoiser, lengths, seed=0):
    """Histories of items that have the first modality."""
    have = torch.where(denoiser.experts()[0].present_I > 0)[0]
    items = small_histories([len(have)] * len(lengths), seed=seed) % len(have)
    rows = [have[torch.unique(row)][torch.randperm(len(torch.unique(row)), generator=torch.manual_seed(seed))]
            for row in items]  # fmt: skip
    out = torch.full((len(lengths), max(lengths)), -1)
    for k, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        out[k, :length] = row[:length]
    return out


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shifted", [False, True])
def test_a_centre_is_a_density_over_the_other_items(seed, shifted):
    denoiser = small_denoiser(seed=seed)
    items = present_histories(denoiser, [6, 4], seed)
    expert, view, _, state = state_on(denoiser, items, shifted=shifted)
    popularity, smoothing = own_popularity(denoiser), expert.kernel.log_smoothing.exp()
    for row, position in [(0, 0), (0, 5), (1, 2)]:
        weight = torch.zeros(items.shape)
        weight[row, position] = 1.0
        ratio = expert.kernel.catalogue_ratios(state.kernel, view.z_IE, weight)[row]
        density = (ratio * (1 + smoothing) - smoothing) * popularity
        others = torch.arange(len(density)) != items[row, position]
        assert float(density[others].sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_clusters_are_a_density_over_the_catalogue(seed):
    denoiser = small_denoiser(seed=seed)
    items = small_histories([8, 3, 1], seed=seed)
    expert, view, batch, state = state_on(denoiser, items)
    weight = torch.rand(items.shape, generator=torch.manual_seed(seed))
    expert.clusters.ratio(state.clusters, state.decay_BTT, weight, state.decay_BTT.sum(1), torch.tensor(1.0))
    ratio = expert.clusters.density(state.clusters, view.prior_PC[0], weight * batch.observed_BT) @ view.q_IC.T
    np.testing.assert_allclose((ratio * own_popularity(denoiser)).sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("absence", [-20.0, 0.0, 20.0])
def test_an_expert_stays_a_density_with_missing_items(absence):
    """Items without the modality have a constant ratio; the others are scaled accordingly."""
    denoiser = small_denoiser(missing=0.4)
    items = small_histories([8, 3])
    expert, view, batch, state = state_on(denoiser, items)
    expert.gate.fill_(-50.0)  # clusters alone: a density over all items, the own one too
    expert.absence.fill_(absence)
    ratio, _ = expert.catalogue_ratios(state, view, batch, torch.ones(items.shape))
    np.testing.assert_allclose((ratio * denoiser.popularity_I).sum(1), 1, atol=1e-5)
    hidden = ratio[:, expert.present_I == 0]
    np.testing.assert_allclose(hidden, torch.sigmoid(torch.tensor(absence)), rtol=1e-5)
    assert float(ratio[:, expert.present_I > 0].std()) > 0.05


def test_without_a_history_every_item_is_as_likely_as_its_popularity():
    denoiser = small_denoiser(missing=0.0)
    expert, view, batch, state = state_on(denoiser, torch.full((2, 3), -1))
    ratio, _ = expert.catalogue_ratios(state, view, batch, torch.ones(2, 3))
    np.testing.assert_allclose(ratio, 1, atol=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
def test_pairs_agree_with_the_density_over_the_catalogue(shifted):
    """A centre's ratio for a target that does not pull it is its density at the target's item."""
    denoiser = small_denoiser(missing=0.0)
    items = small_histories([7, 7])
    observed = torch.ones(items.shape, dtype=torch.bool)
    observed[:, 5:] = False
    expert, view, _, state = state_on(denoiser, items, observed, shifted=shifted)
    smoothing = expert.kernel.log_smoothing.exp()
    for source in range(5):
        weight = torch.zeros(items.shape)
        weight[:, source] = 1.0
        catalogue = expert.kernel.catalogue_ratios(state.kernel, view.z_IE, weight) * (1 + smoothing) - smoothing
        expected = torch.gather(catalogue, 1, items[:, 5:])
        np.testing.assert_allclose(state.kernel.ratio_BTT[:, source, 5:], expected, rtol=1e-3, atol=1e-4)


def test_a_target_is_left_out_of_the_centres_that_predict_it():
    """Against the slow way: hide the target and move the centres again. The tangent errs upwards and by little."""
    denoiser = small_denoiser(missing=0.0, jitter=0.1)
    items = small_histories([9], seed=3)
    _, _, _, all_observed = state_on(denoiser, items)
    moved = 0.0
    for target in range(9):
        observed = torch.ones(items.shape, dtype=torch.bool)
        observed[0, target] = False
        _, _, _, without = state_on(denoiser, items, observed)
        sources = torch.arange(9) != target
        fast, slow = (s.kernel.ratio_BTT[0, sources, target] for s in (all_observed, without))
        assert (fast >= slow * (1 - 1e-4)).all()
        np.testing.assert_allclose(fast, slow, rtol=0.35, atol=1e-3)
        _, _, _, still = state_on(denoiser, items, shifted=False)
        moved = max(moved, float((still.kernel.ratio_BTT[0, sources, target] / slow - 1).abs().max()))
    assert moved > 0.5  # the centres did move


@pytest.mark.parametrize("seed", range(4))
def test_a_repeated_item_is_left_out_wherever_it_occurs(seed):
    """The others predict it (at 0) as they would if it were not at 2 and 4 as well, up to the tangent's error, which is
    upwards."""
    denoiser = small_denoiser(missing=0.0, ordered=False, jitter=0.1, seed=seed)
    items = torch.tensor([[5, 9, 5, 11, 5, 17, 21]])
    observed = torch.tensor([[False, True, True, True, True, True, True]])
    hidden = torch.tensor([[False, True, False, True, False, True, True]])
    _, _, _, echoed = state_on(denoiser, items, observed)
    _, _, _, clean = state_on(denoiser, items, hidden)
    fast, slow = (state.kernel.ratio_BTT[0, [1, 3, 5, 6], 0] for state in (echoed, clean))
    assert (fast >= slow * (1 - 1e-3)).all()
    np.testing.assert_allclose(fast, slow, rtol=0.6, atol=1e-3)


@pytest.mark.parametrize("ordered", [True, False])
def test_no_occurrence_of_an_item_is_evidence_for_it(ordered):
    """Its responsibility, and those of other occurrences, leave its ratio as it was; another item's do not."""
    denoiser = small_denoiser(missing=0.0, ordered=ordered)
    items = torch.tensor([[5, 9, 5, 11, 17, -1]])
    full = torch.ones(items.shape)

    def ratio(r):
        expert, _, _, state = state_on(denoiser, items)
        return expert.ratio(state, r)[0]

    before = ratio(full)
    own = full.clone()
    own[0, [0, 2]] = 0.3
    other = full.clone()
    other[0, 3] = 0.3
    assert torch.equal(ratio(own)[[0, 2]], before[[0, 2]])
    assert (ratio(own)[[1, 3, 4]] != before[[1, 3, 4]]).all()
    assert (ratio(other)[[0, 2]] != before[[0, 2]]).all()


def test_histories_with_and_without_a_repeated_item_meet_in_a_batch():
    """Alone, a history of different items takes a shorter way; beside a repeated item it has the same result."""
    denoiser = small_denoiser(missing=0.0)
    different, repeated = torch.tensor([[5, 9, 11, 17, 21]]), torch.tensor([[5, 9, 5, 17, -1]])
    (*_, alone), (*_, beside) = state_on(denoiser, different), state_on(denoiser, torch.cat([different, repeated]))
    torch.testing.assert_close(alone.kernel.ratio_BTT[0], beside.kernel.ratio_BTT[0])


def test_contributions_are_shares_of_others():
    denoiser = small_denoiser(missing=0.3)
    items = torch.tensor([[5, 9, 5, 11, 17, 30], [3, 8, 1, -1, -1, -1]])
    expert, _, batch, state = state_on(denoiser, items)
    r = torch.rand(items.shape, generator=torch.manual_seed(0))
    expert.ratio(state, r)
    parts = expert.contributions(state, batch, r)
    assert (parts >= 0).all()
    assert (parts.sum(1) <= 1 + 1e-5).all()
    same = items[:, :, None] == items[:, None, :]
    assert (parts[same] == 0).all()
    assert (parts[1, 3:] == 0).all()
    absent = expert.present_I[items.clamp(min=0)] == 0
    assert (parts.transpose(1, 2)[absent] == 0).all()
    assert (parts[absent] == 0).all()
    assert parts.sum() > 0.5


def test_cluster_shares_against_a_slow_loop():
    """The collapsed posterior of every target over the clusters, written out with loops."""
    denoiser = small_denoiser(missing=0.0)
    expert = denoiser.experts()[0]
    random = np.random.default_rng(0)
    T, C = 4, len(expert.clusters.bias)
    affinity, share = random.uniform(0.2, 3, (1, T, C)), random.dirichlet(np.ones(C), (1, T))
    worth, decay = random.uniform(0, 1, (1, T)), random.uniform(0, 1, (1, T, T)) * (1 - np.eye(T))
    weight = worth[..., None] * decay
    prior = random.dirichlet(np.ones(C))
    smoothing = float(expert.clusters.log_smoothing.exp())
    expected, posterior = np.zeros(T), np.zeros((T, C))
    for t in range(T):
        theta = [smoothing * prior[c] + sum(weight[0, j, t] * share[0, j, c] for j in range(T)) for c in range(C)]
        theta = np.array(theta) / (smoothing + weight[0, :, t].sum())
        expected[t] = sum(theta[c] * affinity[0, t, c] for c in range(C))
        posterior[t] = theta * affinity[0, t] / expected[t]
    shares = ClusterState(*(torch.tensor(value).float() for value in (affinity, share, prior[None, None])))
    inputs = [torch.tensor(value).float() for value in (decay, worth, weight.sum(1), smoothing)]
    ratio, updated = expert.clusters.ratio(shares, *inputs)
    np.testing.assert_allclose(ratio[0], expected, rtol=1e-5)
    np.testing.assert_allclose(updated.posterior_BTC[0], posterior, rtol=1e-4)


def test_sampled_candidates_stand_for_the_catalogue():
    """Means over a few of many items, drawn by the root of their popularity, come near the mean by popularity."""
    popularity = 1 / torch.arange(1, 2001) ** 0.8
    popularity /= popularity.sum()
    vectors = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    latent = fit_latent(vectors, np.arange(2000) % 5 > 0)
    expert = ModalityExpert(
        latent, init_clusters(latent.coordinates, latent.spread, latent.present, 2, 0), ordered=True
    )
    own = popularity * expert.present_I
    own /= own.sum()
    value = torch.arange(1, 2001).float().log()
    generator = torch.Generator().manual_seed(0)
    sampler, means = expert.sampler(popularity, 100), []
    with torch.no_grad():
        for _ in range(100):
            view = expert.view(popularity, sampler.draw(generator), torch.ones(2000, 1))
            assert len(torch.unique(view.candidates.items_N)) == 100
            assert (expert.present_I[view.candidates.items_N] > 0).all()
            assert float(view.candidates.log_weight_N.exp().sum()) == pytest.approx(1, abs=1e-5)
            means.append(float((view.candidates.log_weight_N.exp() * value[view.candidates.items_N]).sum()))
    assert np.mean(means) == pytest.approx(float((own * value).sum()), rel=0.05)
    assert np.std(means) > 0.01


def test_all_are_candidates_where_they_are_few():
    denoiser = small_denoiser(missing=0.2)
    expert = denoiser.experts()[0]
    for size in (None, ITEMS):
        drawn = expert.sampler(denoiser.popularity_I, size).draw(torch.Generator())
        view = expert.view(denoiser.popularity_I, drawn, denoiser.popularity_factor_IP)
        assert torch.equal(view.candidates.items_N, torch.where(expert.present_I > 0)[0])
        own = own_popularity(denoiser)[view.candidates.items_N]
        np.testing.assert_allclose(view.candidates.log_weight_N.exp(), own, rtol=1e-4)
