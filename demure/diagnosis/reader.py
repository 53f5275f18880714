"""Read a diagnosis: three tables of a run folder, and titles, times, pictures and features of its dataset."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.histories import Histories
from demure.data.manifest import MANIFEST as DATASET_MANIFEST
from demure.data.manifest import DatasetManifest, dataset_files
from demure.data.manifest import read_manifest as read_dataset_manifest
from demure.data.titles import item_titles
from demure.diagnosis.interests.stored import StoredInterest, read_interests
from demure.diagnosis.placebo import Placebos
from demure.diagnosis.table import DiagnosisTable, check_columns
from demure.errors import DatasetError, FeatureError, RunError
from demure.images.files import ImageFolder
from demure.integrity import CheckedFolder
from demure.runs.folder import DIAGNOSIS, RELIANCE, SUPPORTS
from demure.runs.manifest import RunManifest, dataset_folder, read_manifest, run_files, verify_dataset
from demure.storage.files import content_folder
from demure.suggest import nearest_names

EXPORT_COLUMNS = ("user_id", "item_id", "modality", "poi_probability", "evidence", "verdict")
NONE = "none"
_INTERACTIONS = "interactions.parquet"
_CATEGORY_COLUMNS = ("genres", "categories", "category", "genre")
_SEPARATORS = ("|", ";", ",")
_MAX_CATEGORIES = 200
_NEAREST_CANDIDATES = 20_000


@dataclass(frozen=True)
class DiagnosisReader:
    """A run with a diagnosis: its folder, its manifest and the folder of its dataset. Tables are read once."""

    run: Path
    manifest: RunManifest
    dataset: Path

    @classmethod
    def open(cls, run: Path | str, dataset: Path | None = None, *, check: bool = True) -> DiagnosisReader:
        """Open a run folder; ``dataset``: the folder of its dataset, where that is not the recorded one.

        Raises ``RunError`` if ``run`` is not a run folder or has no diagnosis; with ``check`` also ``DatasetError`` if
        its dataset is gone or has changed since the run was made.
        """
        run = Path(run)
        manifest = read_manifest(run)
        if not run_files(run, manifest).has(DIAGNOSIS):
            raise RunError(
                f"has no diagnosis: recipe {manifest.recipe or '?'!r} does not diagnose modalities",
                where=run,
                remedy="train with a recipe that does (`demure recipes` lists them)",
            )
        reader = cls(run, manifest, dataset or dataset_folder(run, manifest))
        if check:
            reader._check_dataset()
        return reader

    @classmethod
    def of(cls, run: Path | str | DiagnosisReader) -> DiagnosisReader:
        """Return ``run`` itself if it is already a reader, so that a server reads its tables once."""
        return run if isinstance(run, DiagnosisReader) else cls.open(run)

    @property
    def origin(self) -> Path | str:
        """Where the choices are from, for messages: the run, or a file of histories."""
        return self.run

    def _check_dataset(self) -> None:
        if not (self.dataset / DATASET_MANIFEST).is_file():
            raise DatasetError(
                "the dataset of this run is gone", where=self.dataset, remedy=f"prepare it again, for {self.run}"
            )
        verify_dataset(self.run, self.manifest, self.dataset_manifest.hashes, self.dataset)

    @cached_property
    def dataset_manifest(self) -> DatasetManifest:
        """The manifest of the dataset."""
        return read_dataset_manifest(self.dataset)

    @property
    def files(self) -> CheckedFolder:
        """The files of the run, to be read if they are as run.json records them."""
        return run_files(self.run, self.manifest)

    @property
    def dataset_files(self) -> CheckedFolder:
        """The tables of the dataset, to be read if they are as dataset.json records them."""
        return dataset_files(self.dataset, self.dataset_manifest)

    def diagnosis(self, columns: Sequence[str], **equal: str) -> pa.Table:
        """Return columns of diagnosis.parquet, of the rows where each column named in ``equal`` has that value."""
        return self._read(DIAGNOSIS, columns, equal)

    def supports(self, **equal: str) -> pd.DataFrame:
        """Return rows of supports.parquet: the other items of the user that support a verdict, best first."""
        columns = ["user_id", "item_id", "position", "modality", "support_rank", "support_item_id", "weight"]
        frame: pd.DataFrame = self._read(SUPPORTS, columns, equal).to_pandas()
        return frame.sort_values(["position", "modality", "support_rank"], kind="stable", ignore_index=True)

    def reliance(self, **equal: str) -> pd.DataFrame:
        """Return rows of reliance.parquet: a user's expected share of choices caused by each modality, and by none."""
        frame: pd.DataFrame = self._read(RELIANCE, ["user_id", "modality", "reliance"], equal).to_pandas()
        return frame

    def _read(self, name: str, columns: Sequence[str], equal: dict[str, str]) -> pa.Table:
        conditions = [pc.field(column) == value for column, value in equal.items()]
        filters = functools.reduce(operator.and_, conditions) if conditions else None
        if self.files.rows(name):
            table = self.files.table(name, columns, filters=filters)
        else:  # its columns may have no type to compare with
            table = self.files.table(name, columns)
        check_columns(table, self.files, name)
        return table

    @cached_property
    def modalities(self) -> list[str]:
        """Names of the modalities, in the order of the run."""
        with self.files.parquet(DIAGNOSIS) as file:  # an interaction has all modalities
            first = next(file.iter_batches(batch_size=10_000, columns=["modality"]), None)
        return [] if first is None else [str(name) for name in first.column("modality").unique().to_pylist()]

    @cached_property
    def placebos(self) -> Placebos:
        """How far the diagnosis of each modality lies above its placebo."""
        return Placebos.read(self.manifest, self.modalities)

    @cached_property
    def interests(self) -> dict[str, list[StoredInterest]] | None:
        """The interests of each modality; None for a run of an earlier version."""
        return read_interests(self.files)

    @cached_property
    def table(self) -> DiagnosisTable:
        """The whole diagnosis. Raises ``RunError`` if it is damaged or empty."""
        table = DiagnosisTable.read(self.files)
        if not len(table.user):
            raise RunError("the diagnosis is empty", where=self.run)
        return table

    @cached_property
    def table_times(self) -> np.ndarray | None:
        """Seconds since 1970 of every row of ``table`` (N,), or None where the data has no timestamps."""
        if not self.dataset_manifest.has_time:
            return None
        interactions = self.dataset_files.table(
            _INTERACTIONS, ["user_id", "timestamp"], filters=pc.field("split") == "train"
        )
        user_ids = pa.array(self.table.user_ids, pa.string())
        user = pc.fill_null(pc.index_in(interactions.column("user_id"), value_set=user_ids), -1).to_numpy()
        seconds: np.ndarray = interactions.column("timestamp").to_numpy()
        order = np.argsort(user, kind="stable")
        order = order[user[order] >= 0]
        count = len(self.table.user)
        if len(order) != count:
            raise DatasetError(
                f"has {len(order)} training interactions, {self.run} diagnosed {count}",
                where=self.dataset / _INTERACTIONS,
            )
        sorted_seconds: np.ndarray = seconds[order]
        return sorted_seconds

    @cached_property
    def reliance_names(self) -> list[str]:
        """The modalities and ``none``, the columns of ``reliance_shares``."""
        return [*self.table.modalities, NONE]

    @cached_property
    def reliance_shares(self) -> np.ndarray:
        """(U, M + 1) shares of the choices of every user of ``table``; rows sum to 1."""
        frame = self.reliance()
        user = pd.Index(self.table.user_ids).get_indexer(pd.Index(frame["user_id"]))
        column = pd.Index(self.reliance_names).get_indexer(pd.Index(frame["modality"]))
        shares = np.zeros((len(self.table.user_ids), len(self.reliance_names)))
        valid = (user >= 0) & (column >= 0)
        shares[user[valid], column[valid]] = frame["reliance"].to_numpy(float)[valid]
        return shares

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """Item id to its categories, from the first of the columns genres, categories, category and genre; empty
        without such a column, or where it holds too many different values to be categories."""
        frame = self.items
        column = next((name for name in _CATEGORY_COLUMNS if name in frame.columns), None)
        if column is None:
            return {}
        texts = frame[column].fillna("").astype(str)
        sign = next((sign for sign in _SEPARATORS if texts.str.contains(sign, regex=False).any()), "|")
        categories = {
            str(item): [part.strip() for part in text.split(sign) if part.strip()]
            for item, text in zip(frame["item_id"], texts, strict=True)
        }
        distinct = {name for names in categories.values() for name in names}
        return categories if 0 < len(distinct) <= max(_MAX_CATEGORIES, len(frame) // 10) else {}

    def pictures(self, item_ids: Sequence[str]) -> list[Path | None]:
        """Return the picture file of each item; None if it is not given, absent, or outside the folder of images."""
        root = self.dataset_manifest.images_root
        if root is None or not self.names_pictures:
            return [None] * len(item_ids)
        folder = ImageFolder(content_folder(root))
        return [folder.find(self._images.get(item)) for item in item_ids]

    def media(self, item_id: str) -> dict[str, Path]:
        """Return kind -> the audio and the video file of an item, of those that are inside their folders."""
        files = {}
        for kind, root in self.dataset_manifest.media_roots.items():
            file = ImageFolder(content_folder(root), kind).find(self._media_names.get(kind, {}).get(item_id))
            if file is not None:
                files[kind] = file
        return files

    @cached_property
    def _media_names(self) -> dict[str, dict[str, Any]]:
        """Kind -> item -> the name of its file."""
        kinds = [kind for kind in self.dataset_manifest.media_roots if kind in self.items.columns]
        return {kind: dict(zip(self.items["item_id"].astype(str), self.items[kind], strict=True)) for kind in kinds}

    @property
    def names_pictures(self) -> bool:
        """Whether the items file has pictures at all, of any item."""
        return self.dataset_manifest.images_root is not None and "image" in self.items.columns

    def has_picture(self, item_id: str) -> bool:
        """Return whether the items file names a picture for the item; ``pictures`` checks whether the file exists."""
        return "image" in self.items.columns and bool(isinstance(self._images.get(item_id), str))

    @cached_property
    def _images(self) -> dict[str, Any]:
        return dict(zip(self.items["item_id"].astype(str), self.items["image"], strict=True))

    @cached_property
    def items(self) -> pd.DataFrame:
        """The dataset's items table, one row per item."""
        frame: pd.DataFrame = self.dataset_files.table("items.parquet").to_pandas()
        return frame

    @cached_property
    def item_rows(self) -> dict[str, int]:
        """Item id to its row in ``items``, which is also its row in every feature matrix."""
        return {str(item): row for row, item in enumerate(self.items["item_id"].astype(str))}

    @cached_property
    def unit_features(self) -> dict[str, np.ndarray]:
        """The dataset's features per modality of the run, (items, dim), scaled as for training, rows of length one,
        zero where missing; a modality without features has no entry."""
        from demure.features import store
        from demure.features.normalize import robust_scale

        features = {}
        for name in self.modalities:
            try:
                vectors = robust_scale(store.load(self.dataset, name))
            except FeatureError:
                continue
            features[name] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return features

    @cached_property
    def titles(self) -> dict[str, str]:
        """Item id to its title; empty if the dataset has no titles and no texts."""
        return item_titles(self.items)

    def times(self, user_id: str) -> list[float | None]:
        """Return timestamps (seconds) of a user's training interactions in time order; empty if the data has none."""
        if not self.dataset_manifest.has_time:
            return []
        own = (pc.field("user_id") == user_id) & (pc.field("split") == "train")
        table = self.dataset_files.table(_INTERACTIONS, ["timestamp"], filters=own)
        seconds: list[float | None] = table.column("timestamp").to_pylist()
        return seconds

    @property
    def new_histories(self) -> tuple[np.ndarray, Histories] | None:
        """The users (U,) and histories to recommend to, None for the users of the dataset."""
        return None

    def unknown_id(self, kind: str, name: str) -> RunError:
        """Return the error for a ``kind`` (user or item) without any diagnosed interaction."""
        file, column = f"{kind}s.parquet", f"{kind}_id"
        ids = self.dataset_files.table(file, [column]).column(column).to_pylist()
        if name in set(ids):
            return RunError(f"{kind} {name!r} has no training interaction, so it has no verdicts", where=self.run)
        near = nearest_ids(name, ids)
        return RunError(
            f"no {kind} {name!r} in this run",
            where=self.run,
            remedy=f"nearest: {', '.join(near)}" if near else f"{kind} ids look like {', '.join(map(str, ids[:3]))}",
        )


def nearest_ids(name: str, ids: Iterable[object], count: int = 3) -> list[str]:
    """Return the ids spelled most like ``name``, among the first 20,000 of about the same length."""
    similar_length = (str(other) for other in ids if abs(len(str(other)) - len(name)) <= 2)
    candidates = list(itertools.islice(similar_length, _NEAREST_CANDIDATES))
    return nearest_names(name, candidates, count, cutoff=0.5)
