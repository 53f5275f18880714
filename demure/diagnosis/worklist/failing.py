"""Content that fails its item: faults that the content itself shows, and evidence below that of other items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from demure.diagnosis.flagging import flagged
from demure.diagnosis.verdict import MIN_CHOICES
from demure.diagnosis.worklist.contents import Contents
from demure.diagnosis.worklist.fault import Fault
from demure.diagnosis.worklist.finding import Finding, Sign

BAD_FIT = -5.0  # nats: nine to one that the contents do not belong together, if one pair in twenty does not
_FAR_BELOW = 1.5  # standard deviations between items


def failing(
    contents: Contents, faults: Mapping[str, Mapping[int, Fault]], fits: Mapping[frozenset[str], np.ndarray]
) -> list[Finding]:
    """Return the findings about single items' content.

    ``faults``: modality -> row -> fault. ``fits`` as of :func:`demure.diagnosis.worklist.fit.fits`.
    """
    reader = contents.reader
    low = flagged(contents.deviations.reset_index(drop=True), MIN_CHOICES)
    low = low[low["clearly"] & ~low["modality"].isin(reader.placebos.cannot_tell)]
    below = {(row["item_id"], row["modality"]): row for row in low.to_dict("records")}
    findings = []
    for modality, by_row in faults.items():
        for row, fault in by_row.items():
            item = contents.item_ids[row]
            reason = fault.reason
            if (item, modality) in below:
                reason += f"; and it explains {_choices(int(contents.choices[row]))} worse than is usual"
            findings.append(
                Finding(
                    "content",
                    item,
                    modality,
                    Sign.SURE,
                    int(contents.choices[row]),
                    _sentence(reason),
                    _sentence(fault.suggestion),
                    contents.cost(item, modality),
                    fault.others,
                )
            )
    findings += _by_evidence(
        contents, {key: row for key, row in below.items() if not _is_fault(contents, faults, *key)}, fits
    )
    return findings


def _is_fault(contents: Contents, faults: Mapping[str, Mapping[int, Fault]], item: str, modality: str) -> bool:
    return contents.reader.item_rows[item] in faults.get(modality, {})


def _by_evidence(
    contents: Contents, below: Mapping[tuple[str, str], Mapping[Any, Any]], fits: Mapping[frozenset[str], np.ndarray]
) -> list[Finding]:
    """Return a finding for each (item, modality) below; one for both where two of an item do not go together."""
    findings = []
    for (item, modality), numbers in below.items():
        row = contents.reader.item_rows[item]
        other = _misfit(fits, modality, row)
        partner = below.get((item, other)) if other is not None else None
        if partner is not None and (partner["below"], other) > (numbers["below"], modality):
            continue  # the other one is listed, for both
        (noun, plural), count = contents.noun(modality), int(numbers["interactions"])
        reason = f"its {noun} explains {_choices(count)} worse than the {plural} of other items explain theirs"
        suggestion = f"check that the {noun} belongs to this item and shows what people look for"
        # Where another modality is a second opinion and does not object, the evidence alone is a weak sign.
        alone = not any(modality in pair and np.isfinite(fit[row]) for pair, fit in fits.items())
        sign = Sign.FAIR if alone and numbers["below"] >= _FAR_BELOW else Sign.WEAK
        if other is not None:
            their, sign = contents.noun(other).singular, Sign.STRONG
            reason += f", and it does not go with its {their}, as far as other items show"
            suggestion = f"check whether this is the {noun} of another item, and replace it"
            if partner is not None:
                reason = (
                    f"its {noun} and its {their} do not go together, as far as other items show, and both explain "
                    f"{_choices(count)} worse than those of other items explain theirs"
                )
                suggestion = f"check which of the two belongs to this item, the {noun} or the {their}"
        cost = contents.cost(item, modality)
        findings.append(Finding("content", item, modality, sign, count, _sentence(reason), _sentence(suggestion), cost))
    return findings


def _misfit(fits: Mapping[frozenset[str], np.ndarray], modality: str, row: int) -> str | None:
    """Return the modality that an item's ``modality`` fits worst, if it is a bad fit."""
    values = {next(iter(pair - {modality})): float(fit[row]) for pair, fit in fits.items() if modality in pair}
    bad = {name: value for name, value in values.items() if value < BAD_FIT}
    return min(bad, key=lambda name: bad[name]) if bad else None


def _choices(count: int) -> str:
    return f"its {count:,} choices" if count != 1 else "its only choice"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
