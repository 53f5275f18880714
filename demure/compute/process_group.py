"""Several processes that train one model, each on its part of every batch (`torchrun`, `accelerate launch`).

All of them draw the same random numbers and hold the same weights; what a step learns is added up over them. That is
done by hand on ``torch.distributed``: see docs/training.md for why neither DistributedDataParallel nor Accelerate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from demure.compute.launcher import ranks
from demure.errors import TeamError

_ALONE = 1 << 20  # numbers from which a gradient travels by itself, without a copy


@dataclass(frozen=True)
class Team:
    """``size`` processes, of which this one is ``rank``; alone where there is nothing to join."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> tuple[Team, torch.device]:
        """The team that the launcher's environment (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``) speaks of, and the
        device of this process. Raises ``MachineError`` if that contradicts itself, ``TeamError`` if the others cannot
        be reached."""
        found = ranks()
        if found.world < 2:
            return cls(), device
        if device.type == "cuda":
            device = torch.device("cuda", found.local)
            torch.cuda.set_device(device)
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            raise TeamError(
                f"the {found.world} processes do not find each other ({str(error).splitlines()[0]})",
                where="WORLD_SIZE",
                remedy="start them with torchrun or accelerate launch",
            ) from error
        return cls(found.rank, found.world), device

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def leave(self) -> None:
        """The end of the common work."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def own(self, batch: Tensor) -> Tensor:
        """This process' part of what all of them see."""
        return batch[self.rank :: self.size] if self.size > 1 else batch

    def wait(self) -> None:
        """Until all are here."""
        self.sum_of(torch.zeros(1))

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the team. Raises ``TeamError`` if another process is gone."""
        if self.size == 1:
            return
        small: list[Tensor] = []
        try:
            for tensor in tensors:
                if tensor.numel() >= _ALONE:
                    dist.all_reduce(tensor)
                else:
                    small.append(tensor)
            if small:
                flat = torch.cat([tensor.flatten() for tensor in small])
                dist.all_reduce(flat)
                for tensor, part in zip(small, flat.split([tensor.numel() for tensor in small]), strict=True):
                    tensor.copy_(part.view_as(tensor))
        except RuntimeError as error:
            raise _gone() from error

    def sum_of(self, tensor: Tensor) -> Tensor:
        """The sum over the team of a tensor on the CPU, there again."""
        if self.size == 1:
            return tensor
        moved = tensor.to(self._device())
        self.add_up([moved])
        return moved.cpu()

    def agree(self, module: nn.Module) -> None:
        """Give all the weights of the first, in case that their machines compute them differently."""
        if self.size == 1:
            return
        try:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, 0)
        except RuntimeError as error:
            raise _gone() from error

    def _device(self) -> torch.device:
        return torch.device(f"cuda:{torch.cuda.current_device()}" if dist.get_backend() == "nccl" else "cpu")


def _gone() -> TeamError:
    return TeamError(
        "another process of this training ended",
        remedy="its own message says why; the last checkpoint is kept: start all of them again with --resume",
    )
