"""The mixture: posteriors, invariances, no evidence from targets, and missing modalities."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_models import ITEMS, inferred, small_denoiser, small_histories

from demure.model.batch import HistoryBatch, SideInformation
from demure.model.denoiser import Denoiser
from demure.model.pairs import catalogue_factors, compute_inverse_lifts, pair_extents, pair_factors

THREE = ("audio", "image", "text")


def causes_by_hand(two, reliance, rival, ratio):
    """Joint terms of one interaction: {causing set: p}, rivals, singles and pairs, before they are scaled to sum to
    1."""
    count = len(rival)
    content = reliance[count:]
    terms = {(f"rival {k}",): reliance[k] * rival[k] for k in range(count)}
    terms |= {(m,): (1 - two) * content[m] * ratio[m] for m in range(len(ratio))}
    pairs = list(combinations(range(len(ratio)), 2))
    mass = sum(content[a] * content[b] for a, b in pairs) / sum(content)
    terms |= {(a, b): two * content[a] * content[b] / mass * ratio[a] * ratio[b] for a, b in pairs}
    return terms


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.booleans(), st.integers(0, 10_000))
def test_posterior_against_the_list_of_all_causes(count, rivals, seed):
    denoiser = small_denoiser([f"m{k}" for k in range(count)], jitter=0.5, rivals=rivals)
    n_rivals = 3 if rivals else 1
    random = np.random.default_rng(seed)
    reliance = random.dirichlet(np.ones(n_rivals + count))
    rival, ratio = np.exp(random.normal(0, 2, n_rivals)), np.exp(random.normal(0, 2, count))
    terms = causes_by_hand(float(torch.sigmoid(denoiser.two_causes_logit)), reliance, rival, ratio)
    inputs = [torch.tensor(part).float()[None, None] for part in (ratio, rival, reliance)]
    r, rival_r, total = denoiser.posterior(*inputs, torch.ones(1, 1, count))
    assert float(total) == pytest.approx(sum(terms.values()), rel=1e-4)
    for m in range(count):
        among = sum(term for causes, term in terms.items() if m in causes) / sum(terms.values())
        assert float(r[0, 0, m]) == pytest.approx(among, rel=1e-4)
    for k in range(n_rivals):
        assert float(rival_r[0, 0, k]) == pytest.approx(terms[(f"rival {k}",)] / sum(terms.values()), rel=1e-4)
    exactly = sum(len(causes) * term for causes, term in terms.items()) / sum(terms.values())
    assert float(r.sum() + rival_r.sum()) == pytest.approx(exactly, rel=1e-4)


def test_one_modality_has_no_pairs():
    """Half of the choices by popularity, of ratio 1, half by the modality, of ratio 2."""
    denoiser = small_denoiser(["text"], jitter=0.0, rivals=False)
    r, rival_r, total = denoiser.posterior(
        torch.full((1, 1, 1), 2.0), torch.ones(1, 1, 1), torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 1)
    )
    assert float(total) == pytest.approx(1.5)
    assert float(r) == pytest.approx(2 / 3)
    assert float(rival_r) == pytest.approx(1 / 3)


def test_a_choice_that_a_rival_explains_is_the_rivals_and_not_a_point_of_interest():
    """A rival whose density ratio is 1,000 takes the choice, and less is left for the content."""
    denoiser = small_denoiser(missing=0.0)
    items = small_histories([6])
    for k in range(3):
        rival = torch.ones(1, 6, 3)
        rival[0, 2, k] = 1000.0
        batch = denoiser.make_batch(items, side_information=SideInformation(torch.zeros_like(items), rival))
        inference = denoiser.infer(batch, denoiser.views())
        flat = denoiser.infer(denoiser.make_batch(items), denoiser.views())
        assert int(inference.rival_r_BTR[0, 2].argmax()) == k
        assert float(inference.rival_r_BTR[0, 2, k]) > 0.95
        assert (inference.r_BTM[0, 2] < flat.r_BTM[0, 2]).all()
        assert float(inference.total_BT[0, 2]) > 10 * float(flat.total_BT[0, 2])


def test_unknown_rivals_have_the_ratio_of_the_popularity():
    denoiser = small_denoiser()
    items = small_histories([6, 3])
    flat = SideInformation(torch.zeros_like(items), torch.ones(2, 6, 3))
    without, with_flat = (
        denoiser.infer(denoiser.make_batch(items, side_information=side), denoiser.views()) for side in (None, flat)
    )
    assert torch.equal(without.r_BTM, with_flat.r_BTM)
    assert torch.equal(without.rival_r_BTR, with_flat.rival_r_BTR)


def test_without_rivals_popularity_alone_competes():
    denoiser = small_denoiser(rivals=False)
    items = small_histories([6, 3])
    loud = SideInformation(torch.zeros_like(items), torch.full((2, 6, 3), 1000.0))
    inference, quiet = (
        denoiser.infer(denoiser.make_batch(items, side_information=side), denoiser.views()) for side in (loud, None)
    )
    assert inference.rival_r_BTR.shape == (2, 6, 1)
    assert torch.equal(inference.r_BTM, quiet.r_BTM)


def periods_by_hand(seed=0):
    """A denoiser of two periods besides the whole, and how much more popular every item was in them."""
    denoiser = small_denoiser(missing=0.0, ordered=False, seed=seed)
    random = np.random.default_rng(seed)
    factor = torch.as_tensor(np.exp(random.normal(0, 1, (ITEMS, 2)))).float()
    factor = factor / (denoiser.popularity_I @ factor)
    denoiser.popularity_factor_IP = torch.cat([torch.ones(ITEMS, 1), factor], 1)
    return denoiser


def test_clusters_are_a_density_in_every_period():
    """A cluster's ratio q / qbar has the mean 1 under the popularity of the period, and the cluster shares of a history
    sum to 1: the mixture is a density."""
    denoiser = periods_by_hand()
    items = torch.cat([small_histories([5]).expand(ITEMS, -1), torch.arange(ITEMS)[:, None]], 1)
    for period in range(3):
        side = SideInformation(torch.full_like(items, period), None)
        inference = denoiser.infer(denoiser.make_batch(items, side_information=side), denoiser.views())
        density = denoiser.popularity_I * denoiser.popularity_factor_IP[:, period]
        for state in inference.states:
            shares = state.clusters
            np.testing.assert_allclose(density @ shares.affinity_BTC[:, -1], 1, rtol=1e-4)
            np.testing.assert_allclose((shares.density_BTC * shares.prior_BTC).sum(-1), 1, rtol=1e-4)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_centre_is_a_density_in_every_period(shifted):
    denoiser = periods_by_hand()
    items = small_histories([6])
    expert, view = denoiser.experts()[0], denoiser.views()[0]
    every_period = SideInformation(torch.arange(6)[None] % 3, None)
    batch = denoiser.make_batch(items, side_information=every_period)
    state = expert.init_state(view, batch)
    if shifted:
        expert.shift_centres(state, view, batch, torch.ones(items.shape))
    for position in range(6):
        logits = (state.kernel.eta_BTE[0, position] @ view.z_IE.T)[:, None]
        kernel = logits - state.kernel.log_norm_BTP[0, position]
        density = kernel.exp() * denoiser.popularity_I[:, None] * denoiser.popularity_factor_IP
        others = torch.arange(ITEMS) != items[0, position]
        torch.testing.assert_close(density[others].sum(0), torch.ones(3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_probabilities_are_probabilities(denoise, ordered):
    for seed in range(3):
        denoiser = small_denoiser(THREE, denoise=denoise, ordered=ordered, seed=seed, jitter=1.0)
        items = small_histories([12, 5, 2, 1], seed=seed)
        result = inferred(denoiser, items)
        assert ((result["r"] >= 0) & (result["r"] <= 1 + 1e-6)).all()
        assert (result["r"].sum(-1) <= 2 + 1e-5).all()  # at most two causes
        assert (result["total"] > 0).all()
        assert (result["ratio"] >= 0).all()
        assert result["r"][0].std() > 0.01


def test_shares_are_smoothed_counts():
    """By hand: the content caused 2 of 4 choices, and its prior is 3 of 4: 5 of 8. Within, text caused all, and the
    prior is 1.5 to 0.5."""
    denoiser = small_denoiser(missing=0.0, rivals=False)
    denoiser.log_side_prior_2.copy_(torch.tensor([1.0, 3.0]).log())
    denoiser.log_cause_prior_K.copy_(torch.tensor([7.0, 1.5, 0.5]).log())
    shares = denoiser.shares_from_counts(torch.tensor([[2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]))
    expected = [[3 / 8, 5 / 8 * 1.5 / 4, 5 / 8 * 2.5 / 4], [1 / 4, 3 / 4 * 0.75, 3 / 4 * 0.25]]
    np.testing.assert_allclose(shares, expected, rtol=1e-5)


def test_shares_sum_to_one():
    denoiser = small_denoiser(THREE)
    counts = torch.rand(7, 6, generator=torch.manual_seed(0)) * 20
    shares = denoiser.shares_from_counts(counts)
    assert (shares > 0).all()
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-5)
    more = counts.clone()
    more[:, 1] += 5
    assert (denoiser.shares_from_counts(more)[:, 1] > shares[:, 1]).all()


def test_reliance_is_a_smoothed_count_of_the_others():
    """Hand-computed for three interactions, of which the first and the last are of the same item."""
    denoiser = small_denoiser(missing=0.0, rivals=False)
    r = torch.tensor([[[0.9, 0.0], [0.5, 0.25], [0.2, 0.8]]])
    rival_r = torch.tensor([[[0.1], [0.25], [0.0]]])
    reliance = denoiser.cause_shares(r, rival_r, HistoryBatch.build(torch.tensor([[3, 4, 3]]), ordered=True))
    first, second = denoiser.shares_from_counts(torch.tensor([[0.25, 0.5, 0.25], [0.1, 1.1, 0.8]]))
    np.testing.assert_allclose(reliance[0], torch.stack([first, second, first]), rtol=1e-5)


@pytest.mark.parametrize("ordered", [True, False])
def test_users_padding_and_company_do_not_matter(ordered):
    denoiser = small_denoiser(ordered=ordered)
    items = small_histories([9, 4, 1, 6])
    whole = inferred(denoiser, items)
    order = [2, 0, 3, 1]
    mixed = inferred(denoiser, items[order])
    wide = inferred(denoiser, torch.cat([items, torch.full((4, 5), -1)], 1))
    for name in whole:
        np.testing.assert_allclose(mixed[name], whole[name][order], rtol=1e-4, atol=1e-6)
        for row, length in enumerate([9, 4, 1, 6]):
            alone = inferred(denoiser, items[row : row + 1, :length])
            np.testing.assert_allclose(alone[name][0], whole[name][row, :length], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(wide[name][row, :length], whole[name][row, :length], rtol=1e-4, atol=1e-6)


def test_a_set_has_no_order_and_a_history_has_one():
    items = small_histories([8, 8])
    order = torch.tensor([3, 0, 7, 2, 5, 1, 6, 4])
    for ordered in (False, True):
        denoiser = small_denoiser(ordered=ordered)
        straight, shuffled = inferred(denoiser, items), inferred(denoiser, items[:, order])
        catalogue = [
            denoiser.catalogue_ratios(HistoryBatch.build(rows, ordered=ordered), denoiser.views())[0]
            for rows in (items, items[:, order])
        ]
        same = np.allclose(shuffled["r"], straight["r"][:, order], rtol=1e-4)
        assert same != ordered
        assert torch.allclose(catalogue[0], catalogue[1], rtol=1e-4) != ordered


def test_nearer_steps_weigh_more():
    """Of two histories that differ in their order, the one with a similar item near the target gives it more."""
    denoiser = small_denoiser(["text"], missing=0.0, jitter=0.0)
    expert = denoiser.experts()[0]
    expert.fading.fill_(2.0)
    agreement = expert.coordinates_ID @ expert.coordinates_ID[0]
    like = int(agreement[1:].argmax()) + 1
    others = [k for k in range(1, ITEMS) if k != like][:4]
    near, far = torch.tensor([[*others, like, 0]]), torch.tensor([[like, *others, 0]])
    assert inferred(denoiser, near)["ratio"][0, -1, 0] > 1.2 * inferred(denoiser, far)["ratio"][0, -1, 0]


@pytest.mark.parametrize("denoise", [True, False])
def test_a_target_is_no_evidence_for_anything(denoise):
    """Another held-out item in its place, or none, leaves the inference about the history as it was, to the bit."""
    denoiser = small_denoiser(denoise=denoise, ordered=False)
    items = small_histories([8, 8, 8])
    observed = torch.ones(items.shape, dtype=torch.bool)
    observed[:, 6:] = False
    before = inferred(denoiser, items, observed)
    replaced = items.clone()
    replaced[:, 6:] = torch.tensor([[20, 21], [22, 23], [24, 25]])
    after = inferred(denoiser, replaced, observed)
    for name in before:
        assert torch.equal(after[name][:, :6], before[name][:, :6])
        assert not torch.equal(after[name][:, 6:], before[name][:, 6:])
    scores = denoiser.catalogue_ratios(HistoryBatch.build(items[:, :6], ordered=False), denoiser.views())[0]
    scores_with = denoiser.catalogue_ratios(HistoryBatch.build(items, observed, ordered=False), denoiser.views())[0]
    np.testing.assert_allclose(scores_with, scores, rtol=1e-4)


def test_targets_are_no_evidence_for_each_other():
    denoiser = small_denoiser(ordered=False)
    items = small_histories([8])
    observed = torch.ones(items.shape, dtype=torch.bool)
    observed[0, 5:] = False
    together = inferred(denoiser, items, observed)
    for position in range(5, 8):
        kept = [0, 1, 2, 3, 4, position]
        alone = inferred(denoiser, items[:, kept], observed[:, kept])
        for name in alone:
            np.testing.assert_allclose(alone[name][0, -1], together[name][0, position], rtol=1e-4)


def test_an_item_repeated_is_as_good_as_alone():
    denoiser = small_denoiser(missing=0.0)
    alone = inferred(denoiser, torch.tensor([[7]]))
    thrice = inferred(denoiser, torch.tensor([[7, 7, 7]]))
    for name in alone:
        np.testing.assert_allclose(thrice[name][0], alone[name][0].expand_as(thrice[name][0]), rtol=1e-5)


def test_missing_is_missing():
    """No probability for a modality that the item lacks. In a model of one modality such an item changes nothing except
    the counts of its user's reliance."""
    denoiser = small_denoiser(THREE, missing=0.5)
    items = small_histories([15, 9])
    result = inferred(denoiser, items)
    present = torch.stack([expert.present_I[items.clamp(min=0)] for expert in denoiser.experts()], -1)
    valid = (items >= 0)[..., None]
    assert (result["r"][(present == 0) & valid] == 0).all()
    assert (result["r"][(present > 0) & valid] > 0).all()
    single = small_denoiser(["text"], missing=0.5, ordered=False, reliance=False)
    have = single.experts()[0].present_I > 0
    kept, absent = torch.where(have)[0][:6], torch.where(~have)[0][:3]
    without = inferred(single, kept[None])
    with_them = inferred(single, torch.cat([kept[:2], absent, kept[2:]])[None])
    positions = [0, 1, 5, 6, 7, 8]
    for name in without:
        np.testing.assert_allclose(with_them[name][0, positions], without[name][0], rtol=1e-5)


def test_denoising_off_counts_everything_in_full():
    """Ratios depend neither on reliance nor on the causes of the history."""
    plain = small_denoiser(denoise=False)
    items = small_histories([9, 6])
    before = inferred(plain, items)
    plain.log_cause_prior_K.copy_(torch.tensor([0.0, 0.0, 0.0, 2.0, -2.0]))
    after = inferred(plain, items)
    assert torch.equal(after["ratio"], before["ratio"])
    assert not torch.equal(after["r"], before["r"])
    denoising = small_denoiser()
    first = inferred(denoising, items)
    denoising.log_cause_prior_K.copy_(torch.tensor([0.0, 0.0, 0.0, 2.0, -2.0]))
    assert not torch.equal(inferred(denoising, items)["ratio"], first["ratio"])


def test_likelihood_of_the_targets_alone():
    denoiser = small_denoiser()
    items = small_histories([8, 5])
    observed = torch.rand(items.shape, generator=torch.manual_seed(1)) > 0.4
    batch = HistoryBatch.build(items, observed, ordered=True)
    inference, held = denoiser.log_likelihood(batch, denoiser.views())
    assert torch.equal(held, ~observed & (items >= 0))
    assert torch.equal(inference, inferred(denoiser, items, observed)["total"][held].log())


@pytest.mark.parametrize("denoise", [True, False])
def test_terms_over_the_catalogue_are_parts_of_the_whole(denoise):
    denoiser = small_denoiser(denoise=denoise)
    total, terms = denoiser.catalogue_ratios(
        HistoryBatch.build(small_histories([8, 0, 3]), ordered=True), denoiser.views()
    )
    assert total.shape == (3, ITEMS)
    assert terms.shape == (3, 2, ITEMS)
    assert ((terms >= 0) & (terms <= total[:, None] * (1 + 1e-5))).all()


def test_restored_from_tensors_alone():
    denoiser = small_denoiser(THREE)
    tensors = {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}
    again = Denoiser.from_tensors(tensors, THREE, denoiser.settings, ordered=True)
    items = small_histories([9, 3])
    for name, value in inferred(denoiser, items).items():
        assert torch.equal(inferred(again, items)[name], value)


def test_the_seed_decides_the_start():
    first, same, other = (small_denoiser(seed=seed, jitter=0.0).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first if "themes" in name)


def test_a_batch_by_hand():
    items = torch.tensor([[4, 7, 4, -1]])
    batch = HistoryBatch.build(items, torch.tensor([[True, True, False, True]]), ordered=True)
    assert batch.observed_BT.tolist() == [[1, 1, 0, 0]]
    assert batch.valid_BT.tolist() == [[1, 1, 1, 0]]
    # Source in rows, target in columns: 4 is evidence for 7, 7 for both 4s; the hidden 4 and the padding for none.
    assert batch.visible_BTT[0].tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(batch.log_gap_BTT[0, 0].exp(), [1, 1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(batch.log_age_BT[0, :3].exp(), [3, 2, 1], rtol=1e-6)
    assert not HistoryBatch.build(items, ordered=False).log_gap_BTT.any()
    assert HistoryBatch.build(items, ordered=False).observed_BT.tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_two_causes_are_a_density_where_modalities_are_not_independent(seed, monkeypatch):
    """sum_i p_0(i) rho^a(i) rho^b(i) is 1 with the factor and is not without. The experts are clusters alone, each item
    is in one cluster, and every two clusters share an item."""
    monkeypatch.setattr("demure.model.pairs._CHANCE", 0.0)
    denoiser = small_denoiser(missing=0.0, ordered=False, seed=seed)
    random = np.random.default_rng(seed)
    first = np.concatenate([np.repeat(np.arange(4), 4), random.integers(4, size=24)])
    second = np.concatenate([np.tile(np.arange(4), 4), first[16:]])  # mostly alike
    views = []
    for expert, view, of in zip(denoiser.experts(), denoiser.views(), (first, second), strict=True):
        expert.gate.fill_(-30.0)
        q_IC = torch.eye(4)[torch.as_tensor(of)]
        views.append(replace(view, q_IC=q_IC, prior_PC=(view.weight_I @ q_IC)[None]))
    batch = denoiser.make_batch(small_histories([6, 9], seed=seed))
    inference = denoiser.infer(batch, views)
    weights = denoiser.source_weights(inference)
    experts = enumerate(zip(denoiser.experts(), inference.states, views, strict=True))
    densities = [c.catalogue_ratios(state, view, batch, weights[..., m])[1] for m, (c, state, view) in experts]
    both = (densities[0] @ views[0].q_IC.T) * (densities[1] @ views[1].q_IC.T)
    inverse_lifts = compute_inverse_lifts(denoiser.pairs, views)
    (factor,) = catalogue_factors(denoiser.pairs, inverse_lifts, denoiser.experts(), densities, views)
    sums = (denoiser.popularity_I * both * factor).sum(-1)
    torch.testing.assert_close(sums, torch.ones(2), rtol=1e-4, atol=1e-4)
    assert ((denoiser.popularity_I * both).sum(-1) - 1).abs().max() > 0.01


def test_without_one_of_the_modalities_the_factor_is_1():
    denoiser = small_denoiser(missing=0.5)
    inference = denoiser.infer(denoiser.make_batch(small_histories([10])), denoiser.views())
    present = torch.stack([state.present_BT for state in inference.states], -1)
    posteriors = [state.clusters.posterior_BTC for state in inference.states]
    inverse_lifts = compute_inverse_lifts(denoiser.pairs, denoiser.views())
    extents = pair_extents(denoiser.pairs, denoiser.experts(), present.unbind(-1))
    (factor,) = pair_factors(denoiser.pairs, inverse_lifts, extents, posteriors)
    assert (factor[present.prod(-1) == 0] == 1).all()
    assert (factor[present.prod(-1) == 1] != 1).all()
