"""The reason of a verdict, as a code with its arguments and as a sentence that claims no more than the numbers do.

`demure inspect`, its JSON and the page take their reasons from here; the page's script fills the same ``SENTENCES``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from demure.diagnosis.placebo import CANNOT_TELL_REASON
from demure.diagnosis.verdict import ModalityVerdict, Support, Verdict

_NAMED = 2  # supports that a sentence about noise names


class ReasonCode(StrEnum):
    """The kinds of reasons.

    NO_SUPPORT does not mean that there are no ``supports``: where the evidence is not positive, these are the closest
    of the other choices, and not even they make the choice likelier than popularity does.
    """

    MISSING = "missing"
    CANNOT_TELL = "cannot_tell"
    ONLY_CHOICE = "only_choice"
    SIMILAR = "similar"
    NO_SINGLE_SUPPORT = "no_single_support"
    RELIANCE = "reliance"
    RELIANCE_CLOSEST = "reliance_closest"
    NO_SUPPORT = "no_support"
    NO_SUPPORT_OF_ONE = "no_support_of_one"
    INCONCLUSIVE = "inconclusive"
    WEAK = "weak"
    OTHER_STRONGER = "other_stronger"
    OTHER_RELIED_ON = "other_relied_on"


SENTENCES: dict[ReasonCode, str] = {
    ReasonCode.MISSING: "the item has no {modality}",
    ReasonCode.CANNOT_TELL: CANNOT_TELL_REASON,
    ReasonCode.ONLY_CHOICE: "the only choice: there is nothing to compare it with",
    ReasonCode.SIMILAR: "like {items}",
    ReasonCode.NO_SINGLE_SUPPORT: "no single other choice stands out",
    ReasonCode.RELIANCE: "little evidence; a point of interest because the user relies on {modality} elsewhere",
    ReasonCode.RELIANCE_CLOSEST: (
        "little evidence (closest: {items}); a point of interest because the user relies on {modality} elsewhere"
    ),
    ReasonCode.NO_SUPPORT: "none of the {other_choices} other choices supports it",
    ReasonCode.NO_SUPPORT_OF_ONE: "the other choice does not support it",
    ReasonCode.INCONCLUSIVE: "like {items}, but not enough to tell",
    ReasonCode.WEAK: "like {items}, but other causes explain the choice better",
    ReasonCode.OTHER_STRONGER: "like {items}, but the evidence for its {other_modality} is stronger",
    ReasonCode.OTHER_RELIED_ON: "like {items}, but the user relies more on {other_modality}",
}
"""The sentence of each code, with the names of the arguments in braces."""

DEVIATION_SENTENCES = {
    "typical": "it explains its choices about as well as is typical, or too few chose it to tell",
    "below": "it explains its choices worse than is typical",
    "above": "it explains its choices better than is typical",
}
"""How an item's modality compares with the other items (``flagging.deviations``)."""
DEVIATION_WORDS = {"typical": "about typical", "below": "worse than typical", "above": "better than typical"}
"""The same, beside an item in a list."""


@dataclass(frozen=True)
class Reason:
    """Why ``modality`` got its verdict: a ``code`` with the arguments of its sentence.

    ``supports``: the other choices that the sentence names; ``other_choices``: how many the user made;
    ``other_modality``: the modality of the same item that explains the choice better, where the sentence names it.
    """

    code: ReasonCode
    modality: str
    supports: tuple[Support, ...] = ()
    other_choices: int = 0
    other_modality: str | None = None

    def sentence(self) -> str:
        """Return the reason as a sentence."""
        return SENTENCES[self.code].format(
            modality=self.modality,
            items=join_names([support.name for support in self.supports]),
            other_choices=self.other_choices,
            other_modality=self.other_modality,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the code and its arguments, for JSON; items by their ids."""
        return {
            "code": self.code.value,
            "modality": self.modality,
            "items": [support.item_id for support in self.supports],
            "other_choices": self.other_choices,
            "other_modality": self.other_modality,
        }


def explain(
    modality: str,
    verdicts: Mapping[str, ModalityVerdict],
    other_choices: int,
    cannot_tell: Collection[str] = (),
) -> Reason:
    """Return the reason of the verdict on ``modality``.

    ``verdicts``: modality -> verdict, with its supports, of one interaction; ``other_choices``: how many others the
    user made; ``cannot_tell``: modalities whose features explain no more than permuted features.
    """
    own = verdicts[modality]
    supports = own.supports

    def reason(code: ReasonCode, named: int = 0, other_modality: str | None = None) -> Reason:
        return Reason(code, modality, supports[:named], other_choices, other_modality)

    if own.verdict is Verdict.MISSING:
        return reason(ReasonCode.MISSING)
    if modality in cannot_tell:
        return reason(ReasonCode.CANNOT_TELL)
    if other_choices < 1:
        return reason(ReasonCode.ONLY_CHOICE)
    if own.verdict is Verdict.POI:
        if own.evidence > 0:
            return reason(ReasonCode.SIMILAR, len(supports)) if supports else reason(ReasonCode.NO_SINGLE_SUPPORT)
        # `assign_verdicts` asks a point of interest for positive evidence: only runs of an earlier version get here.
        return reason(ReasonCode.RELIANCE_CLOSEST, 1) if supports else reason(ReasonCode.RELIANCE)
    if own.evidence <= 0 or not supports:
        return reason(ReasonCode.NO_SUPPORT if other_choices > 1 else ReasonCode.NO_SUPPORT_OF_ONE)
    others = [name for name in verdicts if name != modality]
    best = max(others, key=lambda name: verdicts[name].poi_probability, default=None)
    if best is None or verdicts[best].poi_probability <= own.poi_probability:
        return reason(ReasonCode.INCONCLUSIVE if own.undecided else ReasonCode.WEAK, _NAMED)
    stronger = verdicts[best].evidence > own.evidence
    return reason(ReasonCode.OTHER_STRONGER if stronger else ReasonCode.OTHER_RELIED_ON, _NAMED, best)


def with_reasons(
    verdicts: Mapping[str, ModalityVerdict], other_choices: int, cannot_tell: Collection[str] = ()
) -> dict[str, ModalityVerdict]:
    """Return the verdicts of one interaction, each with its reason; parameters as of :func:`explain`."""
    return {
        name: replace(verdict, reason=explain(name, verdicts, other_choices, cannot_tell))
        for name, verdict in verdicts.items()
    }


def describe_deviation(modality: str, row: Mapping[Any, Any], *, informative: bool = True) -> str:
    """Return how an item's ``modality`` compares with the other items (a row of ``flagging.deviations``), in one
    sentence; ``informative``: whether its features explain more than permuted features. ``below`` of the row is
    positive where the item explains its choices worse than is typical."""
    if not informative:
        return f"{modality}: {CANNOT_TELL_REASON}"
    count = int(row["interactions"])
    noise = f"noise in {100 * row['noise']:.0f} % of {count} choice{'s' if count != 1 else ''}"
    side = "typical" if not row["clearly"] else "below" if row["below"] > 0 else "above"
    return f"{modality}: {noise}; {DEVIATION_SENTENCES[side]}"


def join_names(names: Sequence[str]) -> str:
    """Return ``A``, ``A and B`` or ``A, B and C``."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
