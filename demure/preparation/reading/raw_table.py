"""The rows of a raw file, before anything is cleaned."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.errors import DataError


@dataclass(frozen=True)
class RowNumbers:
    """The numbers that the rows of a table have in their file.

    Rows are counted from 1; in delimited text the header is row 1, and blank lines do not count.

    Attributes:
        first: the number of the first row.
        numbers: (N,) int64, where the rows are not consecutive: rows of the file were skipped, or became several.
    """

    first: int = 1
    numbers: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the numbers (n,) in the file of ``rows`` (n,), which count from 0."""
        return rows + self.first if self.numbers is None else self.numbers[rows]


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


def refuse_duplicate_columns(names: list[str], path: Path) -> None:
    """Raise ``DataError`` if two columns have the same name."""
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise DataError(f"has two columns {duplicate!r}", where=path, remedy="rename or remove one")
