"""The manifest of a dataset folder, made from what ``prepare`` did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import demure
from demure.data.manifest import FORMAT_VERSION, PROBLEMS, TABLES, DatasetCounts, DatasetManifest
from demure.files import sha256_bytes, sha256_file
from demure.preparation.items import Items
from demure.preparation.options import PrepareOptions
from demure.storage.names import shown

if TYPE_CHECKING:
    from demure.preparation.report import PreparedReport
    from demure.preparation.split import PreparedSplit


def hash_inputs(options: PrepareOptions, files: list[Path], features: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Return role -> path and SHA-256 of the inputs.

    ``files``: the files of the interactions; of several files, the hash is over their names and hashes.
    """
    inputs = {"interactions": options.interactions, "items": options.items}
    inputs |= {f"features {name}": path for name, path in features.items()}
    hashes = {}
    for role, path in inputs.items():
        if path is None:
            continue
        read = files if role == "interactions" and files else [path]
        if read == [path]:
            digest = sha256_file(path)
        else:
            digest = sha256_bytes(*(file.name.encode() + b"\0" + sha256_file(file).encode() for file in read))
        hashes[role] = {"path": shown(str(path)), "sha256": digest}
    return hashes


def build_manifest(
    folder: Path,
    options: PrepareOptions,
    report: PreparedReport,
    split: PreparedSplit,
    items: Items,
    hashes: dict[str, str],
    inputs: dict[str, dict[str, str]],
    notes: list[str],
) -> DatasetManifest:
    """Return the manifest of a ``split``, whose other files are in ``folder`` already; ``hashes``: see ``identity``."""
    root = report.images_root
    user_core, item_core = options.cores
    return DatasetManifest(
        format_version=FORMAT_VERSION,
        demure_version=demure.__version__,
        created_by={
            "command": "prepare",
            "interactions": shown(str(options.interactions)),
            "items": None if options.items is None else shown(str(options.items)),
            "images": None if options.images is None else shown(str(options.images)),
            **{kind: shown(str(folder)) for kind, folder in options.media.items()},
            "features": {name: str(path) for name, path in report.feature_files.items()},
            "columns": options.columns,
            "encoding": options.encoding,
            "quotes": options.quotes,
            "bad_rows": options.bad_rows,
            "time_format": options.time_format,
            "events": options.events,
            "format": report.format,
            "split": split.strategy,
            "ratio": list(options.ratio),
            "ratio_by": split.ratio_by,
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
        inputs=inputs,
        counts=DatasetCounts(
            users=report.counts["users"],
            items=report.counts["items"],
            cold_items=report.counts["cold_items"],
            interactions=report.counts["interactions"],
            train=split.leaks.train,
            valid=split.leaks.valid,
            test=split.leaks.test,
        ),
        leaks=split.leaks,
        has_time=split.has_time,
        text_columns=[name for name in items.columns if name not in ("image", *report.media_roots)],
        attribute_columns=list(items.attributes),
        images_root=None if root is None else shown(str(root)),
        hashes=hashes,
        files={name: sha256_file(folder / name) for name in (*TABLES, PROBLEMS)},
        steps=[vars(step) for step in report.steps],
        problems={kind: problem.to_dict() for kind, problem in report.problems.items()},
        notes=[shown(note) for note in notes],
        media_roots={kind: shown(str(folder)) for kind, folder in report.media_roots.items()},
    )
