"""Windows on Linux: its ``msvcrt.locking``, by locks that belong to an open file, and its refusals for open files."""

import errno
import os
import struct
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows itself
    fcntl = None

from demure import leftovers, locks

_CALLS = ("rename", "replace", "unlink", "rmdir")


class ByteRanges:
    """What ``demure.locks`` uses of ``msvcrt``."""

    LK_NBLCK = 2

    @staticmethod
    def locking(handle, mode, n):
        """Lock ``n`` bytes from the position on; raise ``OSError`` if another open file has locked one of them."""
        assert mode == ByteRanges.LK_NBLCK
        first = os.lseek(handle, 0, os.SEEK_CUR)
        request = struct.pack("hhqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, first, n, 0)
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, request)


def use_byte_ranges(set_attribute=setattr):
    """Let this process lock as on Windows; ``set_attribute`` may be that of ``monkeypatch`` with ``raising=False``."""
    set_attribute(locks, "msvcrt", ByteRanges)
    for module in (locks, leftovers):
        set_attribute(module, "fcntl", None)


def refuse_open_files(monkeypatch, folder):
    """Let no file or folder below ``folder`` be renamed or deleted while this process has it, or a file in it, open."""

    def refuse(call):
        def checked(*paths, **options):
            if options.get("dir_fd") is None:
                used = _open_files()
                for path in map(os.path.realpath, paths):
                    inside = [name for name in used if name == path or name.startswith(path + os.sep)]
                    if inside and path.startswith(str(folder)):
                        raise PermissionError(errno.EACCES, f"is in use: {inside}", path)
            return call(*paths, **options)

        return checked

    for name in _CALLS:
        monkeypatch.setattr(os, name, refuse(getattr(os, name)))


def _open_files():
    """Return the real paths of all files that this process has open or mapped into memory."""
    paths = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            paths.add(os.readlink(f"/proc/self/fd/{entry}"))
        except OSError:  # closed meanwhile
            continue
    for line in Path("/proc/self/maps").read_text().splitlines():
        paths.add(line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else "")
    return paths
