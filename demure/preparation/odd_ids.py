"""Ids that are taken as they are, but look like something else: each kind is noted with an example."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from demure.preparation.problems import Findings

_LOOKS_MISSING = ["nan", "none", "null", "na", "n/a", "<na>"]
_SAMPLE = 1000  # distinct ids that show whether a column holds several in one cell
# Pattern -> what is odd. Ids are never changed, so these may be what they should be.
_ODD = {
    r'^\s*(".*"|\'.*\')\s*$': "are in quotation marks, which are part of the id",
    r"^\s|\s$": "begin or end with a space, which is part of the id",
    r"^\s*\d(\.\d+)?[eE]\+\d+\s*$": "are numbers that a spreadsheet has shortened: different ids may have become one",
}
_SEPARATORS = ",;| "
_PART = re.compile(r"[^\s\d]*\d\S*")  # a word with a digit: titles with spaces or commas are no lists of ids


def note_odd_ids(ids: pa.Array, column: str, path: Path, findings: Findings) -> None:
    """Note the distinct ``ids`` (n,) of a column that look like a missing value, or like anything but one id."""
    looks_missing = pc.is_in(pc.utf8_lower(ids), value_set=pa.array(_LOOKS_MISSING))
    for name in ids.filter(looks_missing).to_pylist():
        findings.note(f"{path.name}: {name!r} in column {column!r} is taken as an id")
    for pattern, oddity in _ODD.items():
        odd = ids.filter(pc.match_substring_regex(ids, pattern))
        if len(odd):
            findings.note(f"{path.name}: {len(odd):,} ids in column {column!r}, such as {odd[0].as_py()!r}, {oddity}")
    example = _joined(ids)
    if example is not None:
        findings.note(
            f"{path.name}: most ids in column {column!r} look like several, such as {example!r}, and are taken as one "
            "each; write a list such as ['a1', 'b2'], or a row per interaction, if they are several"
        )


def _joined(ids: pa.Array) -> str | None:
    """Return an example if most ids are words with digits that one separator joins, as in ``N1 N2 N3``; else None."""
    sample: list[str] = ids[:: max(1, len(ids) // _SAMPLE)].to_pylist()
    for separator in _SEPARATORS:
        joined = [text for text in sample if _is_joined(text, separator)]
        if 2 * len(joined) > len(sample):
            return joined[0]
    return None


def _is_joined(text: str, separator: str) -> bool:
    parts = text.strip(" {}[]()").split(separator)
    return len(parts) > 1 and all(_PART.fullmatch(part.strip()) for part in parts)
