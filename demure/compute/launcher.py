"""Whether this is one of several processes that `torchrun` or `accelerate launch` started, and which."""

from __future__ import annotations

import os
from dataclasses import dataclass

from demure.errors import MachineError


@dataclass(frozen=True)
class Ranks:
    """``rank`` of ``world`` processes, ``local`` among those on this machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    def device(self, asked: str) -> str:
        """``asked``, or for ``auto`` the accelerator of this process."""
        if asked != "auto" or self.world == 1:
            return asked
        import torch

        return f"cuda:{self.local % torch.cuda.device_count()}" if torch.cuda.is_available() else asked


ALONE = Ranks()


def ranks() -> Ranks:
    """What the launcher says. Raises ``MachineError`` if it contradicts itself."""
    try:
        found = Ranks(*(int(os.environ.get(name, default)) for name, default in _VARIABLES))
    except ValueError as error:
        raise MachineError("RANK, WORLD_SIZE and LOCAL_RANK are not numbers", remedy="unset them") from error
    if not 0 <= found.rank < found.world:
        raise MachineError(f"RANK {found.rank} of WORLD_SIZE {found.world}", remedy="unset them, or use torchrun")
    return found


def leads() -> bool:
    """Whether this process speaks for all: the first, and every one where the launcher contradicts itself."""
    try:
        return ranks().rank == 0
    except MachineError:
        return True


_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
