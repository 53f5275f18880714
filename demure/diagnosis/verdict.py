"""Verdicts on the modalities of an interaction, and every threshold that decides a verdict or a remark about one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from demure.diagnosis.explain import Reason

POI_THRESHOLD = 0.5
"""The least probability of a point of interest for the verdict "poi" (point of interest); the evidence must be positive
as well."""
DECIDED_PERCENT = 65
"""A verdict whose own probability is lower, in whole per cent, could as well be the other one."""
MIN_CHOICES = 5
"""Choices of a user or of an item that an estimate needs; with fewer, it is reported as uncertain."""
MIN_SEGMENT_INTERACTIONS = 30
"""Interactions of a segment that its shares need; with fewer, they are reported as uncertain."""
FLAG_MIN_INTERACTIONS = 10
"""Interactions that an item needs, by default, to be flagged in the overview."""
INTERVAL_LEVEL = 0.9
"""Probability that the intervals of shares hold."""
SIGNIFICANT_DEVIATIONS = 1.645
"""An item deviates if it lies more than this many standard errors from the mean: the 90 % two-sided level, 95 %
one-sided."""
DRIFT_MIN_CHOICES = 12
"""Choices with the modality that a history needs to be tested for drift."""
DRIFT_MIN_SIDE = 4
"""Choices that each side of a change point needs."""
DRIFT_P_VALUE = 0.05
DRIFT_MIN_CHANGE = 0.1
"""Least difference of mean probabilities that is reported as drift."""


class Verdict(StrEnum):
    """The verdict on one modality of one interaction; the values are stored in diagnosis.parquet.

    POI stands for point of interest.
    """

    POI = "poi"
    NOISE = "noise"
    MISSING = "missing"


def assign_verdicts(probability: np.ndarray, evidence: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the stored labels, an array of the shape of ``probability``.

    ``probability`` of a point of interest, ``evidence`` in nats, ``present``: whether the item has the modality.
    """
    # Content that contradicts a choice is not a point of interest, whatever the user usually relies on: evidence > 0.
    poi = (probability >= POI_THRESHOLD) & (evidence > 0)
    return verdict_labels(poi, present)


def verdict_labels(poi: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the stored label of each verdict, from two boolean arrays of one shape."""
    import numpy as np  # not at the top: the command line reads the thresholds before it needs numpy

    return np.where(present, np.where(poi, Verdict.POI.value, Verdict.NOISE.value), Verdict.MISSING.value)


def probability_of(verdict: str, poi_probability: float) -> float:
    """Return P(noise) for noise, else P(point of interest)."""
    return 1 - poi_probability if verdict == Verdict.NOISE else poi_probability


@dataclass(frozen=True)
class Support:
    """Another item of the user, and its share (``weight``) of the density ratio; None where it was not read."""

    item_id: str
    title: str = ""
    weight: float | None = None

    @property
    def name(self) -> str:
        """The title, or the id of an item without one."""
        return self.title or self.item_id


@dataclass(frozen=True)
class ModalityVerdict:
    """The verdict on one modality of one interaction.

    ``poi_probability`` and ``evidence`` (nats) as in diagnosis.parquet; ``supports``: the other items of the user with
    the largest shares of the modality's density ratio, largest first, whatever the verdict: where the evidence is not
    positive, they are the closest items, and none of them supports the choice. ``reason``: why, None where it was not
    asked for.
    """

    verdict: Verdict
    poi_probability: float
    evidence: float
    supports: tuple[Support, ...] = ()
    reason: Reason | None = None

    @property
    def missing(self) -> bool:
        """Whether the item lacks the modality."""
        return self.verdict is Verdict.MISSING

    @property
    def undecided(self) -> bool:
        """Whether it could as well be the other verdict.

        Its probability is below ``DECIDED_PERCENT``: near one half, or, of a noise verdict, even lower where the user
        relies on the modality but the evidence of this choice is negative.
        """
        return not self.missing and round(100 * probability_of(self.verdict, self.poi_probability)) < DECIDED_PERCENT

    def to_dict(self) -> dict[str, Any]:
        """Return what `demure inspect --json` prints: supports and reason only where there is a reason."""
        row: dict[str, Any] = {
            "verdict": self.verdict.value,
            "poi_probability": self.poi_probability,
            "evidence": self.evidence,
            "undecided": self.undecided,
        }
        if self.reason is None:
            return row
        supports = [vars(support) for support in self.supports]
        return row | {"supports": supports, "why": self.reason.sentence(), "reason": self.reason.to_dict()}
