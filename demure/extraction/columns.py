"""Choose the columns of the items that an encoder reads: named columns, or by default all texts or all attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from demure.data.nested import LISTS, normalize_name
from demure.errors import ExtractorError
from demure.extraction import cleaning
from demure.preparation.reading.columns import DATE_NAMES, TEXT_NAMES, is_behaviour
from demure.suggest import nearest

if TYPE_CHECKING:
    import pandas as pd

_PROSE = {
    *TEXT_NAMES["title"],
    *TEXT_NAMES["description"],
    "text",
    "plot",
    "overview",
    "summary",
    "caption",
    "review",
    "url",
}
_REPEATED = {*LISTS, "brand", "author", "artist"}
_LONGEST = 60  # characters of a category on average; longer values are prose
# Words in a column's name by which its values identify items or product lines rather than describe them.
_CODE_WORDS = {
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


def encodable_columns(items: pd.DataFrame) -> list[str]:
    """Return all columns that an encoder can read, in the order of the items file."""
    return [str(name) for name in items.columns if name not in ("item_id", "image")]


def cleaned_values(items: pd.DataFrame, column: str) -> list[str | None]:
    """Return the values of a column, one per item, cleaned as texts are; None where an item has no value."""
    values = (None if is_missing(value) else cleaning.clean(str(value)) for value in items[column])
    return [value or None for value in values]


def is_missing(value: Any) -> bool:
    """Return whether a value of the items table is None or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def select_columns(wanted: Sequence[str], items: pd.DataFrame, where: str) -> list[str]:
    """Return the ``wanted`` columns in the order of the items file.

    Raises ``ExtractorError`` at ``where``, an option of the command line, for a column that does not exist.
    """
    available = encodable_columns(items)
    for column in wanted:
        if column not in available:
            near = nearest(column, available)
            hint = f"did you mean {near!r}? " if near else ""
            raise ExtractorError(
                f"the items have no column {column!r}",
                where=where,
                remedy=f"{hint}there are: {', '.join(available)}" if available else "prepare with --items",
            )
    return [column for column in available if column in wanted]


def attribute_columns(items: pd.DataFrame, where: str = "--attributes") -> list[str]:
    """Return the columns that are attributes by default, in the order of the items file.

    These are columns of numbers, and columns of categories, whose values recur. Prose (title, description), dates, ids
    and codes are not among them. Raises ``ExtractorError`` if no column is an attribute.
    """
    available = encodable_columns(items)
    attributes = []
    for name in available:
        values = [value for value in cleaned_values(items, name) if value is not None]
        if _is_attribute(name, values):
            attributes.append(name)
    if not attributes:
        remedy = f"name columns: --attributes {available[0]}" if available else "prepare with --items"
        raise ExtractorError("no column of the items holds attributes", where=where, remedy=remedy)
    return attributes


def is_code(name: str) -> bool:
    """Return whether a column holds ids or codes by its name: ``colour_code``, ``productId``, ``ean``."""
    parts = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return bool(_CODE_WORDS & set(parts))


def parse_number(value: str) -> float | None:
    """Parse a number, without its currency or per cent sign; return None if the value is not a number.

    A comma before groups of three digits separates thousands, any other comma a decimal part.
    """
    text = value.strip().strip("$€£¥% \u00a0")
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


def is_numeric(name: str, values: Sequence[str]) -> bool:
    """Return whether a column holds amounts.

    At least ``NUMERIC_SHARE`` of the values must be numbers, three or more of them different, none with a leading zero;
    and the column's ``name`` must not be the name of a code.
    """
    if is_code(name) or any(re.match(r"0\d", value) for value in values):
        return False
    numbers = [number for number in map(parse_number, values) if number is not None]
    return len(numbers) >= NUMERIC_SHARE * len(values) and len(set(numbers)) > 2


def split_categories(value: str) -> list[str]:
    """Return the distinct categories in ``"Drama|Comedy"``, without case and outer spaces."""
    categories = (part.strip().casefold() for part in value.split("|"))
    return list(dict.fromkeys(category for category in categories if category))


def _is_attribute(name: str, values: Sequence[str]) -> bool:
    word = normalize_name(name)
    if not values or word in _PROSE or word in DATE_NAMES or is_behaviour(name) or is_code(name):
        return False
    distinct = set(values)
    if len(distinct) < 2:
        return False
    if word in _REPEATED or is_numeric(name, values):
        return True
    return 2 * len(distinct) <= len(values) and sum(map(len, distinct)) / len(distinct) <= _LONGEST
