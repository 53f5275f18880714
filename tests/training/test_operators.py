"""How many operators a training step dispatches: on an accelerator each is a launch, whatever its size."""

import numpy as np
import torch
from support.operators import count_operators
from support.small_models import small_denoiser

from demure.compute.process_group import ProcessGroup
from demure.recipe.load import load_recipe
from demure.training.denoiser_loop import parameter_groups
from demure.training.optimizer import Optimizer

MOST = 5_500
"""Operators of a step on one group of histories of similar length, two modalities; 5,040 with torch 2.14."""


def operators(users: int, length: int) -> int:
    recipe, denoiser = load_recipe("default", []), small_denoiser().requires_grad_(True)
    denoiser.settings = recipe.denoiser
    optimizer = Optimizer(parameter_groups(denoiser, recipe.training), (), ProcessGroup())
    items_BT = np.random.default_rng(0).integers(0, 40, (users, length))
    observed_BT = torch.arange(length) % 5 > 0

    def step():
        batch = denoiser.make_batch(torch.as_tensor(items_BT), observed_BT.expand(users, length))
        values, _ = denoiser.log_likelihood(batch, denoiser.views(torch.Generator().manual_seed(0)))
        optimizer.step(denoiser.negative_log_prior(1000) - values.mean(), "a step", "the rates", clip=1.0)

    return count_operators(step)


def test_a_step_dispatches_as_few_operators_as_were_measured():
    assert operators(8, 10) <= MOST


def test_their_number_does_not_grow_with_users_or_histories():
    assert operators(64, 40) == operators(8, 10)
