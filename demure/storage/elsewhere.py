"""The folders that this process has fetched, as workers on other machines fetch them, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from demure.storage.names import remember, remembered


@dataclass(frozen=True)
class FetchedFolders:
    """``names``: local folder -> URL; ``lists``: local folder -> the list of files of its version; ``cache``: the
    folder of the cache, which is the same for all workers, so that paths are."""

    names: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, bytes] = field(default_factory=dict)
    cache: str = ""

    @classmethod
    def of_this_process(cls) -> FetchedFolders:
        """Return what this process has fetched so far."""
        names = remembered()
        if not names:
            return cls()
        from demure.storage.cache import LIST, cache_folder

        lists = {local: file.read_bytes() for local in names if (file := Path(local).parent / LIST).is_file()}
        return cls(names, lists, str(cache_folder()))

    def fetch(self) -> None:
        """Fetch into the cache of this machine what is not there. Raises ``StorageError`` and ``MachineError``."""
        for local, url in self.names.items():
            remember(Path(local), url)
        if not self.lists:
            return
        from demure.progress import silent
        from demure.storage.cache import CACHE
        from demure.storage.fetch import fetch_version
        from demure.storage.location import Location
        from demure.storage.version import Version

        os.environ[CACHE] = self.cache
        for local, data in self.lists.items():
            version = Version.from_bytes(data)
            if version is not None:
                fetch_version(Location.open(self.names[local]), version, silent)
