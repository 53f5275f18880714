"""Items that are, or look like, one product entered more than once, and items that share a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demure.diagnosis.worklist.contents import Contents
from demure.diagnosis.worklist.fault import Fault
from demure.diagnosis.worklist.finding import Finding, Sign
from demure.diagnosis.worklist.item_texts import groups_of
from demure.diagnosis.worklist.text_faults import near_names


def duplicates(contents: Contents, same: list[list[int]], faults: Mapping[str, Mapping[int, Fault]]) -> list[Finding]:
    """Return one finding for each group of items: named by its most chosen item, with the choices of all.

    ``same``: groups of items with the same picture file; items whose text or picture is a fault by itself are left out.
    """
    text, image = contents.modality_of("text"), contents.modality_of("image")
    file_of = {row: number for number, rows in enumerate(same) for row in rows}
    findings, entered = [], set()
    for rows in groups_of(contents.whole_texts()):
        rows = [row for row in rows if row not in faults.get(text, {})]
        if len(rows) < 2:
            continue
        pictured = [row for row in rows if contents.pictures[row] is not None]
        files = {file_of.get(row, -1 - row) for row in pictured}
        if len(files) <= 1:
            entered |= set(rows)
            too = " and picture" if len(pictured) == len(rows) else ""
            reason = f"It has the same text{too} as {{}}: probably one product, entered {len(rows)} times."
            advice = "Merge them, so that their choices count for one product."
            findings.append(_group(contents, rows, text, Sign.SURE, reason, advice))
        else:
            reason = "It reads word for word like {}, but their pictures differ."
            advice = "Merge them if they are one product; otherwise say in the text how they differ."
            findings.append(_group(contents, rows, text, Sign.WEAK, reason, advice))
    for rows in same:
        rows = [row for row in rows if row not in faults.get(image, {})]
        if len(rows) > 1 and not entered.issuperset(rows):
            reason = "It has the same picture as {}, with another text."
            advice = "Give each a picture of its own, if they differ in what a picture can show."
            findings.append(_group(contents, rows, image, Sign.WEAK, reason, advice))
    return findings


def _group(contents: Contents, rows: list[int], modality: str, sign: Sign, reason: str, advice: str) -> Finding:
    counts = contents.choices[rows]
    first, *others = [rows[k] for k in np.argsort(-counts, kind="stable")]
    ids = contents.item_ids
    named = near_names(contents, others)
    same_name = len({contents.name(row) for row in rows}) == 1
    if same_name:
        items = ", ".join(ids[row] for row in others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        named = f"{'items' if len(others) > 1 else 'item'} {items}"
    others_ids = tuple(ids[row] for row in others)
    return Finding(
        "duplicate", ids[first], modality, sign, int(counts.sum()), reason.format(named), advice, None, others_ids
    )
