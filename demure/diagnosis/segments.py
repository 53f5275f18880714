"""The diagnosis by parts of the catalogue, of the users, or of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from demure.diagnosis.filtering import filter_rows, modality_column
from demure.diagnosis.interests.view import measured_interests
from demure.diagnosis.periods import assign_periods
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.table import DiagnosisTable
from demure.diagnosis.verdict import MIN_CHOICES, MIN_SEGMENT_INTERACTIONS
from demure.errors import DemureError

KINDS = ("category", "reliance", "history", "popularity", "time", "interest")
TOO_SHORT = "too short to tell"
COUNT_COLUMNS = ("segment", "users", "items", "interactions")
_BANDS = (1, 5, 10, 20, 50, 100, 200)
_MAX_LISTED = 12


@dataclass(frozen=True)
class Membership:
    """Which rows of a diagnosis belong to which segment: ``rows`` (R,) with ``code`` (R,) into ``names``; a row may
    belong to several segments (an item has several categories) or to none."""

    names: list[str]
    rows: np.ndarray
    code: np.ndarray

    def rows_of(self, name: str) -> np.ndarray:
        """Return the rows of one segment."""
        rows: np.ndarray = self.rows[self.code == self.names.index(name)]
        return rows


@dataclass(frozen=True)
class Segments:
    """The diagnosis of every segment of one kind.

    ``table``: a row per segment with ``segment``, ``users``, ``items`` and ``interactions``. For each modality, one
    column (see ``modality_column``): the number of interactions in which the modality was a point of interest, divided
    by the number of interactions whose item has the modality; NaN if that number is 0. ``few``: with fewer
    interactions, the shares of a segment are uncertain. ``cannot_tell``: modalities whose features explain nothing, so
    that their shares mean nothing.
    """

    run: str
    kind: str
    modalities: list[str]
    table: pd.DataFrame
    few: int = MIN_SEGMENT_INTERACTIONS
    cannot_tell: list[str] = field(default_factory=list)


def segments(
    run: Path | str | DiagnosisReader,
    kind: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> Segments:
    """Return the diagnosis by ``kind``, one of ``KINDS``; ``where``, ``sort`` and ``top`` as in
    ``filtering.filter_rows``.

    Raises ``DemureError`` for another kind, or where the data lacks categories or timestamps.
    """
    reader = DiagnosisReader.of(run)
    rows = filter_rows(segment_table(reader.table, membership(reader, kind)), where, sort, top)
    return Segments(str(reader.run), kind, reader.table.modalities, rows, cannot_tell=reader.placebos.cannot_tell)


def select_segment(reader: DiagnosisReader, kind: str, name: str) -> DiagnosisTable:
    """Return the rows of one segment. Raises ``DemureError``, with the names of the segments, for an unknown one."""
    members = membership(reader, kind)
    if name not in members.names:
        names = ", ".join(members.names[:_MAX_LISTED]) + (", ..." if len(members.names) > _MAX_LISTED else "")
        raise DemureError(f"no {kind} {name!r}", where="--segment", remedy=f"there are: {names}")
    return reader.table.select(members.rows_of(name))


def segment_table(diagnosis: DiagnosisTable, members: Membership) -> pd.DataFrame:
    """Return ``table`` of :class:`Segments`."""
    size = len(members.names)
    rows, code = members.rows, members.code
    counts: tuple[list[str] | np.ndarray, ...] = (
        members.names,
        _count_distinct(code, diagnosis.user[rows], size),
        _count_distinct(code, diagnosis.item[rows], size),
        np.bincount(code, minlength=size),
    )
    frame = pd.DataFrame(dict(zip(COUNT_COLUMNS, counts, strict=True)))
    for m, name in enumerate(diagnosis.modalities):
        present = np.bincount(code, weights=diagnosis.present[rows, m], minlength=size)
        poi = np.bincount(code, weights=diagnosis.poi[rows, m], minlength=size)
        share = np.divide(poi, present, out=np.full(size, np.nan), where=present > 0)
        frame[modality_column(name, COUNT_COLUMNS)] = share
    return frame


def _count_distinct(code: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Return how many different ``values`` each code has."""
    shape = (size, int(values.max(initial=0)) + 1)
    return np.diff(sparse.coo_array((np.ones(len(code), np.int32), (code, values)), shape=shape).tocsr().indptr)


def membership(reader: DiagnosisReader, kind: str) -> Membership:
    """Return which interaction belongs to which segment of ``kind``."""
    table = reader.table
    if kind == "category":
        return _categories(reader)
    if kind == "reliance":
        names, code = dominant_cause_of_users(reader)
        return _nonempty(names, code[table.user])
    if kind == "history":
        return _bands(table.lengths[table.user])
    if kind == "popularity":
        return _bands(table.item_counts[table.item])
    if kind == "time":
        return _periods(reader)
    if kind == "interest":
        return _interests(reader)
    raise DemureError(f"no segments by {kind!r}", where="--segment", remedy=f"there are: {', '.join(KINDS)}")


def available_kinds(reader: DiagnosisReader) -> list[str]:
    """Return the kinds of segments that the data of the run has, of ``KINDS``."""
    lacking = set()
    if not reader.categories:
        lacking.add("category")
    if reader.interests is None:
        lacking.add("interest")
    try:
        assign_periods(reader)
    except DemureError:
        lacking.add("time")
    return [kind for kind in KINDS if kind not in lacking]


def _nonempty(names: Sequence[str], code: np.ndarray) -> Membership:
    """Put every row in one segment, and leave out segments without rows."""
    used = np.bincount(code, minlength=len(names)) > 0
    new_code = np.cumsum(used) - 1
    kept = [name for name, keep in zip(names, used, strict=True) if keep]
    return Membership(kept, np.arange(len(code)), new_code[code])


def _bands(count: np.ndarray) -> Membership:
    names = [
        f"{low}-{high - 1}" if high is not None else f"{low}+"
        for low, high in zip(_BANDS, [*_BANDS[1:], None], strict=True)
    ]
    return _nonempty(names, np.searchsorted(_BANDS, count, side="right") - 1)


def _categories(reader: DiagnosisReader) -> Membership:
    table, categories = reader.table, reader.categories
    if not categories:
        others = ", ".join(available_kinds(reader))
        raise DemureError(
            "the items have no categories",
            where=reader.dataset,
            remedy=f"there are: {others}; or give the items a column genres, categories or category",
        )
    names = sorted({name for of_item in categories.values() for name in of_item})
    code_of = {name: k for k, name in enumerate(names)}
    item, code = [], []
    for k, item_id in enumerate(table.item_ids):
        for category in categories.get(str(item_id), ()):
            item.append(k)
            code.append(code_of[category])
    pairs = pd.DataFrame({"item": np.array(item, np.int64), "code": np.array(code, np.int64)})
    rows = pd.DataFrame({"item": table.item, "row": np.arange(len(table.item))}).merge(pairs, on="item", sort=False)
    return Membership(names, rows["row"].to_numpy(), rows["code"].to_numpy())


def dominant_cause_of_users(reader: DiagnosisReader) -> tuple[list[str], np.ndarray]:
    """Return what each user relies on most: names, and codes (U,) into them; histories of fewer than five choices are
    too short to tell."""
    names = [*reader.reliance_names, TOO_SHORT]
    too_short = reader.table.lengths < MIN_CHOICES
    return names, np.where(too_short, len(names) - 1, reader.reliance_shares.argmax(1))


def _periods(reader: DiagnosisReader) -> Membership:
    periods = assign_periods(reader)
    return Membership(periods.names, periods.rows, periods.code)


def _interests(reader: DiagnosisReader) -> Membership:
    """Put every choice in the interests that are its points of interest, at most one in each modality."""
    own = measured_interests(reader)
    poi = own.shares.poi_NK.tocoo()
    kept = (poi.data > 0) & own.shown[poi.col]
    used, code = np.unique(poi.col[kept], return_inverse=True)
    return Membership([own.label(int(k)) for k in used], poi.row[kept], code)
