"""A run folder written by hand, for everything that reads one: no training, every number known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from demure.files import sha256_file, write_json

CAUSES = {"image": 0.21, "text": 0.32, "transition": 0.12, "taste": 0.15, "popularity": 0.20}
FEATURES = {
    "image": {"provenance": {"encoder": "color", "kind": "image"}},
    "text": {"provenance": {"encoder": "tfidf", "kind": "text"}},
}


def placebo(excess: float, low: float, high: float, *, admitted: bool = True) -> dict[str, Any]:
    """One modality of ``placebo`` in run.json."""
    numbers = {"mean_probability": 0.02, "excess": excess, "low": low, "high": high}
    return {"deals": 5, **numbers, "admitted": admitted}


ABOVE = {"image": placebo(0.19, 0.17, 0.21), "text": placebo(0.3, 0.26, 0.34)}
IMAGE_EXPLAINS_NOTHING = {"image": placebo(0.0, 0.0, 0.0, admitted=False), "text": placebo(0.3, 0.26, 0.34)}
NOTHING = {"image": placebo(0.0, 0.0, 0.0, admitted=False), "text": placebo(0.01, -0.01, 0.03)}


@dataclass(frozen=True)
class DiagnosisRow:
    """One (interaction, modality) of the table that a test writes."""

    user: str
    position: int
    item: str
    modality: str
    verdict: str
    probability: float


def write_run(
    folder: Path,
    rows: Sequence[DiagnosisRow],
    items: pd.DataFrame,
    *,
    reliance: pd.DataFrame | None = None,
    supports: Sequence[tuple[str, str, int, str, int, str, float]] = (),
    timestamps: bool = True,
    first_time: float = 874_965_478.0,
    pictures: bool = True,
    recipe: str = "default",
    manifest: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``folder/dataset`` and ``folder/run``; return the run. ``manifest`` holds further keys of run.json, such as
    ``placebo``; a run without it is an older one."""
    dataset, run = folder / "dataset", folder / "run"
    dataset.mkdir(parents=True)
    run.mkdir()
    diagnosis = pd.DataFrame(
        [
            {
                "user_id": row.user,
                "item_id": row.item,
                "modality": row.modality,
                "poi_probability": row.probability,
                "evidence": 4 * row.probability - 2,
                "verdict": row.verdict,
                "position": row.position,
            }
            for row in rows
        ]
    )
    diagnosis.to_parquet(run / "diagnosis.parquet", index=False)
    columns = ["user_id", "item_id", "position", "modality", "support_rank", "support_item_id", "weight"]
    pd.DataFrame(list(supports), columns=columns).astype(
        {"position": int, "support_rank": int, "weight": float}
    ).to_parquet(run / "supports.parquet", index=False)
    if reliance is None:
        names = [*diagnosis["modality"].unique(), "none"]
        reliance = pd.DataFrame(
            [(user, name, 1 / len(names)) for user in diagnosis["user_id"].unique() for name in names],
            columns=["user_id", "modality", "reliance"],
        )
    reliance.to_parquet(run / "reliance.parquet", index=False)
    chosen = diagnosis.drop_duplicates(["user_id", "position"]).sort_values(["user_id", "position"])
    interactions = chosen[["user_id", "item_id"]].assign(split="train")
    if timestamps:
        interactions["timestamp"] = first_time + 86_400.0 * chosen["position"]
    interactions.to_parquet(dataset / "interactions.parquet", index=False)
    pd.DataFrame({"user_id": diagnosis["user_id"].unique()}).to_parquet(dataset / "users.parquet", index=False)
    if pictures:
        (folder / "images").mkdir()
        for k in range(len(items)):
            Image.new("RGB", (60, 90), (40 * k % 256, 90, 160)).save(folder / "images" / f"{k}.png")
        items = items.assign(image=[f"{k}.png" for k in range(len(items))])
    items.to_parquet(dataset / "items.parquet", index=False)
    hashes = {"interactions": "aa", "split": "bb", "items": "cc"}
    write_json(
        dataset / "dataset.json",
        {
            "format_version": 1,
            "demure_version": "0.1.0",
            "created_by": {},
            "inputs": {},
            "counts": {
                "users": diagnosis["user_id"].nunique(),
                "items": len(items),
                "cold_items": 0,
                "interactions": len(interactions),
                "train": len(interactions),
                "valid": 0,
                "test": 0,
            },
            "has_time": timestamps,
            "text_columns": [name for name in items.columns if name not in ("item_id", "image")],
            "images_root": str(folder / "images"),
            "hashes": hashes,
            "files": {file.name: sha256_file(file) for file in dataset.glob("*.parquet")},
        },
    )
    write_json(
        run / "run.json",
        {
            "format_version": 1,
            "demure_version": "0.1.0",
            "recipe": recipe,
            "seed": 0,
            "best_epoch": 2,
            "dataset": {"path": str(dataset), "identity": hashes},
            **(manifest or {}),
        },
    )
    (run / "recipe.yaml").write_text("model:\n  width: 64\n")
    epochs = [{"epoch": k, "loss": 5 / k, "valid": {"recall@20": 0.1 * k, "ndcg@20": 0.05 * k}} for k in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    return run


def small_run(folder: Path, **options: Any) -> Path:
    """Write a run of three users, four items and two modalities, whose shares and supports a reader can count."""
    poi, noise, missing = ("poi", 0.9), ("noise", 0.2), ("missing", 0.0)
    verdicts_of: dict[tuple[str, int, str], tuple[tuple[str, float], tuple[str, float]]] = {  # image, text
        ("ann", 0, "i1"): (poi, noise),
        ("ann", 1, "i2"): (poi, noise),
        ("ann", 2, "i3"): (missing, poi),
        ("bob", 0, "i2"): (poi, poi),
        ("bob", 1, "i1"): (noise, noise),
        ("cid", 0, "i1"): (noise, poi),
    }
    rows = [
        DiagnosisRow(user, position, item, modality, *verdict)
        for (user, position, item), verdicts in verdicts_of.items()
        for modality, verdict in zip(("image", "text"), verdicts, strict=True)
    ]
    items = pd.DataFrame(
        {
            "item_id": ["i1", "i2", "i3", "i4"],
            "title": ["Alien", "Brazil", None, "Dune"],
            "description": ["a", "b", "c", "d"],
        }
    )
    reliance = pd.DataFrame(
        [
            ("ann", "image", 0.6),
            ("ann", "text", 0.3),
            ("ann", "none", 0.1),
            ("bob", "image", 0.4),
            ("bob", "text", 0.5),
            ("bob", "none", 0.1),
            ("cid", "image", 0.2),
            ("cid", "text", 0.2),
            ("cid", "none", 0.6),
        ],
        columns=["user_id", "modality", "reliance"],
    )
    supports = [("ann", "i1", 0, "image", 1, "i2", 0.8), ("ann", "i1", 0, "image", 2, "i3", 0.2)]
    return write_run(folder, rows, items, reliance=reliance, supports=supports, **options)


def run_with_interests(folder: Path, **options: Any) -> Path:
    """Write :func:`small_run` with three interests: two of the pictures, one of which is no better than its placebo,
    and one of the texts, which holds everything."""
    from demure.diagnosis.interests.stored import InterestPlacebo, StoredInterest, write_interests

    run = small_run(folder, **{"manifest": {"placebo": ABOVE, "causes": CAUSES, "features": FEATURES}, **options})
    frame = pd.read_parquet(run / "diagnosis.parquet")
    is_image, is_missing = frame["modality"] == "image", frame["verdict"] == "missing"
    cluster = (is_image & (frame["verdict"] == "noise")).astype("int16")
    frame["interest"] = cluster.where(~is_missing, -1).astype("int16")
    frame.to_parquet(run / "diagnosis.parquet", index=False)
    above, not_above = InterestPlacebo(0.01, 0.4, 0.3, 0.5), InterestPlacebo(0.05, 0.01, -0.02, 0.03)
    write_interests(
        run,
        {
            "image": [
                StoredInterest(0, "blue", ["robot"], ["blue"], above),
                StoredInterest(1, "grey", [], ["grey"], not_above),
            ],
            "text": [StoredInterest(0, "space, robot", ["space", "robot"], [], above)],
        },
    )
    return run
