"""Every switch of the recipe turns off one part of the model, and nothing else."""

import pytest
import torch
from support.small_models import inferred, small_denoiser, small_histories

from demure.errors import RecipeError
from demure.training.run import train


def test_without_reliance_users_do_not_differ():
    denoiser = small_denoiser(reliance=False)
    responsibilities, others = torch.rand(4, 8, 2), torch.rand(4, 8, 3)
    shares = denoiser.cause_shares(responsibilities, others, denoiser.make_batch(small_histories([8] * 4)))
    assert torch.allclose(shares, shares[:1, :1].expand_as(shares))
    assert torch.allclose(shares.sum(-1), torch.ones(4, 8))
    interactions = inferred(denoiser, small_histories([8] * 4))["r"]
    assert interactions.std() > 0.05  # they are still weighed


def test_exclusive_causes_sum_to_one_at_most():
    items = small_histories([9, 5, 7])
    exclusive = inferred(small_denoiser(exclusive=True, missing=0.0), items)["r"]
    assert (exclusive.sum(-1) <= 1 + 1e-6).all()
    both = small_denoiser(missing=0.0)
    with torch.no_grad():
        both.two_causes_logit.fill_(3.0)
    assert (inferred(both, items)["r"].sum(-1) > 1.05).any()


def test_hard_evidence_is_all_or_nothing():
    denoiser = small_denoiser(hard=True)
    items = small_histories([9, 5, 7])
    inference = denoiser.infer(denoiser.make_batch(items), denoiser.views())
    weights = denoiser.source_weights(inference)
    assert set(weights.unique().tolist()) <= {0.0, 1.0}
    present = torch.stack([state.present_BT for state in inference.states], -1)
    assert (weights <= present).all()
    assert (weights.sum(-1)[(present.sum(-1) > 0) & (inference.r_BTM.sum(-1) > 0)] >= 1).all()
    assert torch.equal(weights.argmax(-1)[present.sum(-1) == 2], inference.r_BTM.argmax(-1)[present.sum(-1) == 2])


@pytest.mark.parametrize("causal", [True, False])
def test_a_causal_verdict_does_not_know_what_comes_later(causal):
    denoiser = small_denoiser(causal=causal)
    items = small_histories([8, 8])
    later = items.clone()
    later[:, 5:] = small_histories([40], seed=3)[0, -6:].reshape(2, 3)
    earlier, changed = inferred(denoiser, items)["r"][:, :5], inferred(denoiser, later)["r"][:, :5]
    assert torch.allclose(earlier, changed, atol=1e-6) == causal


def test_a_set_has_no_past(untimed, tmp_path):
    with pytest.raises(RecipeError, match="no order"):
        train(untimed, tmp_path / "run", overrides=["denoiser.causal=true"], device="cpu")
    assert not (tmp_path / "run").exists()


def test_no_epochs_is_the_start_itself(timed, tmp_path):
    report = train(timed, tmp_path / "run", overrides=["training.epochs=0"], device="cpu")
    assert (report.epochs, report.best_epoch, report.diagnosed) == (0, 0, True)
