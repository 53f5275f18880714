"""A diagnosis in memory: one row per training interaction, one column per modality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from demure.diagnosis.verdict import Verdict
from demure.integrity import CheckedFolder
from demure.runs.folder import DIAGNOSIS

_NAMES = ["user_id", "item_id", "modality", "verdict"]
_TEXTS = {*_NAMES, "support_item_id"}
_SHARES = {"poi_probability", "reliance", "weight"}
_WHOLE = {"position", "support_rank", "interest"}


@dataclass(frozen=True)
class DiagnosisTable:
    """N interactions by user, then position, of U users with I items, diagnosed in M modalities.

    ``user``, ``item`` (N,) codes into ``user_ids`` (U,), ``item_ids`` (I,), objects; ``position`` (N,) in the user's
    history; ``probability``, ``evidence`` (N, M) float32, 0 where missing; ``present``, ``poi`` (N, M) bool;
    ``interest`` (N, M) int16, the most probable cluster of the modality, -1 where missing and in runs of earlier
    versions.
    """

    modalities: list[str]
    user_ids: np.ndarray
    item_ids: np.ndarray
    user: np.ndarray
    item: np.ndarray
    position: np.ndarray
    probability: np.ndarray
    evidence: np.ndarray
    present: np.ndarray
    poi: np.ndarray
    interest: np.ndarray

    @classmethod
    def read(cls, files: CheckedFolder) -> DiagnosisTable:
        """Read a run's diagnosis.parquet; takes about 40 bytes of memory per interaction with two modalities.

        Raises ``RunError`` if the file was changed or is damaged.
        """
        has_interests = "interest" in files.columns(DIAGNOSIS)
        columns = [*_NAMES, "position", "poi_probability", "evidence", *(["interest"] if has_interests else [])]
        table = files.table(DIAGNOSIS, columns, read_dictionary=_NAMES).combine_chunks()
        check_columns(table, files, DIAGNOSIS)
        try:
            return cls.from_arrow(table)
        except ValueError as error:
            raise files.failed(DIAGNOSIS, str(error)) from None

    @classmethod
    def from_arrow(cls, table: pa.Table) -> DiagnosisTable:
        """Return the diagnosis with the columns of diagnosis.parquet. Raises ``ValueError`` if rows are missing."""
        codes, values = {}, {}
        for name in _NAMES:
            codes[name], values[name] = dictionary_codes(table.column(name))
        modalities = [str(name) for name in values["modality"]]
        m, position = codes["modality"], table.column("position").to_numpy()
        user = codes["user_id"]
        M = max(len(modalities), 1)
        # A training writes the rows in order; sorting is only for files that came another way.
        aligned = len(m) % M == 0 and (m.reshape(-1, M) == np.arange(M)).all() and (np.diff(user) >= 0).all()
        order = slice(None) if aligned else np.lexsort((m, position, user))

        def wide(column: np.ndarray) -> np.ndarray:
            return column[order].reshape(-1, M)

        if len(m) % M:
            raise ValueError(f"{len(m)} rows of {M} modalities")
        labels, verdict = values["verdict"], wide(codes["verdict"])
        has_interests = "interest" in table.column_names
        interest = table.column("interest").to_numpy() if has_interests else np.full(len(m), -1)
        return cls(
            modalities,
            values["user_id"],
            values["item_id"],
            wide(user)[:, 0],
            wide(codes["item_id"])[:, 0],
            wide(position)[:, 0].astype(np.int32),
            wide(table.column("poi_probability").to_numpy().astype(np.float32)),
            wide(table.column("evidence").to_numpy().astype(np.float32)),
            np.isin(verdict, np.flatnonzero(labels != Verdict.MISSING.value)),
            np.isin(verdict, np.flatnonzero(labels == Verdict.POI.value)),
            wide(interest.astype(np.int16)),
        )

    @cached_property
    def indptr(self) -> np.ndarray:
        """(U + 1,): the interactions of user u are rows indptr[u] to before indptr[u + 1]."""
        return _pointers(self.user, len(self.user_ids))

    @cached_property
    def by_item(self) -> tuple[np.ndarray, np.ndarray]:
        """(I + 1,) pointers into (N,) rows: the interactions of item i."""
        return _pointers(self.item, len(self.item_ids)), np.argsort(self.item, kind="stable")

    @cached_property
    def user_code(self) -> dict[str, int]:
        """User id -> code."""
        return {str(name): code for code, name in enumerate(self.user_ids)}

    @cached_property
    def item_code(self) -> dict[str, int]:
        """Item id -> code."""
        return {str(name): code for code, name in enumerate(self.item_ids)}

    @cached_property
    def lengths(self) -> np.ndarray:
        """(U,) interactions per user."""
        return np.diff(self.indptr)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(I,) interactions per item."""
        return np.diff(self.by_item[0])

    def rows_of_item(self, code: int) -> np.ndarray:
        """Return the rows of one item, in the order of the users."""
        pointers, rows = self.by_item
        return rows[pointers[code] : pointers[code + 1]]

    def select(self, rows: np.ndarray) -> DiagnosisTable:
        """Return only these rows (indices or mask), with the same codes."""
        arrays = (self.user, self.item, self.position, self.probability, self.evidence, self.present, self.poi)
        selected = (array[rows] for array in (*arrays, self.interest))
        return DiagnosisTable(self.modalities, self.user_ids, self.item_ids, *selected)


def check_columns(table: pa.Table, files: CheckedFolder, name: str) -> None:
    """Raise the error of ``files`` if a column of ``table``, read from the file ``name``, has another type, an empty
    cell or a share outside 0 to 1."""
    if not table.num_rows:
        return
    for column in table.column_names:
        cells, kind = table.column(column), table.schema.field(column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if column in _TEXTS:
            fits = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        else:
            fits = pa.types.is_integer(kind) or (column not in _WHOLE and pa.types.is_floating(kind))
        if not fits or cells.null_count:
            raise files.failed(name, f"column {column} holds {kind}" if not fits else f"column {column} lacks values")
        if column not in _TEXTS and column not in _WHOLE:
            values = cells.to_numpy()
            low, high = (-1e-6, 1 + 1e-6) if column in _SHARES else (-np.finfo(float).max, np.finfo(float).max)
            if not ((values >= low) & (values <= high)).all():
                raise files.failed(name, f"column {column} holds a value out of range")


def _pointers(codes: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=count))]).astype(np.int64)


def dictionary_codes(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (rows,) int32 in the order of first appearance, and the values that they stand for."""
    if not len(column):  # an empty column may have no type at all
        return np.zeros(0, np.int32), np.zeros(0, dtype=object)
    column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = np.array(column.chunk(0).dictionary.to_pylist(), dtype=object)
    return np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks]).astype(np.int32), values
