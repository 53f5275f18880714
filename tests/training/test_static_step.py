"""The step of an accelerator, on a CPU: recorded, it computes what the plain step computes, and launches little."""

from collections import Counter

import numpy as np
import pytest
import torch
from support.small_models import ITEMS, small_denoiser
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from demure.compute.process_group import ProcessGroup
from demure.data.histories import Histories
from demure.recipe.load import load_recipe
from demure.training.batches import draw_observed
from demure.training.denoiser_loop import batch_loss, parameter_groups
from demure.training.optimizer import Optimizer
from demure.training.rivals import Rivals
from demure.training.static_step import StaticStep


class HostRecording(TorchDispatchMode):
    """Records every operator with its tensors, and runs the same operators on the same tensors again.

    As a CUDA graph does, it knows nothing of the Python between them: whatever the host read, counted or chose while it
    was recording is as it was then.
    """

    made = 0

    def __init__(self):
        super().__init__()
        HostRecording.made += 1
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default, "the host reads a number"
        assert function is not torch.ops.aten.nonzero.default, "a shape depends on values"
        # Aliases: a later operator may change the shape of a tensor in place.
        call = tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs or {}))
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.calls.append((function, *call, tree_map_only(torch.Tensor, torch.Tensor.detach, result)))
        return result

    def record(self, work):
        with self:
            return work()

    @torch.no_grad()
    def replay(self):
        for function, args, kwargs, result in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(*(x if isinstance(x, tuple | list) else [x] for x in (result, again)), strict=True):
                if old is not None and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Launches(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not function.is_view:
            self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


def setting(with_rivals=False, **options):
    random = np.random.default_rng(0)
    lengths = random.integers(2, 12, 30)
    train = Histories(np.append(0, lengths.cumsum()), random.integers(0, ITEMS, lengths.sum()), None)
    denoiser = small_denoiser(**options).requires_grad_(True)
    denoiser.settings = load_recipe("default", ["denoiser.candidates=16", "denoiser.rounds=2"]).denoiser
    rivals = Rivals(train, ITEMS, 0)
    if with_rivals:
        rivals.fit(denoiser)
    return denoiser, rivals


def batches(rivals, count, users=20):
    generator = torch.Generator().manual_seed(5)
    for _ in range(count):
        chosen = torch.randperm(30, generator=generator)[:users].numpy()
        interactions_BT = rivals.train.interaction_indices(chosen, 10)
        yield interactions_BT, draw_observed(interactions_BT, 0.3, generator)


def plain(denoiser, rivals, batch, seed):
    loss = batch_loss(denoiser, rivals, *batch, torch.Generator().manual_seed(seed), ProcessGroup())
    parameters = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
    return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("with_rivals", [False, True])
def test_recorded_steps_are_the_plain_steps(with_rivals):
    denoiser, rivals = setting(with_rivals, missing=0.2)
    HostRecording.made, reports = 0, []
    step = StaticStep(denoiser, rivals, ProcessGroup(), HostRecording, reports.append)
    for seed, batch in enumerate(batches(rivals, 3)):
        with torch.no_grad():  # as an optimizer does: in place
            denoiser.log_cause_prior_K += 0.05 * seed
        expected, expected_gradients = plain(denoiser, rivals, batch, seed)
        loss, gradients = step(*batch, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
        for (_, gradient), wanted in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-5)
    assert (HostRecording.made, reports) == (1, [])


def test_another_shape_is_recorded_anew():
    denoiser, rivals = setting()
    HostRecording.made = 0
    step = StaticStep(denoiser, rivals, ProcessGroup(), HostRecording, lambda text: None)
    for users in (20, 30, 20, 30):  # both are padded to 32 rows
        for batch in batches(rivals, 1, users):
            step(*batch, torch.Generator().manual_seed(0))
    assert HostRecording.made == 1
    for offset in denoiser.offsets():
        offset.requires_grad_(False)
    for _ in range(2):
        for batch in batches(rivals, 1):
            _, gradients = step(*batch, torch.Generator().manual_seed(0))
    assert HostRecording.made == 2
    assert len(gradients) == sum(parameter.requires_grad for parameter in denoiser.parameters())


def test_where_recording_fails_one_note_is_reported_and_the_steps_go_on():
    class Fails(HostRecording):
        def record(self, work):
            raise RuntimeError("operation not permitted when stream is capturing")

    denoiser, rivals = setting()
    reports = []
    step = StaticStep(denoiser, rivals, ProcessGroup(), Fails, reports.append)
    for seed, batch in enumerate(batches(rivals, 3)):
        expected, _ = plain(denoiser, rivals, batch, seed)
        torch.testing.assert_close(step(*batch, torch.Generator().manual_seed(seed))[0], expected, rtol=1e-5, atol=1e-6)
    assert len(reports) == 1
    assert "not permitted" in reports[0]


def test_a_recorded_step_launches_few_operators_however_large_the_batch():
    """The replay of a CUDA graph is one launch more. Adam steps over all parameters at once, as on an accelerator."""
    counts = []
    for users in (8, 30):
        denoiser, rivals = setting()
        recipe = load_recipe("default", [])
        optimizer = Optimizer(parameter_groups(denoiser, recipe.training), (), ProcessGroup(), foreach=True)
        step = StaticStep(denoiser, rivals, ProcessGroup(), HostRecording, lambda text: None)
        for batch in batches(rivals, 3, users):
            with Launches() as launches:
                real, HostRecording.replay = HostRecording.replay, lambda self: None
                try:
                    loss, gradients = step(*batch, torch.Generator().manual_seed(0))
                finally:
                    HostRecording.replay = real
                optimizer.step(loss, "a step", "the rates", 1.0, gradients)
        counts.append(launches.counts.total())
    assert counts[0] == counts[1]
    assert counts[0] < 400, launches.counts
