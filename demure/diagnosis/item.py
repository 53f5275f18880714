"""One item: who chose it for what, how its modalities compare with those of other items, and similar items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.diagnosis.explain import describe_deviation
from demure.diagnosis.filtering import filter_rows, modality_column
from demure.diagnosis.flagging import deviations
from demure.diagnosis.overview import verdict_shares
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.similar_items import similar_items
from demure.diagnosis.uncertainty import share_interval
from demure.diagnosis.user import date
from demure.diagnosis.verdict import MIN_CHOICES, ModalityVerdict, Verdict, verdict_labels

_FIELDS = ("user_id", "date", "choices")


@dataclass(frozen=True)
class Chooser:
    """A user who chose the item, at ``time`` (seconds or NaN); ``choices``: how many the user made in all."""

    user_id: str
    time: float
    choices: int
    verdicts: dict[str, ModalityVerdict]


@dataclass(frozen=True)
class ItemView:
    """One item. ``modalities``: as in ``Overview``, for this item; ``chosen_by``: the users that were asked for, one
    per training interaction of ``interactions``, highest probability first.

    ``standing``: its rows of ``flagging.deviations``, with ``low`` and ``high``, the 90 % interval of the share of
    noise, and ``says``, the row as a sentence. ``compare``: modality -> items whose modality does better and that are
    similar otherwise (``item_id``, ``title``, ``likeness``, ``evidence``, ``interactions``). ``cannot_tell``:
    modalities whose features explain nothing. ``files``: kind -> its audio or video file.
    """

    run: str
    item_id: str
    title: str
    modalities: pd.DataFrame
    chosen_by: list[Chooser]
    interactions: int = 0
    standing: list[dict[str, Any]] = field(default_factory=list)
    compare: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    picture: str | None = None
    notes: list[str] = field(default_factory=list)
    cannot_tell: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def item_view(
    run: Path | str | DiagnosisReader,
    item_id: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> ItemView:
    """Return who chose an item for what. ``where``, ``sort`` and ``top`` (see ``filtering.filter_rows``) select among
    those users, by user_id, date, choices, and for each modality its probability (``image``) and ``image.verdict``.

    Raises ``RunError`` naming the nearest ids if there is no such item.
    """
    reader = DiagnosisReader.of(run)
    table = reader.table
    code = table.item_code.get(item_id)
    if code is None:
        raise reader.unknown_id("item", item_id)
    rows = table.rows_of_item(code)
    all_deviations = deviations(reader)
    own = all_deviations[all_deviations["item_id"] == item_id].set_index("modality").reindex(table.modalities)
    cannot_tell = reader.placebos.cannot_tell
    standing = [
        _standing_row(str(name), row, informative=name not in cannot_tell)
        for name, row in own.dropna(subset="evidence").to_dict("index").items()
    ]
    weak = [(item_id, row["modality"]) for row in standing if row["below"] > 0 and row["modality"] not in cannot_tell]
    matches = similar_items(reader, all_deviations, weak)
    picture = reader.pictures([item_id])[0]
    choosers = _choosers(reader, rows)
    selected = filter_rows(_fields(choosers, table.modalities), where, sort, top).index
    return ItemView(
        run=str(reader.run),
        item_id=item_id,
        title=reader.titles.get(item_id, ""),
        modalities=verdict_shares(table.select(rows)),
        chosen_by=[choosers[k] for k in selected],
        interactions=len(rows),
        standing=standing,
        compare={
            modality: [
                {
                    "item_id": item.item_id,
                    "title": reader.titles.get(item.item_id, ""),
                    "likeness": item.similarity,
                    "evidence": item.evidence,
                    "interactions": item.interactions,
                }
                for item in items
            ]
            for (_, modality), items in matches.items()
            if items
        },
        picture=None if picture is None else str(picture),
        notes=[f"only {len(rows)} choices: these shares are uncertain"] if len(rows) < MIN_CHOICES else [],
        cannot_tell=cannot_tell,
        files={kind: str(file) for kind, file in reader.media(item_id).items()},
    )


def _standing_row(modality: str, row: Mapping[Any, Any], *, informative: bool) -> dict[str, Any]:
    low, high = share_interval(row["noise"] * row["interactions"], row["interactions"])
    sentence = describe_deviation(modality, row, informative=informative)
    return {"modality": modality, **row, "low": low, "high": high, "says": sentence}


def _choosers(reader: DiagnosisReader, rows: np.ndarray) -> list[Chooser]:
    table, times = reader.table, reader.table_times
    labels = verdict_labels(table.poi[rows], table.present[rows])
    choosers = []
    for row, verdicts in zip(rows, labels, strict=True):
        user = table.user[row]
        numbers = zip(verdicts, table.probability[row], table.evidence[row], strict=True)
        choosers.append(
            Chooser(
                user_id=str(table.user_ids[user]),
                time=float("nan") if times is None else float(times[row]),
                choices=int(table.lengths[user]),
                verdicts={
                    name: ModalityVerdict(Verdict(label), float(probability), float(evidence))
                    for name, (label, probability, evidence) in zip(table.modalities, numbers, strict=True)
                },
            )
        )
    choosers.sort(key=lambda chooser: -max(verdict.poi_probability for verdict in chooser.verdicts.values()))
    return choosers


def _fields(choosers: list[Chooser], modalities: list[str]) -> pd.DataFrame:
    """Return the table that ``where`` and ``sort`` select from."""
    frame = pd.DataFrame(
        {
            "user_id": [chooser.user_id for chooser in choosers],
            "date": [date(chooser.time) for chooser in choosers],
            "choices": [chooser.choices for chooser in choosers],
        }
    )
    for name in modalities:
        verdicts = [chooser.verdicts[name] for chooser in choosers]
        frame[modality_column(name, _FIELDS)] = [
            float("nan") if verdict.missing else verdict.poi_probability for verdict in verdicts
        ]
        frame[f"{name}.verdict"] = [verdict.verdict.value for verdict in verdicts]
    return frame
