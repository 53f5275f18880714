"""The folders and files that this process has fetched, as workers on other machines fetch them, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from demure.storage.names import is_partial, remember, remembered


@dataclass(frozen=True)
class FetchedFolders:
    """``names``: local folder or file -> URL; ``lists``: local folder -> the list of files of its version; ``files``:
    the URLs of single files; ``cache``: the folder of the cache, which is the same for all workers, so that paths are.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, bytes] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    cache: str = ""

    @classmethod
    def of_this_process(cls) -> FetchedFolders:
        """Return what this process has fetched so far."""
        names = remembered()
        if not names:
            return cls()
        from demure.storage.cache import LIST, cache_folder

        lists = {
            local: file.read_bytes()
            for local in names
            if not is_partial(local) and (file := Path(local).parent / LIST).is_file()
        }
        files = tuple(dict.fromkeys(url for local, url in names.items() if is_partial(os.path.dirname(local))))
        return cls(names, lists, files, str(cache_folder()))

    def fetch(self) -> None:
        """Fetch into the cache of this machine what is not there. Raises ``StorageError`` and ``MachineError``."""
        if not self.names:
            return
        from demure.progress import silent
        from demure.storage.cache import CACHE
        from demure.storage.fetch import fetch_version
        from demure.storage.files import local_file
        from demure.storage.location import Location
        from demure.storage.version import Version

        os.environ[CACHE] = self.cache
        for local, url in self.names.items():
            remember(Path(local), url)
        for local, data in self.lists.items():
            version = Version.from_bytes(data)
            if version is not None:
                fetch_version(Location.open(self.names[local]), version, silent)
        for url in self.files:
            local_file(url)
