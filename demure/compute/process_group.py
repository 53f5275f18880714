"""Several processes that train one model, each on its part of every batch (`torchrun`, `accelerate launch`).

All of them draw the same random numbers and hold the same weights; the gradients of a step are summed over them. This
uses ``torch.distributed`` directly: docs/training.md says why neither DistributedDataParallel nor Accelerate fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from demure.compute.launcher import process_ranks
from demure.errors import ProcessGroupError

_LARGE = 1 << 20  # entries from which a tensor is reduced by itself, without a copy


@dataclass(frozen=True)
class ProcessGroup:
    """``size`` processes, of which this one has number ``rank``; by default a single process."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> tuple[ProcessGroup, torch.device]:
        """Join the processes named by the launcher's environment; return the group and the device of this process.

        Raises ``MachineError`` if RANK, WORLD_SIZE and LOCAL_RANK contradict each other, ``ProcessGroupError`` if the
        other processes cannot be reached.
        """
        ranks = process_ranks()
        if ranks.world < 2:
            return cls(), device
        if device.type == "cuda":
            device = torch.device("cuda", ranks.local)
            torch.cuda.set_device(device)
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            raise ProcessGroupError(
                f"the {ranks.world} processes do not find each other ({str(error).splitlines()[0]})",
                where="WORLD_SIZE",
                remedy="start them with torchrun or accelerate launch",
            ) from error
        return cls(ranks.rank, ranks.world), device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def leave(self) -> None:
        """End the communication with the other processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def own_part(self, batch: Tensor) -> Tensor:
        """Return the rows of ``batch`` that this process computes."""
        return batch[self.rank :: self.size] if self.size > 1 else batch

    def barrier(self) -> None:
        """Wait until every process has called this."""
        self.sum(torch.zeros(1))

    def all_reduce(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes. Raises ``ProcessGroupError`` if one of them ended."""
        if self.size == 1:
            return
        small: list[Tensor] = []
        try:
            for tensor in tensors:
                if tensor.numel() >= _LARGE:
                    dist.all_reduce(tensor)
                else:
                    small.append(tensor)
            if small:  # one message for all small tensors
                flat = torch.cat([tensor.flatten() for tensor in small])
                dist.all_reduce(flat)
                parts = torch.split(flat, [tensor.numel() for tensor in small])
                for tensor, part in zip(small, parts, strict=True):
                    tensor.copy_(part.view_as(tensor))
        except RuntimeError as error:
            raise _process_ended() from error

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a CPU tensor over all processes, on the CPU."""
        if self.size == 1:
            return tensor
        moved = tensor.to(self._device())
        self.all_reduce([moved])
        return moved.cpu()

    def broadcast_weights(self, module: nn.Module) -> None:
        """Copy the first process' weights to all, in case different machines computed them differently."""
        if self.size == 1:
            return
        try:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)
        except RuntimeError as error:
            raise _process_ended() from error

    def _device(self) -> torch.device:
        return torch.device(f"cuda:{torch.cuda.current_device()}" if dist.get_backend() == "nccl" else "cpu")


def _process_ended() -> ProcessGroupError:
    return ProcessGroupError(
        "another process of this training ended",
        remedy="its own message says why; the last checkpoint is kept: start all of them again with --resume",
    )
