"""One row of the work list before it is ranked, and the words for kinds and signs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

KINDS = {
    "content": "text or picture that fails its item",
    "duplicate": "the same product or picture more than once",
    "missing": "no picture or no text",
    "modality": "a whole modality that explains nothing",
    "label": "attribute unlike those of similar items",
}
"""Each kind of finding, with its heading."""

COLUMNS = (
    "rank",
    "item_id",
    "title",
    "kind",
    "modality",
    "sign",
    "choices",
    "cost",
    "reason",
    "suggestion",
    "text",
    "picture",
    "others",
)
"""The columns of the work list, in the CSV, the JSON and the frame alike."""


class Sign(IntEnum):
    """What speaks for a finding.

    ``SURE``: the content itself shows it. ``STRONG``: two independent signs agree. ``FAIR``: one sign is far out, and
    there is no second opinion. ``WEAK``: one sign, which content that is only unusual gives, too.
    """

    SURE = 0
    STRONG = 1
    FAIR = 2
    WEAK = 3

    @property
    def word(self) -> str:
        """The word of the column ``sign``."""
        return self.name.lower()

    @property
    def weight(self) -> float:
        """About the share of such findings that were right on real catalogues, a tenth of which had been swapped in
        some (benchmarks/LOG.md)."""
        return _WEIGHTS[self]


_WEIGHTS = {Sign.SURE: 1.0, Sign.STRONG: 0.9, Sign.FAIR: 0.2, Sign.WEAK: 0.02}


@dataclass(frozen=True)
class Finding:
    """Something to look at. ``item_id`` is empty for a whole modality.

    ``choices``: training choices concerned; ``cost``: how many of these the modality would be expected to explain if it
    were as good as elsewhere, None where there is no such estimate; ``others``: ids of further items concerned.
    """

    kind: str
    item_id: str
    modality: str
    sign: Sign
    choices: int
    reason: str
    suggestion: str
    cost: float | None = None
    others: tuple[str, ...] = ()


def cost_sentence(cost: float) -> str:
    """Return what a finding costs, in choices; empty below one choice, and where it is NaN."""
    return f"It costs about {cost:.0f} of the choices." if cost >= 1 else ""
