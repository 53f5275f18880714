"""Copy a whole folder, from or to a URL, or from one path to another."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from demure.errors import DemureError
from demure.files import atomic_folder
from demure.storage.upload import LOCAL_ONLY


@dataclass(frozen=True)
class CopiedFolder:
    """The ``folder`` that was written, how many ``files`` it holds, and their ``bytes``."""

    folder: Path
    files: int
    bytes: int


def copy_folder(source: Path, out: Path, *, overwrite: bool = False) -> CopiedFolder:
    """Copy a dataset, run or other folder of demure, without what means something on one machine alone.

    Raises ``DemureError`` if ``source`` is not a folder, or ``out`` exists and is not to be replaced.
    """
    if not source.is_dir():
        raise DemureError("is not a folder", where=source, remedy="name a dataset, run, study or export folder")
    with atomic_folder(out, overwrite=overwrite) as part:
        ignored = shutil.ignore_patterns(*LOCAL_ONLY)
        shutil.copytree(source, part, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        sizes = [path.stat().st_size for path in part.rglob("*") if path.is_file() and not path.is_symlink()]
    return CopiedFolder(out, len(sizes), sum(sizes))
