"""Validation: held-out interactions that training never reads, always the same ones."""

import numpy as np
import pytest
import torch
from support.histories_by_hand import histories as histories_of
from support.small_models import ITEMS, inferred, small_denoiser

from demure.training.rivals import Rivals
from demure.training.validation import Validation


def histories(users, seed=0, shortest=3):
    random = np.random.default_rng(seed)
    return histories_of([random.permutation(ITEMS)[: random.integers(shortest, 9)] for _ in range(users)])


def validation_of(train, valid, **changes):
    return Validation(
        Rivals(train, ITEMS, 0), valid, **{"most": 100, "longest": 50, "held_out": 0.3, "seed": 0, **changes}
    )


def test_the_first_validation_interaction_is_predicted_from_the_history():
    denoiser = small_denoiser()
    train, valid = histories_of([[1, 2, 3], [4, 5], [6], [7, 8]]), histories_of([[9, 10], [], [11], [12]])
    validation = validation_of(train, valid)
    assert validation.users.tolist() == [0, 2, 3]
    assert validation.training_users.tolist() == [0, 1, 3]  # one interaction is too few to learn from
    values = []
    for history, target in [([1, 2, 3], 9), ([6], 11), ([7, 8], 12)]:
        observed = torch.tensor([[True] * len(history) + [False]])
        values.append(float(inferred(denoiser, torch.tensor([[*history, target]]), observed)["total"][0, -1].log()))
    assert validation.log_likelihood(denoiser) == pytest.approx(np.mean(values), rel=1e-4)


@pytest.mark.parametrize("by_split", [True, False])
def test_validation_is_deterministic_and_the_seed_chooses(by_split):
    denoiser, train = small_denoiser(), histories(60)
    valid = histories(60, seed=1) if by_split else histories_of([[]] * 60)
    first, same, other = (validation_of(train, valid, most=5, seed=seed) for seed in (0, 0, 1))
    assert len(first.users) == 5
    assert first.users.tolist() == same.users.tolist() != other.users.tolist()
    value = first.log_likelihood(denoiser)
    assert first.log_likelihood(denoiser) == value == same.log_likelihood(denoiser) != other.log_likelihood(denoiser)


def test_without_a_split_its_users_are_kept_from_training():
    validation = validation_of(histories(60), histories_of([[]] * 60))
    assert len(validation.users) == 6
    assert sorted([*validation.users, *validation.training_users]) == list(range(60))


def test_a_validation_split_of_strangers_is_none():
    """None of its users has a training interaction: others are held out as if there were no split."""
    train = histories_of([*([1, 2, 3, k] for k in range(4, 24)), []])
    validation = validation_of(train, histories_of([[]] * 20 + [[5]]))
    assert len(validation.users) == 2
    assert validation.log_likelihood(small_denoiser()) != 0


def test_nobody_to_hold_out():
    validation = validation_of(histories_of([[1], [2]]), histories_of([[], []]))
    assert validation.log_likelihood(small_denoiser()) == 0
    assert not len(validation.training_users)
