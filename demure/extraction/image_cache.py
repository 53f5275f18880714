"""Remember the hashes of image files, so that a file with the same name, size, time and inode is not read again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from demure.extraction.hashing import HASH_BYTES
from demure.files import atomic_file

_STAT_COLUMNS = ("size", "mtime_ns", "inode")


class ImageHashCache:
    """The hashes that an earlier run stored, for I items whose image cells are ``names``.

    Attributes:
        unchanged: (I,) bool, items whose file is as it was when its hash was stored.
        hashes: (I, 16) uint8, the hashes of these files; the caller fills in the others before ``store``.
    """

    def __init__(self, file: Path | None, root: Path, names: list[Any]) -> None:
        """Read the cache ``file`` (None: no cache); ``root`` is the images folder, resolved."""
        self.file, self.root, self.names = file, root, names
        self.unchanged = np.zeros(len(names), dtype=bool)
        self.hashes = np.zeros((len(names), HASH_BYTES), dtype=np.uint8)
        self._stats = np.zeros((len(names), 3), dtype=np.int64)
        if file is None:
            return
        for item, name in enumerate(names):
            if isinstance(name, str) and name:
                try:
                    status = os.stat(os.path.join(root, name))
                    self._stats[item] = status.st_size, status.st_mtime_ns, status.st_ino
                except (OSError, ValueError):
                    continue
        self._load(file)

    def _load(self, file: Path) -> None:
        """Read the stored hashes. A cache that is absent, damaged or of another folder is ignored."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(file)
            if (table.schema.metadata or {}).get(b"root") != os.fsencode(self.root):
                return
            stats = np.stack([table[name].to_numpy() for name in _STAT_COLUMNS], axis=1)
            hashes = np.frombuffer(b"".join(table["key"].to_pylist()), dtype=np.uint8).reshape(-1, HASH_BYTES)
            row = pd.Index(table["image"].to_pylist()).get_indexer(pd.Index(self.names))
        except (OSError, KeyError, ValueError, TypeError, pa.ArrowException, pd.errors.InvalidIndexError):
            return
        self.unchanged = (row >= 0) & (self._stats == stats[row]).all(axis=1) & (self._stats[:, 0] > 0)
        self.hashes[self.unchanged] = hashes[row[self.unchanged]]

    def store(self, usable: np.ndarray) -> None:
        """Write the hashes of the items that are ``usable`` (I,), if any of them is new."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        usable = usable & (self._stats[:, 0] > 0)
        if self.file is None or not (usable & ~self.unchanged).any():
            return
        item_of: dict[str, int] = {}
        for item in np.flatnonzero(usable).tolist():
            item_of.setdefault(self.names[item], item)
        items = np.fromiter(item_of.values(), dtype=np.int64)
        columns: dict[str, Any] = {"image": list(item_of)}
        columns |= {name: self._stats[items, k] for k, name in enumerate(_STAT_COLUMNS)}
        columns["key"] = pa.array([self.hashes[item].tobytes() for item in items.tolist()], pa.binary(HASH_BYTES))
        table = pa.table(columns).replace_schema_metadata({"root": os.fsencode(self.root)})
        with atomic_file(self.file) as part:
            pq.write_table(table, part)
