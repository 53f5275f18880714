"""One item: who chose it for what, where its modalities stand, and what to compare them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from demure.diagnosis.filtering import column, pick
from demure.diagnosis.flagging import standing
from demure.diagnosis.overview import counts
from demure.diagnosis.placebo import WHY_NOT
from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.similar_items import comparisons
from demure.diagnosis.uncertainty import FEW, share_interval
from demure.diagnosis.user import date, verdicts

_FIELDS = ("user_id", "date", "choices")


@dataclass(frozen=True)
class ItemView:
    """One item. ``modalities``: as in ``Overview``, for this item; ``chosen_by``: one row per training interaction,
    with ``user_id``, ``time``, ``choices`` (how many the user made in all) and ``verdicts`` (modality -> verdict,
    poi_probability, evidence, undecided), surest first, those that were asked for, of ``interactions``.

    ``standing``: its rows of ``standing``, with ``low`` and ``high``, the 90 % interval of the share of noise, and
    ``says``, in words, what that comes to. ``compare``: modality -> items whose modality does better and that are like
    this one otherwise (``item_id``, ``title``, ``likeness``, ``evidence``, ``interactions``). ``cannot_tell``:
    modalities whose features explain nothing."""

    run: str
    item_id: str
    title: str
    modalities: pd.DataFrame
    chosen_by: list[dict[str, Any]]
    interactions: int = 0
    standing: list[dict[str, Any]] = field(default_factory=list)
    compare: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    picture: str | None = None
    notes: list[str] = field(default_factory=list)
    cannot_tell: list[str] = field(default_factory=list)


def item_view(
    run: Path | str | DiagnosisSource,
    item_id: str,
    *,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> ItemView:
    """Who chose an item for what. ``where``, ``sort`` and ``top`` (see ``listing.pick``) choose among those users, by
    user_id, date, choices, and for each modality its probability (``image``) and ``image.verdict``.

    Raises ``RunError`` naming the nearest ids if there is no such item.
    """
    source = DiagnosisSource.of(run)
    judged = source.judged
    code = judged.item_code.get(item_id)
    if code is None:
        raise source.unknown("item", item_id)
    rows = judged.rows_of_item(code)
    own = judged.of(rows)
    table = standing(source)
    mine = table[table["item_id"] == item_id].set_index("modality").reindex(judged.modalities).dropna(subset="evidence")
    cannot_tell = source.placebos.cannot_tell
    told = [_told(str(name), line, explains=name not in cannot_tell) for name, line in mine.to_dict("index").items()]
    weak = [(item_id, line["modality"]) for line in told if line["below"] > 0 and line["modality"] not in cannot_tell]
    titles = source.titles
    compare = {
        modality: [
            {
                "item_id": one.item_id,
                "title": titles.get(one.item_id, ""),
                "likeness": one.likeness,
                "evidence": one.evidence,
                "interactions": one.interactions,
            }
            for one in found
        ]
        for (_, modality), found in comparisons(source, table, weak).items()
    }
    picture = source.pictures([item_id])[0]
    chosen = _chosen_by(source, rows)
    order = pick(_fields(chosen, judged.modalities), where, sort, top).index
    return ItemView(
        run=str(source.run),
        item_id=item_id,
        title=titles.get(item_id, ""),
        modalities=counts(own),
        chosen_by=[chosen[k] for k in order],
        interactions=len(rows),
        standing=told,
        compare={modality: found for modality, found in compare.items() if found},
        picture=None if picture is None else str(picture),
        notes=[f"only {len(rows)} choices: these shares rest on little"] if len(rows) < FEW else [],
        cannot_tell=cannot_tell,
    )


def _told(modality: str, line: dict[Any, Any], *, explains: bool) -> dict[str, Any]:
    words = says(modality, line) if explains else f"{modality}: {WHY_NOT}"
    low, high = share_interval(line["noise"] * line["interactions"], line["interactions"])
    return {"modality": modality, **line, "low": low, "high": high, "says": words}


def says(modality: str, line: dict[Any, Any]) -> str:
    """Where an item's ``modality`` stands (a row of ``standing``), in one sentence that keeps to the numbers."""
    n = int(line["interactions"])
    choices = f"{n} choice{'s' if n != 1 else ''}"
    noise = f"noise in {100 * line['noise']:.0f} % of {choices}"
    if not line["clearly"]:
        return f"{modality}: {noise}; its evidence is about what is typical, or too few chose it to tell"
    where = "below" if line["below"] > 0 else "above"
    by = f"by {abs(line['below']):.1f} standard deviations of the items"
    return f"{modality}: {noise}; its evidence lies {where} what is typical, {by}"


def _chosen_by(source: DiagnosisSource, rows: Any) -> list[dict[str, Any]]:
    judged, times = source.judged, source.judged_times
    chosen: list[dict[str, Any]] = []
    for row in rows:
        group = pd.DataFrame(
            {
                "modality": judged.modalities,
                "poi_probability": judged.probability[row],
                "evidence": judged.evidence[row],
                "verdict": [
                    "missing" if not there else "poi" if poi else "noise"
                    for there, poi in zip(judged.present[row], judged.poi[row], strict=True)
                ],
            }
        )
        user = judged.user[row]
        chosen.append(
            {
                "user_id": str(judged.user_ids[user]),
                "time": float("nan") if times is None else float(times[row]),
                "choices": int(judged.lengths[user]),
                "verdicts": verdicts(group),
            }
        )
    chosen.sort(key=lambda row: -max(one["poi_probability"] for one in row["verdicts"].values()))
    return chosen


def _fields(chosen: list[dict[str, Any]], modalities: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "user_id": [row["user_id"] for row in chosen],
            "date": [date(row["time"]) for row in chosen],
            "choices": [row["choices"] for row in chosen],
        }
    )
    for name in modalities:
        words = [row["verdicts"][name]["verdict"] for row in chosen]
        shown = [row["verdicts"][name]["poi_probability"] for row in chosen]
        frame[column(name, _FIELDS)] = [
            float("nan") if word == "missing" else value for word, value in zip(words, shown, strict=True)
        ]
        frame[f"{name}.verdict"] = words
    return frame
