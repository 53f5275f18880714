"""UniSRec and MMMLP: the special parts against their slow forms."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from support.histories_by_hand import histories

from demure.baselines.learned import Task
from demure.baselines.mmmlp import FeatureMixer
from demure.baselines.registry import learned_options, make_learned
from demure.baselines.unisrec import ExpertMixture, whiten


@pytest.fixture
def task():
    """Item 3 has no image."""
    random = np.random.default_rng(1)
    content = {name: random.normal(size=(12, 5)).astype(np.float32) for name in ("image", "text")}
    content["image"][3] = 0
    return Task(histories([[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10, 11, 3]]), 12, content)


def made(name, task, **options):
    torch.manual_seed(0)
    return make_learned(name, learned_options(name, {"dim": 8, **options}), task)


def test_whitened_features_have_the_identity_as_covariance():
    """Of 6 correlated columns of rank 4, up to four directions are kept; items without features stay zero."""
    random = np.random.default_rng(0)
    features = (random.normal(size=(50, 4)) * [9, 3, 1, 0.3] @ random.normal(size=(4, 6)) + 5).astype(np.float32)
    features[[7, 20]] = 0
    present = features.any(axis=1)
    for most, columns in ((3, 3), (9, 4)):
        white = whiten(features, most)
        assert white.shape == (50, columns)
        assert np.allclose(np.cov(white[present].T), np.eye(columns), atol=1e-4)
        assert np.allclose(white[present].mean(0), 0, atol=1e-5)
        assert not white[~present].any()


def test_the_strongest_directions_are_kept():
    """Of columns with the standard deviations 1 and 5, one direction is the second column."""
    features = np.array([[1, 5], [-1, 5], [1, -5], [-1, -5]], dtype=np.float32)
    assert np.abs(whiten(features, 1)).ravel() == pytest.approx([0.75**0.5] * 4)


def test_the_mixture_of_experts_row_by_row():
    torch.manual_seed(0)
    mixture = ExpertMixture(5, 8, 3).eval()
    for parameter in (mixture.bias, mixture.gate):
        torch.nn.init.normal_(parameter)
    rows = torch.randn(4, 5)
    weight, bias, gate = (part.detach().double().numpy() for part in (mixture.weight, mixture.bias, mixture.gate))
    for row, mapped in zip(rows.double().numpy(), mixture(rows).detach().numpy(), strict=True):
        share = softmax(row @ gate)
        assert np.allclose(mapped, sum(share[g] * (row - bias[g]) @ weight[g] for g in range(3)), atol=1e-6)
    assert not torch.equal(mixture.train()(rows), mixture(rows))  # noise while learning


@pytest.mark.parametrize("name", ["unisrec", "mmmlp"])
def test_vectors_of_some_items_are_rows_of_all_and_lack_what_the_item_lacks(task, name):
    model = made(name, task).eval()
    rows = torch.tensor([3, 0, 11])
    assert torch.allclose(model.vectors()[rows], model.vectors_of(rows), atol=1e-6)
    changed = Task(task.train, 12, {"image": -task.content["image"], "text": task.content["text"]})
    other = made(name, changed).eval()
    same = torch.isclose(model.vectors(), other.vectors(), atol=1e-6).all(dim=1)
    assert same.tolist() == [item == 3 for item in range(12)]


@pytest.mark.parametrize("name", ["unisrec", "mmmlp"])
def test_with_many_items_they_learn_from_candidates(task, name, monkeypatch):
    from demure.baselines import sasrec

    monkeypatch.setattr(sasrec, "FULL_UP_TO", 8)
    model = made(name, task, candidates=6).train()
    generator = torch.Generator().manual_seed(0)
    model.step_loss(model.batches(generator)[0], generator).backward()
    assert model.items.weight.grad.is_sparse
    gradients = [part.grad for part in model.parameters() if part.grad is not None and not part.grad.is_sparse]
    assert len(gradients) > 5
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_feature_mixer_position_by_position():
    torch.manual_seed(0)
    mixer = FeatureMixer(2, 4, 5, 0.0).eval()
    mixed = torch.randn(1, 3, 2, 4)
    result = mixer(mixed)
    gelu, norm = torch.nn.functional.gelu, torch.nn.functional.layer_norm
    for s in range(2):
        stream = norm(mixed[0, :, s], (4,))
        hidden = [gelu(sum(mixer.first_STT[s, q, t] * stream[t] for t in range(q + 1))) for q in range(3)]
        for q in range(3):
            row = mixed[0, q, s] + sum(mixer.second_STT[s, q, t] * hidden[t] for t in range(q + 1))
            row = row + gelu(norm(row, (4,)) @ mixer.first_SDH[s]) @ mixer.second_SHD[s]
            assert torch.allclose(result[0, q, s], row, atol=1e-6)
