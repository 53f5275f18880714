"""The folder of an export, and what may be replaced."""

from __future__ import annotations

from pathlib import Path

from demure.errors import DemureError, RunError
from demure.files import read_json, refuse_existing

MANIFEST = "export.json"


def check_out(out: Path, *, overwrite: bool) -> None:
    """Raise ``DemureError`` if ``out`` exists and is not to be replaced, ``RunError`` if it is no earlier export."""
    if overwrite and out.is_dir() and any(out.iterdir()) and not _is_export(out):
        raise RunError("is not an export folder", where=out, remedy="choose another --out")
    refuse_existing(out, overwrite=overwrite)


def _is_export(folder: Path) -> bool:
    try:
        content = read_json(folder / MANIFEST)
    except DemureError:
        return False
    return isinstance(content, dict) and {"format_version", "demure_version"} <= content.keys()
