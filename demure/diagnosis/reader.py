"""The files a diagnosis is read from: three tables of a run folder, and the item titles of its dataset."""

from __future__ import annotations

import difflib
import functools
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
import pyarrow.parquet as pq

from demure.diagnosis.placebo import Placebos
from demure.diagnosis.table import Judged
from demure.errors import DatasetError, FeatureError, RunError
from demure.files import read_json
from demure.runs.folder import read_manifest

EXPORT_COLUMNS = ("user_id", "item_id", "modality", "poi_probability", "evidence", "verdict")
VERDICTS = ("poi", "noise", "missing")
NONE = "none"
_TITLE_COLUMNS = ("title", "text", "description")
_CATEGORY_COLUMNS = ("genres", "categories", "category", "genre")
_SEPARATORS = ("|", ";", ",")
_MOST_CATEGORIES = 200
_NEAREST_AMONG = 20_000


@dataclass(frozen=True)
class DiagnosisSource:
    """A run that carries a diagnosis; ``open`` checks that it does."""

    run: Path
    manifest: dict[str, Any]
    dataset: Path

    @classmethod
    def open(cls, run: Path | str) -> DiagnosisSource:
        """Raises ``RunError`` if ``run`` is no run folder, or one without a diagnosis; ``DatasetError`` if its dataset
        is gone or is no longer the one the run was made from."""
        run = Path(run)
        manifest = read_manifest(run)
        if not (run / "diagnosis.parquet").is_file():
            raise RunError(
                f"has no diagnosis: recipe {manifest.get('recipe', '?')!r} does not judge modalities",
                where=run,
                remedy="train with a recipe that does (`demure recipes` lists them)",
            )
        recorded = manifest["dataset"]
        source = cls(run, manifest, Path(recorded["path"]))
        source._check_dataset(recorded.get("identity", {}))
        return source

    @classmethod
    def of(cls, run: Path | str | DiagnosisSource) -> DiagnosisSource:
        """``run`` itself if it is open already, so that a server reads its tables once."""
        return run if isinstance(run, cls) else cls.open(run)  # type: ignore[arg-type]

    def _check_dataset(self, identity: dict[str, str]) -> None:
        manifest = self.dataset / "dataset.json"
        if not manifest.is_file():
            raise DatasetError(
                "the dataset of this run is gone", where=self.dataset, remedy=f"prepare it again, for {self.run}"
            )
        hashes = read_json(manifest).get("hashes", {})
        changed = [name for name, value in identity.items() if hashes.get(name) != value]
        if changed:
            raise DatasetError(
                f"is not what {self.run} was made from ({', '.join(changed)} changed)",
                where=self.dataset,
                remedy="train again, or prepare the dataset as it was",
            )

    def diagnosis(self, columns: Sequence[str], **equal: str) -> pa.Table:
        """Columns of diagnosis.parquet, of the rows where each named column equals the value given."""
        return self._read("diagnosis.parquet", columns, equal)

    def supports(self, **equal: str) -> pd.DataFrame:
        """Rows of supports.parquet: which other items of the user spoke for a modality, best first."""
        columns = ["user_id", "item_id", "position", "modality", "support_rank", "support_item_id", "weight"]
        frame = self._read("supports.parquet", columns, equal).to_pandas()
        return frame.sort_values(["position", "modality", "support_rank"], kind="stable", ignore_index=True)

    def reliance(self, **equal: str) -> pd.DataFrame:
        """Rows of reliance.parquet: a user's expected share of choices caused by each modality, and by none."""
        return self._read("reliance.parquet", ["user_id", "modality", "reliance"], equal).to_pandas()

    def _read(self, name: str, columns: Sequence[str], equal: dict[str, str]) -> pa.Table:
        chosen = [pc.field(column) == value for column, value in equal.items()]
        return self._rows(name, columns, functools.reduce(operator.and_, chosen) if chosen else None)

    def of_users(self, name: str, columns: Sequence[str], users: Sequence[str]) -> pd.DataFrame:
        """Columns of ``name``.parquet (diagnosis, supports or reliance), of the rows of ``users``."""
        wanted = pc.is_in(pc.field("user_id"), pa.array(users, pa.string()))
        return self._rows(f"{name}.parquet", columns, wanted).to_pandas()

    def _rows(self, name: str, columns: Sequence[str], filters: pc.Expression | None) -> pa.Table:
        try:
            file = pq.ParquetFile(self.run / name)
            if not file.metadata.num_rows:  # its columns may have no type to compare with
                return file.read(columns=list(columns))
            return pq.read_table(self.run / name, columns=list(columns), filters=filters)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: Exception) -> RunError:
        return RunError(f"cannot be read ({error})", where=self.run / name, remedy="train the run again")

    @cached_property
    def modalities(self) -> list[str]:
        """Names of the modalities, in the order in which the run judged them."""
        file = pq.ParquetFile(self.run / "diagnosis.parquet")
        first = next(file.iter_batches(batch_size=10_000, columns=["modality"]), None)  # every interaction has them all
        return [] if first is None else [str(name) for name in first.column("modality").unique().to_pylist()]

    @cached_property
    def placebos(self) -> Placebos:
        """How far the diagnosis of each modality lies above its placebo."""
        return Placebos.read(self.manifest, self.modalities)

    @cached_property
    def judged(self) -> Judged:
        """The whole diagnosis. Raises ``RunError`` if it is damaged or empty."""
        try:
            judged = Judged.read(self.run / "diagnosis.parquet")
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damaged("diagnosis.parquet", error) from error
        if not len(judged.user):
            raise RunError("the diagnosis is empty", where=self.run)
        return judged

    @cached_property
    def judged_times(self) -> np.ndarray | None:
        """Seconds since 1970 of every row of ``judged`` (N,), or None where the data has no timestamps."""
        path = self.dataset / "interactions.parquet"
        if "timestamp" not in pq.read_schema(path).names:
            return None
        judged = self.judged
        table = pq.read_table(path, columns=["user_id", "timestamp"], filters=[("split", "==", "train")])
        known = pa.array(judged.user_ids, pa.string())
        user = pc.fill_null(pc.index_in(table.column("user_id"), value_set=known), -1).to_numpy()
        seconds = table.column("timestamp").to_numpy()
        order = np.argsort(user, kind="stable")
        order = order[user[order] >= 0]
        if len(order) != len(judged.user):
            raise DatasetError(
                f"has {len(order)} training interactions, {self.run} judged {len(judged.user)}", where=path
            )
        return seconds[order]

    @cached_property
    def reliance_columns(self) -> list[str]:
        """The modalities and ``none``, as columns of ``reliance_of_users``."""
        return [*self.judged.modalities, NONE]

    @cached_property
    def reliance_of_users(self) -> np.ndarray:
        """(U, M + 1) shares of the choices of every user of ``judged``; rows sum to 1."""
        frame = self.reliance()
        user = pd.Index(self.judged.user_ids).get_indexer(pd.Index(frame["user_id"]))
        column = pd.Index(self.reliance_columns).get_indexer(pd.Index(frame["modality"]))
        shares = np.zeros((len(self.judged.user_ids), len(self.reliance_columns)))
        known = (user >= 0) & (column >= 0)
        shares[user[known], column[known]] = frame["reliance"].to_numpy(float)[known]
        return shares

    @cached_property
    def categories(self) -> dict[str, list[str]]:
        """Item id to its categories, from the first of the columns genres, categories, category and genre; empty where
        there is none, or where it holds too many different ones to be categories."""
        frame = self.items
        column = next((name for name in _CATEGORY_COLUMNS if name in frame.columns), None)
        if column is None:
            return {}
        texts = frame[column].fillna("").astype(str)
        sign = next((sign for sign in _SEPARATORS if texts.str.contains(sign, regex=False).any()), "|")
        found = {
            str(item): [part.strip() for part in text.split(sign) if part.strip()]
            for item, text in zip(frame["item_id"], texts, strict=True)
        }
        different = {name for some in found.values() for name in some}
        return found if 0 < len(different) <= max(_MOST_CATEGORIES, len(frame) // 10) else {}

    def pictures(self, item_ids: Sequence[str]) -> list[Path | None]:
        """The picture file of each item, or None: not given, not there, or outside the dataset's folder of images."""
        root = read_json(self.dataset / "dataset.json").get("images_root")
        if root is None or "image" not in self.items.columns:
            return [None] * len(item_ids)
        folder = Path(root).resolve()
        images = self._images

        def find(item: str) -> Path | None:
            name = images.get(item)
            if not isinstance(name, str) or not name:
                return None
            path = (folder / name).resolve()
            return path if path.is_relative_to(folder) and path.is_file() else None

        return [find(item) for item in item_ids]

    def has_picture(self, item_id: str) -> bool:
        """Whether the items file names a picture for the item; ``pictures`` finds out whether it is there."""
        return "image" in self.items.columns and bool(isinstance(self._images.get(item_id), str))

    @cached_property
    def _images(self) -> dict[str, Any]:
        return dict(zip(self.items["item_id"].astype(str), self.items["image"], strict=True))

    @cached_property
    def items(self) -> pd.DataFrame:
        """The dataset's items table, one row per item."""
        return pd.read_parquet(self.dataset / "items.parquet")

    @cached_property
    def item_rows(self) -> dict[str, int]:
        """Item id to its row in ``items``, which is also its row in every feature matrix."""
        return {str(item): row for row, item in enumerate(self.items["item_id"].astype(str))}

    @cached_property
    def units(self) -> dict[str, np.ndarray]:
        """The dataset's features per modality of the run, scaled as for training, rows of length one, zero where
        missing; none of a modality without features."""
        from demure.features import store
        from demure.features.normalize import robust

        units = {}
        for name in self.modalities:
            try:
                vectors = robust(store.load(self.dataset, name))
            except FeatureError:
                continue
            units[name] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return units

    @cached_property
    def titles(self) -> dict[str, str]:
        """Item id to the first of title, text and description that the dataset has; empty where it has none."""
        frame = self.items
        column = next((name for name in _TITLE_COLUMNS if name in frame.columns), None)
        if column is None:
            return {}
        known = frame[column].notna()
        return dict(zip(frame["item_id"][known].astype(str), frame[column][known].astype(str), strict=True))

    def times(self, user_id: str) -> list[Any]:
        """Timestamps (seconds) of a user's training interactions in time order; empty if the data has none."""
        path = self.dataset / "interactions.parquet"
        if "timestamp" not in pq.read_schema(path).names:
            return []
        table = pq.read_table(
            path, columns=["timestamp"], filters=[("user_id", "==", user_id), ("split", "==", "train")]
        )
        return table.column("timestamp").to_pylist()

    def unknown(self, kind: str, name: str) -> RunError:
        """The error for a ``kind`` (user or item) without a single judged interaction."""
        table, column = f"{kind}s.parquet", f"{kind}_id"
        known = pq.read_table(self.dataset / table, columns=[column]).column(column).to_pylist()
        if name in set(known):
            return RunError(f"{kind} {name!r} has no training interaction, so nothing was judged", where=self.run)
        near = nearest(name, known)
        return RunError(
            f"no {kind} {name!r} in this run",
            where=self.run,
            remedy=f"nearest: {', '.join(near)}" if near else f"{kind} ids look like {', '.join(map(str, known[:3]))}",
        )


def nearest(name: str, known: Iterable[object], count: int = 3) -> list[str]:
    """The ids most like ``name``: spelled alike; compares with at most some thousand of similar length."""
    alike = (str(other) for other in known if abs(len(str(other)) - len(name)) <= 2)
    candidates = [other for other, _ in zip(alike, range(_NEAREST_AMONG), strict=False)]
    return difflib.get_close_matches(name, candidates, n=count, cutoff=0.5)
