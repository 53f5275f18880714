"""Which of the items' columns an encoder reads: those that are named, or by default all texts or all attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from demure.data.nested import LISTS, simple
from demure.errors import ExtractorError
from demure.extraction import cleaning
from demure.prepare.reading.columns import DATES, OF_BEHAVIOUR, TEXTS
from demure.suggest import nearest

if TYPE_CHECKING:
    import pandas as pd

_PROSE = {*TEXTS["title"], *TEXTS["description"], "text", "plot", "overview", "summary", "caption", "review", "url"}
_REPEATED = {*LISTS, "brand", "author", "artist"}
_LONGEST = 60
# Words in a column's name that say its cells tell items or product lines apart, and not what they are like.
_CODES = {
    "id",
    "ids",
    "code",
    "no",
    "nr",
    "number",
    "sku",
    "ean",
    "upc",
    "isbn",
    "gtin",
    "asin",
    "model",
    "uuid",
    "key",
}
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d+)*|[.,]\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
NUMERIC_SHARE = 0.9


def known_columns(items: pd.DataFrame) -> list[str]:
    """All columns that an encoder can be given, in the order of the items file."""
    return [str(name) for name in items.columns if name not in ("item_id", "image")]


def cells(items: pd.DataFrame, column: str) -> list[str | None]:
    """(I,) a column's cells, cleaned as texts are; None where nothing is given."""
    found = (None if _is_missing(value) else cleaning.clean(str(value)) for value in items[column])
    return [cell or None for cell in found]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def pick(wanted: Sequence[str], items: pd.DataFrame, where: str) -> list[str]:
    """The ``wanted`` columns in the order of the items file. Raises ``ExtractorError`` for one that is not there."""
    known = known_columns(items)
    for column in wanted:
        if column not in known:
            near = nearest(column, known)
            hint = f"did you mean {near!r}? " if near else ""
            raise ExtractorError(
                f"the items have no column {column!r}",
                where=where,
                remedy=f"{hint}there are: {', '.join(known)}" if known else "prepare with --items",
            )
    return [column for column in known if column in wanted]


def attribute_columns(items: pd.DataFrame, where: str = "--attributes") -> list[str]:
    """The columns that are attributes by default, in the order of the items file.

    They are those of numbers, and those of categories: values that recur. Prose (title, description), dates, ids and
    codes are not among them. Raises ``ExtractorError`` if there is none.
    """
    known = known_columns(items)
    found = [name for name in known if _is_attribute(name, [cell for cell in cells(items, name) if cell is not None])]
    if not found:
        named = f"name columns: --attributes {known[0]}" if known else "prepare with --items"
        raise ExtractorError("no column of the items holds attributes", where=where, remedy=named)
    return found


def is_code(name: str) -> bool:
    """Whether a column's name says that its cells are ids or codes: ``colour_code``, ``productId``, ``ean``."""
    parts = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return bool(_CODES & set(parts))


def number(cell: str) -> float | None:
    """The number that a cell is, without currency and per cent signs; None if it is not one.

    A comma before groups of three digits separates thousands, any other a decimal part.
    """
    text = cell.strip().strip("$€£¥% \u00a0")
    if not _NUMBER.fullmatch(text):
        return None
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif "," in text and "." in text:
        text = text.replace(".", "").replace(",", ".")
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None


def is_numeric(name: str, cells: Sequence[str]) -> bool:
    """Whether the cells of a column are amounts: numbers (most of them), of three values or more, without leading zeros
    and not codes by the column's ``name``."""
    if is_code(name) or any(re.match(r"0\d", cell) for cell in cells):
        return False
    read = [number(cell) for cell in cells]
    numbers = [value for value in read if value is not None]
    return len(numbers) >= NUMERIC_SHARE * len(cells) and len(set(numbers)) > 2


def values(cell: str) -> list[str]:
    """The distinct values of a cell of categories, ``|`` between them; compared without case and outer spaces."""
    return list(dict.fromkeys(value for value in (part.strip().casefold() for part in cell.split("|")) if value))


def _is_attribute(name: str, cells: Sequence[str]) -> bool:
    word = simple(name)
    if not cells or word in _PROSE or word in DATES or word in OF_BEHAVIOUR or is_code(name):
        return False
    distinct = set(cells)
    if len(distinct) < 2:
        return False
    if word in _REPEATED or is_numeric(name, cells):
        return True
    return 2 * len(distinct) <= len(cells) and _mean(len(cell) for cell in distinct) <= _LONGEST


def _mean(numbers: Iterable[int]) -> float:
    read = list(numbers)
    return sum(read) / len(read)
