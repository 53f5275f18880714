"""Texts that fail their item whatever its users chose: placeholders, descriptions of another item, empty ones."""

from __future__ import annotations

import numpy as np

from demure.diagnosis.explain import join_names
from demure.diagnosis.worklist.contents import Contents
from demure.diagnosis.worklist.fault import Fault
from demure.diagnosis.worklist.item_texts import PAIR

_TITLE = "title"
_STUB_SHARE = 0.15  # of the words of the median description
_MOST_MISSING = 0.2  # share of items without a description, up to which it is a gap and not the habit of the shop
_NAMED = 2


def text_faults(contents: Contents) -> dict[int, Fault]:
    """Return row of an item -> what is wrong with its text."""
    faults: dict[int, Fault] = {}
    for name in contents.prose:
        for rows in contents.texts.shared(name):
            listed = rows if len(rows) > PAIR else [_least_explained(contents, rows)]
            faults |= {row: _shared(contents, name, rows, row) for row in listed if row not in faults}
        for row, fault in _stubs(contents, name).items():
            faults.setdefault(row, fault)
    return faults


def _shared(contents: Contents, name: str, rows: list[int], row: int) -> Fault:
    """Return the fault of a text that items with nothing else in common share."""
    others = [other for other in rows if other != row]
    ids = tuple(contents.item_ids[other] for other in others)
    if len(rows) > PAIR:
        return Fault(
            f"its {name} is the same as that of {len(others)} other items that have nothing else in common, "
            "so it describes none of them",
            f"write a {name} of this item",
            ids,
        )
    return Fault(
        f"its {name} is word for word that of {contents.name(others[0])!r}, which is another item: it can describe one "
        "of the two only",
        f"check which of the two the {name} is about, and write one for the other",
        ids,
    )


def _least_explained(contents: Contents, rows: list[int]) -> int:
    """Return the item of a pair whose text explains its choices worse: more likely, the text is that of the other."""
    text = contents.modality_of("text")
    below = contents.deviations["below"]
    return max(rows, key=lambda row: float(below.get((contents.item_ids[row], text), 0.0)))


def _stubs(contents: Contents, name: str) -> dict[int, Fault]:
    """Return the items whose ``name`` is empty or far shorter than that of other items."""
    if name == _TITLE:
        return {}
    lengths = np.array([len(text.split()) for text in contents.normalized[name]])
    if (lengths == 0).mean() > _MOST_MISSING:
        return {}
    median = float(np.median(lengths[lengths > 0]))
    faults = {}
    for row in np.flatnonzero(lengths < _STUB_SHARE * median).tolist():
        count = int(lengths[row])
        words = f"has only {count} word{'s' if count > 1 else ''}" if count else "is empty"
        usual = f"those of other items have about {median:.0f}"
        faults[row] = Fault(f"its {name} {words}; {usual}", f"write a {name} of this item")
    return faults


def near_names(contents: Contents, rows: list[int]) -> str:
    """Return the first names of items, and how many more there are."""
    names = [f"{contents.name(row)!r}" for row in rows[:_NAMED]]
    more = len(rows) - len(names)
    return join_names([*names, f"{more} more"] if more else names)
