"""Recommendations of any model, from a file: a list of items, best first, for the users of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.errors import DataError
from demure.preparation.reading.ranked_places import RankedPlaces, read_places

_EXAMPLES = 3


@dataclass(frozen=True)
class RankedLists:
    """The lists of one model over the U users of a dataset.

    Attributes:
        lists: the items of each user, best first, each once; equal ranks or scores in the order of the dataset's items.
        has_list: (U,) bool, whether the file has the user.
        unknown_users: the users of the file that the dataset lacks.
        unknown_items: the items of the file that the dataset lacks; they are not in the lists.
        duplicates: the number of rows that repeat an item of their list; its best place counts.
        never: the number of rows with the score -inf, which means "never recommend"; they are not in the lists.
        tied: the number of lists with items of equal rank or score.
        notes: how the file was read, in sentences.
        of_mmrec: whether MMRec wrote the file, which lists no items of training.
    """

    lists: Histories
    has_list: np.ndarray
    unknown_users: list[str]
    unknown_items: list[str]
    duplicates: int
    never: int
    tied: int
    notes: list[str]
    of_mmrec: bool = False


def read_ranked_lists(path: Path, dataset: Dataset) -> RankedLists:
    """Read the lists of a file over the users and items of ``dataset``.

    Raises ``DataError`` as ``read_places``, and where the dataset has no user, or no item, of the file.
    """
    places = read_places(path, dataset)
    user, unknown_users = _positions(places.users, dataset.user_ids)
    item, unknown_items = _positions(places.items, dataset.item_ids)
    _refuse_foreign(path, "user", user, unknown_users, dataset.user_ids)
    _refuse_foreign(path, "item", item, unknown_items, dataset.item_ids)
    never = np.isposinf(places.keys["score"]) if "score" in places.keys else np.zeros(len(user), bool)
    rows = np.flatnonzero((user >= 0) & (item >= 0) & ~never)
    rows = rows[np.lexsort((item[rows], *(key[rows] for key in reversed(places.keys.values())), user[rows]))]
    user_N, item_N = user[rows], item[rows]
    keys = [key[rows] for key in places.keys.values()]
    same_user = user_N[1:] == user_N[:-1]
    tied = same_user & np.all([key[1:] == key[:-1] for key in keys], axis=0)
    reordered = same_user & (keys[-1][1:] < keys[-1][:-1])
    n_users, n_items = len(dataset.user_ids), len(dataset.item_ids)
    first = np.sort(np.unique(user_N * n_items + item_N, return_index=True)[1])
    lengths = np.bincount(user_N[first], minlength=n_users)
    has_list = np.zeros(n_users, bool)
    has_list[user[user >= 0]] = True
    return RankedLists(
        lists=Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), item_N[first]),
        has_list=has_list,
        unknown_users=unknown_users,
        unknown_items=unknown_items,
        duplicates=len(rows) - len(first),
        never=int(never.sum()),
        tied=len(np.unique(user_N[1:][tied])),
        notes=[*places.notes, *_disagreement(places, user_N[1:][reordered])],
        of_mmrec=places.of_mmrec,
    )


def _refuse_foreign(path: Path, role: str, positions: np.ndarray, unknown: Sequence[str], ids: np.ndarray) -> None:
    if not (positions >= 0).any():
        raise DataError(
            f"has no {role} of the dataset: its {role}s are {_some(unknown)}, those of the dataset {_some(ids)}",
            where=path,
            remedy="write the ids of the dataset, not the numbers that another tool gives them",
        )


def _disagreement(places: RankedPlaces, users: np.ndarray) -> list[str]:
    """Return a sentence if the second key orders lists in another way; ``users``: those of the places where it does."""
    if len(places.keys) < 2 or not len(users):
        return []
    counted, other = places.keys
    return [f"{other} and {counted} order {len(np.unique(users)):,} lists in different ways; {counted} counts"]


def _positions(texts: pa.Array, ids: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the position (N,) of each text in ``ids``, -1 where it is not there, and these other texts, each once."""
    encoded = texts.dictionary_encode()
    in_ids = pc.index_in(encoded.dictionary, value_set=pa.array(ids, pa.string()))
    position = pc.fill_null(in_ids, -1).to_numpy(zero_copy_only=False)
    unknown = encoded.dictionary.filter(pa.array(position < 0)).to_pylist()
    codes = pc.fill_null(encoded.indices, len(position)).to_numpy(zero_copy_only=False)
    return np.append(position, -1)[codes].astype(np.int64), unknown


def _some(ids: Sequence[str] | np.ndarray) -> str:
    shown = ", ".join(repr(str(name)) for name in ids[:_EXAMPLES])
    return (shown or "empty") + (", ..." if len(ids) > _EXAMPLES else "")
