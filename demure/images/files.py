"""Locate the image files of items, the same way for every command: inside the folder of images, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from demure.images.unusable import UnusableInput

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
OUTSIDE = "outside the images folder"
HASH_CACHES = {"image": ".images.parquet", "audio": ".audio.parquet", "video": ".video.parquet"}
"""Kind of files -> the file in ``features/`` of a dataset with their hashes; it can be deleted at any time."""
_SHOWN = 200  # characters of a name in a message


class ImageFolder:
    """The folder ``root`` of files of one kind, by default images, with its symbolic links resolved. The values of the
    column of that kind name its files.

    No name raises anything but ``UnusableInput``: links to themselves, NUL and names too long for the system are files
    that cannot be used.
    """

    def __init__(self, root: Path | str, kind: str = "image") -> None:
        self.root, self.kind = Path(os.path.realpath(root)), kind
        self._real_folders: dict[str, str] = {}  # without it, resolving takes five times as long as the rest

    def locate(self, name: object) -> Path:
        """Return the file that ``name`` names inside the folder. Raises ``UnusableInput``."""
        if not isinstance(name, str) or not name.strip():
            raise UnusableInput(f"no {self.kind} given")
        shown = name[:_SHOWN] if name.isprintable() else repr(name[:_SHOWN])
        if "://" in name or name.startswith("data:"):
            raise UnusableInput("a URL, not a file", shown)
        try:
            path = self._resolve(name)
            if os.path.commonpath((path, self.root)) != str(self.root):
                raise UnusableInput(OUTSIDE if self.kind == "image" else f"outside the {self.kind} folder", shown)
            mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno in _ABSENT:
                raise UnusableInput("no such file", shown) from error
            raise UnusableInput("cannot be read", f"{shown}: {error.strerror}") from error
        except ValueError as error:  # a NUL, or half of a surrogate pair
            raise UnusableInput("no such file", shown) from error
        if not stat.S_ISREG(mode):
            raise UnusableInput("not a file", shown)
        return Path(path)

    def _resolve(self, name: str) -> str:
        """Return the path of ``name`` without symbolic links. Raises ``OSError`` and ``ValueError``."""
        folder, file = os.path.split(os.path.join(self.root, name))
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        path = os.path.join(self._real_folders[folder], file)
        return os.path.realpath(path) if file in ("", ".", "..") or os.path.islink(path) else path

    def find(self, name: object) -> Path | None:
        """Return the file that ``name`` names, or None."""
        try:
            return self.locate(name)
        except UnusableInput:
            return None
