"""Belief propagation: messages by hand, no choice as evidence for itself, and only where it helps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.histories_by_hand import histories as histories_of
from support.small_models import ITEMS, small_denoiser, small_histories
from support.small_sets import dataset_folder

from demure.demo.planted import PlantedOptions
from demure.diagnosis.calibration import score_diagnosis
from demure.model import denoiser as module
from demure.training.belief_propagation import infer_blocks, propagate_beliefs
from demure.training.rivals import Rivals
from demure.training.run import train
from demure.training.validation import Validation


def random_histories(users, seed=0):
    random = np.random.default_rng(seed)
    return histories_of([random.permutation(ITEMS)[: random.integers(3, 9)] for _ in range(users)])


def validation_of(train_part, valid):
    return Validation(Rivals(train_part, ITEMS, 0), valid, most=100, longest=50, held_out=0.3, seed=0)


class Dictated:
    """A validation that returns these likelihoods, one after the other."""

    def __init__(self, train_part, values, users):
        self.values, self.training_users, self.longest = list(values), np.arange(users), 50
        self.train, self.rivals = train_part, Rivals(train_part, ITEMS, 0)

    def log_likelihood(self, denoiser, messages=None):
        return self.values.pop(0)


def test_a_large_catalogue_gets_the_same_messages(monkeypatch):
    train_part = random_histories(20)
    gains = ([0, 1, 0.5], 20)
    expected = propagate_beliefs(small_denoiser(), Dictated(train_part, *gains), 3)
    monkeypatch.setattr(module, "MAX_FULL_CATALOGUE", 10)
    messages = propagate_beliefs(small_denoiser(), Dictated(train_part, *gains), 3)
    for message_NC, same_NC in zip(messages, expected, strict=True):
        torch.testing.assert_close(message_NC, same_NC)


@pytest.mark.parametrize("seed", range(3))
def test_a_message_is_the_likelihood_of_each_cluster(seed):
    """By hand: the whole mixture again, for an item of a single cluster, the rest of the inference as it was."""
    denoiser = small_denoiser(seed=seed)
    items = small_histories([9, 5], seed=seed)
    context, views = denoiser.make_batch(items), denoiser.views()
    inference = denoiser.infer(context, views)
    messages = denoiser.messages(inference, views)
    for m, (channel, view, state) in enumerate(zip(denoiser.experts(), views, inference.states, strict=True)):
        gate = torch.sigmoid(channel.gate)
        q = state.clusters.affinity_BTC * state.clusters.prior_BTC
        themes = (state.clusters.density_BTC * q).sum(-1)
        for row, position in [(0, 0), (0, 8), (1, 3)]:
            if not state.present_BT[row, position]:
                assert (messages[m][row, position] == 0).all()
                continue
            scale = (1 - torch.sigmoid(channel.absence) * (1 - view.share)) / view.share
            points = inference.ratio_BTM[row, position, m] / scale - (1 - gate) * themes[row, position]
            r, total = inference.r_BTM[row, position, m], inference.total_BT[row, position]
            by_hand = []
            for theme in range(4):
                ratio = scale * (points + (1 - gate) * state.clusters.density_BTC[row, position, theme])
                by_hand.append(float(total * (1 - r) + total * r * ratio / inference.ratio_BTM[row, position, m]))
            expected = np.log(by_hand) - np.log(by_hand).mean()
            np.testing.assert_allclose(messages[m][row, position].numpy(), expected, atol=1e-4)


def test_the_mixture_is_linear_in_each_ratio():
    """The formula of a message rests on this."""
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


def test_the_message_of_a_choice_is_left_out_for_its_own_user():
    denoiser = small_denoiser()
    themes, view = denoiser.experts()[0].clusters, denoiser.views()[0]
    items = small_histories([6])
    own = torch.randn(1, 6, 4, generator=torch.manual_seed(0))
    whole = themes.memberships(denoiser.experts()[0].cluster_space_ID, denoiser.popularity_I[:, None])[0]
    themes.offset_IC.index_add_(0, items[0], own[0])
    with_messages = themes.memberships(denoiser.experts()[0].cluster_space_ID, denoiser.popularity_I[:, None])[0]
    assert not torch.allclose(whole, with_messages)
    shares = themes.init_state(with_messages, view.prior_PC, denoiser.make_batch(items), own)
    torch.testing.assert_close(shares.posterior_BTC, whole[items], rtol=1e-4, atol=1e-6)


def test_an_item_receives_the_sum_of_the_messages_of_its_choices():
    denoiser, train_part = small_denoiser(), random_histories(30)
    messages = propagate_beliefs(denoiser, Dictated(train_part, [0.0, 1.0], 30), 1)
    for channel, message in zip(denoiser.experts(), messages, strict=True):
        by_hand = np.zeros((ITEMS, 4), np.float32)
        np.add.at(by_hand, train_part.items, message.numpy())
        np.testing.assert_allclose(channel.clusters.offset_IC.numpy(), by_hand, atol=1e-5)
        missing = (channel.present_I == 0).numpy()
        assert (by_hand[missing] == 0).all()


def test_as_often_as_it_helps_and_no_more():
    train_part = random_histories(30)
    first_denoiser, second_denoiser, never, off = (small_denoiser() for _ in range(4))
    start = first_denoiser.experts()[0].clusters.offset_IC.clone()
    first = propagate_beliefs(first_denoiser, Dictated(train_part, [0.0, 1.0], 30), 1)
    again = propagate_beliefs(second_denoiser, Dictated(train_part, [0.0, 1.0, 0.5], 30), 3)  # the second time it hurts
    assert torch.equal(first[0], again[0])
    assert torch.equal(first_denoiser.experts()[0].clusters.offset_IC, second_denoiser.experts()[0].clusters.offset_IC)
    assert propagate_beliefs(never, Dictated(train_part, [0.0, 0.0], 30), 3) is None
    assert torch.equal(never.experts()[0].clusters.offset_IC, start)
    assert propagate_beliefs(off, Dictated(train_part, [], 30), 0) is None


def test_users_kept_from_training_send_no_messages():
    train_part = random_histories(60)
    validation = validation_of(train_part, histories_of([[]] * 60))
    held_out_rows = np.isin(train_part.owners, validation.users)
    messages = propagate_beliefs(small_denoiser(), Dictated(train_part, [0.0, 1.0], 0), 1)
    assert all((message == 0).all() for message in messages)
    dictated = Dictated(train_part, [0.0, 1.0], 60)
    dictated.training_users = validation.training_users
    messages = propagate_beliefs(small_denoiser(), dictated, 1)
    assert (messages[0][held_out_rows] == 0).all()
    assert (messages[0][~held_out_rows] != 0).any()


def test_validation_leaves_out_the_messages_of_its_users():
    """Without other users, an item is to them what it was before any message."""
    denoiser, plain = small_denoiser(), small_denoiser()
    train_part, valid = histories_of([[1, 2, 3, 4], [5, 6, 7]]), histories_of([[20], [21]])
    validation = validation_of(train_part, valid)
    own = [torch.randn(7, 4, generator=torch.manual_seed(m)) for m in range(2)]
    for channel, message in zip(denoiser.experts(), own, strict=True):
        channel.clusters.offset_IC.index_add_(0, torch.as_tensor(train_part.items), message)
    before = plain.views()  # what all items are in the mean is held as it was
    with_messages = [replace(was, q_IC=now.q_IC) for was, now in zip(before, denoiser.views(), strict=True)]
    denoiser._inverse_lifts = plain._inverse_lifts = lambda views: []
    plain_value = by_views(plain, validation, before)
    assert by_views(denoiser, validation, with_messages, own) == pytest.approx(plain_value, abs=1e-5)
    assert by_views(denoiser, validation, with_messages) != pytest.approx(plain_value, abs=1e-4)


def by_views(denoiser, validation, views, messages=None):
    denoiser.views = lambda: views
    try:
        return validation.log_likelihood(denoiser, messages)
    finally:
        del denoiser.views


def test_long_histories_are_inferred_in_parts():
    whole = histories_of([range(10), [3, 4]])
    parts = whole.split_long(4)
    blocks = list(infer_blocks(small_denoiser(), parts, None, Rivals(whole, ITEMS, 0)))
    positions = [block.interactions_BT for block in blocks]
    assert sorted(np.concatenate([part[part >= 0] for part in positions])) == list(range(12))
    assert max(part.shape[1] for part in positions) <= 4


@pytest.mark.slow  # a minute
def test_on_noisy_features_it_helps(tmp_path: Path):
    """Where features hardly show the clusters, users do."""
    noisy = PlantedOptions(
        users=400, items=150, length=(10, 20), clusters=6, interests=(1, 2), dimensions=12, feature_noise=1.0
    )
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


def test_evidence_is_of_the_content_whatever_the_messages():
    """Of items whose messages outweigh their features the evidence is that of the features."""
    denoiser = small_denoiser()
    context = denoiser.make_batch(small_histories([9, 5]))
    for channel in denoiser.experts():
        channel.clusters.offset_IC.zero_()
    views = denoiser.views()
    inference = denoiser.infer(context, views)
    torch.testing.assert_close(
        denoiser.content_only_ratio(inference, views, context), inference.ratio_BTM, rtol=1e-4, atol=1e-5
    )
    loud = torch.zeros(ITEMS, 4)
    loud[:, 0] = 1e4  # far beyond the evidence of any features
    for channel in denoiser.experts():
        channel.clusters.offset_IC.copy_(loud)
    views = denoiser.views()
    inference = denoiser.infer(context, views)
    for m, (channel, view, state) in enumerate(zip(denoiser.experts(), views, inference.states, strict=True)):
        q = channel.clusters.memberships_by_features(channel.cluster_space_ID)[context.items_BT]
        themes = (state.clusters.density_BTC * q).sum(-1)
        scale, gate = channel.scale(view), torch.sigmoid(channel.gate)
        points = inference.ratio_BTM[..., m] / scale - (1 - gate) * state.clusters.density_BTC[..., 0]
        expected = torch.where(
            state.present_BT > 0, scale * (points + (1 - gate) * themes), inference.ratio_BTM[..., m]
        )
        got = denoiser.content_only_ratio(inference, views, context)[..., m]
        torch.testing.assert_close(got[context.valid_BT > 0], expected[context.valid_BT > 0], rtol=1e-3, atol=1e-4)
