"""Collect the distinct texts or attributes of the items, each with its hash; identical inputs are encoded once.

The stage after ``sources`` and before ``encoding``, for texts and attributes; for images it is ``images``. The whole
path is in ``extract``.

Shapes: I items, D distinct inputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from demure.errors import ExtractorError
from demure.extraction import cleaning
from demure.extraction.columns import cleaned_values, is_missing
from demure.extraction.hashing import hash_input, stack_hashes

if TYPE_CHECKING:
    import pandas as pd

JOIN = "all text columns in the order of the items file, one line each; '|' in genres and categories read as ', '"
JOIN_CHOSEN = JOIN.replace("all text columns", "these columns")


class ItemProblem(NamedTuple):
    """Why an ``item`` has no usable input: a short ``kind`` to count by, and the exact ``value``."""

    item: int
    kind: str
    value: str


class InputProblem(NamedTuple):
    """Why a distinct ``input`` cannot be encoded; ``kind`` and ``value`` as in :class:`ItemProblem`."""

    input: int
    kind: str
    value: str


@dataclass(frozen=True)
class Inputs:
    """The distinct inputs of one kind.

    Attributes:
        keys: (D, 16) uint8, a hash of each distinct input, in the order of the first item that has it.
        index: (I,) the distinct input of each item, -1 where the item has nothing usable.
        problems: why an item has nothing usable.
        load: returns distinct input k, or raises ``UnusableInput``.
        facts: what the inputs are made of, for the manifest.
        reduced: images alone: returns the inputs for an encoder that reads so many pixels of a side.
    """

    keys: np.ndarray
    index: np.ndarray
    problems: list[ItemProblem]
    load: Callable[[int], Any]
    facts: dict[str, Any]
    reduced: Callable[[int], Inputs] | None = None


@dataclass(frozen=True)
class EncodingTask:
    """One modality to encode.

    Attributes:
        folder: the dataset folder.
        item_ids: (I,) ids in the order of the items.
        name: the modality, whose features go to ``features/NAME``.
        kind: one of ``KINDS``.
        encoder_name: the encoder as the user names it.
        inputs: the distinct inputs to encode.
    """

    folder: Path
    item_ids: Sequence[str]
    name: str
    kind: str
    encoder_name: str
    inputs: Inputs


def text_inputs(items: pd.DataFrame, columns: list[str], *, chosen: bool = False) -> Inputs:
    """Return every item's text, joined as ``JOIN`` describes.

    ``chosen`` records that the user chose the columns. Raises ``ExtractorError`` if there is no column.
    """
    if not columns:
        raise ExtractorError(
            "the items have no text",
            where="--text",
            remedy="give an items file with title, description, text or genres",
        )
    distinct: dict[str, int] = {}
    index = np.full(len(items), -1, dtype=np.int64)
    for item, row in enumerate(zip(*(items[column] for column in columns), strict=True)):
        lines = [_line(value, column) for value, column in zip(row, columns, strict=True)]
        joined = "\n".join(line for line in lines if line)
        if joined:
            index[item] = distinct.setdefault(joined, len(distinct))
    texts = list(distinct)
    problems = [ItemProblem(item, "empty text", "") for item in np.flatnonzero(index < 0).tolist()]
    facts = {"columns": columns, "join": JOIN_CHOSEN if chosen else JOIN, "cleaning": cleaning.POLICY}
    hashes = stack_hashes([hash_input(text.encode()) for text in texts])
    return Inputs(hashes, index, problems, texts.__getitem__, facts)


def _line(value: Any, column: str) -> str:
    if is_missing(value):
        return ""
    text = str(value)
    return cleaning.clean(text.replace("|", ", ") if column in {"genres", "categories"} else text)


def attribute_inputs(items: pd.DataFrame, columns: list[str]) -> Inputs:
    """Return every item's values in ``columns``; ``load`` gives column -> value, None where a value is missing."""
    distinct: dict[str, int] = {}
    index = np.full(len(items), -1, dtype=np.int64)
    for item, row in enumerate(zip(*(cleaned_values(items, column) for column in columns), strict=True)):
        if any(value is not None for value in row):
            index[item] = distinct.setdefault(json.dumps(row), len(distinct))
    rows = list(distinct)
    problems = [ItemProblem(item, "no attribute given", "") for item in np.flatnonzero(index < 0).tolist()]
    facts = {"columns": columns, "cleaning": cleaning.POLICY}
    names = json.dumps(columns)  # the same values in other columns are another input

    def load(k: int) -> dict[str, str | None]:
        return dict(zip(columns, json.loads(rows[k]), strict=True))

    return Inputs(stack_hashes([hash_input((names + row).encode()) for row in rows]), index, problems, load, facts)
