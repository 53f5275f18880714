"""How far a run's diagnosis lies above its placebo, and what explains the choices besides content, as sentences.

A placebo is the same diagnosis with the features of one modality permuted among the items (towards users: shuffled);
whatever it still explains is not due to the content. ``run.json`` holds both under ``placebo`` and ``causes``; older
runs hold neither, and no claim is made about them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from demure.features.kinds import NOUNS, Noun, noun, recorded_kind

if TYPE_CHECKING:
    from demure.runs.manifest import RunManifest

CANNOT_TELL = "cannot tell"
"""Printed in place of a share where a modality's features explain nothing."""
CANNOT_TELL_REASON = f"{CANNOT_TELL}, its features explain no more than shuffled ones"
_RIVALS = {
    "taste": "hidden taste",
    "transition": "what goes with previous choices",
    "popularity": "what was popular at the time, or nothing known,",
}


@dataclass(frozen=True)
class PlaceboResult:
    """``mean_probability`` of a point of interest with permuted features, the ``excess`` of the real mean probability
    over it, and the 95 % interval of the excess, ``low`` to ``high``."""

    mean_probability: float
    excess: float
    low: float
    high: float

    def above(self) -> tuple[str, str]:
        """Return the excess and its interval in words: ``19 %`` and ``17 to 21 %``."""
        excess, low, high = (_digits(value, least=self.low) for value in (self.excess, self.low, self.high))
        return f"{excess} %", f"{low} to {high} %"


@dataclass(frozen=True)
class Modality:
    """One modality in the manifest. ``encoder``: a phrase that names what made its features, or an empty one; ``kind``:
    a key of ``NOUNS``, or another word; ``placebo`` is None for an older run; ``admitted`` is False where the features
    added nothing to the rival causes on held-out choices."""

    name: str
    kind: str = ""
    encoder: str = ""
    placebo: PlaceboResult | None = None
    admitted: bool = True

    @property
    def informative(self) -> bool:
        """Whether the features explain more than permuted features; an older run gets the benefit of the doubt."""
        return self.admitted and (self.placebo is None or self.placebo.low > 0)

    @property
    def noun(self) -> Noun:
        """What users call the content: a picture, or a vector of its name."""
        return noun(self.kind, self.name)

    def sentence(self) -> str | None:
        """Return the result of the placebo in one sentence; None if there was no placebo."""
        if not self.informative:
            return f"{self._subject(named=True)}{self.encoder and f', {self.encoder},'} explain nothing here."
        if self.placebo is None:
            return None
        excess, interval = self.placebo.above()
        plural = self.noun.plural if self.kind in NOUNS else "features"
        return (
            f"{self._subject(named=self.name != self.kind)} explain {excess} of the choices more than "
            f"shuffled {plural} do ({interval})."
        )

    def _subject(self, *, named: bool) -> str:
        if self.kind not in NOUNS:
            return f"The {self.noun.plural}"
        return self.noun.plural.capitalize() + (f" (`{self.name}`)" if named else "")


@dataclass(frozen=True)
class Placebos:
    """All modalities of a run, in their order, and ``causes``: the mean posterior share of each cause over the training
    choices, modalities and rivals alike; None for an older run."""

    modalities: tuple[Modality, ...]
    causes: dict[str, float] | None

    @classmethod
    def read(cls, manifest: RunManifest, modalities: Sequence[str]) -> Placebos:
        """Read the manifest ``run.json`` for the ``modalities`` of the diagnosis."""
        causes = manifest.causes
        placebos, features = manifest.placebo or {}, manifest.features or {}
        read = [_modality(name, placebos.get(name), features.get(name) or {}) for name in modalities]
        return cls(tuple(read), {str(k): float(v) for k, v in causes.items()} if causes else None)

    @property
    def cannot_tell(self) -> list[str]:
        """Names of the modalities that explain nothing."""
        return [modality.name for modality in self.modalities if not modality.informative]

    def of(self, name: str) -> Modality:
        """Return the modality of that name."""
        return next(modality for modality in self.modalities if modality.name == name)

    def column(self) -> list[dict[str, float] | None] | None:
        """Return the placebo of each modality as numbers; None if the run has no placebo at all."""
        if all(modality.placebo is None for modality in self.modalities):
            return None
        return [None if modality.placebo is None else asdict(modality.placebo) for modality in self.modalities]

    def summary(self, neither: float) -> list[str]:
        """Return the first sentences about a run: how much each modality explains above its placebo, the share of the
        choices with no point of interest (``neither``), and the rival causes."""
        sentences = [sentence for modality in self.modalities if (sentence := modality.sentence()) is not None]
        rivals = self.rivals()
        if self.modalities and len(self.cannot_tell) == len(self.modalities):
            first = f"Nothing in the content explains the choices here: {percent(neither)} have no point of interest"
            # A modality can be admitted, get verdicts, and still lie no higher than its placebo.
            more = "" if round(100 * neither) == 100 else ", about as many as with shuffled content"
            return [f"{first}{more}.", *sentences, *([f"{rivals[0].upper()}{rivals[1:]}."] if rivals else [])]
        last = f"{self._none_of_them()}: {percent(neither)} of the choices have no point of interest in the content"
        return [*sentences, f"{last}; {rivals}." if rivals else f"{last}."]

    def segment_summary(self, neither: float) -> list[str]:
        """Return the first sentences about a part of the choices. Excess and causes were measured on all choices, so
        they are left out, except that a modality explains nothing anywhere."""
        modalities = tuple(
            replace(modality, placebo=None, admitted=modality.informative) for modality in self.modalities
        )
        return Placebos(modalities, None).summary(neither)

    def rivals(self) -> str:
        """Return the causes that are not content, largest first, as shares of their sum; empty for an older run."""
        content = {modality.name for modality in self.modalities}
        rivals = {name: share for name, share in (self.causes or {}).items() if name not in content and share > 0}
        total = math.fsum(rivals.values())
        if not rivals:
            return ""
        parts = [
            f"{_RIVALS.get(name, f'`{name}`')} {'has ' if not k else ''}{percent(share / total)}"
            for k, (name, share) in enumerate(sorted(rivals.items(), key=lambda pair: -pair[1]))
        ]
        joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
        return f"of the causes other than content, {joined}"

    def _none_of_them(self) -> str:
        return {1: "By verdict", 2: "Neither"}.get(len(self.modalities), "None of them")


def _modality(name: str, recorded: Mapping[str, Any] | None, features: Mapping[str, Any]) -> Modality:
    provenance = features.get("provenance") or {}
    encoder = provenance.get("encoder")
    phrase = f"as encoded by `{encoder}`" if encoder else ""
    if encoder == "import":
        phrase = f"as imported from `{provenance['file']}`" if provenance.get("file") else "as imported"
    placebo = None
    if recorded is not None:
        # A modality that was not admitted may have no measurements.
        numbers = [recorded.get(key) for key in ("mean_probability", "excess", "low", "high")]
        placebo = PlaceboResult(*(math.nan if number is None else float(number) for number in numbers))
    kind = recorded_kind(name, features)
    return Modality(name, kind, phrase, placebo, True if recorded is None else bool(recorded.get("admitted", True)))


def percent(share: float) -> str:
    """Return ``.19`` as ``19 %``; a share below one per cent gets one digit more."""
    return f"{_digits(share, least=share)} %"


def _digits(share: float, *, least: float) -> str:
    return f"{100 * share:.{1 if 0 < least < 0.01 else 0}f}"
