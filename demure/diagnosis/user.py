"""One user: the history choice by choice, what it rests on, what the user relies on, and what would come next."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.diagnosis.drift import LEAST, Drift, drift
from demure.diagnosis.filtering import column, pick
from demure.diagnosis.placebo import WHY_NOT
from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.recommended import Suggestion, made_of, suggestions
from demure.diagnosis.uncertainty import FEW, share_interval, undecided
from demure.errors import DemureError

_FIELDS = ("choice", "item_id", "title", "category", "date")


@dataclass(frozen=True)
class UserView:
    """One user's history. ``history``: one row per training interaction in time order (``position``, ``item_id``,
    ``title``, ``time`` in seconds or NaN, ``picture``: its file or None, ``verdicts``: modality -> verdict,
    poi_probability, evidence, ``undecided``, supports, the other items that spoke for it with their share of that
    evidence, and ``why`` in words), those that were asked for, of ``interactions``. ``cannot_tell``: modalities whose
    features explain nothing, so that their verdicts mean nothing.

    ``reliance``: modality -> share of choices; ``reliance_interval``: 90 % interval of each, were the choices drawn
    from a taste that lasts. ``drift``: since when the user chose for other reasons, None where nothing tells.
    ``recommended``: what would be recommended; None if it was not asked for. ``made_of``: what its scores are made of,
    in a sentence. ``notes``: how little this rests on."""

    run: str
    user_id: str
    modalities: list[str]
    reliance: dict[str, float]
    history: list[dict[str, Any]]
    interactions: int = 0
    reliance_interval: dict[str, tuple[float, float]] = field(default_factory=dict)
    drift: Drift | None = None
    recommended: list[dict[str, Any]] | None = None
    notes: list[str] = field(default_factory=list)
    cannot_tell: list[str] = field(default_factory=list)
    made_of: str = ""


def user_view(
    run: Path | str | DiagnosisSource,
    user_id: str,
    *,
    recommend: int = 0,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> UserView:
    """One user's history with every verdict, and ``recommend`` items that would be recommended.

    ``where``, ``sort`` and ``top`` (see ``listing.pick``) choose among the choices, by choice (its number), item_id,
    title, category, date, and for each modality its probability (``image``), ``image.evidence`` and ``image.verdict``.
    Raises ``RunError`` naming the nearest ids if there is no such user.
    """
    source = DiagnosisSource.of(run)
    columns = ["item_id", "position", "modality", "poi_probability", "evidence", "verdict"]
    rows = source.diagnosis(columns, user_id=user_id).to_pandas().sort_values("position", kind="stable")
    if rows.empty:
        raise source.unknown("user", user_id)
    titles, times = source.titles, source.times(user_id)
    spoke: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in source.supports(user_id=user_id).to_dict("records"):
        support = {"item_id": row["support_item_id"], "title": titles.get(row["support_item_id"], "")}
        spoke.setdefault((int(row["position"]), row["modality"]), []).append(support | {"weight": float(row["weight"])})
    others = rows["position"].nunique() - 1
    cannot_tell = source.placebos.cannot_tell
    history = []
    for position, group in rows.groupby("position", sort=True):
        item = str(group["item_id"].iloc[0])
        judged = verdicts(group)
        for modality, verdict in judged.items():
            verdict["supports"] = spoke.get((int(position), modality), [])
            unanswered = modality in cannot_tell and verdict["verdict"] != "missing"
            verdict["why"] = WHY_NOT if unanswered else why(modality, judged, others)
        time = times[int(position)] if int(position) < len(times) else float("nan")
        history.append(
            {
                "position": int(position),
                "item_id": item,
                "title": titles.get(item, ""),
                "time": float("nan") if time is None else float(time),
                "verdicts": judged,
            }
        )
    for line, picture in zip(history, source.pictures([str(line["item_id"]) for line in history]), strict=True):
        line["picture"] = None if picture is None else str(picture)
    frame = source.reliance(user_id=user_id)
    shares = dict(zip(frame["modality"].astype(str), frame["reliance"].astype(float), strict=True))
    chosen = pick(_fields(source, history), where, sort, top)
    recommended, notes = None, _notes(len(history))
    if recommend:
        recommended, trouble = _recommended(source, user_id, recommend)
        notes += trouble
    return UserView(
        run=str(source.run),
        user_id=user_id,
        modalities=source.modalities,
        reliance=shares,
        history=[history[k] for k in chosen.index],
        interactions=len(history),
        reliance_interval={name: share_interval(share * len(history), len(history)) for name, share in shares.items()},
        drift=_drift([name for name in source.modalities if name not in cannot_tell], history),
        recommended=recommended,
        notes=notes,
        cannot_tell=cannot_tell,
        made_of=made_of(source.manifest) if recommended else "",
    )


def verdicts(group: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """modality -> verdict, poi_probability, evidence and undecided, of the rows of one interaction."""
    return {
        row["modality"]: {
            "verdict": row["verdict"],
            "poi_probability": float(row["poi_probability"]),
            "evidence": float(row["evidence"]),
            "undecided": row["verdict"] != "missing" and undecided(float(row["poi_probability"])),
        }
        for row in group.to_dict("records")
    }


def why(modality: str, judged: Mapping[str, Mapping[str, Any]], others: int) -> str:
    """What speaks for a verdict, or the lack of it, in words that claim no more than the numbers: ``judged`` are the
    verdicts of one interaction, with their supports; the user has ``others`` other choices."""
    own = judged[modality]
    named = [support["title"] or support["item_id"] for support in own.get("supports", ())]
    if own["verdict"] == "missing":
        return f"the item has no {modality}"
    if others < 1:
        return "the only choice: there is nothing to compare it with"
    if own["verdict"] == "poi":
        if own["evidence"] > 0:
            return f"like {_listed(named)}" if named else "no single other choice stands out"
        closest = f" (closest: {named[0]})" if named else ""
        return f"little speaks for it{closest}; said because the user relies on {modality} elsewhere"
    if own["evidence"] <= 0 or not named:
        speaks = f"none of the {others} other choices speaks" if others > 1 else "the other choice does not speak"
        return f"{speaks} for it"
    rival = max((name for name in judged if name != modality), key=lambda n: judged[n]["poi_probability"], default=None)
    like = f"like {_listed(named[:2])}"
    if rival is None or judged[rival]["poi_probability"] <= own["poi_probability"]:
        return f"{like}, but not enough to tell"
    louder = judged[rival]["evidence"] > own["evidence"]
    return f"{like}, but its {rival} speaks louder" if louder else f"{like}, but the user relies more on {rival}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _notes(interactions: int) -> list[str]:
    if interactions == 1:
        return ["a single choice, with nothing to compare it with: its probabilities are those of users in general"]
    if interactions < FEW:
        return [f"only {interactions} choices: these probabilities rest on little"]
    return []


def _fields(source: DiagnosisSource, history: list[dict[str, Any]]) -> pd.DataFrame:
    categories = source.categories
    frame = pd.DataFrame(
        {
            "choice": [line["position"] + 1 for line in history],
            "item_id": [line["item_id"] for line in history],
            "title": [line["title"] for line in history],
            "category": [", ".join(categories.get(line["item_id"], ())) for line in history],
            "date": [date(line["time"]) for line in history],
        }
    )
    for name in source.modalities:
        judged = [line["verdicts"].get(name, {}) for line in history]
        there = [one.get("verdict", "missing") != "missing" for one in judged]
        shown = column(name, _FIELDS)
        frame[shown] = [one["poi_probability"] if ok else np.nan for one, ok in zip(judged, there, strict=True)]
        frame[f"{name}.evidence"] = [one["evidence"] if ok else np.nan for one, ok in zip(judged, there, strict=True)]
        frame[f"{name}.verdict"] = [one.get("verdict", "missing") for one in judged]
    return frame


def date(seconds: float) -> str:
    """ISO date in UTC; empty where there is none; the number itself where no calendar fits it."""
    if math.isnan(seconds):
        return ""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


def _drift(modalities: list[str], history: list[dict[str, Any]]) -> Drift | None:
    if len(history) < LEAST or not modalities:
        return None
    judged = [[line["verdicts"].get(name) for name in modalities] for line in history]
    probability = np.array([[0.0 if one is None else one["poi_probability"] for one in row] for row in judged])
    present = np.array([[one is not None and one["verdict"] != "missing" for one in row] for row in judged])
    return drift(probability, present, modalities, np.array([line["time"] for line in history]))


def _recommended(source: DiagnosisSource, user_id: str, k: int) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """The items, or why there are none: a verdict can be looked at without the model that made it."""
    from demure.runs.load import load_run

    try:
        found = suggestions(load_run(source.run), [user_id], k)[user_id]
    except DemureError as error:
        return None, [f"no recommendations: {error}"]
    return told(found, source.titles), []


def told(found: Sequence[Suggestion], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Suggestions with titles and, in words, why."""
    return [
        {
            "rank": one.rank,
            "item_id": one.item_id,
            "title": titles.get(one.item_id, ""),
            "score": one.score,
            "because": one.because,
            "past_item_id": one.past_item_id,
            "past_title": "" if one.past_item_id is None else titles.get(one.past_item_id, ""),
        }
        for one in found
    ]
