"""A dataset folder, read back: users, items, and their histories by split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.data.histories import Histories
from demure.data.id_codes import Encoder
from demure.data.splits import SPLIT_NAMES
from demure.errors import DatasetError, DemureError
from demure.files import read_json, sha256_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

FORMAT_VERSION = 1
FILES = ("interactions.parquet", "users.parquet", "items.parquet")


@dataclass(frozen=True)
class Dataset:
    """What ``demure prepare`` wrote. User u is ``user_ids[u]``; item k is ``item_ids[k]``, row k of ``items`` and of
    every feature matrix."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def load(cls, path: Path | str) -> Dataset:
        """Raises ``DatasetError`` if ``path`` is no dataset folder, is of another version, or is damaged."""
        path = Path(path)
        if (path / "splits.json").is_file() and not (path / "dataset.json").is_file():
            parts = ", ".join(str(one.parent) for one in sorted(path.glob("*/dataset.json")))
            raise DatasetError("holds several splits, each a dataset folder", where=path, remedy=f"name one: {parts}")
        if not (path / "dataset.json").is_file():
            raise DatasetError(
                "is not a dataset folder (no dataset.json)", where=path, remedy="make one with `demure prepare`"
            )
        try:
            manifest = read_json(path / "dataset.json")
        except DemureError as error:
            raise DatasetError(error.what, where=error.where, remedy="prepare it again") from error
        version = manifest.get("format_version") if isinstance(manifest, dict) else None
        if version != FORMAT_VERSION:
            raise DatasetError(
                f"has format version {version!r}, not {FORMAT_VERSION}", where=path, remedy="prepare it again"
            )
        recorded = manifest.get("files")
        for name in FILES:
            if not (path / name).is_file():
                raise DatasetError("is missing", where=path / name, remedy="prepare the dataset again")
            if not isinstance(recorded, dict) or recorded.get(name) != sha256_file(path / name):
                raise DatasetError("was changed after it was made", where=path / name, remedy="prepare it again")
        return cls(path, manifest)

    @cached_property
    def user_ids(self) -> np.ndarray:
        """(U,) object array of str."""
        return np.array(self._table("users.parquet")["user_id"].to_pylist(), dtype=object)

    @cached_property
    def item_ids(self) -> np.ndarray:
        """(I,) object array of str."""
        return self.items["item_id"].to_numpy(dtype=object)

    @cached_property
    def items(self) -> pd.DataFrame:
        """``item_id``, the text columns, maybe ``image``, and the attribute columns, as objects; None where an item has
        nothing."""
        import pandas as pd

        table = self._table("items.parquet")
        return pd.DataFrame(
            {name: pd.Series(table[name].to_pylist(), dtype=object) for name in table.column_names},
        )

    @property
    def n_users(self) -> int:
        return int(self.manifest["counts"]["users"])

    @property
    def n_items(self) -> int:
        return int(self.manifest["counts"]["items"])

    @property
    def has_time(self) -> bool:
        """Whether interactions carry timestamps, so that their order means something."""
        return bool(self.manifest["has_time"])

    @property
    def text_columns(self) -> list[str]:
        """Names of the text columns of ``items``, in the order of the items file."""
        return list(self.manifest["text_columns"])

    @property
    def attribute_columns(self) -> list[str]:
        """Names of the further columns of ``items``: numbers and codes, which are not part of an item's text."""
        return list(self.manifest.get("attribute_columns", []))

    @property
    def images_root(self) -> Path | None:
        """The folder that ``image`` is relative to; None where there are no images."""
        root = self.manifest["images_root"]
        return None if root is None else Path(root)

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of the interactions, the split and the items: what a run records and compares."""
        return dict(self.manifest["hashes"])

    def modalities(self) -> list[str]:
        """Names of the features there are, sorted."""
        return sorted(path.parent.name for path in (self.path / "features").glob("*/features.json"))

    def histories(self, *splits: str) -> Histories:
        """The interactions of these splits, merged: ``histories("train", "valid")``.

        Raises ``DemureError`` for a name that is none of train, valid and test.
        """
        unknown = next((name for name in splits if name not in SPLIT_NAMES), None)
        if unknown is not None:
            raise DemureError(f"unknown split {unknown!r}", remedy=f"use {', '.join(SPLIT_NAMES)}")
        indptr, items, times, split = self._interactions
        chosen = np.zeros(len(SPLIT_NAMES), bool)
        chosen[[SPLIT_NAMES.index(name) for name in splits]] = True
        kept = chosen[split]
        if kept.all():
            return Histories(indptr, items.astype(np.int64), times)
        upto = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return Histories(upto[indptr], items[kept].astype(np.int64), None if times is None else times[kept])

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) users and (N,) items of all interactions, in the order of interactions.parquet."""
        indptr, items, _, _ = self._interactions
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(indptr)), items

    @cached_property
    def _interactions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """Where users begin (U + 1,) int64, items (N,) int32, times (N,) or None, split codes (N,) int8; by user, then
        time. Read by row groups, so that no more than a code per id is in memory."""
        import pyarrow as pa
        import pyarrow.compute as pc

        file = self._parquet("interactions.parquet")
        n = file.metadata.num_rows
        split, times = np.empty(n, np.int8), np.empty(n) if "timestamp" in file.schema_arrow.names else None
        user_ids, length = pa.array(self.user_ids, pa.string()), np.zeros(self.n_users, np.int64)
        items, names = Encoder(), pa.array(SPLIT_NAMES, pa.string())
        at = first = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).combine_chunks()
            block = slice(at, at + table.num_rows)
            # Users are in the order of users.parquet: those of a group are a stretch of it, and need no search.
            users = table["user_id"].combine_chunks().dictionary_encode()
            first -= bool(at) and users.dictionary[0].as_py() == self.user_ids[first - 1]
            stretch = slice(first, first + len(users.dictionary))
            if not users.dictionary.equals(user_ids[stretch]) or (np.diff(users.indices.to_numpy()) < 0).any():
                raise self._strange("user_id")
            length[stretch] += np.bincount(users.indices.to_numpy(), minlength=len(users.dictionary))
            items.add(table["item_id"].combine_chunks())
            codes = pc.index_in(table["split"], value_set=names)
            if codes.null_count:
                raise self._strange("split")
            split[block] = codes.to_numpy()
            if times is not None:
                times[block] = table["timestamp"].to_numpy()
            at, first = block.stop, stretch.stop
        encoded = items.column().chunk(0)
        place = pc.index_in(encoded.dictionary, value_set=pa.array(self.item_ids, pa.string()))
        if place.null_count or encoded.indices.null_count or first != self.n_users:
            raise self._strange("item_id" if first == self.n_users else "user_id")
        indptr = np.concatenate([[0], np.cumsum(length)])
        return indptr, place.to_numpy()[encoded.indices.to_numpy()], times, split

    def _strange(self, column: str) -> DatasetError:
        reason = f"column {column} is not that of the other tables"
        return DatasetError(reason, where=self.path / "interactions.parquet", remedy="prepare it again")

    def _parquet(self, name: str) -> pq.ParquetFile:
        import pyarrow.parquet as pq

        return self._read(name, pq.ParquetFile)

    def _table(self, name: str) -> pa.Table:
        import pyarrow.parquet as pq

        return self._read(name, pq.read_table)

    def _read(self, name: str, reader: Callable[[Path], Any]) -> Any:
        import pyarrow as pa

        try:
            return reader(self.path / name)
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(
                f"cannot be read ({error})", where=self.path / name, remedy="prepare it again"
            ) from error
