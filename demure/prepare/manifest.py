"""dataset.json: what a dataset folder is, what made it, and how it is told from another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import demure
from demure.data.dataset import FILES, FORMAT_VERSION
from demure.files import sha256_bytes, sha256_file
from demure.prepare.interactions import Interactions
from demure.prepare.items import Items
from demure.prepare.options import PrepareOptions
from demure.prepare.write import identity

if TYPE_CHECKING:
    from demure.prepare.report import PreparedReport
    from demure.prepare.split import Part


def input_hashes(options: PrepareOptions, files: list[Path], features: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Role -> path and SHA-256 of what was read; of several files that of their names and hashes."""
    inputs = {"interactions": options.interactions, "items": options.items}
    inputs |= {f"features {name}": path for name, path in features.items()}
    found = {}
    for role, path in inputs.items():
        if path is None:
            continue
        several = files if role == "interactions" and files else [path]
        if several == [path]:
            digest = sha256_file(path)
        else:
            digest = sha256_bytes(*(one.name.encode() + b"\0" + sha256_file(one).encode() for one in several))
        found[role] = {"path": str(path), "sha256": digest}
    return found


def manifest(
    folder: Path,
    options: PrepareOptions,
    report: PreparedReport,
    part: Part,
    them: Interactions,
    items: Items,
    inputs: dict[str, dict[str, str]],
    notes: list[str],
) -> dict[str, Any]:
    """What ``dataset.json`` holds about ``them``, with the split of ``part``, once the tables are written."""
    told = report.to_dict()
    root = report.images_root
    parts = {name: getattr(part.leaks, name) for name in ("train", "valid", "test")}
    user_core, item_core = options.cores
    return {
        "format_version": FORMAT_VERSION,
        "demure_version": demure.__version__,
        "created_by": {
            "command": "prepare",
            "interactions": str(options.interactions),
            "items": None if options.items is None else str(options.items),
            "images": None if options.images is None else str(options.images),
            "features": {name: str(path) for name, path in report.feature_files.items()},
            "columns": options.columns,
            "encoding": options.encoding,
            "format": report.format,
            "split": part.split,
            "ratio": list(options.ratio),
            "ratio_by": part.ratio_by,
            "seed": options.seed,
            "k_core": options.k_core,
            "user_core": user_core,
            "item_core": item_core,
            "min_history": options.min_history,
            "max_history": options.max_history,
            "since": options.since,
            "until": options.until,
            "min_rating": options.min_rating,
            "duplicates": options.duplicates,
            "bare_items": options.bare_items,
        },
        "inputs": inputs,
        "counts": {**{name: report.counts[name] for name in ("users", "items", "cold_items", "interactions")}, **parts},
        "leaks": part.leaks.to_dict(),
        "has_time": them.times is not None,
        "text_columns": [name for name in items.columns if name != "image"],
        "attribute_columns": list(items.attributes),
        "images_root": None if root is None else str(root),
        "hashes": identity(them, items),
        "files": {name: sha256_file(folder / name) for name in FILES},
        "steps": told["steps"],
        "problems": told["problems"],
        "notes": notes,
    }
