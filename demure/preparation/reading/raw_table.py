"""The rows of a raw file, before anything is cleaned."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection


@dataclass(frozen=True)
class RowNumbers:
    """The numbers that the rows of a table have in their file.

    Rows are counted from 1; in delimited text the header is row 1, and blank lines do not count.

    Attributes:
        first: the number of the first row.
        numbers: (N,) int64, where rows of the file became several.
        skipped: the ascending numbers of the rows of the file that are not in the table.
        before: the number of rows of the file's table that come before this one, a part of it.
    """

    first: int = 1
    numbers: np.ndarray | None = None
    skipped: np.ndarray | None = None
    before: int = 0

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers (n,) in the file of ``rows`` (n,), which count from 0."""
        numbers: np.ndarray
        if self.numbers is not None:
            numbers = self.numbers[rows]
            return numbers
        numbers = rows + self.before + self.first
        if self.skipped is not None:
            ranks = self.skipped - np.arange(len(self.skipped))
            numbers += np.searchsorted(ranks, numbers, side="right")
        return numbers

    def from_row(self, row: int) -> RowNumbers:
        """Return the numbers of the table that begins with ``row`` of this one, which counts from 0."""
        return replace(self, before=self.before + row)


@dataclass(frozen=True)
class RawTable:
    """The rows of a file.

    Attributes:
        row_numbers: the numbers of the rows of ``table`` in the file.
        column_names: the names of all columns of the file; ``table`` has only the selected columns.
        delimited: whether the file is delimited text.
        first_nested: name of a column -> the first row, from 0, with a list or an object, where these became text.
        files: the files that were read, where these are not ``path`` alone.
    """

    path: Path
    table: pa.Table
    row_numbers: RowNumbers
    column_names: list[str]
    delimited: bool = False
    files: list[Path] = field(default_factory=list)
    first_nested: dict[str, int] = field(default_factory=dict)


def no_rows(path: Path) -> DataError:
    """Return the error for a file that has a header only."""
    return DataError("has no rows, only a header", where=path, remedy="give a file with rows")


def separate_duplicates(
    file_names: list[str], names: list[str], path: Path, findings: Findings, selection: ColumnSelection
) -> tuple[list[str], list[str]]:
    """Return the ``file_names`` and ``names`` of the columns, where columns of one name that are not used are numbered.

    Raises ``DataError`` if two columns that may be used have the same name.
    """
    counts = Counter(file_names)
    for name, used_as in zip(file_names, names, strict=True):
        if counts[name] > 1 and selection.may_use(used_as):
            raise DataError(f"has two columns {name!r}", where=path, remedy="rename or remove one")
    for name, count in counts.items():
        if count > 1:
            findings.note(f"{path.name}: {count} columns are called {name!r}; none of them is used")
    unique = [f"{name}, column {k}" if counts[name] > 1 else name for k, name in enumerate(file_names, start=1)]
    return unique, [own if counts[old] > 1 else name for old, own, name in zip(file_names, unique, names, strict=True)]
