"""One user: the history choice by choice with its verdicts, what the user relies on, and what would come next."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.diagnosis.drift import Drift, drift
from demure.diagnosis.explain import with_reasons
from demure.diagnosis.filtering import filter_rows, modality_column
from demure.diagnosis.interests.view import profile
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.recommended import Suggestion, describe_scores, suggestions
from demure.diagnosis.uncertainty import share_interval
from demure.diagnosis.verdict import DRIFT_MIN_CHOICES, MIN_CHOICES, ModalityVerdict, Support, Verdict
from demure.errors import DemureError
from demure.preparation.reading.times import EARLIEST

_FIELDS = ("choice", "item_id", "title", "category", "date")


@dataclass(frozen=True)
class Choice:
    """One training interaction of a user: ``time`` in seconds or NaN, ``picture`` a file or None, ``verdicts`` by
    modality."""

    position: int
    item_id: str
    title: str
    time: float
    verdicts: dict[str, ModalityVerdict]
    picture: str | None = None


@dataclass(frozen=True)
class UserView:
    """One user's history: the choices that were asked for, in time order or ``sorted_by`` a field, of ``matched`` that
    meet the conditions, of ``interactions``.

    ``reliance``: modality -> share of choices; ``reliance_interval``: 90 % interval of each, were the choices drawn
    from a lasting taste. ``drift``: since when the user chose for other reasons, None where nothing shows it.
    ``recommended``: what would be recommended; None if it was not asked for. ``made_of``: what its scores are made of,
    in a sentence. ``notes``: how little the verdicts rest on. ``cannot_tell``: modalities whose features explain
    nothing, so that their verdicts mean nothing. ``file``: that the choices are from, empty for those of the training.
    ``interests``: those that explain most of the choices (``profile``).
    """

    run: str
    user_id: str
    modalities: list[str]
    reliance: dict[str, float]
    history: list[Choice]
    interactions: int = 0
    matched: int = 0
    sorted_by: str = ""
    reliance_interval: dict[str, tuple[float, float]] = field(default_factory=dict)
    drift: Drift | None = None
    recommended: list[dict[str, Any]] | None = None
    notes: list[str] = field(default_factory=list)
    cannot_tell: list[str] = field(default_factory=list)
    made_of: str = ""
    file: str = ""
    interests: list[dict[str, Any]] = field(default_factory=list)

    @property
    def dated(self) -> bool:
        """Whether the choices have times, and with them an order."""
        return any(not math.isnan(choice.time) for choice in self.history)


def user_view(
    run: Path | str | DiagnosisReader,
    user_id: str,
    *,
    recommend: int = 0,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> UserView:
    """Return one user's history with every verdict, and ``recommend`` items that would be recommended.

    ``where``, ``sort`` and ``top`` (see ``filtering.filter_rows``) select among the choices, by choice (its number),
    item_id, title, category, date, and for each modality its probability (``image``), ``image.evidence`` and
    ``image.verdict``. ``top`` takes the newest choices, or the first ones where ``sort`` says which.
    Raises ``RunError`` naming the nearest ids if there is no such user.
    """
    reader = DiagnosisReader.of(run)
    history = user_history(reader, user_id)
    cannot_tell = reader.placebos.cannot_tell
    frame = reader.reliance(user_id=user_id)
    shares = dict(zip(frame["modality"].astype(str), frame["reliance"].astype(float), strict=True))
    selected = filter_rows(_fields(reader, history), where, sort)
    shown = selected.index if top is None else selected.index[:top] if sort else selected.index[-top:]
    recommended, notes = None, _notes(len(history))
    if recommend:
        recommended, problems = _recommended(reader, user_id, recommend)
        notes += problems
    return UserView(
        run=str(reader.run),
        user_id=user_id,
        modalities=reader.modalities,
        reliance=shares,
        history=[history[k] for k in shown],
        interactions=len(history),
        matched=len(selected),
        sorted_by=sort or "",
        reliance_interval={name: share_interval(share * len(history), len(history)) for name, share in shares.items()},
        drift=_drift([name for name in reader.modalities if name not in cannot_tell], history),
        recommended=recommended,
        notes=notes,
        cannot_tell=cannot_tell,
        made_of=describe_scores(reader.manifest) if recommended else "",
        interests=[] if reader.interests is None else profile(reader, reader.table.user_code[user_id]),
    )


def user_history(reader: DiagnosisReader, user_id: str) -> list[Choice]:
    """Return all choices of a user in time order, with reasons."""
    columns = ["item_id", "position", "modality", "poi_probability", "evidence", "verdict"]
    rows = reader.diagnosis(columns, user_id=user_id).to_pandas().sort_values("position", kind="stable")
    if rows.empty:
        raise reader.unknown_id("user", user_id)
    titles, times = reader.titles, reader.times(user_id)
    supports: dict[tuple[int, str], list[Support]] = {}
    for row in reader.supports(user_id=user_id).to_dict("records"):
        item = row["support_item_id"]
        support = Support(item, titles.get(item, ""), float(row["weight"]))
        supports.setdefault((int(row["position"]), row["modality"]), []).append(support)
    other_choices = rows["position"].nunique() - 1
    pictures = reader.pictures([str(item) for item in rows.drop_duplicates("position")["item_id"]])
    history = []
    for (label, group), picture in zip(rows.groupby("position", sort=True), pictures, strict=True):
        position = int(label)
        item = str(group["item_id"].iloc[0])
        verdicts = {
            row["modality"]: ModalityVerdict(
                Verdict(row["verdict"]),
                float(row["poi_probability"]),
                float(row["evidence"]),
                tuple(supports.get((position, row["modality"]), ())),
            )
            for row in group.to_dict("records")
        }
        time = times[position] if position < len(times) else None
        history.append(
            Choice(
                position,
                item,
                titles.get(item, ""),
                float("nan") if time is None else float(time),
                with_reasons(verdicts, other_choices, reader.placebos.cannot_tell),
                None if picture is None else str(picture),
            )
        )
    return history


def _notes(interactions: int) -> list[str]:
    if interactions == 1:
        return ["a single choice, with nothing to compare it with: its probabilities are those of users in general"]
    if interactions < MIN_CHOICES:
        return [f"only {interactions} choices: these probabilities are uncertain"]
    return []


def _fields(reader: DiagnosisReader, history: list[Choice]) -> pd.DataFrame:
    """Return the table that ``where`` and ``sort`` select from."""
    categories = reader.categories
    frame = pd.DataFrame(
        {
            "choice": [choice.position + 1 for choice in history],
            "item_id": [choice.item_id for choice in history],
            "title": [choice.title for choice in history],
            "category": [", ".join(categories.get(choice.item_id, ())) for choice in history],
            "date": [date(choice.time) for choice in history],
        }
    )
    absent = ModalityVerdict(Verdict.MISSING, np.nan, np.nan)
    for name in reader.modalities:
        verdicts = [choice.verdicts.get(name, absent) for choice in history]
        probability = [np.nan if verdict.missing else verdict.poi_probability for verdict in verdicts]
        frame[modality_column(name, _FIELDS)] = probability
        frame[f"{name}.evidence"] = [np.nan if verdict.missing else verdict.evidence for verdict in verdicts]
        frame[f"{name}.verdict"] = [verdict.verdict.value for verdict in verdicts]
    return frame


def date(seconds: float) -> str:
    """Return an ISO date in UTC; an empty text for NaN and before 1990, where times are an order (1, 2, 3) or an error;
    the number itself if it fits no calendar."""
    if math.isnan(seconds) or seconds < EARLIEST:
        return ""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


def _drift(modalities: list[str], history: list[Choice]) -> Drift | None:
    if len(history) < DRIFT_MIN_CHOICES or not modalities:
        return None
    absent = ModalityVerdict(Verdict.MISSING, 0.0, 0.0)
    verdicts = [[choice.verdicts.get(name, absent) for name in modalities] for choice in history]
    probability = np.array([[verdict.poi_probability for verdict in row] for row in verdicts])
    present = np.array([[not verdict.missing for verdict in row] for row in verdicts])
    return drift(probability, present, modalities, np.array([choice.time for choice in history]))


def _recommended(reader: DiagnosisReader, user_id: str, k: int) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """Return the items, or None and the problem: verdicts can be read without the model that made them."""
    from demure.runs.load import load_run

    try:
        items = suggestions(load_run(reader.run), [user_id], k, reader.new_histories)[user_id]
    except DemureError as error:
        return None, [f"no recommendations: {error}"]
    return suggestion_rows(items, reader.titles), []


def suggestion_rows(items: Sequence[Suggestion], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return suggestions as rows with titles, for JSON and tables."""
    return [
        {
            "rank": item.rank,
            "item_id": item.item_id,
            "title": titles.get(item.item_id, ""),
            "score": item.score,
            "because": item.because,
            "interest": item.interest,
            "past_item_id": item.past_item_id,
            "past_title": "" if item.past_item_id is None else titles.get(item.past_item_id, ""),
        }
        for item in items
    ]
