"""Filter and sort any table that `demure inspect` shows: ``choices>=20``, ``title~star``, ``-noise``.

A field has the name of its column in the JSON, or the heading that the views give to it: ``relies on`` is
``relies_on``, and ``choices``, ``item`` and ``user`` are ``interactions``, ``item_id`` and ``user_id``.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from demure.errors import DemureError
from demure.suggest import did_you_mean

_OPERATORS: dict[str, Callable[[pd.Series, float | str], pd.Series]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_HEADINGS = {"choices": "interactions", "item": "item_id", "user": "user_id"}
_CONDITION = re.compile(r"^\s*(.+?)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*$")


def filter_rows(
    frame: pd.DataFrame, where: Sequence[str] = (), sort: str | None = None, top: int | None = None
) -> pd.DataFrame:
    """Return the rows of ``frame`` that fulfil every condition, sorted by a column (``-column``: largest first), at
    most ``top``; the index keeps the row numbers of ``frame``.

    A condition is FIELD OP VALUE with = != < <= > >= on numbers and texts, or ~ for "contains, in any case". A missing
    value (NaN) fulfils only !=. Raises ``DemureError`` for an unknown field or a malformed condition.
    """
    for condition in where:
        frame = frame[_matches(frame, condition)]
    if sort is not None:
        name = _field(frame, sort.removeprefix("-"), "--sort")
        frame = frame.sort_values(name, ascending=not sort.startswith("-"), kind="stable")
    return frame if top is None else frame.head(top)


def _matches(frame: pd.DataFrame, condition: str) -> pd.Series:
    parsed = _CONDITION.match(condition)
    if parsed is None:
        raise DemureError(
            f"{condition!r} is not a condition", where="--where", remedy="write FIELD=VALUE, or with != < <= > >= ~"
        )
    name, sign, value = parsed.groups()
    column = frame[_field(frame, name, "--where")]
    if sign == "~":
        contains: pd.Series = column.fillna("").astype(str).str.contains(value, case=False, regex=False)
        return contains
    if pd.api.types.is_numeric_dtype(column):
        try:
            number = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
            if math.isnan(number):
                raise ValueError
        except ValueError:
            raise DemureError(
                f"{name} is a number, {value!r} is not", where="--where", remedy=f"as in {name}>=0.5"
            ) from None
        return _OPERATORS[sign](column, number)
    return _OPERATORS[sign](column.fillna("").astype(str), value)


def _field(frame: pd.DataFrame, name: str, where: str) -> Any:
    joined = "_".join(name.split())
    for column in (name, joined, _HEADINGS.get(joined)):
        if column in frame.columns:
            return column
    fields = [heading_of(str(column), frame.columns) for column in frame.columns]
    suggestion, listed = did_you_mean(name, fields), f"there are: {', '.join(fields)}"
    remedy = f"{suggestion} ({listed})" if suggestion else listed
    raise DemureError(f"no field {name!r} in this view", where=where, remedy=remedy)


def heading_of(column: str, columns: Iterable[str]) -> str:
    """Return the heading of a column among ``columns``, by which it can also be filtered and sorted."""
    heading = next((heading for heading, name in _HEADINGS.items() if name == column), column)
    return column if heading in set(columns) else heading


def modality_column(modality: str, columns: Iterable[str]) -> str:
    """Return the name of a modality's column in a table that already has ``columns``: ``NAME.share`` if NAME is one of
    them."""
    return f"{modality}.share" if modality in set(columns) else modality
