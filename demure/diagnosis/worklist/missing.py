"""Items without a modality, by the choices that it would be likely to explain; modalities that explain nothing."""

from __future__ import annotations

import numpy as np

from demure.diagnosis.placebo import percent
from demure.diagnosis.worklist.contents import Contents
from demure.diagnosis.worklist.finding import Finding, Sign

_LEAST_COST = 1.0  # expected choices


def missing(contents: Contents) -> list[Finding]:
    """Return the items without a modality that explains choices elsewhere, where that would be a choice or more."""
    table, findings = contents.reader.table, []
    item_rows = contents.reader.item_rows
    for m, entry in enumerate(contents.reader.placebos.modalities):
        if not entry.informative:
            continue
        share = entry.placebo.excess if entry.placebo is not None else contents.typical_probability.get(entry.name, 0.0)
        noun = entry.noun
        lacking = np.bincount(table.item[~table.present[:, m]], minlength=len(table.item_ids))
        for code in np.flatnonzero(lacking * share >= _LEAST_COST):
            count, item = int(lacking[code]), str(table.item_ids[code])
            cost = count * share
            above = " more than shuffled ones do" if entry.placebo is not None else ""
            reason = (
                f"It has no {noun.singular}. Where items have one, {noun.plural} explain {percent(share)} of the "
                f"choices{above}: that would be about {cost:.0f} of its {count:,}."
            )
            # An item can have a file that could not be read.
            gone = entry.kind == "image" and contents.pictures[item_rows[item]] is not None
            advice = f"Add {noun.with_article}."
            if gone:
                advice = f"Replace its {noun.singular}: the file could not be used."
            findings.append(Finding("missing", item, entry.name, Sign.SURE, count, reason, advice, cost))
    return findings


def uninformative(contents: Contents) -> list[Finding]:
    """Return one finding for each modality that explains no more than shuffled features."""
    table = contents.reader.table
    findings = []
    for m, entry in enumerate(contents.reader.placebos.modalities):
        if entry.informative:
            continue
        sentence = entry.sentence() or ""
        advice = (
            f"Do not choose or change single {entry.noun.plural} by this run. Try another encoder for "
            f"`{entry.name}` (`demure extractors` lists them), or train without it."
        )
        count = int(table.present[:, m].sum())
        findings.append(Finding("modality", "", entry.name, Sign.SURE, count, sentence, advice))
    return findings
