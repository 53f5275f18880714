"""Rewrite manifests as an early version wrote them: without a hash of themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demure.files import sha256_file
from demure.integrity import SEAL


def rewrite(file: Path, change: Callable[[dict[str, Any]], object], *, sealed: bool = False) -> None:
    """Change the content of a JSON manifest; with ``sealed``, the hash of the old content stays in it."""
    content = json.loads(file.read_text())
    if not sealed:
        content.pop(SEAL, None)
    change(content)
    file.write_text(json.dumps(content))


def record(file: Path) -> None:
    """Let a manifest record the files beside it as they are now, where it recorded them when they were made."""

    def update(content: dict[str, Any]) -> None:
        if "files" in content:
            kinds = ("*.parquet", "*.safetensors", "*.yaml", "*.jsonl", "*.csv")
            paths = [path for kind in kinds for path in sorted(file.parent.glob(kind))]
            content["files"] = {path.name: sha256_file(path) for path in paths}

    rewrite(file, update)


def with_walk(run: Path, out: Path, **parameters: float) -> Path:
    """Return a copy of a run in the folder ``out``, whose item-item model has other ``parameters``."""
    shutil.copytree(run, out)
    rewrite(out / "run.json", lambda content: content["walk"].update(parameters))
    return out
