"""The lists that MMRec's evaluator writes: columns id, top_0, top_1, ..., where numbers stand for users and items."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from demure.data.dataset import Dataset
from demure.errors import DataError

_PLACE = re.compile(r"top_(\d+)")
_USERS, _ITEMS = "u_id_mapping.csv", "i_id_mapping.csv"
NumberOfId = dict[int, str] | None
"""Number -> id; None where the number itself is the id."""


def is_mmrec(names: Sequence[str]) -> bool:
    """Return whether the columns ``names`` are those of a file of MMRec."""
    return "id" in names and "top_0" in names


def mmrec_rows(names: Sequence[str], numbers: Callable[[str], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return users (n,) and the items (n, K) of their lists, best first; ``numbers``: column -> its values (n,)."""
    places = {int(match[1]): name for name in names if (match := _PLACE.fullmatch(name))}
    items = [numbers(places[place]).astype(np.int64) for place in sorted(places)]
    return numbers("id").astype(np.int64), np.stack(items, axis=1)


def mmrec_ids(path: Path, dataset: Dataset) -> tuple[tuple[NumberOfId, NumberOfId], str]:
    """Return what the numbers in ``path`` stand for, of users and of items, and where that is written, as a phrase.

    Mapping files beside ``path`` come first. Without them, a dataset that was prepared from MMRec's files has these
    numbers as ids, and for any other the numbers are those that `demure data export` gives its users and items.
    """
    users, items = path.parent / _USERS, path.parent / _ITEMS
    if users.is_file() and items.is_file():
        return (_read_mapping(users, "userID"), _read_mapping(items, "itemID")), f"read by {_USERS} and {_ITEMS}"
    if dataset.manifest.created_by.get("format") == "mmrec":
        return (None, None), "taken as the ids of the dataset, which was prepared from files of MMRec"
    user_ids, item_ids = (dict(enumerate(map(str, ids))) for ids in (dataset.user_ids, dataset.item_ids))
    return (user_ids, item_ids), "taken as those that `demure data export --format mmrec` writes for this dataset"


def _read_mapping(file: Path, column: str) -> dict[int, str]:
    """Read number -> id from two columns: the numbers in ``column``, the ids in the other one."""
    import pandas as pd

    try:
        table = pd.read_csv(file, sep=None, engine="python", dtype=str, keep_default_na=False, encoding="utf-8-sig")
        names = list(table.columns)
        if len(names) != 2 or column not in names:
            raise ValueError(f"it has the columns {', '.join(names)}")
        (other,) = (name for name in names if name != column)
        return dict(zip(table[column].astype(int), table[other], strict=True))
    except (ValueError, OSError, csv.Error) as error:  # pandas' errors are ValueErrors
        problem = f"cannot be read as a mapping of ids to numbers ({' '.join(str(error).split())})"
        raise DataError(problem, where=file, remedy=f"give it two columns, an id and {column}") from error
