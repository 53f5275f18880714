"""Sorting and filtering of any table that `demure inspect` shows: ``interactions>=20``, ``title~star``, ``-noise``."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from demure.errors import DemureError

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"^\s*(.+?)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*$")


def pick(
    frame: pd.DataFrame, where: Sequence[str] = (), sort: str | None = None, top: int | None = None
) -> pd.DataFrame:
    """The rows of ``frame`` for which every condition holds, sorted by a column (``-column``: largest first), at most
    ``top``; the index says which rows they were.

    A condition is FIELD OP VALUE with = != < <= > >= on numbers and words, or ~ for "contains, in any case". A value
    that is not there (NaN) fulfils none but !=. Raises ``DemureError`` for an unknown field or a bad condition.
    """
    for condition in where:
        frame = frame[_holds(frame, condition)]
    if sort is not None:
        name = _field(frame, sort.removeprefix("-"), "--sort")
        frame = frame.sort_values(name, ascending=not sort.startswith("-"), kind="stable")
    return frame if top is None else frame.head(top)


def _holds(frame: pd.DataFrame, condition: str) -> pd.Series:
    found = _CONDITION.match(condition)
    if found is None:
        raise DemureError(
            f"{condition!r} is no condition", where="--where", remedy="write FIELD=VALUE, or with != < <= > >= ~"
        )
    name, sign, value = found.groups()
    column = frame[_field(frame, name, "--where")]
    if sign == "~":
        return column.fillna("").astype(str).str.contains(value, case=False, regex=False)
    if pd.api.types.is_numeric_dtype(column):
        try:
            wanted: Any = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            raise DemureError(
                f"{name} is a number, {value!r} is none", where="--where", remedy=f"as in {name}>=0.5"
            ) from None
        return _OPERATORS[sign](column, wanted)
    return _OPERATORS[sign](column.fillna("").astype(str), value)


def _field(frame: pd.DataFrame, name: str, where: str) -> Any:
    if name in frame.columns:
        return name
    known = [str(column) for column in frame.columns]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise DemureError(f"no field {name!r} in this view", where=where, remedy=hint)


def column(modality: str, taken: Iterable[str]) -> str:
    """The name of a modality's column in a table that has the columns ``taken``: its own unless that is one of them."""
    return f"{modality}.share" if modality in set(taken) else modality
