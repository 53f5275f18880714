"""Locks on folders: a lock is a file, it belongs to a process, and it ends with the process, however that ends.

``flock`` also works between machines that share a folder by NFS. Windows has no ``flock``: there nothing is locked.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from demure.errors import DemureError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_held: set[tuple[Path, int]] = set()  # locks of hold_folder, and the threads of this process that hold them


@contextlib.contextmanager
def hold(file: Path, *, wait: bool = False, shared: bool = False) -> Iterator[bool]:
    """Hold the lock ``file`` while the block runs; yield False if another process holds it, or its folder is gone.

    With ``shared``, several processes hold it together, and none holds it alone; the last deletes the file. Raises
    ``OSError`` if the file cannot be opened.
    """
    handle = _acquire(file, wait=wait, shared=shared) if fcntl is not None else None
    if handle is None:
        yield fcntl is None
        return
    with handle:
        try:
            yield True
        finally:
            if shared:
                _delete_unused(handle, file)


@contextlib.contextmanager
def hold_folder(file: Path, folder: object, activity: str) -> Iterator[None]:
    """Hold the lock ``file`` of a ``folder`` that this process writes; the file is deleted at the end.

    A block within such a block may hold it again. A lock that cannot be written locks nothing. Raises ``DemureError``
    if another process holds it: ``folder`` is being ``activity`` by that process.
    """
    if is_held_here(file):
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(hold(file))
        except OSError:  # the folder above cannot be written: where that matters, the work itself fails
            held = True
        if not held and file.parent.is_dir():
            remedy = "wait until it has ended, or choose another folder"
            raise DemureError(f"is being {activity} by {holder(file)}", where=folder, remedy=remedy)
        key = (file.absolute(), threading.get_ident())
        _held.add(key)
        try:
            yield
        finally:
            _held.discard(key)
            if fcntl is not None:
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)


def is_held_here(file: Path) -> bool:
    """Return whether this thread is inside a block of :func:`hold_folder` with the lock ``file``."""
    return (file.absolute(), threading.get_ident()) in _held


def holder(file: Path) -> str:
    """Return the process that holds a lock, as the end of a sentence."""
    try:
        number, host = file.read_text(encoding="utf-8").split(maxsplit=1)
    except (OSError, ValueError):
        return "another process"
    return f"process {number}" + ("" if host.strip() == platform.node() else f" on {host.strip()}")


def _delete_unused(handle: IO[str], file: Path) -> None:
    """Delete a shared lock if no other process holds it."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()


def _acquire(file: Path, *, wait: bool, shared: bool) -> IO[str] | None:
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        try:
            handle = open(file, "a+", encoding="utf-8")  # noqa: SIM115
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, kind)
            current = os.stat(file).st_ino == os.fstat(handle.fileno()).st_ino
        except BlockingIOError:
            handle.close()
            return None
        except FileNotFoundError:
            current = False
        except BaseException:
            handle.close()
            raise
        if current:
            with contextlib.suppress(OSError):  # a full disk: the lock holds, without its holder's number
                handle.truncate(0)
                handle.write(f"{os.getpid()} {platform.node()}\n")
                handle.flush()
            return handle
        handle.close()  # the process that held it has deleted the file: lock the new one
