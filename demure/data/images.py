"""The image files of a dataset."""

from __future__ import annotations

from pathlib import Path


def is_file(root: Path, name: object) -> bool:
    """Whether an ``image`` cell names a file below ``root``."""
    try:
        return isinstance(name, str) and (root / name).is_file()
    except (OSError, ValueError):
        return False
