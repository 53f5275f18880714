"""What items hear from their users: by hand, no choice as evidence for itself, and only where it helps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.histories_by_hand import histories as histories_of
from support.small_models import ITEMS, small_denoiser, small_histories
from support.small_sets import dataset_folder

from demure.demo.planted import Knobs
from demure.diagnosis.calibration import score_diagnosis
from demure.training import belief_propagation
from demure.training.belief_propagation import infer_blocks, propagate_beliefs
from demure.training.rivals import Rivals
from demure.training.run import train
from demure.training.validation import Validation


def random_histories(users, seed=0):
    random = np.random.default_rng(seed)
    return histories_of([random.permutation(ITEMS)[: random.integers(3, 9)] for _ in range(users)])


def watch(train_part, valid):
    return Validation(Rivals(train_part, ITEMS, 0), valid, most=100, longest=50, held_out=0.3, seed=0)


class Dictated:
    """A watch that gives these likelihoods, one after the other."""

    def __init__(self, train_part, values, users):
        self.values, self.kept, self.longest = list(values), np.arange(users), 50
        self.train, self.rivals = train_part, Rivals(train_part, ITEMS, 0)

    def log_likelihood(self, denoiser, told=None):
        return self.values.pop(0)


@pytest.mark.parametrize("seed", range(3))
def test_a_choice_tells_the_likelihood_of_each_theme(seed):
    """By hand: the whole mixture again, for an item of one theme alone, the rest of the inference as it was."""
    denoiser = small_denoiser(seed=seed)
    items = small_histories([9, 5], seed=seed)
    context, views = denoiser.make_batch(items), denoiser.views()
    found = denoiser.infer(context, views)
    told = denoiser.messages(found, views)
    for m, (channel, view, state) in enumerate(zip(denoiser.experts(), views, found.states, strict=True)):
        gate = torch.sigmoid(channel.gate)
        q = state.clusters.affinity_BTC * state.clusters.prior_BTC
        themes = (state.clusters.density_BTC * q).sum(-1)
        for row, at in [(0, 0), (0, 8), (1, 3)]:
            if not state.present_BT[row, at]:
                assert (told[m][row, at] == 0).all()
                continue
            scale = (1 - torch.sigmoid(channel.absence) * (1 - view.share)) / view.share
            points = found.ratio_BTM[row, at, m] / scale - (1 - gate) * themes[row, at]
            r, total = found.r_BTM[row, at, m], found.total_BT[row, at]
            by_hand = []
            for theme in range(4):
                ratio = scale * (points + (1 - gate) * state.clusters.density_BTC[row, at, theme])
                by_hand.append(float(total * (1 - r) + total * r * ratio / found.ratio_BTM[row, at, m]))
            expected = np.log(by_hand) - np.log(by_hand).mean()
            np.testing.assert_allclose(told[m][row, at].numpy(), expected, atol=1e-4)


def test_the_mixture_is_linear_in_each_ratio():
    """What the formula of what a choice tells rests on."""
    denoiser = small_denoiser(["image", "text", "audio"], jitter=0.5)
    random = np.random.default_rng(0)
    ratio, rival = (torch.tensor(random.dirichlet(np.ones(3), (2, 4)) * k).float() for k in (6, 2))
    reliance = torch.tensor(random.dirichlet(np.ones(6), (2, 4))).float()
    met = [torch.tensor(random.uniform(0.5, 2, (2, 4))).float() for _ in range(3)]
    present = torch.ones(2, 4, 3)
    r, _, total = denoiser.posterior(ratio, rival, reliance, present, met)
    for m in range(3):
        other = ratio.clone()
        other[..., m] *= 3.0
        torch.testing.assert_close(
            denoiser.posterior(other, rival, reliance, present, met)[2], total * (1 - r[..., m]) + 3 * total * r[..., m]
        )


def test_what_a_user_told_of_an_item_is_left_out_of_what_the_user_hears():
    denoiser = small_denoiser()
    themes, view = denoiser.experts()[0].clusters, denoiser.views()[0]
    items = small_histories([6])
    own = torch.randn(1, 6, 4, generator=torch.manual_seed(0))
    whole = themes.memberships(denoiser.experts()[0].cluster_space_ID, denoiser.popularity_I[:, None])[0]
    themes.offset_IC.index_add_(0, items[0], own[0])
    heard = themes.memberships(denoiser.experts()[0].cluster_space_ID, denoiser.popularity_I[:, None])[0]
    assert not torch.allclose(whole, heard)
    shares = themes.init_state(heard, view.prior_GC, denoiser.make_batch(items), own)
    torch.testing.assert_close(shares.share_BTC, whole[items], rtol=1e-4, atol=1e-6)


def test_items_hear_the_sum_of_what_their_choices_told():
    denoiser, train_part = small_denoiser(), random_histories(30)
    told = propagate_beliefs(denoiser, Dictated(train_part, [0.0, 1.0], 30), 1)
    for channel, said in zip(denoiser.experts(), told, strict=True):
        by_hand = np.zeros((ITEMS, 4), np.float32)
        np.add.at(by_hand, train_part.items, said.numpy())
        np.testing.assert_allclose(channel.clusters.offset_IC.numpy(), by_hand, atol=1e-5)
        missing = (channel.present_I == 0).numpy()
        assert (by_hand[missing] == 0).all()


def test_as_often_as_it_helps_and_no_more():
    train_part = random_histories(30)
    one, two, never, off = (small_denoiser() for _ in range(4))
    start = one.experts()[0].clusters.offset_IC.clone()
    first = propagate_beliefs(one, Dictated(train_part, [0.0, 1.0], 30), 1)
    again = propagate_beliefs(two, Dictated(train_part, [0.0, 1.0, 0.5], 30), 3)  # the second time it hurts
    assert torch.equal(first[0], again[0])
    assert torch.equal(one.experts()[0].clusters.offset_IC, two.experts()[0].clusters.offset_IC)
    assert propagate_beliefs(never, Dictated(train_part, [0.0, 0.0], 30), 3) is None
    assert torch.equal(never.experts()[0].clusters.offset_IC, start)
    assert propagate_beliefs(off, Dictated(train_part, [], 30), 0) is None


def test_too_much_to_hold_is_not_heard(monkeypatch):
    monkeypatch.setattr(belief_propagation, "_NUMBERS", 10)
    assert propagate_beliefs(small_denoiser(), Dictated(random_histories(30), [], 30), 3) is None


def test_users_kept_from_training_tell_nothing():
    train_part = random_histories(60)
    watched = watch(train_part, histories_of([[]] * 60))
    watched_rows = np.isin(train_part.owners, watched.users)
    told = propagate_beliefs(small_denoiser(), Dictated(train_part, [0.0, 1.0], 0), 1)
    assert all((said == 0).all() for said in told)
    dictated = Dictated(train_part, [0.0, 1.0], 60)
    dictated.kept = watched.kept
    told = propagate_beliefs(small_denoiser(), dictated, 1)
    assert (told[0][watched_rows] == 0).all()
    assert (told[0][~watched_rows] != 0).any()


def test_validation_leaves_out_what_the_watched_users_told():
    """With nobody else about, an item is to them what it was before anybody told anything."""
    denoiser, untold = small_denoiser(), small_denoiser()
    train_part, valid = histories_of([[1, 2, 3, 4], [5, 6, 7]]), histories_of([[20], [21]])
    watched = watch(train_part, valid)
    own = [torch.randn(7, 4, generator=torch.manual_seed(m)) for m in range(2)]
    for channel, said in zip(denoiser.experts(), own, strict=True):
        channel.clusters.offset_IC.index_add_(0, torch.as_tensor(train_part.items), said)
    before = untold.views()  # what all items are in the mean is held as it was
    heard = [replace(was, q_IC=now.q_IC) for was, now in zip(before, denoiser.views(), strict=True)]
    denoiser._inverse_lifts = untold._inverse_lifts = lambda views: []
    untold_value = by_views(untold, watched, before)
    assert by_views(denoiser, watched, heard, own) == pytest.approx(untold_value, abs=1e-5)
    assert by_views(denoiser, watched, heard) != pytest.approx(untold_value, abs=1e-4)


def by_views(denoiser, watched, views, told=None):
    denoiser.views = lambda: views
    try:
        return watched.log_likelihood(denoiser, told)
    finally:
        del denoiser.views


def test_long_histories_are_judged_in_parts():
    whole = histories_of([range(10), [3, 4]])
    parts = whole.split_long(4)
    seen = [block.at_BT for block in finished(small_denoiser(), parts, None, Rivals(whole, ITEMS, 0))]
    assert sorted(np.concatenate([at[at >= 0] for at in seen])) == list(range(12))
    assert max(at.shape[1] for at in seen) <= 4


def test_on_noisy_features_it_helps(tmp_path: Path):
    """Where features hardly tell the clusters, users do."""
    noisy = Knobs(users=400, items=150, length=(10, 20), clusters=6, interests=(1, 2), dimensions=12, feature_noise=1.0)
    dataset = dataset_folder(tmp_path, noisy)
    truth = pd.read_csv(tmp_path / "raw" / "truth.csv", dtype={"user_id": str, "item_id": str})
    scores = {}
    for times in (0, 3):
        out = tmp_path / f"run{times}"
        few = (
            "training.epochs=2",
            "training.offset_epochs=0",
            "collaborative.enabled=false",
            f"training.belief_passes={times}",
        )
        train(dataset, out, overrides=few, device="cpu")
        scores[times] = score_diagnosis(truth, pd.read_parquet(out / "diagnosis.parquet"))
    assert scores[3].auc > scores[0].auc + 0.005
    assert scores[3].log_loss < scores[0].log_loss


def test_evidence_is_of_the_content_whatever_the_users_say():
    """Of items that heard enough to drown their features the evidence is that of the features."""
    denoiser = small_denoiser()
    context = denoiser.make_batch(small_histories([9, 5]))
    for channel in denoiser.experts():
        channel.clusters.offset_IC.zero_()
    views = denoiser.views()
    found = denoiser.infer(context, views)
    torch.testing.assert_close(denoiser.ratio_by_features(found, views, context), found.ratio_BTM, rtol=1e-4, atol=1e-5)
    loud = torch.zeros(ITEMS, 4)
    loud[:, 0] = 1e4  # far beyond what any features say
    for channel in denoiser.experts():
        channel.clusters.offset_IC.copy_(loud)
    views = denoiser.views()
    found = denoiser.infer(context, views)
    for m, (channel, view, state) in enumerate(zip(denoiser.experts(), views, found.states, strict=True)):
        q = channel.clusters.memberships_by_features(channel.cluster_space_ID)[context.items_BT]
        themes = (state.clusters.density_BTC * q).sum(-1)
        scale, gate = channel._scale(view), torch.sigmoid(channel.gate)
        points = found.ratio_BTM[..., m] / scale - (1 - gate) * state.clusters.density_BTC[..., 0]
        expected = torch.where(state.present_BT > 0, scale * (points + (1 - gate) * themes), found.ratio_BTM[..., m])
        got = denoiser.ratio_by_features(found, views, context)[..., m]
        torch.testing.assert_close(got[context.valid_BT > 0], expected[context.valid_BT > 0], rtol=1e-3, atol=1e-4)
