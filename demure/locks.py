"""Locks on folders: a lock is a file, it belongs to a process, and it ends with the process, however that ends.

``flock`` also works between machines that share a folder by NFS. Windows has no ``flock``: there ranges of bytes are
locked, in files of a folder of its own, and so between the processes of one user on one machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from demure.errors import DemureError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
    import msvcrt

_FIRST_BYTE = 1 << 20  # behind the text: on Windows nobody else can read bytes that are locked
_SHARES = 1024  # bytes, one for each process that shares a lock
_SECONDS = 0.05  # between two attempts, where the system cannot wait for a lock
_held: set[tuple[Path, int]] = set()  # locks of hold_folder, and the threads of this process that hold them


@contextlib.contextmanager
def hold(file: Path, *, wait: bool = False, shared: bool = False) -> Iterator[bool]:
    """Hold the lock ``file`` while the block runs; yield False if another process holds it, or its folder is gone.

    With ``shared``, several processes hold it together, and none holds it alone; the last deletes the file. Raises
    ``OSError`` if the file cannot be opened.
    """
    handle = _acquire(file, wait=wait, shared=shared)
    if handle is None:
        yield False
        return
    try:
        with handle:
            try:
                yield True
            finally:
                if shared and fcntl is not None:
                    _delete_unused(handle, file)
    finally:
        if fcntl is None:
            with contextlib.suppress(OSError):  # another process has it open
                _file_to_lock(file).unlink()


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
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def is_held_here(file: Path) -> bool:
    """Return whether this thread is inside a block of :func:`hold_folder` with the lock ``file``."""
    return (file.absolute(), threading.get_ident()) in _held


def holder(file: Path) -> str:
    """Return the process that holds a lock, as the end of a sentence."""
    try:
        number, host = _file_to_lock(file).read_text(encoding="utf-8").split(maxsplit=1)
    except (OSError, ValueError):
        return "another process"
    return f"process {number}" + ("" if host.strip() == platform.node() else f" on {host.strip()}")


def _delete_unused(handle: IO[str], file: Path) -> None:
    """Delete a shared lock if no other process holds it."""
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()


def _acquire(file: Path, *, wait: bool, shared: bool) -> IO[str] | None:
    while True:
        try:
            locked = _file_to_lock(file)
            handle = open(locked, "a+", encoding="utf-8")  # noqa: SIM115
        except FileNotFoundError:
            return None
        try:
            if not _lock(handle.fileno(), wait=wait, shared=shared):
                handle.close()
                return None
            current = os.stat(locked).st_ino == os.fstat(handle.fileno()).st_ino
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


def _file_to_lock(file: Path) -> Path:
    """Return ``file``, or on Windows the file in its place, whose name is the hash of the path.

    Windows renames and deletes neither an open file nor a folder with one in it, and folders that are locked are
    replaced as a whole. Raises ``FileNotFoundError`` if the folder of ``file`` is gone.
    """
    if fcntl is not None:
        return file
    if not file.parent.is_dir():
        raise FileNotFoundError(str(file))
    folder = Path(tempfile.gettempdir(), "demure-locks")
    folder.mkdir(exist_ok=True)
    path = os.path.normcase(os.path.realpath(file))
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.lock"


def _lock(handle: int, *, wait: bool, shared: bool) -> bool:
    """Lock an open file until it is closed; return False if another process holds it."""
    if fcntl is None:
        while not _lock_bytes(handle, shared=shared):
            if not wait:
                return False
            time.sleep(_SECONDS)
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _lock_bytes(handle: int, *, shared: bool) -> bool:
    """Lock all bytes, or to share it with others the first byte that is free."""
    for first, n in [(k, 1) for k in range(_SHARES)] if shared else [(0, _SHARES)]:
        os.lseek(handle, _FIRST_BYTE + first, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, n)  # type: ignore[attr-defined]
        except OSError:
            continue
        return True
    return False
