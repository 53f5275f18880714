"""The image files of a dataset."""

from __future__ import annotations

from pathlib import Path


def image_exists(root: Path, name: object) -> bool:
    """Return whether a value of the column ``image`` names a file below ``root``."""
    try:
        return isinstance(name, str) and (root / name).is_file()
    except (OSError, ValueError):
        return False
