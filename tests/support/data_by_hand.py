"""Write raw files into a folder, and prepare them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from demure.data.dataset import Dataset
from demure.preparation.prepare import PreparedReport, PrepareOptions, prepare


def write(folder: Path, name: str, content: str | bytes | list[dict[str, Any]]) -> Path:
    """Write a file of text, bytes or JSON objects; return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = "".join(json.dumps(record) + "\n" for record in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def made(folder: Path, interactions: Path, out: str = "out", **options: Any) -> tuple[Dataset, PreparedReport]:
    """Prepare ``interactions``; return the dataset and the report."""
    report = prepare(PrepareOptions(interactions, folder / out, **options))
    return Dataset.load(folder / out), report


def rows(dataset: Dataset, *splits: str) -> list[tuple[str, str]]:
    """Return (user, item) in order, of these splits or of all."""
    histories = dataset.histories(*(splits or ("train", "valid", "test")))
    return [(user, dataset.item_ids[item]) for k, user in enumerate(dataset.user_ids) for item in histories.of(k)]


def csv_of(lines: list[tuple], header: str = "user_id,item_id,timestamp") -> str:
    return "\n".join([header, *(",".join(map(str, line)) for line in lines)]) + "\n"
