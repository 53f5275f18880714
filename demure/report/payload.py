"""Users and items as the page's script reads them, whether they are embedded in the page or served one at a time.

A table travels as columns (``to_columns``), so that each field name is written once and not in every row; ``rows`` in
source.html.j2 turns columns back into rows. Items are numbers: places in the table of items beside them. Days count
from 1970, percentages are whole numbers, evidence and deviations have one decimal.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa

from demure.diagnosis.drift import Drift, drift
from demure.diagnosis.explain import explain
from demure.diagnosis.flagging import deviations
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.similar_items import SimilarItem, similar_items
from demure.diagnosis.supports import read_supports
from demure.diagnosis.uncertainty import share_intervals
from demure.diagnosis.verdict import ModalityVerdict, Support, Verdict, verdict_labels
from demure.diagnosis.worklist.contents import Contents
from demure.preparation.reading.times import EARLIEST
from demure.report.item_numbers import ItemRegistry
from demure.runs.folder import SUPPORTS

SECONDS_PER_DAY = 86_400
_SNIPPET = 160  # characters
_DEVIATION_FIELDS = ("noise", "choices", "evidence", "typical", "below", "significant")

Columns = dict[str, Any]
"""Field -> list of values, one per row, or Columns of a nested field."""


class UserRow(TypedDict):
    """A user in a list. ``reliance``: per cent by modality and ``none``; ``drifted``: None where it was not tested;
    ``profile``: as of ``PageInterests.profiles``, absent for a run without interests."""

    id: str
    choices: int
    reliance: dict[str, int]
    drifted: bool | None
    profile: NotRequired[list[tuple[int, int]]]


class VerdictRow(TypedDict):
    """A verdict with the ``percent`` of a point of interest and the code of its ``reason``, None where it is missing.

    The arguments of the reason: ``items`` that it names and the ``other`` modality.
    """

    verdict: str
    percent: int
    reason: str | None
    items: list[int]
    other: str | None


class ChoiceRow(TypedDict):
    """One choice in a history."""

    item: int
    day: int | None
    verdicts: dict[str, VerdictRow]


class DriftRow(TypedDict):
    """``diagnosis.drift.Drift`` with percentages; ``choice`` counts from 1."""

    modality: str
    choice: int
    day: int | None
    before: int
    after: int
    p_value: float


class RecommendationRow(TypedDict):
    """A recommended item; ``because`` is a modality or ``history``, ``past`` an item or None."""

    item: int
    because: str
    past: int | None


class UserBody(TypedDict):
    """The details of a user. ``reliance_interval``: lowest and highest per cent; ``history``: columns of ``ChoiceRow``;
    ``recommended``: None where it is unknown or asked for separately."""

    reliance_interval: dict[str, list[int]]
    drift: DriftRow | None
    history: Columns
    recommended: list[RecommendationRow] | None


class ItemRow(TypedDict):
    """An item. ``text``: the beginning of its words; ``picture``: an address, or empty; ``deviations``: modality
    -> ``_DEVIATION_FIELDS``, all None where the item lacks the modality."""

    id: str
    title: str
    text: str
    picture: str
    category: str
    choices: int
    deviations: dict[str, dict[str, float | None]]


class SimilarRow(TypedDict):
    """An item to compare with; ``similarity`` in per cent."""

    item: int
    similarity: int
    evidence: float
    choices: int


class PayloadBuilder:
    """Rows of the page from the tables of a run, each of which is read once.

    ``profiles``: as of ``PageInterests``, None for a run without interests.
    """

    def __init__(self, reader: DiagnosisReader, profiles: Sequence[list[tuple[int, int]]] | None = None) -> None:
        self.reader = reader
        self.table = reader.table
        self.times = reader.table_times
        self._profiles = profiles

    def user(self, code: int, *, drifted: bool | None = None) -> UserRow:
        """Return the row of a user."""
        percents = np.rint(100 * self.reader.reliance_shares[code]).astype(int).tolist()
        row: UserRow = {
            "id": str(self.table.user_ids[code]),
            "choices": int(self.table.lengths[code]),
            "reliance": dict(zip(self.reader.reliance_names, percents, strict=True)),
            "drifted": drifted,
        }
        if self._profiles is not None:
            row["profile"] = self._profiles[code]
        return row

    @cached_property
    def supports(self) -> np.ndarray:
        """(N, M, 3) as :func:`read_supports` returns them. Raises ``RunError`` if the file is damaged."""
        files = self.reader.files
        try:
            return read_supports(files, self.table)
        except (OSError, pa.ArrowException) as error:
            raise files.failed(SUPPORTS, error) from error

    def body(self, code: int, items: ItemRegistry) -> UserBody:
        """Return the details of a user without recommendations; adds the items of the history to ``items``."""
        table, reader = self.table, self.reader
        rows = slice(int(table.indptr[code]), int(table.indptr[code + 1]))
        n = int(table.lengths[code])
        intervals = np.rint(100 * share_intervals(reader.reliance_shares[code] * n, n)).astype(int).tolist()
        explaining = [m for m, name in enumerate(table.modalities) if name not in reader.placebos.cannot_tell]
        change = drift(
            table.probability[rows][:, explaining],
            table.present[rows][:, explaining],
            [table.modalities[m] for m in explaining],
            None if self.times is None else self.times[rows],
        )
        return {
            "reliance_interval": dict(zip(reader.reliance_names, intervals, strict=True)),
            "drift": None if change is None else _drift_row(change),
            "history": to_columns(self._history(rows, items)),
            "recommended": None,
        }

    def _history(self, rows: slice, items: ItemRegistry) -> list[ChoiceRow]:
        table, cannot_tell = self.table, self.reader.placebos.cannot_tell
        places = [items.place(item) for item in table.item[rows].tolist()]  # before those of the supports
        labels = verdict_labels(table.poi[rows], table.present[rows]).tolist()
        probability = table.probability[rows].astype(np.float64).tolist()
        evidence = table.evidence[rows].astype(np.float64).tolist()
        supports = self.supports[rows].tolist()
        days = [None] * len(places) if self.times is None else [_day(time) for time in self.times[rows].tolist()]
        history: list[ChoiceRow] = []
        for t, (place, day) in enumerate(zip(places, days, strict=True)):
            verdicts = {
                name: ModalityVerdict(
                    Verdict(labels[t][m]),
                    probability[t][m],
                    evidence[t][m],
                    tuple(Support(table.item_ids[item]) for item in supports[t][m] if item >= 0),
                )
                for m, name in enumerate(table.modalities)
            }
            row: dict[str, VerdictRow] = {}
            for (name, verdict), label in zip(verdicts.items(), labels[t], strict=True):
                reason = explain(name, verdicts, len(places) - 1, cannot_tell)
                row[name] = {
                    "verdict": label,
                    "percent": round(100 * verdict.poi_probability),
                    "reason": None if verdict.missing else reason.code.value,
                    "items": [items.place(table.item_code[support.item_id]) for support in reason.supports],
                    "other": reason.other_modality,
                }
            history.append({"item": place, "day": day, "verdicts": row})
        return history

    def item(self, code: int, text: tuple[str, str], picture: str) -> ItemRow:
        """Return the row of an item; ``text``: title and snippet; ``picture``: its address, or an empty text."""
        name = str(self.table.item_ids[code])
        title, snippet = text
        return {
            "id": name,
            "title": title,
            "text": snippet,
            "picture": picture,
            "category": ", ".join(self.reader.categories.get(name, ())),
            "choices": int(self.table.item_counts[code]),
            "deviations": {
                modality: self.deviation_rows.get((name, modality), dict.fromkeys(_DEVIATION_FIELDS))
                for modality in self.table.modalities
            },
        }

    def choosers(self, code: int, count: int) -> Columns:
        """Return the ``count`` users with the highest probabilities among those who chose an item: ``user``, their
        ``choices``, ``day`` and ``verdicts``."""
        table = self.table
        rows = table.rows_of_item(code)
        rows = rows[np.argsort(-table.probability[rows].max(1), kind="stable")][:count]
        labels = verdict_labels(table.poi[rows], table.present[rows]).tolist()
        choosers = []
        for row, verdicts in zip(rows.tolist(), labels, strict=True):
            user = table.user[row]
            percents = [round(100 * float(probability)) for probability in table.probability[row]]
            choosers.append(
                {
                    "user": str(table.user_ids[user]),
                    "choices": int(table.lengths[user]),
                    "day": None if self.times is None else _day(float(self.times[row])),
                    "verdicts": {
                        name: {"verdict": verdict, "percent": percent}
                        for name, verdict, percent in zip(table.modalities, verdicts, percents, strict=True)
                    },
                }
            )
        return to_columns(choosers)

    def similar(self, codes: Sequence[int], items: ItemRegistry) -> dict[int, dict[str, list[SimilarRow]]]:
        """Return code -> modality below what is typical -> items to compare with; adds those to ``items``."""
        names = {str(self.table.item_ids[code]) for code in codes}
        low = self.deviations[(self.deviations["below"] > 0) & self.deviations["item_id"].isin(names)]
        pairs = list(zip(low["item_id"], low["modality"], strict=True))
        by_item: dict[int, dict[str, list[SimilarRow]]] = {}
        for (item, modality), matches in similar_items(self.reader, self.deviations, pairs).items():
            if matches:
                rows = [self._similar_row(match, items) for match in matches]
                by_item.setdefault(self.table.item_code[item], {})[modality] = rows
        return by_item

    def _similar_row(self, match: SimilarItem, items: ItemRegistry) -> SimilarRow:
        return {
            "item": items.place(self.table.item_code[match.item_id]),
            "similarity": round(100 * match.similarity),
            "evidence": _tenths(match.evidence),
            "choices": match.interactions,
        }

    @cached_property
    def deviations(self) -> pd.DataFrame:
        """``flagging.deviations`` of the whole run."""
        return deviations(self.reader)

    @cached_property
    def deviation_rows(self) -> dict[tuple[str, str], dict[str, float | None]]:
        """(item id, modality) -> the fields of its deviation."""
        columns = ["item_id", "modality", "noise", "interactions", "evidence", "typical", "below", "clearly"]
        rows: dict[tuple[str, str], dict[str, float | None]] = {}
        for item, modality, noise, n, evidence, typical, below, clearly in self.deviations[columns].itertuples(
            index=False
        ):
            numbers = (round(100 * noise), int(n), _tenths(evidence), _tenths(typical), _tenths(below), bool(clearly))
            rows[str(item), modality] = dict(zip(_DEVIATION_FIELDS, numbers, strict=True))
        return rows

    def texts(self, codes: Sequence[int]) -> list[tuple[str, str]]:
        """Return title, and the beginning of the words, of each item."""
        titles, rows = self.reader.titles, self.reader.item_rows
        names = [str(self.table.item_ids[code]) for code in codes]
        if "title" not in self.reader.items.columns:  # then the title is the beginning of the words
            return [(titles.get(name, ""), "") for name in names]
        return [(titles.get(name, ""), _shorten(self._contents.snippet(rows[name]))) for name in names]

    @cached_property
    def _contents(self) -> Contents:
        return Contents(self.reader)


def to_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return rows with the same fields as columns; a field that holds a mapping becomes nested columns."""
    if not rows:
        return {}
    return {
        name: to_columns([row[name] for row in rows]) if isinstance(value, Mapping) else [row[name] for row in rows]
        for name, value in rows[0].items()
    }


def natural_order(name: str) -> tuple[int, int, str]:
    """Return a sort key that puts numbers in the order of their value, before words."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)


def pack(value: Any) -> str:
    """Return gzipped JSON in base64, the same text for the same value."""
    return pack_text(json.dumps(value, separators=(",", ":"), allow_nan=False))


def pack_text(text: str) -> str:
    """Return gzipped text in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _drift_row(change: Drift) -> DriftRow:
    return {
        "modality": change.modality,
        "choice": change.position + 1,
        "day": _day(change.time),
        "before": round(100 * change.before),
        "after": round(100 * change.after),
        "p_value": round(change.p_value, 3),
    }


def _tenths(value: float) -> float:
    return round(10 * value) / 10


def _day(seconds: float) -> int | None:
    """Return days since 1970; None where ``demure.diagnosis.user.date`` has no date."""
    return int(seconds // SECONDS_PER_DAY) if math.isfinite(seconds) and seconds >= EARLIEST else None


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1].rsplit(" ", 1)[0] + "…"
