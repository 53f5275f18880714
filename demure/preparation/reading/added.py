"""Formats that other packages add (entry points ``demure.readers``): a function from a path to a table.

The function gets the ``Path`` that the user names, and returns the rows of the file as a ``pyarrow.Table`` or a pandas
frame. Its columns are called ``user_id``, ``item_id``, ``timestamp``, ``rating``, ``split`` and so on, or by the other
names that demure recognises. All cleaning is that of `demure prepare`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from demure.data.id_codes import TableBuilder
from demure.errors import DataError, DemureError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.raw_table import RawTable, RowNumbers, no_rows, separate_duplicates


@dataclass(frozen=True)
class AddedReader:
    """The reader of the format ``name``, whose function is ``read``."""

    name: str
    read: Callable[[Path], Any]

    def __call__(self, path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
        """Return the selected columns of the table. Raises ``DataError`` for a file that the function cannot read."""
        if not path.exists():
            raise DataError("no such file", where=path, remedy="check the path")
        table = self._table(path)
        names = selection.rename(table.column_names, path, findings)
        unique, names = separate_duplicates(table.column_names, names, path, findings, selection)
        usable = [k for k, name in enumerate(table.column_names) if name == unique[k]]
        kept = [k for k in usable if selection.includes(names[k])] or usable[:1]
        if not table.num_rows or not kept:
            raise no_rows(path)
        builder = TableBuilder([names[k] for k in kept], selection.is_encoded)
        builder.add([table.column(k).combine_chunks() for k in kept], table.num_rows)
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []
        return RawTable(path, builder.table(), RowNumbers(), names, files=files)

    def _table(self, path: Path) -> pa.Table:
        import pandas as pd

        where = f"{path}, --format {self.name}"
        try:
            rows = self.read(path)
            if isinstance(rows, pd.DataFrame):
                rows = pa.Table.from_pandas(rows, preserve_index=False)
        except DemureError:
            raise
        except Exception as error:  # whatever a foreign function raises
            raise DataError(f"cannot be read ({type(error).__name__}: {error})", where=where) from error
        if not isinstance(rows, pa.Table) or not rows.num_columns:
            problem = f"its reader returns {type(rows).__name__}"
            raise DataError(problem, where=where, remedy="it must return a pyarrow.Table or a pandas.DataFrame")
        return rows
