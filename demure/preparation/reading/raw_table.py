"""The rows of a raw file, before anything is cleaned."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from demure.errors import DataError


@dataclass(frozen=True)
class RawTable:
    """The rows of a file. Row k of ``table`` is row ``first_row + k`` of the file.

    Rows are counted from 1; in delimited text the header is row 1, and blank lines do not count.

    Attributes:
        first_row: the number of the first row of ``table`` in the file.
        column_names: the names of all columns of the file; ``table`` has only the selected columns.
        delimited: whether the file is delimited text.
        files: the files that were read, where these are not ``path`` alone.
    """

    path: Path
    table: pa.Table
    first_row: int
    column_names: list[str]
    delimited: bool = False
    files: list[Path] = field(default_factory=list)


def no_rows(path: Path) -> DataError:
    """Return the error for a file that has a header only."""
    return DataError("has no rows, only a header", where=path, remedy="give a file with rows")


def refuse_duplicate_columns(names: list[str], path: Path) -> None:
    """Raise ``DataError`` if two columns have the same name."""
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise DataError(f"has two columns {duplicate!r}", where=path, remedy="rename or remove one")
