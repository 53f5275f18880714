"""Put the findings of all checks into one ranked table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from demure.diagnosis.filtering import filter_rows
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist.contents import Contents
from demure.diagnosis.worklist.duplicates import duplicates
from demure.diagnosis.worklist.failing import failing
from demure.diagnosis.worklist.finding import COLUMNS, KINDS, Finding, Sign
from demure.diagnosis.worklist.fit import fits
from demure.diagnosis.worklist.labels import mislabelled
from demure.diagnosis.worklist.missing import missing, uninformative
from demure.diagnosis.worklist.picture_faults import MOST_OPENED, picture_faults, same_pictures
from demure.diagnosis.worklist.text_faults import text_faults
from demure.errors import DemureError
from demure.suggest import did_you_mean

RULE = (
    "Ranked by the choices concerned, times how often such a sign was right elsewhere. sure (1): the content itself "
    "shows it; strong (.9): two independent signs agree; fair (.2): one sign is far out; weak (.02): one sign, which "
    "content that is only unusual gives, too."
)


@dataclass(frozen=True)
class WorkList:
    """The work list of a run. The attributes are the keys of `demure worklist --json`.

    ``summary``: what there is to do, in sentences; ``items``: how many items the whole list names; ``matched``: its
    rows that fulfil the conditions, of ``total``; ``rows``: those shown, with the columns ``COLUMNS``; ``rule``: the
    order of the rows, in words; ``notes``: what was not checked; ``out``: the CSV that was written, or None.
    """

    run: str
    summary: list[str]
    items: int
    total: int
    matched: int
    rows: pd.DataFrame
    rule: str = RULE
    notes: list[str] = field(default_factory=list)
    out: str | None = None


def worklist(
    run: Path | str | DiagnosisReader,
    *,
    kinds: Sequence[str] = (),
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> WorkList:
    """Return what to look at in the content of a run's items, the most worth the work first.

    ``kinds`` of ``KINDS``, all by default; ``where``, ``sort`` and ``top`` as of ``filtering.filter_rows``, by the
    columns of the list. Raises as ``DiagnosisReader.open`` and ``filter_rows``, and ``DemureError`` for an unknown
    kind.
    """
    for kind in kinds:
        if kind not in KINDS:
            suggestion, listed = did_you_mean(kind, list(KINDS)), f"there are: {', '.join(KINDS)}"
            remedy = f"{suggestion} ({listed})" if suggestion else listed
            raise DemureError(f"no kind {kind!r} of findings", where="--kind", remedy=remedy)
    reader = DiagnosisReader.of(run)
    contents = Contents(reader)
    findings, notes = _findings(contents)
    frame = _frame(contents, findings)
    chosen = frame[frame["kind"].isin(kinds)] if kinds else frame
    matched = filter_rows(chosen, where, sort)
    return WorkList(
        run=str(reader.run),
        summary=_summary(frame),
        items=int(frame.loc[frame["item_id"] != "", "item_id"].nunique()),
        total=len(frame),
        matched=len(matched),
        rows=matched.head(len(matched) if top is None else top).reset_index(drop=True),
        notes=notes,
    )


def _findings(contents: Contents) -> tuple[list[Finding], list[str]]:
    same = same_pictures(contents)
    faults = {
        contents.modality_of("text"): text_faults(contents),
        contents.modality_of("image"): picture_faults(contents, same),
    }
    content = failing(contents, faults, fits(contents.reader))
    rows = contents.reader.item_rows
    at_fault = {rows[finding.item_id] for finding in content if finding.sign <= Sign.STRONG}
    labels, notes = mislabelled(contents, at_fault)
    pictured = sum(path is not None for path in contents.pictures)
    if pictured > MOST_OPENED:
        notes.append(f"blank and tiny pictures were looked for among the {MOST_OPENED:,} most chosen of {pictured:,}")
    others = [*duplicates(contents, same, faults), *missing(contents), *uninformative(contents), *labels]
    return [*content, *others], notes


def _frame(contents: Contents, findings: Sequence[Finding]) -> pd.DataFrame:
    def order(finding: Finding) -> tuple[float, str, str]:
        return -finding.choices * finding.sign.weight, finding.kind, finding.item_id

    ordered = sorted(findings, key=order)
    rows, titles = contents.reader.item_rows, contents.reader.titles
    records = []
    for rank, finding in enumerate(ordered, start=1):
        row = rows.get(finding.item_id)
        picture = None if row is None else contents.pictures[row]
        records.append(
            {
                "rank": rank,
                "item_id": finding.item_id,
                "title": titles.get(finding.item_id, ""),
                "kind": finding.kind,
                "modality": finding.modality,
                "sign": finding.sign.word,
                "choices": finding.choices,
                "cost": float("nan") if finding.cost is None else finding.cost,
                "reason": finding.reason,
                "suggestion": finding.suggestion,
                "text": "" if row is None else contents.snippet(row),
                "picture": "" if picture is None else str(picture),
                "others": list(finding.others),
            }
        )
    return pd.DataFrame(records, columns=list(COLUMNS))


def _summary(frame: pd.DataFrame) -> list[str]:
    """Return how much there is to do: in all, and by kind."""
    if frame.empty:
        return ["Nothing to look at: no item's content stands out."]
    items = frame.loc[frame["item_id"] != "", "item_id"].nunique()
    counts = [(int(frame["sign"].eq(sign.word).sum()), sign.word) for sign in Sign]
    signs = ", ".join(f"{count:,} {word}" for count, word in counts if count)
    findings = f"{len(frame):,} finding{'s' if len(frame) > 1 else ''}"
    sentences = [f"{items:,} item{'s' if items != 1 else ''} to look at, {findings}: {signs}."]
    parts = []
    for kind, label in KINDS.items():
        own = frame[frame["kind"] == kind]
        if len(own):
            number = int(own["sign"].eq("sure").sum())
            parts.append(f"{label}: {len(own):,}" + (f" ({number:,} sure)" if 0 < number < len(own) else ""))
    sentences.append(f"{'; '.join(parts)}."[0].upper() + f"{'; '.join(parts)}."[1:])
    return sentences
