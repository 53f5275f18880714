"""What a killed process leaves behind: parts that it had not finished, and a folder that it had moved away.

A part has the name ``.NAME.xxxxxxxx.part`` and is locked by the process that writes it, so that a part without a lock
is a leftover. ``.NAME.xxxxxxxx.old`` is the folder NAME, moved away for a moment where a system cannot exchange two
folders.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import sys
import time
from pathlib import Path

from demure.locks import hold, is_held_here

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{6,8}\.(?P<kind>part|old)(\.[^.]+)?")
_UNLOCKED_SECONDS = 7 * 24 * 3600  # the age of a leftover where there are no locks: no work takes a week
_HERE, _EXCHANGE, _SWAP = -100, 2, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS


def folder_lock(path: Path) -> Path:
    """Return the lock that a process holds while it writes the folder ``path`` as a whole."""
    path = path.absolute()
    return path.parent / f".{path.name}.lock"


def mark_part(handle: int) -> int | None:
    """Lock an open part, so that other processes do not take it for a leftover; return the handle of the lock.

    Where there are no such locks, on Windows, the handle is closed: an open file could not be renamed there.
    """
    if fcntl is None:
        os.close(handle)
        return None
    with contextlib.suppress(OSError):  # a file system without locks: nothing there is swept
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def mark_folder(part: Path) -> int | None:
    """Lock a folder in the making, as ``mark_part`` a file; return the handle, or None where there are no locks."""
    return None if fcntl is None else mark_part(os.open(part, os.O_RDONLY))


def sweep(folder: Path, name: str | None = None) -> None:
    """Delete the parts that killed processes left in ``folder``, by default of all names."""
    for path in _leftovers(folder, name, "part"):
        if _is_abandoned(path):
            _delete(path)


def bring_back(path: Path) -> bool:
    """Give the folder ``path`` its name again if a process was killed after it had moved the folder away.

    Returns whether ``path`` now exists. Copies that a process had replaced before it was killed are deleted.
    """
    path = path.absolute()
    if not _leftovers(path.parent, path.name, "old"):
        return path.exists()
    with contextlib.suppress(OSError), hold(folder_lock(path)) as held:
        if held or is_held_here(folder_lock(path)):
            for old in _leftovers(path.parent, path.name, "old"):
                if path.exists():
                    _delete(old)
                else:
                    os.rename(old, path)
        if held:
            folder_lock(path).unlink(missing_ok=True)
    return path.exists()


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; return False where the system cannot."""
    names = os.fsencode(first), os.fsencode(second)
    try:
        system = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            return bool(system.renamex_np(*names, _SWAP) == 0)
        return bool(system.renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0)
    except (AttributeError, OSError, TypeError):  # an older C library; Windows
        return False


def _leftovers(folder: Path, name: str | None, kind: str) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    matches = ((leaf, _LEFTOVER.fullmatch(leaf)) for leaf in names)
    return [
        folder / leaf for leaf, match in matches if match and match["kind"] == kind and name in (None, match["name"])
    ]


def _is_abandoned(path: Path) -> bool:
    if fcntl is None:
        try:
            return time.time() - path.stat().st_mtime > _UNLOCKED_SECONDS
        except OSError:
            return False
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
