"""How far a run's diagnosis lies above its placebo, and what explains the choices besides content, as sentences.

A placebo is the same diagnosis with the features of one modality dealt at random among the items: what it still
explains is not the content. ``run.json`` holds both under ``placebo`` and ``causes``; older runs hold neither, and
nothing is claimed about them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

CANNOT_TELL = "cannot tell"
"""What stands in place of a share where a modality's features explain nothing."""
WHY_NOT = f"{CANNOT_TELL}, its features explain no more than shuffled ones"
_PLURALS = {"image": "pictures", "text": "texts"}
_RIVALS = {
    "taste": "hidden taste",
    "transition": "what goes with previous choices",
    "popularity": "what was popular at the time, or nothing known,",
}


@dataclass(frozen=True)
class Placebo:
    """``mean_probability`` of a point of interest with dealt features, how far the real one lies above it
    (``excess``), and the 95 % interval of that, ``low`` to ``high``."""

    mean_probability: float
    excess: float
    low: float
    high: float

    def above(self) -> tuple[str, str]:
        """The excess and its interval, with the digits of the sentences: ``19 %`` and ``17 to 21 %``."""
        excess, low, high = (_digits(value, least=self.low) for value in (self.excess, self.low, self.high))
        return f"{excess} %", f"{low} to {high} %"


@dataclass(frozen=True)
class Modality:
    """What the manifest knows about one modality. ``encoder``: a phrase for what made its features, or an empty one;
    ``kind``: ``image``, ``text``, or another word; ``placebo`` is None for an older run; ``admitted`` is False where
    the features added nothing to the rival causes on held-out choices."""

    name: str
    kind: str = ""
    encoder: str = ""
    placebo: Placebo | None = None
    admitted: bool = True

    @property
    def explains(self) -> bool:
        """Whether the features explain more than dealt ones do; an older run gets the benefit of the doubt."""
        return self.admitted and (self.placebo is None or self.placebo.low > 0)

    def sentence(self) -> str | None:
        """What the placebo says about this modality; None where there was none."""
        if not self.explains:
            return f"{self._subject(named=True)}{self.encoder and f', {self.encoder},'} explain nothing here."
        if self.placebo is None:
            return None
        excess, interval = self.placebo.above()
        plural = _PLURALS.get(self.kind, "features")
        return (
            f"{self._subject(named=self.name != self.kind)} explain {excess} of the choices more than "
            f"shuffled {plural} do ({interval})."
        )

    def _subject(self, *, named: bool) -> str:
        plural = _PLURALS.get(self.kind)
        if plural is None:
            return f"The features `{self.name}`"
        return plural.capitalize() + (f" (`{self.name}`)" if named else "")


@dataclass(frozen=True)
class Placebos:
    """All modalities of a run, in their order, and ``causes``: the mean posterior share of each cause over the training
    choices, modalities and rivals alike; None for an older run."""

    modalities: tuple[Modality, ...]
    causes: dict[str, float] | None

    @classmethod
    def read(cls, manifest: Mapping[str, Any], modalities: Sequence[str]) -> Placebos:
        """From ``run.json``, for the ``modalities`` of the diagnosis."""
        causes = manifest.get("causes")
        given, features = manifest.get("placebo") or {}, manifest.get("features") or {}
        found = [_modality(name, given.get(name), features.get(name) or {}) for name in modalities]
        return cls(tuple(found), {str(k): float(v) for k, v in causes.items()} if causes else None)

    @property
    def cannot_tell(self) -> list[str]:
        """Names of the modalities that explain nothing."""
        return [one.name for one in self.modalities if not one.explains]

    def of(self, name: str) -> Modality:
        """The modality of that name."""
        return next(one for one in self.modalities if one.name == name)

    def column(self) -> list[dict[str, float] | None] | None:
        """The placebo of each modality as plain numbers; None where the run has none at all."""
        found = [None if one.placebo is None else asdict(one.placebo) for one in self.modalities]
        return found if any(one is not None for one in found) else None

    def summary(self, neither: float) -> list[str]:
        """The first sentences about a run: what each modality explains above its placebo, the share of the choices
        with no point of interest (``neither``), and which rival causes there are."""
        sentences = [sentence for one in self.modalities if (sentence := one.sentence()) is not None]
        rivals = self.rivals()
        if self.modalities and len(self.cannot_tell) == len(self.modalities):
            first = f"Nothing in the content explains the choices here: {percent(neither)} have no point of interest"
            # A modality can be admitted, get verdicts, and still lie no higher than its placebo.
            more = "" if round(100 * neither) == 100 else ", about as many as with shuffled content"
            return [f"{first}{more}.", *sentences, *([f"{rivals[0].upper()}{rivals[1:]}."] if rivals else [])]
        last = f"{self._none_of_them()}: {percent(neither)} of the choices have no point of interest in the content"
        return [*sentences, f"{last}; {rivals}." if rivals else f"{last}."]

    def of_part(self, neither: float) -> list[str]:
        """The first sentences about a part of the choices. Excess and causes were measured on all of them, so only a
        modality that explains nothing anywhere is mentioned."""
        kept = tuple(Modality(one.name, one.kind, one.encoder, None, one.explains) for one in self.modalities)
        return Placebos(kept, None).summary(neither)

    def rivals(self) -> str:
        """The causes that are not content, largest first, as shares of each other; empty for an older run."""
        content = {one.name for one in self.modalities}
        found = {name: share for name, share in (self.causes or {}).items() if name not in content and share > 0}
        total = math.fsum(found.values())
        if not found:
            return ""
        parts = [
            f"{_RIVALS.get(name, f'`{name}`')} {'has ' if not k else ''}{percent(share / total)}"
            for k, (name, share) in enumerate(sorted(found.items(), key=lambda pair: -pair[1]))
        ]
        listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
        return f"of the causes other than content, {listed}"

    def _none_of_them(self) -> str:
        return {1: "The rest", 2: "Neither"}.get(len(self.modalities), "None of them")


def _modality(name: str, given: Any, features: Mapping[str, Any]) -> Modality:
    provenance = features.get("provenance") or {}
    encoder = provenance.get("encoder")
    phrase = f"as encoded by `{encoder}`" if encoder else ""
    if encoder == "import":
        phrase = f"as imported from `{provenance['file']}`" if provenance.get("file") else "as imported"
    placebo = None
    if given is not None:
        # Where a modality was not admitted there may be nothing to measure.
        numbers = [given.get(key) for key in ("mean_probability", "excess", "low", "high")]
        placebo = Placebo(*(math.nan if number is None else float(number) for number in numbers))
    kind = str(provenance.get("kind") or name)
    return Modality(name, kind, phrase, placebo, True if given is None else bool(given.get("admitted", True)))


def percent(share: float) -> str:
    """``.19`` as ``19 %``; below one per cent with one digit more."""
    return f"{_digits(share, least=share)} %"


def _digits(share: float, *, least: float) -> str:
    return f"{100 * share:.{1 if 0 < least < 0.01 else 0}f}"
