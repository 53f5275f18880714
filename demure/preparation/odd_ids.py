"""Ids that are taken as they are, but look like something else: each kind is noted with an example."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.preparation.problems import Findings

_LOOKS_MISSING = ["nan", "none", "null", "na", "n/a", "<na>"]
_NEVER = sys.maxsize
_SAMPLE = 1000  # distinct ids that show whether a column holds several in one cell
# Pattern -> what is odd. Ids are never changed, so these may be what they should be.
_ODD = {
    r'^\s*(".*"|\'.*\')\s*$': "are in quotation marks, which are part of the id",
    r"^\s|\s$": "begin or end with a space, which is part of the id",
    r"^\s*\d(\.\d+)?[eE]\+\d+\s*$": "are numbers that a spreadsheet has shortened: different ids may have become one",
}
_SEPARATORS = ",;| "
_PART = re.compile(r"[^\s\d]*\d\S*")  # a word with a digit: titles with spaces or commas are no lists of ids


@dataclass(frozen=True)
class OddIds:
    """What is odd in distinct ids, each with its place in the order of appearance.

    ``missing``: those that look like a missing value; ``odd``: for each pattern of ``_ODD`` the number of ids, and the
    first of them.
    """

    missing: list[tuple[int, str]]
    odd: list[tuple[int, tuple[int, str]]]

    @classmethod
    def among(cls, ids: pa.Array, places: np.ndarray) -> OddIds:
        """Return what is odd in ``ids`` (n,) with the ascending ``places`` (n,)."""
        looks_missing = _positions(pc.is_in(pc.utf8_lower(ids), value_set=pa.array(_LOOKS_MISSING)))
        missing = [(int(places[k]), ids[k].as_py()) for k in looks_missing.tolist()]
        odd = []
        for pattern in _ODD:
            matches = _positions(pc.match_substring_regex(ids, pattern))
            first = (int(places[matches[0]]), ids[int(matches[0])].as_py()) if len(matches) else (_NEVER, "")
            odd.append((len(matches), first))
        return cls(missing, odd)


def note_odd_ids(parts: Sequence[OddIds], sample: Sequence[str], column: str, path: Path, findings: Findings) -> None:
    """Note the ids of a column that look like a missing value, or like anything but one id.

    ``parts``: of all distinct ids, in any order; ``sample``: some of them, by ``sample_step``.
    """
    for _, name in sorted(missing for part in parts for missing in part.missing):
        findings.note(f"{path.name}: {name!r} in column {column!r} is taken as an id")
    for k, oddity in enumerate(_ODD.values()):
        n, (_, example) = sum(part.odd[k][0] for part in parts), min(part.odd[k][1] for part in parts)
        if n:
            findings.note(f"{path.name}: {n:,} ids in column {column!r}, such as {example!r}, {oddity}")
    joined = _joined(sample)
    if joined is not None:
        findings.note(
            f"{path.name}: most ids in column {column!r} look like several, such as {joined!r}, and are taken as one "
            "each; write a list such as ['a1', 'b2'], or a row per interaction, if they are several"
        )


def sample_step(n: int) -> int:
    """Return of how many distinct ids, of ``n`` in order of appearance, one is in the sample, from the first on."""
    return max(1, n // _SAMPLE)


def _positions(mask: pa.Array) -> np.ndarray:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))


def _joined(sample: Sequence[str]) -> str | None:
    """Return an example if most ids are words with digits that one separator joins, as in ``N1 N2 N3``; else None."""
    for separator in _SEPARATORS:
        joined = [text for text in sample if _is_joined(text, separator)]
        if 2 * len(joined) > len(sample):
            return joined[0]
    return None


def _is_joined(text: str, separator: str) -> bool:
    parts = text.strip(" {}[]()").split(separator)
    return len(parts) > 1 and all(_PART.fullmatch(part.strip()) for part in parts)
