"""What `demure inspect` tells: the catalogue at large, one user, one item, and the full export.

Everything here reads a run folder's tables; nothing is computed anew, so what is shown is what was judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from demure.diagnosis.source import EXPORT_COLUMNS, VERDICTS, DiagnosisSource
from demure.errors import DemureError, RunError
from demure.files import atomic_file

NONE = "none"
_EXPORT_SCHEMA = pa.schema(
    [(name, pa.float64() if name in ("poi_probability", "evidence") else pa.string()) for name in EXPORT_COLUMNS]
)


@dataclass(frozen=True)
class Overview:
    """A run's diagnosis at large.

    ``modalities``: one row each; ``interactions`` judged, shares ``poi``, ``noise``, ``missing`` (they sum to 1) and
    ``mean_probability`` over interactions where the modality is present.
    ``reliance``: per modality, and ``none``, how many ``users`` rely on it most, their ``share``, and the
    ``mean_reliance`` over all users (the shares of choices; they sum to 1).
    ``flagged``: items whose modality was most often noise, of those with at least ``min_count`` judged interactions.
    """

    run: str
    recipe: str
    dataset: str
    users: int
    items: int
    interactions: int
    min_count: int
    modalities: pd.DataFrame
    reliance: pd.DataFrame
    flagged: pd.DataFrame


@dataclass(frozen=True)
class UserView:
    """One user's history. ``history``: one row per training interaction in time order (``position``, ``item_id``,
    ``title``, ``time`` in seconds or NaN, ``verdicts``: modality -> verdict, poi_probability, evidence and supports,
    the other items that spoke for it with their share of that evidence). ``reliance``: modality -> share of choices."""

    run: str
    user_id: str
    modalities: list[str]
    reliance: dict[str, float]
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class ItemView:
    """One item. ``modalities``: as in ``Overview``, for this item; ``chosen_by``: one row per training interaction,
    with ``user_id`` and ``verdicts`` (modality -> verdict, poi_probability, evidence), surest first."""

    run: str
    item_id: str
    title: str
    modalities: pd.DataFrame
    chosen_by: list[dict[str, Any]]


@dataclass(frozen=True)
class Export:
    """Where the full table went, and how long it is."""

    run: str
    export: str
    rows: int


def overview(run: Path | str, *, min_count: int = 10, top: int = 10) -> Overview:
    """The catalogue at large; ``top`` items are listed for each run. Raises as ``DiagnosisSource.open``."""
    source = DiagnosisSource.open(run)
    table = source.diagnosis(["user_id", "item_id", "modality", "poi_probability", "verdict"])
    if not table.num_rows:
        raise RunError("the diagnosis is empty", where=source.run)
    counts = _counts(table, ["modality"]).set_index("modality").loc[source.modalities].reset_index()
    return Overview(
        run=str(run),
        recipe=str(source.manifest.get("recipe", "")),
        dataset=str(source.dataset),
        users=len(table.column("user_id").unique()),
        items=len(table.column("item_id").unique()),
        interactions=int(counts["interactions"].max()),
        min_count=min_count,
        modalities=counts,
        reliance=_reliance(source.reliance(), [*source.modalities, NONE]),
        flagged=_flagged(_counts(table, ["item_id", "modality"]), source.titles, min_count, top),
    )


def _counts(table: pa.Table, keys: list[str]) -> pd.DataFrame:
    """Per combination of ``keys``: interactions, the shares of each verdict, and the mean probability where present."""
    grouped = table.group_by([*keys, "verdict"]).aggregate([("poi_probability", "sum"), ("poi_probability", "count")])
    frame = grouped.to_pandas().rename(columns={"poi_probability_sum": "total", "poi_probability_count": "n"})
    n = frame.pivot_table(index=keys, columns="verdict", values="n", aggfunc="sum", fill_value=0)
    n = n.reindex(columns=list(VERDICTS), fill_value=0)
    present = frame[frame["verdict"] != "missing"].groupby(keys)["total"].sum().reindex(n.index, fill_value=0.0)
    interactions = n.sum(axis=1)
    result = n.div(interactions, axis=0)
    result.insert(0, "interactions", interactions.astype(int))
    result["mean_probability"] = present / (n["poi"] + n["noise"]).replace(0, np.nan)
    result.columns.name = None
    return result.reset_index()


def _reliance(frame: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    wide = frame.pivot_table(index="user_id", columns="modality", values="reliance", aggfunc="first", fill_value=0.0)
    wide = wide.reindex(columns=[*order, *sorted(set(wide.columns) - set(order))], fill_value=0.0)
    most = wide.idxmax(axis=1).value_counts().reindex(wide.columns, fill_value=0)
    return pd.DataFrame(
        {
            "modality": list(wide.columns),
            "users": most.to_numpy(int),
            "share": most.to_numpy(float) / max(len(wide), 1),
            "mean_reliance": wide.mean().to_numpy(float),
        }
    )


def _flagged(counts: pd.DataFrame, titles: dict[str, str], min_count: int, top: int) -> pd.DataFrame:
    present = counts[counts["missing"] < 1.0].copy()
    present["judged"] = (present["interactions"] * (1 - present["missing"])).round().astype(int)
    present["noise"] = present["noise"] * present["interactions"] / present["judged"]
    enough = present[(present["judged"] >= min_count) & (present["noise"] > 0)]
    worst = enough.sort_values(["noise", "judged", "item_id"], ascending=[False, False, True], kind="stable").head(top)
    return pd.DataFrame(
        {
            "item_id": worst["item_id"].astype(str),
            "title": [titles.get(str(item), "") for item in worst["item_id"]],
            "modality": worst["modality"].astype(str),
            "interactions": worst["judged"],
            "noise": worst["noise"],
            "mean_probability": worst["mean_probability"],
        }
    ).reset_index(drop=True)


def user_view(run: Path | str, user_id: str) -> UserView:
    """One user's history with every verdict. Raises ``RunError`` naming the nearest ids if there is no such user."""
    source = DiagnosisSource.open(run)
    columns = ["item_id", "position", "modality", "poi_probability", "evidence", "verdict"]
    rows = source.diagnosis(columns, user_id=user_id).to_pandas().sort_values("position", kind="stable")
    if rows.empty:
        raise source.unknown("user", user_id)
    titles, times = source.titles, source.times(user_id)
    spoke: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in source.supports(user_id=user_id).to_dict("records"):
        support = {"item_id": row["support_item_id"], "title": titles.get(row["support_item_id"], "")}
        spoke.setdefault((int(row["position"]), row["modality"]), []).append(support | {"weight": float(row["weight"])})
    history = []
    for position, group in rows.groupby("position", sort=True):
        item = str(group["item_id"].iloc[0])
        verdicts = _verdicts(group)
        for modality, verdict in verdicts.items():
            verdict["supports"] = spoke.get((int(position), modality), [])
        time = times[int(position)] if int(position) < len(times) else float("nan")
        history.append(
            {
                "position": int(position),
                "item_id": item,
                "title": titles.get(item, ""),
                "time": time,
                "verdicts": verdicts,
            }
        )
    reliance = source.reliance(user_id=user_id)
    shares = dict(zip(reliance["modality"].astype(str), reliance["reliance"].astype(float), strict=True))
    return UserView(str(run), user_id, source.modalities, shares, history)


def item_view(run: Path | str, item_id: str) -> ItemView:
    """Who chose an item for what. Raises ``RunError`` naming the nearest ids if there is no such item."""
    source = DiagnosisSource.open(run)
    columns = ["user_id", "position", "modality", "poi_probability", "evidence", "verdict"]
    table = source.diagnosis(columns, item_id=item_id)
    if not table.num_rows:
        raise source.unknown("item", item_id)
    chosen: list[dict[str, Any]] = [
        {"user_id": str(user), "verdicts": _verdicts(group)}
        for (user, _), group in table.to_pandas().groupby(["user_id", "position"], sort=True)
    ]
    chosen.sort(key=_surest)
    counts = _counts(table, ["modality"]).set_index("modality").loc[source.modalities].reset_index()
    return ItemView(str(run), item_id, source.titles.get(item_id, ""), counts, chosen)


def _surest(row: dict[str, Any]) -> float:
    return -max(float(verdict["poi_probability"]) for verdict in row["verdicts"].values())


def _verdicts(group: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {
        row["modality"]: {
            "verdict": row["verdict"],
            "poi_probability": float(row["poi_probability"]),
            "evidence": float(row["evidence"]),
        }
        for row in group.to_dict("records")
    }


def export(run: Path | str, out: Path | str) -> Export:
    """Write every verdict to a Parquet file, with the columns that interface.md names; in batches, whole or not at all.

    Raises ``DemureError`` if ``out`` does not end in .parquet or cannot be written.
    """
    out = Path(out)
    if out.suffix != ".parquet":
        raise DemureError("the export is a Parquet file", where=out, remedy="give a name that ends in .parquet")
    if out.is_dir():
        raise DemureError("is a folder", where=out, remedy="give the name of a file")
    source = DiagnosisSource.open(run)
    rows = 0
    with atomic_file(out) as part, pq.ParquetWriter(part, _EXPORT_SCHEMA) as writer:
        for batch in pq.ParquetFile(source.run / "diagnosis.parquet").iter_batches(columns=list(EXPORT_COLUMNS)):
            table = pa.Table.from_batches([batch]).select(list(EXPORT_COLUMNS)).cast(_EXPORT_SCHEMA)
            writer.write_table(table)
            rows += table.num_rows
    return Export(str(run), str(out), rows)
