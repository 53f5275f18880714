"""What the page holds: the overview, and as many users' histories as its size allows."""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demure.diagnosis.source import VERDICTS, DiagnosisSource

SECONDS_PER_DAY = 86_400
_SNIPPET = 160
_SUPPORTS = 2


@dataclass(frozen=True)
class Histories:
    """``users``: (id, interactions, reliance per modality and none) of those on the page, in the order of their ids.
    ``packed``: their histories, gzipped JSON in base64. ``item_ids``: the items that they and their supports name;
    an item is its place in this list. ``total``: users of the run."""

    users: list[list[Any]]
    packed: str
    item_ids: list[str]
    total: int


def histories(source: DiagnosisSource, columns: list[str], *, at_most_bytes: int, at_most_rows: int) -> Histories:
    """The histories of all users, or of users spread evenly over the sorted ids where they would not fit.

    ``columns`` are the modalities of the reliance, in order.
    """
    counts = source.diagnosis(["user_id"]).column("user_id").value_counts()
    ids = counts.field("values").to_pylist()
    rows = dict(zip(ids, counts.field("counts").to_pylist(), strict=True))
    ids.sort(key=_natural)
    share = min(1.0, at_most_rows / max(sum(rows.values()), 1))
    while True:
        chosen = (
            ids if share >= 1 else [ids[int(k)] for k in np.linspace(0, len(ids) - 1, max(1, int(share * len(ids))))]
        )
        chosen = list(dict.fromkeys(chosen))
        packed = _pack(source, chosen, columns, len(ids))
        if len(packed.packed) <= at_most_bytes or len(chosen) == 1:
            return packed
        share = len(chosen) / len(ids) * 0.9 * at_most_bytes / len(packed.packed)


def _natural(name: str) -> tuple[int, int, str]:
    """Numbers in the order of their value, before words."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)


def _pack(source: DiagnosisSource, users: list[str], columns: list[str], total: int) -> Histories:
    frame = source.of_users(
        "diagnosis", ["user_id", "item_id", "position", "modality", "poi_probability", "verdict"], users
    )
    spoke = source.of_users("supports", ["user_id", "position", "modality", "support_rank", "support_item_id"], users)
    spoke = spoke[spoke["support_rank"] <= _SUPPORTS].sort_values("support_rank", kind="stable")
    item_ids = pd.Index(frame["item_id"].unique()).union(spoke["support_item_id"].unique(), sort=False)
    frame["item"] = item_ids.get_indexer(frame["item_id"])
    frame["percent"] = (100 * frame["poi_probability"].fillna(0.0)).round().astype(int)
    frame["code"] = frame["verdict"].map({name: code for code, name in enumerate(VERDICTS)}).astype(int)
    spoke["item"] = item_ids.get_indexer(spoke["support_item_id"])
    supports: dict[tuple[Any, ...], list[int]] = {}
    for *key, item in spoke[["user_id", "position", "modality", "item"]].itertuples(index=False):
        supports.setdefault(tuple(key), []).append(int(item))
    days = _days(source, pa.array(users, pa.string()))
    slot = {name: k for k, name in enumerate(source.modalities)}
    told: dict[str, dict[int, list[Any]]] = {user: {} for user in users}
    cells = frame[["user_id", "position", "item", "modality", "code", "percent"]]
    for user, position, item, modality, code, percent in cells.itertuples(index=False):
        line = told[user].get(position)
        if line is None:
            day = days[user][position] if position < len(days.get(user, ())) else None
            line = told[user][position] = [int(item), day, *([None] * len(slot))]
        others = supports.get((user, position, modality), []) if code == 0 else []
        line[2 + slot[modality]] = [int(code), int(percent), *others]
    reliance = source.of_users("reliance", ["user_id", "modality", "reliance"], users)
    wide = reliance.pivot_table(index="user_id", columns="modality", values="reliance", aggfunc="first", fill_value=0.0)
    shares = wide.reindex(index=users, columns=columns, fill_value=0.0).mul(100).round().astype(int).to_numpy().tolist()
    body = [[lines[position] for position in sorted(lines)] for lines in (told[user] for user in users)]
    return Histories(
        users=[[user, len(lines), share] for user, lines, share in zip(users, body, shares, strict=True)],
        packed=pack(body),
        item_ids=[str(name) for name in item_ids],
        total=total,
    )


def pack(value: Any) -> str:
    """Gzipped JSON in base64, the same bytes for the same value."""
    raw = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(raw, mtime=0)).decode("ascii")


def _days(source: DiagnosisSource, users: pa.Array) -> dict[str, list[int | None]]:
    path = source.dataset / "interactions.parquet"
    if "timestamp" not in pq.read_schema(path).names:
        return {}
    chosen = pc.is_in(pc.field("user_id"), users) & (pc.field("split") == "train")
    frame = pq.read_table(path, columns=["user_id", "timestamp"], filters=chosen).to_pandas()
    days: dict[str, list[int | None]] = {}
    for user, seconds in frame.itertuples(index=False):
        days.setdefault(str(user), []).append(None if math.isnan(seconds) else int(seconds // SECONDS_PER_DAY))
    return days


def texts(source: DiagnosisSource, item_ids: list[str]) -> list[tuple[str, str]]:
    """Title, and the beginning of the longest text column, of each item."""
    frame = source.items.set_index(source.items["item_id"].astype(str)).reindex(item_ids)
    others = [name for name in ("description", "text") if name in frame.columns]
    snippets = (
        frame[others[0]].fillna("").astype(str) if others and "title" in frame.columns else pd.Series("", frame.index)
    )
    titles = source.titles
    return [(titles.get(item, ""), _shorten(text)) for item, text in zip(item_ids, snippets, strict=True)]


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1].rsplit(" ", 1)[0] + "…"
