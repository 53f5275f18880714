"""The verdicts of a run as weights of the training interactions, for the training of other recommenders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demure.data.dataset import Dataset
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import RunError
from demure.runs.manifest import differing_parts, recorded_dataset


@dataclass(frozen=True)
class Weights:
    """The weights of the N training interactions, in the order of the dataset, of M modalities.

    Attributes:
        users, items: (N,) positions in the dataset's users and items.
        probability: (N, M) float32, the probability that the modality was a point of interest; 0 where missing.
        present: (N, M) bool, whether the item has the modality.
    """

    dataset: Dataset
    modalities: list[str]
    users: np.ndarray
    items: np.ndarray
    probability: np.ndarray
    present: np.ndarray
    cannot_tell: list[str]

    @property
    def columns(self) -> list[str]:
        """The names of the columns of files, one per modality."""
        return [f"poi_{name}" for name in self.modalities]


def read_weights(run: Path | str, dataset: Dataset | None = None) -> Weights:
    """Read the verdicts of a run on the training interactions.

    ``dataset``: an equal one in place of the run's own, which may be elsewhere. Raises ``RunError`` if the run has no
    diagnosis, or one of another dataset than ``dataset``, and ``DatasetError`` if its dataset is gone or changed.
    """
    reader = _open(run, dataset)
    dataset, table = dataset or Dataset.load(reader.dataset), reader.table
    train = dataset.histories("train")
    same = len(table.user) == len(train.items)
    if not (
        same
        and (table.user_ids[table.user] == dataset.user_ids[train.owners]).all()
        and (table.item_ids[table.item] == dataset.item_ids[train.items]).all()
    ):
        raise RunError(
            f"diagnoses {len(table.user):,} interactions, which are not the {len(train.items):,} training interactions "
            f"of {reader.dataset} in their order",
            where=run,
            remedy="train it again",
        )
    return Weights(
        dataset=dataset,
        modalities=table.modalities,
        users=train.owners.astype(np.int64),
        items=train.items,
        probability=np.where(table.present, table.probability, np.float32(0)),
        present=table.present,
        cannot_tell=list(reader.placebos.cannot_tell),
    )


def _open(run: Path | str, dataset: Dataset | None) -> DiagnosisReader:
    if dataset is None:
        return DiagnosisReader.open(run)
    reader = DiagnosisReader.open(run, dataset.path, check=False)
    changed = differing_parts(recorded_dataset(reader.run, reader.manifest).identity, dataset.identity)
    if changed:
        raise RunError(
            f"was trained on another dataset than {dataset.path} ({', '.join(changed)} differ)",
            where=run,
            remedy=f"train it on {dataset.path}",
        )
    return reader
