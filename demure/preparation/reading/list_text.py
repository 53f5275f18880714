"""Lists in a cell of text, as JSON, Python, NumPy and Java print them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

_VALUE = r"""(?:[-+]?\d[\w.+-]*|'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|None|null|nan|NaN)"""
_VALUES = re.compile(_VALUE, re.DOTALL)
_WITH_COMMAS = re.compile(rf"[\[(]\s*+(?:{_VALUE}\s*+(?:,\s*+{_VALUE}\s*+)*+,?\s*+)?[\])]", re.DOTALL)
_WITH_SPACES = re.compile(rf"\[\s*+{_VALUE}(?:\s++{_VALUE})*+\s*+\]", re.DOTALL)
_MISSING = {"None", "null", "nan", "NaN"}
_BARE = r"[^\[\](){}\"',\s][^\[\](){}\"',]*+"
_BARE_LIST = re.compile(rf"\[\s*+{_BARE}(?:,\s*+{_BARE})*+\]")
_ONE_NUMBER = re.compile(r"[\[(]\s*\d[\w.]*\s*[\])]")
Values = Sequence[str | None]


class CellError(ValueError):
    """A cell that holds what cannot be read as values, such as an object; the text says what."""


def parse_cell(text: str) -> Values | None:
    """Return the values of a list; None for a text that is one value, not a list.

    Raises ``CellError`` for an object, a list in a list, and a list that cannot be read.
    """
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        if _loads(text) is not None:
            raise CellError("an object")
        return None
    if not (text.startswith("[") and text.endswith("]")) and not (text.startswith("(") and text.endswith(")")):
        return None
    values = _loads(text) if text.startswith("[") else None
    if isinstance(values, list):
        return [_element(value) for value in values]
    if (_WITH_COMMAS.fullmatch(text) and "," in text) or _WITH_SPACES.fullmatch(text) or text == "[]":
        return [_token(token) for token in _VALUES.findall(text)]
    if text.startswith(("[[", "[{", "[(")) or re.search(r"\d\s+\.\.\.\s", text):
        raise CellError("a list that cannot be read")
    return None


def parse_bare_list(text: str) -> Values | None:
    """Return the values of a list as Java prints it, ``[B00A, B00B]``; None for any other text."""
    text = text.strip()
    return [value.strip() for value in text[1:-1].split(",")] if _BARE_LIST.fullmatch(text) else None


def has_one_number(text: str) -> bool:
    """Return whether a text is one number in brackets, which may be an id."""
    return bool(_ONE_NUMBER.fullmatch(text.strip()))


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(text) if text.startswith("{") else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return value if isinstance(value, dict | set) else None


def _element(value: Any) -> str | None:
    if isinstance(value, list | dict):
        raise CellError("an object in a list" if isinstance(value, dict) else "a list in a list")
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _token(token: str) -> str | None:
    if token in _MISSING:
        return None
    return str(ast.literal_eval(token)) if token[0] in "'\"" else token
