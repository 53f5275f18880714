"""A diagnosis in memory: one row per training interaction, one column per modality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_NAMES = ["user_id", "item_id", "modality", "verdict"]


@dataclass(frozen=True)
class Judged:
    """N interactions by user, then position, of U users with I items, judged in M modalities.

    ``user``, ``item`` (N,) codes into ``user_ids`` (U,), ``item_ids`` (I,), objects; ``position`` (N,) in the user's
    history; ``probability``, ``evidence`` (N, M) float32, 0 where missing; ``present``, ``poi`` (N, M) bool.
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

    @classmethod
    def read(cls, path: Path) -> Judged:
        """From a run's diagnosis.parquet, about 40 bytes of memory per interaction and two modalities. Raises
        ``OSError`` or pyarrow's errors if it is damaged."""
        columns = [*_NAMES, "position", "poi_probability", "evidence"]
        table = pq.read_table(path, columns=columns, read_dictionary=_NAMES).combine_chunks()
        coded, names = {}, {}
        for name in _NAMES:
            coded[name], names[name] = codes(table.column(name))
        modalities = [str(one) for one in names["modality"]]
        m, position = coded["modality"], table.column("position").to_numpy()
        user = coded["user_id"]
        M = max(len(modalities), 1)
        aligned = len(m) % M == 0 and (m.reshape(-1, M) == np.arange(M)).all() and (np.diff(user) >= 0).all()
        order = slice(None) if aligned else np.lexsort((m, position, user))

        def wide(values: np.ndarray) -> np.ndarray:
            return values[order].reshape(-1, M)

        words = names["verdict"]
        verdict = wide(coded["verdict"])
        return cls(
            modalities,
            names["user_id"],
            names["item_id"],
            wide(user)[:, 0],
            wide(coded["item_id"])[:, 0],
            wide(position)[:, 0].astype(np.int32),
            wide(table.column("poi_probability").to_numpy().astype(np.float32)),
            wide(table.column("evidence").to_numpy().astype(np.float32)),
            np.isin(verdict, np.flatnonzero(words != "missing")),
            np.isin(verdict, np.flatnonzero(words == "poi")),
        )

    @cached_property
    def indptr(self) -> np.ndarray:
        """(U + 1,): the interactions of user u are rows indptr[u] to before indptr[u + 1]."""
        return _pointers(self.user, len(self.user_ids))

    @cached_property
    def by_item(self) -> tuple[np.ndarray, np.ndarray]:
        """(I + 1,) pointers and (N,) rows: who chose item i."""
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

    def rows_of_item(self, code: int) -> np.ndarray:
        """Rows of one item, in the order of the users."""
        pointers, rows = self.by_item
        return rows[pointers[code] : pointers[code + 1]]

    def of(self, rows: np.ndarray) -> Judged:
        """Only these rows (indices or mask), with the same codes."""
        arrays = (self.user, self.item, self.position, self.probability, self.evidence, self.present, self.poi)
        return Judged(self.modalities, self.user_ids, self.item_ids, *(array[rows] for array in arrays))


def _pointers(codes: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=count))]).astype(np.int64)


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Codes (rows,) int32 in the order of first appearance, and the values they stand for."""
    if not len(column):  # its type may be none at all
        return np.zeros(0, np.int32), np.zeros(0, dtype=object)
    column = column.unify_dictionaries()
    values = np.array(column.chunk(0).dictionary.to_pylist(), dtype=object)
    return np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks]).astype(np.int32), values
