"""Files of ranked lists as rows: user, item, and what orders the items.

Read are tables with user_id, item_id and a rank or score, TREC run files, and the files that MMRec writes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.data.dataset import Dataset
from demure.data.nested import normalize_name
from demure.errors import DataError
from demure.preparation.later_files import advice_on_files
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection, require_column
from demure.preparation.reading.compression import file_errors, open_decompressed, read_head
from demure.preparation.reading.formats import read_raw
from demure.preparation.reading.header import first_line
from demure.preparation.reading.mmrec_lists import is_mmrec, mmrec_ids, mmrec_rows
from demure.preparation.reading.parsing import read_id_texts, read_numbers
from demure.preparation.reading.raw_table import RawTable, RowNumbers

_RANK_NAMES = ("rank", "position")
_SCORE_NAMES = ("score", "prediction")
_TREC = ["user_id", "q0", "item_id", "rank", "score", "tag"]


@dataclass(frozen=True)
class RankedPlaces:
    """N places of lists.

    Attributes:
        users, items: ids (N,).
        keys: ``rank`` or ``score`` -> (N,), smaller is better (scores are negative); the first key counts, the second
            orders what is equal by the first.
        notes: how the file was read, in sentences.
        of_mmrec: whether MMRec wrote the file, which lists no items of training.
    """

    users: pa.Array
    items: pa.Array
    keys: dict[str, np.ndarray]
    notes: list[str]
    of_mmrec: bool = False


def read_places(path: Path, dataset: Dataset) -> RankedPlaces:
    """Read a file of lists. Raises ``DataError`` for a file that cannot be read, that lacks user_id, item_id, or both
    rank and score, and for a rank or score that is not a number."""
    if not path.is_dir() and _is_trec(first_line(read_head(path))):
        return _read_trec(path)
    findings = Findings()
    with advice_on_files(items=False):
        raw, _ = read_raw(path, "auto", findings, ColumnSelection(items=True))
        names = raw.column_names
        if is_mmrec(names):
            return _mmrec_places(raw, dataset)
        user, item = (require_column(names, role, path, findings) for role in ("user_id", "item_id"))
    rank, score = _column(names, _RANK_NAMES), _column(names, _SCORE_NAMES)
    if rank is None and score is None:
        shown = ", ".join(repr(name) for name in names[:12])
        remedy = "add a column rank (1 = best) or score (the larger, the better)"
        raise DataError(f"has no column rank or score (there are: {shown})", where=path, remedy=remedy)
    keys = {} if rank is None else {"rank": _numbers(raw, rank)}
    if score is not None:
        keys["score"] = -_numbers(raw, score)
    notes = [note for note in findings.notes if ": recognised as " not in note]
    return RankedPlaces(read_id_texts(raw, user), read_id_texts(raw, item), keys, notes)


def _is_trec(line: str) -> bool:
    fields = line.split()
    return len(fields) == len(_TREC) and fields[1].upper() == "Q0"


def _read_trec(path: Path) -> RankedPlaces:
    """Read lines `user Q0 item rank score tag`: as for trec_eval, the score counts; the rank orders equal scores."""
    import pandas as pd

    try:
        with file_errors(path), open_decompressed(path) as handle:
            table = pd.read_csv(
                handle, sep=r"\s+", header=None, names=_TREC, dtype=str, quoting=csv.QUOTE_NONE, keep_default_na=False,
                index_col=False, on_bad_lines="error",
            )  # fmt: skip
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        problem = f"is not a TREC run ({' '.join(str(error).split())})"
        raise DataError(problem, where=path, remedy="write six fields a line: user Q0 item rank score tag") from error
    columns = {name: pa.chunked_array([pa.array(table[name], pa.string(), from_pandas=True)]) for name in _TREC}
    raw = RawTable(path, pa.table(columns), RowNumbers(), _TREC, delimited=True)
    keys = {"score": -_numbers(raw, "score"), "rank": _numbers(raw, "rank")}
    return RankedPlaces(read_id_texts(raw, "user_id"), read_id_texts(raw, "item_id"), keys, [])


def _mmrec_places(raw: RawTable, dataset: Dataset) -> RankedPlaces:
    users, items = mmrec_rows(raw.column_names, lambda name: _numbers(raw, name))
    (user_ids, item_ids), source = mmrec_ids(raw.path, dataset)
    rank = np.tile(np.arange(items.shape[1], dtype=np.float64), len(users))
    return RankedPlaces(
        _ids_of(np.repeat(users, items.shape[1]), user_ids),
        _ids_of(items.ravel(), item_ids),
        {"rank": rank},
        [f"{raw.path.name} is a file of MMRec; its numbers are {source}"],
        of_mmrec=True,
    )


def _ids_of(numbers: np.ndarray, ids: dict[int, str] | None) -> pa.Array:
    """Return the id (N,) of each number, or the number itself where ``ids`` is None."""
    distinct, position = np.unique(numbers, return_inverse=True)
    names = [str(k) if ids is None else ids.get(k, f"number {k}") for k in distinct.tolist()]
    return pa.array(names, pa.string()).take(pa.array(position.ravel()))


def _column(names: Sequence[str], candidates: Sequence[str]) -> str | None:
    by_name = {normalize_name(name): name for name in reversed(names)}
    return next((by_name[name] for name in candidates if name in by_name), None)


def _numbers(raw: RawTable, column: str) -> np.ndarray:
    """Return a column (N,) of numbers. Raises ``DataError`` for a value that is not one, with its row."""
    values, _ = read_numbers(raw.table[column], column, raw.path)
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        value = raw.table[column][int(bad[0])].as_py()
        others = f" ({len(bad):,} such rows)" if len(bad) > 1 else ""
        raise DataError(
            f"{column} is {value!r}, which is not a number{others}",
            where=f"{raw.path}:{int(raw.row_numbers.of(bad[:1])[0])}",
            remedy="give every row a number",
        )
    return values
