"""Read the environment of `torchrun` or `accelerate launch`: how many processes there are, and which this one is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from demure.errors import MachineError

_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@dataclass(frozen=True)
class ProcessRanks:
    """This process is number ``rank`` of ``world`` processes, and number ``local`` on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    def device(self, requested: str) -> str:
        """Return ``requested``, but for ``auto`` among several processes the accelerator of this process."""
        if requested != "auto" or self.world == 1:
            return requested
        import torch

        return f"cuda:{self.local % torch.cuda.device_count()}" if torch.cuda.is_available() else requested


ALONE = ProcessRanks()


def process_ranks() -> ProcessRanks:
    """Return the ranks that the launcher set. Raises ``MachineError`` if they contradict each other."""
    try:
        ranks = ProcessRanks(*(int(os.environ.get(name, default)) for name, default in _VARIABLES))
    except ValueError as error:
        raise MachineError("RANK, WORLD_SIZE and LOCAL_RANK are not numbers", remedy="unset them") from error
    if not 0 <= ranks.rank < ranks.world:
        raise MachineError(f"RANK {ranks.rank} of WORLD_SIZE {ranks.world}", remedy="unset them, or use torchrun")
    return ranks


def is_first_process() -> bool:
    """Return whether this process prints and writes: the first one, or any if the ranks contradict each other."""
    try:
        return process_ranks().rank == 0
    except MachineError:
        return True
