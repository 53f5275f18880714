"""Something wrong with an item's content that the content itself shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """``reason``: what is wrong, as a clause about the item; ``suggestion``: what to do; ``others``: ids of the other
    items concerned."""

    reason: str
    suggestion: str
    others: tuple[str, ...] = ()
