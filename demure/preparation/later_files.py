"""Files and frames of items and histories that come after `demure prepare`, read as the files of the dataset were."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from demure.data.dataset import Dataset
from demure.errors import DataError, DemureError
from demure.preparation.reading.columns import ColumnSelection, columns_by_role

if TYPE_CHECKING:
    import pandas as pd

_OF_PREPARE = re.compile(r"--(columns|bad-rows|quotes|encoding|format)\b")
_CLAUSES = re.compile(r"(?:, or|;) ")
_REWRITE = "write it as CSV in UTF-8, or as Parquet, with the columns {}"
_COLUMNS = {True: "item_id, title, description, image and the like", False: "user_id, item_id and timestamp"}


def dataset_columns(dataset: Dataset, *, items: bool) -> ColumnSelection:
    """Return the columns to read of a later file: `prepare --columns` holds for it, too."""
    recorded = dataset.manifest.created_by.get("columns") or {}
    return ColumnSelection(columns_by_role(recorded), items, of_dataset=True, files=("image", *dataset.media_roots))


@contextlib.contextmanager
def advice_on_files(*, items: bool) -> Iterator[None]:
    """Let no remedy name an option of `demure prepare`, which the commands that read later files do not have."""
    try:
        yield
    except DataError as error:
        if not _OF_PREPARE.search(error.remedy or ""):
            raise
        clauses = [clause for clause in _CLAUSES.split(error.remedy or "") if not _OF_PREPARE.search(clause)]
        remedy = ", or ".join(clauses) or _REWRITE.format(_COLUMNS[items])
        raise DataError(error.problem, where=error.where, remedy=remedy) from error


@contextlib.contextmanager
def as_file(table: pd.DataFrame | Path | str, name: str) -> Iterator[Path]:
    """Yield the file of a ``table``; errors and notes about a frame call it ``name``, not by a temporary file."""
    if isinstance(table, Path | str):
        yield Path(table)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name  # without a suffix: Parquet is recognised by its content
        table.to_parquet(file, index=False)
        try:
            yield file
        except DemureError as error:
            where = None if error.where is None else str(error.where).replace(str(file), name)
            raise type(error)(error.problem, where=where, remedy=error.remedy) from None
