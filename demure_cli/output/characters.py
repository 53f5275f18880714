"""Characters that control a terminal: replaced in text, escaped in JSON."""

from __future__ import annotations

import re

from demure.storage.names import shown

# The controls of C0 and C1, separators of lines and paragraphs, and what changes the direction or shape of the letters
# after it: a title with one of them could move the cursor or reverse the rest of a line. The joiners U+200C and U+200D
# stay: words of Persian and Indian languages, and emojis, are written with them.
_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"
_CONTROLS = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{_DIRECTIONS}]")
_CONTROLS_IN_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_DIRECTIONS}]")
# JSON text has its own line breaks; halves of a surrogate pair cannot be written as UTF-8.
_ESCAPED_IN_JSON = re.compile(rf"[\x7f-\x9f\u2028\u2029{_DIRECTIONS}\ufeff\ud800-\udfff]")


JOINED_SPACE = "\ufdd1"
"""Stands for a space at which no line is folded: rich folds at U+00A0 too. It is a noncharacter, so no text holds it;
``clean.cleaned`` prints it as a space."""


def unfolded_numbers(text: object) -> str:
    """Return ``safe`` text in which a number stays on one line with its per cent sign."""
    return safe(text).replace(" %", f"{JOINED_SPACE}%")


def safe(value: object, *, line: bool = True) -> str:
    """Return ``value`` as text without control characters, so that no id or title can control the terminal, with URLs
    in place of the local folders that stand for them. ``line``: also replace line breaks and tabs."""
    return (_CONTROLS if line else _CONTROLS_IN_LINES).sub(" ", shown(str(value)))


def escape_controls(text: str) -> str:
    """Return JSON that means the same, with control characters as ``\\u009b`` and other letters as they are."""
    return _ESCAPED_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
