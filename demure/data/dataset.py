"""A dataset folder: its users and items, and the histories of its splits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from demure.data.histories import Histories
from demure.data.id_codes import IdEncoder
from demure.data.manifest import MANIFEST, TABLES, DatasetManifest, dataset_files, read_manifest
from demure.data.splits import SPLIT_NAMES
from demure.errors import DatasetError, DemureError
from demure.integrity import CheckedFolder
from demure.storage.files import content_folder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """The content of a dataset folder, as ``demure prepare`` wrote it.

    User u is ``user_ids[u]``. Item k is ``item_ids[k]``, and row k of ``items`` and of every feature matrix.
    Shapes: U users, I items, N interactions.
    """

    path: Path
    manifest: DatasetManifest

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Open a dataset folder; its tables are read when they are used.

        Raises ``DatasetError`` if ``path`` is not a dataset folder, is of another version, or is damaged.
        """
        path = Path(path)
        if (path / "splits.json").is_file() and not (path / MANIFEST).is_file():
            folders = ", ".join(str(file.parent) for file in sorted(path.glob(f"*/{MANIFEST}")))
            raise DatasetError("holds several splits, each a dataset folder", where=path, remedy=f"name one: {folders}")
        dataset = cls(path, read_manifest(path))
        counts = dataset.manifest.counts
        for name, count in zip(TABLES, (counts.interactions, counts.users, counts.items), strict=True):
            rows = dataset.files.rows(name)
            if rows != count:
                problem = f"counts {count} in {name}, which has {rows} rows"
                raise DatasetError(problem, where=path / MANIFEST, remedy="prepare it again")
        return dataset

    @property
    def files(self) -> CheckedFolder:
        """The tables of the folder, to be read if they are as dataset.json records them."""
        return dataset_files(self.path, self.manifest)

    @cached_property
    def user_ids(self) -> np.ndarray:
        """(U,) str, as an object array."""
        return np.array(self.files.table("users.parquet", ["user_id"])["user_id"].to_pylist(), dtype=object)

    @cached_property
    def item_ids(self) -> np.ndarray:
        """(I,) str, as an object array."""
        return self.items["item_id"].to_numpy(dtype=object)

    @cached_property
    def items(self) -> pd.DataFrame:
        """(I rows) ``item_id``, the text columns, ``image`` if there are images, and the attribute columns, as objects;
        None where an item lacks a value."""
        import pandas as pd

        table = self.files.table("items.parquet")
        return pd.DataFrame(
            {name: pd.Series(table[name].to_pylist(), dtype=object) for name in table.column_names},
        )

    @property
    def n_users(self) -> int:
        """U, the number of users."""
        return self.manifest.counts.users

    @property
    def n_items(self) -> int:
        """I, the number of items, including items without interactions."""
        return self.manifest.counts.items

    @property
    def has_time(self) -> bool:
        """Whether interactions have timestamps; without them, the order of a history has no meaning."""
        return self.manifest.has_time

    @property
    def text_columns(self) -> list[str]:
        """Names of the text columns of ``items``, in the order of the items file."""
        return list(self.manifest.text_columns)

    @property
    def attribute_columns(self) -> list[str]:
        """Names of the columns of numbers and codes of ``items``, which are not part of an item's text."""
        return list(self.manifest.attribute_columns)

    @property
    def images_root(self) -> Path | None:
        """The folder that ``image`` is relative to; None without images. One at a URL is fetched."""
        root = self.manifest.images_root
        return None if root is None else content_folder(root)

    @property
    def media_roots(self) -> dict[str, Path]:
        """Kind of content, ``audio`` or ``video`` -> the folder that the column of that name is relative to."""
        return {kind: content_folder(root) for kind, root in self.manifest.media_roots.items()}

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of the interactions, the split and the items; a run records and compares them."""
        return dict(self.manifest.hashes)

    def modalities(self) -> list[str]:
        """Return the names of the stored features, sorted."""
        manifests = (self.path / "features").glob("*/features.json")
        return sorted(path.parent.name for path in manifests if not path.parent.name.startswith("."))

    def histories(self, *splits: str) -> Histories:
        """Return the interactions of these splits, merged: ``histories("train", "valid")``.

        Raises ``DemureError`` for a name other than train, valid and test.
        """
        unknown = next((name for name in splits if name not in SPLIT_NAMES), None)
        if unknown is not None:
            raise DemureError(f"unknown split {unknown!r}", remedy=f"use {', '.join(SPLIT_NAMES)}")
        indptr, items, times, split = self._interactions
        wanted = np.zeros(len(SPLIT_NAMES), bool)
        wanted[[SPLIT_NAMES.index(name) for name in splits]] = True
        kept = wanted[split]
        if kept.all():
            return Histories(indptr, items.astype(np.int64), times)
        kept_before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return Histories(kept_before[indptr], items[kept].astype(np.int64), None if times is None else times[kept])

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the codes of the user and the item of every interaction, (N,) each, in the order of
        interactions.parquet."""
        indptr, items, _, _ = self._interactions
        return np.repeat(np.arange(self.n_users, dtype=np.int32), np.diff(indptr)), items

    @cached_property
    def _interactions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
        """``indptr`` (U + 1,) int64 as in ``Histories``, items (N,) int32, times (N,) or None, and split codes (N,)
        int8; by user, then time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        with self.files.parquet("interactions.parquet") as file:
            n = file.metadata.num_rows
            split, times = np.empty(n, np.int8), np.empty(n) if "timestamp" in file.schema_arrow.names else None
            user_ids, lengths = pa.array(self.user_ids, pa.string()), np.zeros(self.n_users, np.int64)
            items, names = IdEncoder(), pa.array(SPLIT_NAMES, pa.string())
            start = first_user = 0
            # By row groups, so that memory holds a code per id and not the ids as text.
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).combine_chunks()
                rows = slice(start, start + table.num_rows)
                # Users are in the order of users.parquet: those of a row group are a slice of it, and need no search.
                users = table["user_id"].combine_chunks().dictionary_encode()
                first_user -= bool(start) and users.dictionary[0].as_py() == self.user_ids[first_user - 1]
                group_users = slice(first_user, first_user + len(users.dictionary))
                if not users.dictionary.equals(user_ids[group_users]) or (np.diff(users.indices.to_numpy()) < 0).any():
                    raise self._mismatch("user_id")
                lengths[group_users] += np.bincount(users.indices.to_numpy(), minlength=len(users.dictionary))
                items.add(table["item_id"].combine_chunks())
                codes = pc.index_in(table["split"], value_set=names)
                if codes.null_count:
                    raise self._mismatch("split")
                split[rows] = codes.to_numpy()
                if times is not None:
                    times[rows] = table["timestamp"].to_numpy()
                start, first_user = rows.stop, group_users.stop
        encoded = items.column().chunk(0)
        item_codes = pc.index_in(encoded.dictionary, value_set=pa.array(self.item_ids, pa.string()))
        if item_codes.null_count or encoded.indices.null_count or first_user != self.n_users:
            raise self._mismatch("item_id" if first_user == self.n_users else "user_id")
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return indptr, item_codes.to_numpy()[encoded.indices.to_numpy()], times, split

    def _mismatch(self, column: str) -> DatasetError:
        problem = f"column {column} does not match the other tables"
        return DatasetError(problem, where=self.path / "interactions.parquet", remedy="prepare it again")
