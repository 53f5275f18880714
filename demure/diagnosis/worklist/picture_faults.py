"""Pictures that fail their item whatever its users chose: unreadable, blank, tiny, or a placeholder of many items."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from demure.data.describe.lookalikes import same_bytes
from demure.diagnosis.worklist.contents import Contents
from demure.diagnosis.worklist.fault import Fault
from demure.diagnosis.worklist.item_texts import Likeness
from demure.images.decoders import TOO_LONG, shared_decoders
from demure.images.opening import open_image
from demure.images.unusable import UnusableInput

MOST_OPENED = 2000  # pictures, of the items with most choices: a second for about 500
_TINY_SHARE, _TINY = 0.25, 100  # of the median side, and pixels, that the longer side is below
_BLANK = 2.0  # standard deviation of the grey values, of 255
_SIDE, _SECONDS, _THREADS = 32, 2.0, 2


def picture_faults(contents: Contents, same: list[list[int]]) -> dict[int, Fault]:
    """Return row of an item -> what is wrong with its picture; ``same``: groups of items with the same picture file."""
    faults: dict[int, Fault] = {}
    unlikes = Likeness(contents.whole_texts()).are_unlike(same) if same else []
    for rows, unlike in zip(same, unlikes, strict=True):
        path = contents.pictures[rows[0]]
        problem = "" if path is None else _look(path)[2]
        if problem:  # equal bytes: files cut short after the same header are no common picture
            faults |= {row: _unreadable(problem) for row in rows}
        elif unlike:
            for row in rows:
                ids = tuple(contents.item_ids[other] for other in rows if other != row)
                items = "another item" if len(ids) == 1 else f"{len(ids)} other items"
                reason = f"it shows the very picture of {items}, and by their texts these are different things"
                faults[row] = Fault(reason, "give each of these items a picture of its own", ids)
    opened = [
        row for row in np.argsort(-contents.choices, kind="stable").tolist() if contents.pictures[row] is not None
    ]
    for row, fault in _opened_faults(contents, opened[:MOST_OPENED]).items():
        faults.setdefault(row, fault)
    return faults


def _opened_faults(contents: Contents, rows: list[int]) -> dict[int, Fault]:
    with ThreadPoolExecutor(_THREADS) as threads:
        paths = [path for row in rows if (path := contents.pictures[row]) is not None]
        looks = list(threads.map(_look, paths))
    sides = [side for side, _, _ in looks if side]
    limit = min(_TINY, _TINY_SHARE * float(np.median(sides))) if sides else 0.0
    faults = {}
    for row, (side, spread, problem) in zip(rows, looks, strict=True):
        if problem:
            faults[row] = _unreadable(problem)
        elif spread < _BLANK:
            faults[row] = Fault("its picture is one even area of colour", "take a picture of this item")
        elif side < limit:
            usual = f"those of other items have about {np.median(sides):.0f}"
            reason = f"its picture has only {side} pixels on its longer side; {usual}"
            faults[row] = Fault(reason, "take a larger picture of this item")
    return faults


def _unreadable(problem: str) -> Fault:
    return Fault(f"its picture cannot be read ({problem})", "replace the file")


def _look(path: Path) -> tuple[int, float, str]:
    """Return the longer side in pixels, the spread of the grey values, and why it cannot be read, or an empty text.

    A picture that only takes too long is not called unreadable."""
    try:
        with open(path, "rb") as file, open_image(file) as image:
            side = max(image.size)
        grey = np.asarray(shared_decoders().thumbnail(path, _SIDE, _SIDE, _SECONDS).convert("L"), np.float64)
        return side, float(grey.std()), ""
    except UnusableInput as error:
        return 0, np.inf, "" if error.kind == TOO_LONG else error.kind
    except OSError as error:
        return 0, np.inf, error.strerror or "cannot be opened"


def same_pictures(contents: Contents) -> list[list[int]]:
    """Return the rows of each picture file, by its bytes, that several items have."""
    return same_bytes(contents.pictures)
