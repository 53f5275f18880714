"""A training step in which nothing depends on what the batch holds, recorded once for each shape and then replayed.

A step of the denoiser is thousands of small operators. An accelerator computes them faster than a host can launch them
one by one. Here the batch is one padded tensor, no shape depends on its values, and the host reads nothing back; so the
forward and the backward pass can be recorded as a CUDA graph, whose replay is a single launch (Gray, "Getting started
with CUDA graphs", NVIDIA 2019; ``torch.cuda.CUDAGraph``).

Shape suffixes: B users of a batch, T positions, R rivals of content, N candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from demure.model.batch import SideInformation
from demure.model.candidates import DrawnItems
from demure.model.denoiser import Denoiser

if TYPE_CHECKING:
    from demure.compute.process_group import ProcessGroup
    from demure.training.rivals import Rivals

_ROWS, _POSITIONS = 32, 20
"""Batches are padded to multiples of these: few shapes, so few recordings."""
_MIN_TOTAL = 1e-12


class Recording(Protocol):
    """Something that records what is computed on fixed tensors, and computes it again on their new values."""

    def record(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Record ``work`` and return its results, which only a replay fills."""

    def replay(self) -> None:
        """Compute the results again from what the tensors hold now."""


class CudaGraph:
    """A :class:`Recording` on a GPU; the same work has run there before."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        with torch.cuda.graph(self._graph):
            return work()

    def replay(self) -> None:
        self._graph.replay()


@dataclass
class _Recorded:
    recording: Recording
    inputs: list[Tensor]
    results: list[Tensor]


class StaticStep:
    """Computes this process' part of the loss of a batch, as ``denoiser_loop.batch_loss`` defines it, with gradients.

    A shape is computed operator by operator at first. When it comes again it is recorded with ``new_recording``, if
    there is one, and from then on replayed. ``report`` gets a sentence where recording fails; then all steps are
    computed operator by operator. The catalogue is not a large one.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        rivals: Rivals,
        processes: ProcessGroup,
        new_recording: Callable[[], Recording] | None,
        report: Callable[[str], None],
    ) -> None:
        self._denoiser, self._rivals, self._processes = denoiser, rivals, processes
        self._new_recording, self._report = new_recording, report
        self._samplers = denoiser.samplers(denoiser.settings.candidates)
        self._recorded: dict[object, _Recorded | None] = {}

    def __call__(
        self, interactions_BT: np.ndarray, observed_BT: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, list[tuple[nn.Parameter, Tensor]]]:
        """Return the loss of a batch of training interactions (B, T), -1 for padding, and each parameter's gradient.

        Both are valid until the next step.
        """
        denoiser, device = self._denoiser, self._denoiser.popularity_I.device
        drawn = [sampler.draw(generator) for sampler in self._samplers]
        n_masked = int(((interactions_BT >= 0) & ~observed_BT.numpy()).sum())
        rows = self._processes.own_part(torch.arange(len(interactions_BT))).numpy()
        interactions_BT, observed_BT = _padded(interactions_BT[rows], observed_BT[rows])
        items_BT = np.where(interactions_BT >= 0, self._rivals.train.items[interactions_BT], -1)
        side = self._rivals.side_information(interactions_BT)
        parameters = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
        batch = [torch.as_tensor(items_BT), observed_BT, torch.tensor(float(n_masked)), side.period_BT]
        batch += [] if side.rival_ratio_BTR is None else [side.rival_ratio_BTR]
        inputs = [tensor.to(device, non_blocking=True) for tensor in batch] + [items.items_N for items in drawn]
        complete = [items.complete for items in drawn]

        def work_on(inputs: Sequence[Tensor]) -> list[Tensor]:
            items_BT, observed_BT, n_masked, period_BT, *rest = inputs
            ratio_BTR = rest.pop(0) if side.rival_ratio_BTR is not None else None
            views = denoiser.views_with([DrawnItems(*each) for each in zip(rest, complete, strict=True)])
            batch = denoiser.make_batch(items_BT, observed_BT, SideInformation(period_BT, ratio_BTR))
            batch = replace(batch, static_shapes=True)
            held_out_BT = (batch.valid_BT > 0) & (batch.observed_BT == 0)
            total_BT = denoiser.infer(batch, views).total_BT.clamp(min=_MIN_TOTAL)
            log_likelihood = total_BT.where(held_out_BT, 1.0).log().sum()
            prior = denoiser.negative_log_prior(len(self._rivals.train.items)) / self._processes.size
            loss = prior - log_likelihood / n_masked
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            return [loss.detach(), *gradients]

        key = (tuple((tensor.shape, tensor.dtype) for tensor in inputs), tuple(map(id, parameters)))
        loss, *gradients = self._compute(key, inputs, work_on)
        return loss, list(zip(parameters, gradients, strict=True))

    def _compute(
        self, key: object, inputs: list[Tensor], work_on: Callable[[Sequence[Tensor]], list[Tensor]]
    ) -> list[Tensor]:
        if self._new_recording is None or key not in self._recorded:
            self._recorded[key] = None
            return _beside_the_main_stream(lambda: work_on(inputs))
        recorded = self._recorded[key]
        if recorded is None:
            recording, fixed = self._new_recording(), [tensor.clone() for tensor in inputs]
            try:
                recorded = _Recorded(recording, fixed, recording.record(lambda: work_on(fixed)))
            except RuntimeError as error:
                self._new_recording = None
                self._report(f"steps are launched operator by operator: no CUDA graph could be recorded ({error})")
                return work_on(inputs)
            self._recorded[key] = recorded
        for own, new in zip(recorded.inputs, inputs, strict=True):
            own.copy_(new, non_blocking=True)
        recorded.recording.replay()
        return recorded.results


def _beside_the_main_stream(work: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Compute on a stream of its own where there are streams: a CUDA graph must be warmed up so."""
    if not torch.cuda.is_available():
        return work()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        results = work()
    torch.cuda.current_stream().wait_stream(stream)
    return results


def _padded(interactions_BT: np.ndarray, observed_BT: Tensor) -> tuple[np.ndarray, Tensor]:
    """Return both with rows and positions of padding, up to the next multiples."""
    rows, positions = (
        -size % multiple for size, multiple in zip(interactions_BT.shape, (_ROWS, _POSITIONS), strict=True)
    )
    padded_BT = np.pad(interactions_BT, ((0, rows), (0, positions)), constant_values=-1)
    return padded_BT, nn.functional.pad(observed_BT, (0, positions, 0, rows), value=True)
