"""The diagnosis by parts of the catalogue, of the users, or of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from demure.diagnosis.filtering import column, pick
from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.table import Judged
from demure.diagnosis.uncertainty import FEW
from demure.errors import DemureError

KINDS = ("category", "reliance", "history", "popularity", "time")
TOO_SHORT = "too short to tell"
_BANDS = (1, 5, 10, 20, 50, 100, 200)
_CALENDAR = 2.5e11  # seconds on either side of 1970: some 8,000 years
_MOST_PERIODS = 40
_FIELDS = ("segment", "users", "items", "interactions")


@dataclass(frozen=True)
class Members:
    """Which rows of a diagnosis belong to which segment: ``rows`` (R,) with ``code`` (R,) into ``names``; a row may
    belong to several (an item has several categories) or to none."""

    names: list[str]
    rows: np.ndarray
    code: np.ndarray

    def of(self, name: str) -> np.ndarray:
        """The rows of one segment."""
        return self.rows[self.code == self.names.index(name)]


@dataclass(frozen=True)
class Segments:
    """``table``: a row per segment with ``segment``, ``users``, ``items``, ``interactions`` and for each modality a
    column of its name: of the choices whose item has it, the share for which it was a point of interest (NaN where
    there are none). ``few``: segments with fewer interactions rest on little. ``cannot_tell``: modalities whose
    features explain nothing, so that their shares mean nothing."""

    run: str
    kind: str
    modalities: list[str]
    table: pd.DataFrame
    few: int = 30
    cannot_tell: list[str] = field(default_factory=list)


def segments(
    run: Path | str | DiagnosisSource,
    kind: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> Segments:
    """The diagnosis by ``kind``, one of ``KINDS``. Raises ``DemureError`` for another one, or where the data lacks what
    it is about; ``where``, ``sort`` and ``top`` as in ``listing.pick``."""
    source = DiagnosisSource.of(run)
    judged = source.judged
    table = pick(summed(judged, members(source, kind)), where, sort, top)
    return Segments(str(source.run), kind, judged.modalities, table, cannot_tell=source.placebos.cannot_tell)


def of_segment(source: DiagnosisSource, kind: str, name: str) -> Judged:
    """The rows of one segment. Raises ``DemureError`` naming the segments there are."""
    found = members(source, kind)
    if name not in found.names:
        most = ", ".join(found.names[:12]) + (", ..." if len(found.names) > 12 else "")
        raise DemureError(f"no {kind} {name!r}", where="--segment", remedy=f"there are: {most}")
    return source.judged.of(found.of(name))


def summed(judged: Judged, found: Members) -> pd.DataFrame:
    """The table of ``Segments``."""
    size = len(found.names)
    rows, code = found.rows, found.code
    table = pd.DataFrame(
        {
            "segment": found.names,
            "users": _distinct(code, judged.user[rows], size),
            "items": _distinct(code, judged.item[rows], size),
            "interactions": np.bincount(code, minlength=size),
        }
    )
    for m, name in enumerate(judged.modalities):
        there = np.bincount(code, weights=judged.present[rows, m], minlength=size)
        poi = np.bincount(code, weights=judged.poi[rows, m], minlength=size)
        table[column(name, _FIELDS)] = np.divide(poi, there, out=np.full(size, np.nan), where=there > 0)
    return table


def _distinct(code: np.ndarray, what: np.ndarray, size: int) -> np.ndarray:
    """How many different ``what`` each code has."""
    shape = (size, int(what.max(initial=0)) + 1)
    return np.diff(sparse.coo_array((np.ones(len(code), np.int32), (code, what)), shape=shape).tocsr().indptr)


def members(source: DiagnosisSource, kind: str) -> Members:
    """Which interaction belongs to which segment of ``kind``."""
    judged = source.judged
    if kind == "category":
        return _categories(source)
    if kind == "reliance":
        names, code = main_reliance(source)
        return _named(names, code[judged.user])
    if kind == "history":
        return _banded(judged.lengths[judged.user])
    if kind == "popularity":
        return _banded(np.diff(judged.by_item[0])[judged.item])
    if kind == "time":
        return _periods(source)
    raise DemureError(f"no segments by {kind!r}", where="--segment", remedy=f"there are: {', '.join(KINDS)}")


def _named(names: Sequence[str], code: np.ndarray) -> Members:
    """Every row in one segment; segments without rows are left out."""
    used = np.bincount(code, minlength=len(names)) > 0
    place = np.cumsum(used) - 1
    return Members([name for name, there in zip(names, used, strict=True) if there], np.arange(len(code)), place[code])


def _banded(count: np.ndarray) -> Members:
    names = [
        f"{low}-{high - 1}" if high is not None else f"{low}+"
        for low, high in zip(_BANDS, [*_BANDS[1:], None], strict=True)
    ]
    return _named(names, np.searchsorted(_BANDS, count, side="right") - 1)


def _categories(source: DiagnosisSource) -> Members:
    judged, categories = source.judged, source.categories
    if not categories:
        raise DemureError(
            "the items have no categories", where=source.dataset, remedy="give a column genres, categories or category"
        )
    names = sorted({name for some in categories.values() for name in some})
    place = {name: k for k, name in enumerate(names)}
    item, code = [], []
    for k, name in enumerate(judged.item_ids):
        for category in categories.get(str(name), ()):
            item.append(k)
            code.append(place[category])
    pairs = pd.DataFrame({"item": np.array(item, np.int64), "code": np.array(code, np.int64)})
    rows = pd.DataFrame({"item": judged.item, "row": np.arange(len(judged.item))}).merge(pairs, on="item", sort=False)
    return Members(names, rows["row"].to_numpy(), rows["code"].to_numpy())


def main_reliance(source: DiagnosisSource) -> tuple[list[str], np.ndarray]:
    """What each user relies on most: names, and codes (U,) into them; histories of fewer than five are too short."""
    judged = source.judged
    shares = source.reliance_of_users
    names = [*source.reliance_columns, TOO_SHORT]
    return names, np.where(judged.lengths < FEW, len(names) - 1, shares.argmax(1))


def _periods(source: DiagnosisSource) -> Members:
    times = source.judged_times
    if times is None or not np.isfinite(times).any():
        raise DemureError("the data has no timestamps", where=source.dataset, remedy="segment by something else")
    known = np.isfinite(times) & (np.abs(times) < _CALENDAR)
    if not known.any():
        raise DemureError("the timestamps fit no calendar", where=source.dataset, remedy="segment by something else")
    seconds = times[known].astype("M8[s]")
    names, code = np.unique(seconds.astype("M8[Y]"), return_inverse=True)
    for unit in ("M8[M]", "M8[D]"):  # the finest that stays readable
        finer, place = np.unique(seconds.astype(unit), return_inverse=True)
        if len(finer) > _MOST_PERIODS:
            break
        names, code = finer, place
    return Members([str(name) for name in names], np.flatnonzero(known), code)
