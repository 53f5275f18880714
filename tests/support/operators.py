"""Count the operators that torch dispatches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Operators(TorchDispatchMode):
    """Counts what is dispatched, views aside: they launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if not function.is_view:
            self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


def count_operators(work: Callable[[], object]) -> int:
    """Return how many operators ``work`` dispatches."""
    with Operators() as dispatched:
        work()
    return dispatched.counts.total()
