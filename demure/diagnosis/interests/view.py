"""What users look at: the interests of every modality with their names, shares and examples, and one in detail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.diagnosis.filtering import filter_rows
from demure.diagnosis.interests.sentences import describe_profile, interests_summary
from demure.diagnosis.interests.shares import InterestShares
from demure.diagnosis.interests.stored import StoredInterest
from demure.diagnosis.periods import CalendarPeriods, assign_periods
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError, RunError

_EXAMPLES, _TOGETHER = 12, 3
_MIN_LIFT = 1.2  # of the lower end of its interval, for two interests to go together
_PROFILE = 3  # interests of a user's profile
_MIN_PROFILE_SHARE = 0.05
_USERS = 10


@dataclass(frozen=True)
class Example:
    """An item that stands for an interest: ``choices`` that the interest explains, of ``interactions``."""

    item_id: str
    title: str
    choices: float
    interactions: int
    picture: str | None = None


@dataclass(frozen=True)
class Interest:
    """One interest.

    ``number`` counts the interests of the modality from the largest, from 1. ``share`` of all choices that it explains,
    with its 95 % interval over users; ``placebo``: what it explains with shuffled features, and ``excess`` of its own
    share over that, with ``excess_low`` and ``excess_high``; None where these were not measured. ``users`` with a point
    of interest in it. ``growth``: its share among the later half of the choices minus that among the earlier half, with
    its 99 % interval; None without timestamps. ``together``: names of interests that its users choose by more often
    than all users do, with the ``lift``.
    """

    modality: str
    number: int
    name: str
    words: list[str]
    colours: list[str]
    share: float
    low: float
    high: float
    users: int
    user_share: float
    placebo: float | None
    excess: float | None
    excess_low: float | None
    excess_high: float | None
    growth: float | None
    growth_low: float | None
    growth_high: float | None
    examples: list[Example]
    together: list[dict[str, Any]]

    @property
    def above_placebo(self) -> bool:
        """Whether the interest explains more choices than with shuffled features; an unmeasured one does not."""
        return self.excess_low is not None and self.excess_low > 0

    @property
    def trend(self) -> str:
        """``growing``, ``shrinking`` or ``steady``; an empty text where time is unknown."""
        if self.growth is None or self.growth_low is None or self.growth_high is None:
            return ""
        return "growing" if self.growth_low > 0 else "shrinking" if self.growth_high < 0 else "steady"


@dataclass(frozen=True)
class InterestsView:
    """The interests of a run above their placebo, largest first, of one modality or of all.

    ``below``: modality -> how many more explain no more than their placebo. ``cannot_tell``: modalities whose features
    explain nothing. ``summary``: all interests of each modality in a sentence; ``matched`` of the ``total`` meet the
    conditions, whether they are among ``interests`` or left out by a number of rows.
    """

    run: str
    modalities: list[str]
    interests: list[Interest]
    below: dict[str, int]
    cannot_tell: list[str] = field(default_factory=list)
    over_time: bool = True
    summary: list[str] = field(default_factory=list)
    total: int = 0
    matched: int = 0

    def frame(self) -> pd.DataFrame:
        """Return a row per interest, without its examples."""
        return _frame(self.interests)


@dataclass(frozen=True)
class InterestView:
    """One interest with the users who choose most by it: ``user_id``, ``choices`` and ``share`` of them."""

    run: str
    interest: Interest
    top_users: list[dict[str, Any]]
    over_time: list[dict[str, Any]]


class Interests:
    """The interests of a run, measured once. ``columns``: (modality, stored interest), largest share first."""

    def __init__(self, reader: DiagnosisReader) -> None:
        self.reader = reader
        stored = reader.interests
        if stored is None:
            raise RunError(
                "has no interests: an earlier demure made it", where=reader.run, remedy="train the run again"
            )
        table = reader.table
        pairs = [(m, own) for m, name in enumerate(table.modalities) for own in stored.get(name, ())]
        shares = InterestShares(table, np.array([m for m, _ in pairs]), np.array([own.cluster for _, own in pairs]))
        share_K = shares.shares()[0]
        order = sorted(range(len(pairs)), key=lambda k: (pairs[k][0], -share_K[k]))
        self.columns: list[tuple[str, StoredInterest]] = [(table.modalities[pairs[k][0]], pairs[k][1]) for k in order]
        self.shares = InterestShares(table, shares.modality_K[order], shares.cluster_K[order])
        self.numbers = [
            1 + sum(name == other for other, _ in self.columns[:k]) for k, (name, _) in enumerate(self.columns)
        ]

    @cached_property
    def shown(self) -> np.ndarray:
        """Whether each interest explains more than its placebo, and its modality explains something at all (K,)."""
        cannot_tell = self.reader.placebos.cannot_tell
        return np.array(
            [name not in cannot_tell and own.placebo is not None and own.placebo.low > 0 for name, own in self.columns],
            bool,
        )

    @cached_property
    def all(self) -> list[Interest]:
        """All interests, in the order of ``columns``."""
        share_K, interval_K2 = self.shares.shares()
        users_K = self.shares.users_with_poi()
        n_users = max(len(self.reader.table.user_ids), 1)
        growth = self._growth()
        examples, together = self._examples(), self._together()
        interests = []
        for k, (modality, own) in enumerate(self.columns):
            placebo = own.placebo
            change, low, high = (None, None, None) if growth is None else map(float, growth[k])
            interests.append(
                Interest(
                    modality=modality,
                    number=self.numbers[k],
                    name=own.name,
                    words=own.words,
                    colours=own.colours,
                    share=float(share_K[k]),
                    low=max(float(interval_K2[k, 0]), 0.0),
                    high=float(interval_K2[k, 1]),
                    users=int(users_K[k]),
                    user_share=float(users_K[k] / n_users),
                    placebo=None if placebo is None else placebo.share,
                    excess=None if placebo is None else placebo.excess,
                    excess_low=None if placebo is None else placebo.low,
                    excess_high=None if placebo is None else placebo.high,
                    growth=change,
                    growth_low=low,
                    growth_high=high,
                    examples=examples[k],
                    together=together[k],
                )
            )
        return interests

    def _growth(self) -> list[tuple[float, float, float]] | None:
        times_N = self.reader.table_times
        if times_N is None or not np.isfinite(times_N).any():
            return None
        middle = np.median(times_N[np.isfinite(times_N)])
        if not (times_N > middle).any():
            return None
        change_K, interval_K2 = self.shares.growth(times_N > middle)
        return list(zip(change_K, interval_K2[:, 0], interval_K2[:, 1], strict=True))

    def _examples(self) -> list[list[Example]]:
        table, titles = self.reader.table, self.reader.titles
        by_item_IK = self.shares.by_item_IK
        best_KE = np.argsort(-by_item_IK, axis=0, kind="stable")[:_EXAMPLES].T
        item_ids = sorted({str(table.item_ids[i]) for own in best_KE for i in own})
        picture = dict(zip(item_ids, self.reader.pictures(item_ids), strict=True))
        examples = []
        for k, own in enumerate(best_KE):
            rows = []
            for i in own:
                if by_item_IK[i, k] > 0:
                    item = str(table.item_ids[i])
                    path = picture[item]
                    rows.append(
                        Example(
                            item,
                            titles.get(item, ""),
                            float(by_item_IK[i, k]),
                            int(table.item_counts[i]),
                            None if path is None else str(path),
                        )
                    )
            examples.append(rows)
        return examples

    def _together(self) -> list[list[dict[str, Any]]]:
        lift_KK, low_KK = self.shares.lifts()
        together = []
        for k in range(len(self.columns)):
            others = [j for j in np.argsort(-low_KK[k], kind="stable") if j != k and self.shown[j]]
            together.append(
                [
                    {"modality": self.columns[j][0], "name": self.columns[j][1].name, "lift": float(lift_KK[k, j])}
                    for j in others[:_TOGETHER]
                    if low_KK[k, j] >= _MIN_LIFT
                ]
            )
        return together

    def column_of(self, modality: str, cluster: int) -> int | None:
        """Return the column of a cluster that is shown, else None."""
        return next(
            (
                k
                for k, (name, own) in enumerate(self.columns)
                if self.shown[k] and name == modality and own.cluster == cluster
            ),
            None,
        )

    def find(self, name: str) -> int:
        """Return the column of the interest with this name, or ``MODALITY NUMBER``. Raises ``DemureError``."""
        wanted = " ".join(name.lower().split())
        numbered = re.fullmatch(r"(.+?)[ :#]?(\d+)", wanted)
        keys = list(zip((modality.lower() for modality, _ in self.columns), self.numbers, strict=True))
        if numbered and (numbered[1], int(numbered[2])) in keys:
            return keys.index((numbered[1], int(numbered[2])))
        names = [own.name for _, own in self.columns]
        exact = [k for k, own in enumerate(names) if own.lower() == wanted]
        matches = exact or [k for k, own in enumerate(names) if wanted in own.lower() and self.shown[k]]
        if len(matches) == 1:
            return matches[0]
        labels = [self.label(int(k)) for k in (matches or np.flatnonzero(self.shown))][:12]
        problem = f"{len(matches)} interests match {name!r}" if matches else f"no interest {name!r}"
        listed = ", ".join(labels) if labels else "none is above its placebo"
        raise DemureError(problem, where="--interests", remedy=f"give a modality, or one of: {listed}")

    @cached_property
    def periods(self) -> CalendarPeriods | None:
        """The periods of ``inspect --segment time``; None without timestamps, or without dates."""
        try:
            return assign_periods(self.reader)
        except DemureError:
            return None

    def view(self, k: int) -> InterestView:
        """Return one interest with its users, and its share in each period."""
        table, by_user_UK = self.reader.table, self.shares.by_user_UK
        best = [u for u in np.argsort(-by_user_UK[:, k], kind="stable")[:_USERS] if by_user_UK[u, k] > 0]
        users = [
            {
                "user_id": str(table.user_ids[u]),
                "choices": float(by_user_UK[u, k]),
                "interactions": int(table.lengths[u]),
                "share": float(by_user_UK[u, k] / table.lengths[u]),
            }
            for u in best
        ]
        over_time = []
        periods = self.periods
        if periods is not None:
            weight_N = self.shares.weight_NK[:, [k]].toarray()[:, 0][periods.rows]
            sums, counts = (np.bincount(periods.code, weights, len(periods.names)) for weights in (weight_N, None))
            over_time = [
                {"period": period, "share": float(sums[p] / max(counts[p], 1)), "interactions": int(counts[p])}
                for p, period in enumerate(periods.names)
            ]
        return InterestView(str(self.reader.run), self.all[k], users, over_time)

    def label(self, k: int) -> str:
        """Return ``image 3 (blue, denim)``."""
        return f"{self.columns[k][0]} {self.numbers[k]} ({self.columns[k][1].name})"


def interests(
    run: Path | str | DiagnosisReader,
    name: str = "",
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> InterestsView | InterestView:
    """Return the interests of all modalities or of the modality ``name``; or the one interest called ``name``.

    ``where``, ``sort`` and ``top`` (see ``filtering.filter_rows``) select among the interests, by the fields of
    ``InterestsView.frame``, ``interest`` (as in "image 3"), ``examples`` and ``together``. Raises ``RunError`` for a
    run without interests, ``DemureError`` for an unknown name.
    """
    reader = DiagnosisReader.of(run)
    own = measured_interests(reader)
    modalities = reader.table.modalities
    if name and name not in modalities:
        return own.view(own.find(name))
    wanted = [name] if name else modalities
    shown = [entry for k, entry in enumerate(own.all) if own.shown[k] and entry.modality in wanted]
    if not name and sort is None:
        shown.sort(key=lambda entry: -entry.share)
    fields = _frame(shown).assign(
        interest=[f"{entry.modality} {entry.number}" for entry in shown],
        examples=[", ".join(example.title or example.item_id for example in entry.examples) for entry in shown],
        together=["; ".join(str(other["name"]) for other in entry.together) for entry in shown],
    )
    matched = filter_rows(fields, where, sort)
    selected = matched if top is None else matched.head(top)
    hidden = [modality for k, (modality, _) in enumerate(own.columns) if not own.shown[k]]
    cannot_tell = reader.placebos.cannot_tell
    return InterestsView(
        run=str(reader.run),
        modalities=wanted,
        interests=[shown[k] for k in selected.index],
        below={modality: hidden.count(modality) for modality in wanted if modality not in cannot_tell},
        cannot_tell=[modality for modality in cannot_tell if modality in wanted],
        over_time=any(entry.growth is not None for entry in shown),
        summary=interests_summary(wanted, shown),
        total=len(shown),
        matched=len(matched),
    )


_COLUMNS = (
    *("modality", "number", "name", "share", "low", "high", "users", "user_share", "placebo", "excess", "excess_low"),
    *("excess_high", "growth", "growth_low", "growth_high", "trend"),
)


def _frame(entries: Sequence[Interest]) -> pd.DataFrame:
    return pd.DataFrame([{name: getattr(entry, name) for name in _COLUMNS} for entry in entries], columns=_COLUMNS)


def measured_interests(reader: DiagnosisReader) -> Interests:
    """Return the interests of a run; a reader measures them once. Raises ``RunError`` for an earlier run."""
    cached: Interests | None = reader.__dict__.get("_measured_interests")
    if cached is None:
        cached = Interests(reader)
        reader.__dict__["_measured_interests"] = cached
    return cached


def profile(reader: DiagnosisReader, user: int) -> list[dict[str, Any]]:
    """Return the interests that explain most of a user's choices, at most three: ``modality``, ``name`` and ``share``.

    ``user``: code in the diagnosis. Empty for a run without interests.
    """
    return [] if reader.interests is None else _profiles(measured_interests(reader), np.array([user]))[0]


def profiles(reader: DiagnosisReader) -> list[str]:
    """Return the profile of every user in words: ``jeans, denim (text, 38 %); blue (image, 20 %)``."""
    own = measured_interests(reader)
    return [describe_profile(entries) for entries in _profiles(own, np.arange(len(reader.table.user_ids)))]


def _profiles(own: Interests, users: np.ndarray) -> list[list[dict[str, Any]]]:
    return [
        [{"modality": own.columns[k][0], "name": own.columns[k][1].name, "share": share} for k, share in entries]
        for entries in profile_columns(own, users)
    ]


def profile_columns(own: Interests, users: np.ndarray) -> list[list[tuple[int, float]]]:
    """Return the profile of each of the ``users`` (codes): columns of ``own``, with the share of the user's choices."""
    lengths = np.maximum(own.reader.table.lengths[users], 1)[:, None]
    share_UK = np.where(own.shown, own.shares.by_user_UK[users] / lengths, 0.0)
    best_UP = np.argsort(-share_UK, axis=1, kind="stable")[:, :_PROFILE]
    return [
        [(int(k), float(share_UK[row, k])) for k in best if share_UK[row, k] >= _MIN_PROFILE_SHARE]
        for row, best in enumerate(best_UP)
    ]
