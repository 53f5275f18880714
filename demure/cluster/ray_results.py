"""What comes of work on a Ray cluster: its result, the error that it raised, or a worker that was lost."""

from __future__ import annotations

from typing import Any

import ray
import ray.exceptions

from demure.errors import MachineError


class WorkerLost(MachineError):
    """A worker ended, or its result was lost with its machine."""


def result_of(reference: Any) -> Any:
    """Return a result. Raises what the work raised, and ``MachineError`` if its worker was lost too often."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, BaseException):
            raise cause from None
        raise
    except ray.exceptions.RayError as error:
        text = " ".join(str(error).split())
        if "No module named 'demure'" in text:
            raise MachineError(
                "demure is not installed on the workers",
                where="--on ray",
                remedy="install the same demure on all machines of the cluster",
            ) from error
        problem = "a worker was lost, and so it was when its part was tried again"
        if isinstance(error, ray.exceptions.OutOfMemoryError) or "memory" in text[:500].lower():
            problem += ", out of memory"
        remedy = "give each more memory with fewer --ray-workers; the logs of Ray say how it ended"
        raise WorkerLost(problem, where="--on ray", remedy=remedy) from error
