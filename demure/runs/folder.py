"""The run folder: what a training leaves behind, and how it is found again."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from demure.errors import RunError
from demure.files import read_json

FORMAT_VERSION = 1
MANIFEST = "run.json"
CHECKPOINT = "checkpoint.safetensors"


def read_manifest(run: Path) -> dict[str, Any]:
    """``run.json`` of a finished run. Raises ``RunError`` if there is none, or one of another format."""
    if not (run / MANIFEST).is_file():
        if (run / CHECKPOINT).is_file():
            raise RunError("the training has not finished", where=run, remedy="go on with `demure train ... --resume`")
        raise RunError("is not a run folder (no run.json)", where=run, remedy="make one with `demure train`")
    manifest = read_json(run / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format_version") != FORMAT_VERSION:
        raise RunError("has another format version", where=run / MANIFEST, remedy="train again with this demure")
    return manifest


def environment() -> dict[str, str]:
    """Versions that decide a result: Python, platform, and the packages that compute."""
    packages = ("numpy", "scipy", "scikit-learn", "torch", "pandas")
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        **{name: metadata.version(name) for name in packages},
    }
