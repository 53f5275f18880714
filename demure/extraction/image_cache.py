"""Which image files were read before and have not changed since, told by name, size, time and inode."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from demure.files import atomic_file

_COLUMNS = ("size", "mtime_ns", "inode")


class Seen:
    """``same`` (I,) bool: the items whose file is as it was; ``keys`` (I, 16) uint8: the hashes of those."""

    def __init__(self, file: Path | None, root: Path, cells: list[Any]) -> None:
        self.file, self.root, self.cells = file, root, cells
        self.same = np.zeros(len(cells), dtype=bool)
        self.keys = np.zeros((len(cells), 16), dtype=np.uint8)
        self.stats = np.zeros((len(cells), 3), dtype=np.int64)
        if file is None:
            return
        for item, cell in enumerate(cells):
            if isinstance(cell, str) and cell:
                try:
                    found = os.stat(os.path.join(root, cell))
                    self.stats[item] = found.st_size, found.st_mtime_ns, found.st_ino
                except (OSError, ValueError):
                    continue
        self._recall()

    def _recall(self) -> None:
        import pandas as pd
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(self.file)
            if (table.schema.metadata or {}).get(b"root") != os.fsencode(self.root):
                return
            stats = np.stack([table[name].to_numpy() for name in _COLUMNS], axis=1)
            keys = np.frombuffer(b"".join(table["key"].to_pylist()), dtype=np.uint8).reshape(-1, 16)
            row = pd.Index(table["image"].to_pylist()).get_indexer(pd.Index(self.cells))
        except (OSError, KeyError, ValueError, TypeError, pa.ArrowException, pd.errors.InvalidIndexError):
            return
        self.same = (row >= 0) & (self.stats == stats[row]).all(axis=1) & (self.stats[:, 0] > 0)
        self.keys[self.same] = keys[row[self.same]]

    def remember(self, usable: np.ndarray) -> None:
        """Write down the items that are ``usable`` (I,), if there is something new among them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        usable = usable & (self.stats[:, 0] > 0)
        if self.file is None or not (usable & ~self.same).any():
            return
        rows: dict[str, int] = {}
        for item in np.flatnonzero(usable).tolist():
            rows.setdefault(self.cells[item], item)
        at = np.fromiter(rows.values(), dtype=np.int64)
        columns: dict[str, Any] = {"image": list(rows)}
        columns |= {name: self.stats[at, k] for k, name in enumerate(_COLUMNS)}
        columns["key"] = pa.array([self.keys[item].tobytes() for item in at.tolist()], pa.binary(16))
        table = pa.table(columns).replace_schema_metadata({"root": os.fsencode(self.root)})
        with atomic_file(self.file) as part:
            pq.write_table(table, part)
