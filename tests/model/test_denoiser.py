"""The mixture: probabilities, what must not matter, what must not leak, and what is missing."""

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
from demure.model.pairs import catalogue_factors, inverse_lifts, pair_factors

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
    others = 3 if rivals else 1
    random = np.random.default_rng(seed)
    reliance = random.dirichlet(np.ones(others + count))
    rival, ratio = np.exp(random.normal(0, 2, others)), np.exp(random.normal(0, 2, count))
    terms = causes_by_hand(float(torch.sigmoid(denoiser.two_causes)), reliance, rival, ratio)
    given = [torch.tensor(part).float()[None, None] for part in (ratio, rival, reliance)]
    r, other, total = denoiser.posterior(*given, torch.ones(1, 1, count))
    assert float(total) == pytest.approx(sum(terms.values()), rel=1e-4)
    for m in range(count):
        among = sum(term for causes, term in terms.items() if m in causes) / sum(terms.values())
        assert float(r[0, 0, m]) == pytest.approx(among, rel=1e-4)
    for k in range(others):
        assert float(other[0, 0, k]) == pytest.approx(terms[(f"rival {k}",)] / sum(terms.values()), rel=1e-4)
    exactly = sum(len(causes) * term for causes, term in terms.items()) / sum(terms.values())
    assert float(r.sum() + other.sum()) == pytest.approx(exactly, rel=1e-4)


def test_one_modality_has_no_pairs():
    """Half of the choices by popularity, of ratio 1, half by the modality, of ratio 2."""
    denoiser = small_denoiser(["text"], jitter=0.0, rivals=False)
    r, other, total = denoiser.posterior(
        torch.full((1, 1, 1), 2.0), torch.ones(1, 1, 1), torch.full((1, 1, 2), 0.5), torch.ones(1, 1, 1)
    )
    assert float(total) == pytest.approx(1.5)
    assert float(r) == pytest.approx(2 / 3)
    assert float(other) == pytest.approx(1 / 3)


def test_a_choice_that_a_rival_tells_is_the_rivals_and_no_point_of_interest():
    """A rival that tells a choice a thousand times better than the popularity takes it, and leaves the content less."""
    denoiser = small_denoiser(missing=0.0)
    items = small_histories([6])
    for k in range(3):
        rival = torch.ones(1, 6, 3)
        rival[0, 2, k] = 1000.0
        context = denoiser.make_batch(items, side_information=SideInformation(torch.zeros_like(items), rival))
        found = denoiser.infer(context, denoiser.views())
        flat = denoiser.infer(denoiser.make_batch(items), denoiser.views())
        assert int(found.rival_BTR[0, 2].argmax()) == k
        assert float(found.rival_BTR[0, 2, k]) > 0.95
        assert (found.r_BTM[0, 2] < flat.r_BTM[0, 2]).all()
        assert float(found.total_BT[0, 2]) > 10 * float(flat.total_BT[0, 2])


def test_rivals_that_are_not_known_tell_as_much_as_the_popularity():
    denoiser = small_denoiser()
    items = small_histories([6, 3])
    flat = SideInformation(torch.zeros_like(items), torch.ones(2, 6, 3))
    one, two = (
        denoiser.infer(denoiser.make_batch(items, side_information=side), denoiser.views()) for side in (None, flat)
    )
    assert torch.equal(one.r_BTM, two.r_BTM)
    assert torch.equal(one.rival_BTR, two.rival_BTR)


def test_without_rivals_popularity_alone_competes():
    denoiser = small_denoiser(rivals=False)
    items = small_histories([6, 3])
    loud = SideInformation(torch.zeros_like(items), torch.full((2, 6, 3), 1000.0))
    found, quiet = (
        denoiser.infer(denoiser.make_batch(items, side_information=side), denoiser.views()) for side in (loud, None)
    )
    assert found.rival_BTR.shape == (2, 6, 1)
    assert torch.equal(found.r_BTM, quiet.r_BTM)


def periods_by_hand(seed=0):
    """A denoiser of two periods besides the whole, and how much more popular every item was in them."""
    denoiser = small_denoiser(missing=0.0, ordered=False, seed=seed)
    random = np.random.default_rng(seed)
    factor = torch.as_tensor(np.exp(random.normal(0, 1, (ITEMS, 2)))).float()
    factor = factor / (denoiser.popularity_I @ factor)
    denoiser.period_IG = torch.cat([torch.ones(ITEMS, 1), factor], 1)
    return denoiser


def test_themes_are_a_density_in_every_period():
    """A theme's ratio q / qbar is 1 in the mean over what was popular then, and a history's shares of the themes sum to
    1: so is what they give together."""
    denoiser = periods_by_hand()
    items = torch.cat([small_histories([5]).expand(ITEMS, -1), torch.arange(ITEMS)[:, None]], 1)
    for period in range(3):
        side = SideInformation(torch.full_like(items, period), None)
        found = denoiser.infer(denoiser.make_batch(items, side_information=side), denoiser.views())
        density = denoiser.popularity_I * denoiser.period_IG[:, period]
        for state in found.states:
            shares = state.clusters
            np.testing.assert_allclose(density @ shares.affinity_BTC[:, -1], 1, rtol=1e-4)
            np.testing.assert_allclose((shares.density_BTC * shares.prior_BTC).sum(-1), 1, rtol=1e-4)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_seed_is_a_density_in_every_period(shifted):
    denoiser = periods_by_hand()
    items = small_histories([6])
    channel, view = denoiser.experts()[0], denoiser.views()[0]
    context = denoiser.make_batch(items)
    state = channel.init_state(view, context)
    if shifted:
        channel.shift_centres(state, view, context, torch.ones(items.shape))
    for at in range(6):
        kernel = (state.kernel.eta_BTE[0, at] @ view.z_IE.T)[:, None] - state.kernel.log_norm_BTG[0, at]
        density = kernel.exp() * denoiser.popularity_I[:, None] * denoiser.period_IG
        others = torch.arange(ITEMS) != items[0, at]
        torch.testing.assert_close(density[others].sum(0), torch.ones(3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("denoise", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_probabilities_are_probabilities(denoise, ordered):
    for seed in range(3):
        denoiser = small_denoiser(THREE, denoise=denoise, ordered=ordered, seed=seed, jitter=1.0)
        items = small_histories([12, 5, 2, 1], seed=seed)
        found = inferred(denoiser, items)
        assert ((found["r"] >= 0) & (found["r"] <= 1 + 1e-6)).all()
        assert (found["r"].sum(-1) <= 2 + 1e-5).all()  # at most two causes
        assert (found["total"] > 0).all()
        assert (found["ratio"] >= 0).all()
        assert found["r"][0].std() > 0.01


def test_shares_are_smoothed_counts():
    """By hand: 2 of 4 choices were the content's and it is thought to have 3 of 4 before, worth 4: 5 of 8; within,
    text had all, and a prior of 1.5 to 0.5."""
    denoiser = small_denoiser(missing=0.0, rivals=False)
    denoiser.log_content.copy_(torch.tensor([1.0, 3.0]).log())
    denoiser.log_reliance.copy_(torch.tensor([7.0, 1.5, 0.5]).log())
    found = denoiser.reliance_from_counts(torch.tensor([[2.0, 0.0, 2.0], [0.0, 0.0, 0.0]]))
    expected = [[3 / 8, 5 / 8 * 1.5 / 4, 5 / 8 * 2.5 / 4], [1 / 4, 3 / 4 * 0.75, 3 / 4 * 0.25]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_shares_sum_to_one():
    denoiser = small_denoiser(THREE)
    counts = torch.rand(7, 6, generator=torch.manual_seed(0)) * 20
    found = denoiser.reliance_from_counts(counts)
    assert (found > 0).all()
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    more = counts.clone()
    more[:, 1] += 5
    assert (denoiser.reliance_from_counts(more)[:, 1] > found[:, 1]).all()


def test_reliance_is_a_smoothed_count_of_the_others():
    """Hand-computed for three interactions, of which the first and the last are of the same item."""
    denoiser = small_denoiser(missing=0.0, rivals=False)
    r = torch.tensor([[[0.9, 0.0], [0.5, 0.25], [0.2, 0.8]]])
    other = torch.tensor([[[0.1], [0.25], [0.0]]])
    found = denoiser.reliance(r, other, HistoryBatch.build(torch.tensor([[3, 4, 3]]), ordered=True))
    first, second = denoiser.reliance_from_counts(torch.tensor([[0.25, 0.5, 0.25], [0.1, 1.1, 0.8]]))
    np.testing.assert_allclose(found[0], torch.stack([first, second, first]), rtol=1e-5)


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
    """Of two equal histories but for who is near the target, the one with its like nearby gives it more."""
    denoiser = small_denoiser(["text"], missing=0.0, jitter=0.0)
    channel = denoiser.experts()[0]
    channel.fading.fill_(2.0)
    agreement = channel.coordinates_ID @ channel.coordinates_ID[0]
    like = int(agreement[1:].argmax()) + 1
    others = [k for k in range(1, ITEMS) if k != like][:4]
    near, far = torch.tensor([[*others, like, 0]]), torch.tensor([[like, *others, 0]])
    assert inferred(denoiser, near)["ratio"][0, -1, 0] > 1.2 * inferred(denoiser, far)["ratio"][0, -1, 0]


@pytest.mark.parametrize("denoise", [True, False])
def test_a_target_is_no_evidence_for_anything(denoise):
    """Another held-out item in its place, or none, leaves all that is known of the history as it was, to the bit."""
    denoiser = small_denoiser(denoise=denoise, ordered=False)
    items = small_histories([8, 8, 8])
    known = torch.ones(items.shape, dtype=torch.bool)
    known[:, 6:] = False
    before = inferred(denoiser, items, known)
    replaced = items.clone()
    replaced[:, 6:] = torch.tensor([[20, 21], [22, 23], [24, 25]])
    after = inferred(denoiser, replaced, known)
    for name in before:
        assert torch.equal(after[name][:, :6], before[name][:, :6])
        assert not torch.equal(after[name][:, 6:], before[name][:, 6:])
    scores = denoiser.catalogue_ratios(HistoryBatch.build(items[:, :6], ordered=False), denoiser.views())[0]
    scores_with = denoiser.catalogue_ratios(HistoryBatch.build(items, known, ordered=False), denoiser.views())[0]
    np.testing.assert_allclose(scores_with, scores, rtol=1e-4)


def test_targets_do_not_speak_for_each_other():
    denoiser = small_denoiser(ordered=False)
    items = small_histories([8])
    known = torch.ones(items.shape, dtype=torch.bool)
    known[0, 5:] = False
    together = inferred(denoiser, items, known)
    for at in range(5, 8):
        kept = [0, 1, 2, 3, 4, at]
        alone = inferred(denoiser, items[:, kept], known[:, kept])
        for name in alone:
            np.testing.assert_allclose(alone[name][0, -1], together[name][0, at], rtol=1e-4)


def test_an_item_repeated_is_as_good_as_alone():
    denoiser = small_denoiser(missing=0.0)
    alone = inferred(denoiser, torch.tensor([[7]]))
    thrice = inferred(denoiser, torch.tensor([[7, 7, 7]]))
    for name in alone:
        np.testing.assert_allclose(thrice[name][0], alone[name][0].expand_as(thrice[name][0]), rtol=1e-5)


def test_missing_is_missing():
    """No probability for a modality the item lacks; in a model of one modality such an item leaves no trace, but for
    what is counted for its user's reliance."""
    denoiser = small_denoiser(THREE, missing=0.5)
    items = small_histories([15, 9])
    found = inferred(denoiser, items)
    present = torch.stack([channel.present_I[items.clamp(min=0)] for channel in denoiser.experts()], -1)
    valid = (items >= 0)[..., None]
    assert (found["r"][(present == 0) & valid] == 0).all()
    assert (found["r"][(present > 0) & valid] > 0).all()
    single = small_denoiser(["text"], missing=0.5, ordered=False, reliance=False)
    have = single.experts()[0].present_I > 0
    kept, absent = torch.where(have)[0][:6], torch.where(~have)[0][:3]
    without = inferred(single, kept[None])
    with_them = inferred(single, torch.cat([kept[:2], absent, kept[2:]])[None])
    at = [0, 1, 5, 6, 7, 8]
    for name in without:
        np.testing.assert_allclose(with_them[name][0, at], without[name][0], rtol=1e-5)


def test_denoising_off_counts_everything_in_full():
    """Ratios do not depend on reliance nor on what caused the history."""
    plain = small_denoiser(denoise=False)
    items = small_histories([9, 6])
    before = inferred(plain, items)
    plain.log_reliance.copy_(torch.tensor([0.0, 0.0, 0.0, 2.0, -2.0]))
    after = inferred(plain, items)
    assert torch.equal(after["ratio"], before["ratio"])
    assert not torch.equal(after["r"], before["r"])
    denoising = small_denoiser()
    first = inferred(denoising, items)
    denoising.log_reliance.copy_(torch.tensor([0.0, 0.0, 0.0, 2.0, -2.0]))
    assert not torch.equal(inferred(denoising, items)["ratio"], first["ratio"])


def test_likelihood_of_the_targets_alone():
    denoiser = small_denoiser()
    items = small_histories([8, 5])
    known = torch.rand(items.shape, generator=torch.manual_seed(1)) > 0.4
    context = HistoryBatch.build(items, known, ordered=True)
    found, held = denoiser.log_likelihood(context, denoiser.views())
    assert torch.equal(held, ~known & (items >= 0))
    assert torch.equal(found, inferred(denoiser, items, known)["total"][held].log())


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
    one, same, other = (small_denoiser(seed=seed, jitter=0.0).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one if "themes" in name)


def test_context_by_hand():
    items = torch.tensor([[4, 7, 4, -1]])
    context = HistoryBatch.build(items, torch.tensor([[True, True, False, True]]), ordered=True)
    assert context.observed_BT.tolist() == [[1, 1, 0, 0]]
    assert context.valid_BT.tolist() == [[1, 1, 1, 0]]
    # Source in rows, target in columns: 4 reaches 7 alone, 7 reaches both 4s, the hidden 4 and the padding nobody.
    assert context.visible_BTT[0].tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(context.log_gap_BTT[0, 0].exp(), [1, 1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(context.log_age_BT[0, :3].exp(), [3, 2, 1], rtol=1e-6)
    assert not HistoryBatch.build(items, ordered=False).log_gap_BTT.any()
    assert HistoryBatch.build(items, ordered=False).observed_BT.tolist() == [[1, 1, 1, 0]]


@pytest.mark.parametrize("seed", range(3))
def test_two_causes_are_a_density_where_modalities_are_not_independent(seed, monkeypatch):
    """sum_i p_0(i) rho^a(i) rho^b(i) is 1 with what makes it so, and is not without; themes alone speak, each item is
    of one theme, and every two themes meet in some item."""
    monkeypatch.setattr("demure.model.pairs._CHANCE", 0.0)
    denoiser = small_denoiser(missing=0.0, ordered=False, seed=seed)
    random = np.random.default_rng(seed)
    first = np.concatenate([np.repeat(np.arange(4), 4), random.integers(4, size=24)])
    second = np.concatenate([np.tile(np.arange(4), 4), first[16:]])  # mostly alike
    views = []
    for channel, view, of in zip(denoiser.experts(), denoiser.views(), (first, second), strict=True):
        channel.gate.fill_(-30.0)
        q_IC = torch.eye(4)[torch.as_tensor(of)]
        views.append(replace(view, q_IC=q_IC, prior_GC=(view.weight_I @ q_IC)[None]))
    context = denoiser.make_batch(small_histories([6, 9], seed=seed))
    found = denoiser.infer(context, views)
    weights = denoiser.evidence_weights(found)
    asked = enumerate(zip(denoiser.experts(), found.states, views, strict=True))
    densities = [c.catalogue_ratios(state, view, context, weights[..., m])[1] for m, (c, state, view) in asked]
    both = (densities[0] @ views[0].q_IC.T) * (densities[1] @ views[1].q_IC.T)
    lifts = inverse_lifts(denoiser.pairs, views)
    (factor,) = catalogue_factors(denoiser.pairs, lifts, denoiser.experts(), densities, views)
    sums = (denoiser.popularity_I * both * factor).sum(-1)
    torch.testing.assert_close(sums, torch.ones(2), rtol=1e-4, atol=1e-4)
    assert ((denoiser.popularity_I * both).sum(-1) - 1).abs().max() > 0.01


def test_a_missing_modality_meets_nothing():
    denoiser = small_denoiser(missing=0.5)
    found = denoiser.infer(denoiser.make_batch(small_histories([10])), denoiser.views())
    present = torch.stack([state.present_BT for state in found.states], -1)
    shares = [state.clusters.share_BTC for state in found.states]
    lifts = inverse_lifts(denoiser.pairs, denoiser.views())
    (factor,) = pair_factors(denoiser.pairs, lifts, denoiser.experts(), shares, present)
    assert (factor[present.prod(-1) == 0] == 1).all()
    assert (factor[present.prod(-1) == 1] != 1).all()
