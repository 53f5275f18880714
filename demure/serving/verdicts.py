"""`demure export --verdicts`: the verdicts of a run as weights, for the training of other recommenders."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from demure import __version__
from demure.data.export import export_interactions
from demure.diagnosis.weights import Weights, read_weights
from demure.files import atomic_folder, write_json
from demure.progress import Listener, Progress, silent
from demure.serving.out_folder import MANIFEST, check_out
from demure.storage.names import shown

FORMAT_VERSION = 1
WEIGHTS = "weights.parquet"
FORMATS = ("recbole", "mmrec")
_DECIMALS = 6


@dataclass(frozen=True)
class ModalityWeights:
    """The weights of one modality: ``present`` interactions whose item has it, and their ``mean``."""

    modality: str
    column: str
    present: int
    mean: float


@dataclass(frozen=True)
class VerdictExport:
    """A finished export of weights.

    ``interactions``: training interactions, a row of weights.parquet each. ``files``: name -> bytes. ``notes``: what
    limits the weights, in sentences.
    """

    run: str
    out: str
    interactions: int
    modalities: list[ModalityWeights]
    files: dict[str, int]
    notes: list[str] = field(default_factory=list)


def export_verdicts(run: Path, out: Path, *, overwrite: bool = False, listener: Listener = silent) -> VerdictExport:
    """Write the weights of a run's training interactions into the folder ``out``.

    weights.parquet has user_id, item_id and a column ``poi_NAME`` per modality, null where the item lacks it. The
    folders recbole and mmrec hold the interactions of all splits as these tools read them, with the same columns: 0
    where the modality is missing, 1 outside of training, where there is no verdict.

    Raises ``RunError`` as ``read_weights`` and for a folder that is not an export, ``DemureError`` for one that exists.
    """
    check_out(out, overwrite=overwrite)
    listener(Progress("read the verdicts", 0))
    weights = read_weights(run)
    name = Path(os.path.realpath(out)).name
    modalities = [
        ModalityWeights(
            modality, column, int(present.sum()), float(probability[present].mean()) if present.any() else 0.0
        )
        for modality, column, probability, present in zip(
            weights.modalities, weights.columns, weights.probability.T, weights.present.T, strict=True
        )
    ]
    notes = [
        f"{modality} explains no more than shuffled features do: its weights are near 0 for all choices and say "
        "nothing of single ones, so leave its column out"
        for modality in weights.cannot_tell
    ]
    with atomic_folder(out, overwrite=overwrite) as part:
        pq.write_table(_table(weights), part / WEIGHTS)
        extra = _for_all_splits(weights)
        for format in FORMATS:
            listener(Progress(f"write the files for {format}", 0))
            folder = part / format / name  # both tools look for a folder with the name of the dataset
            folder.mkdir(parents=True)
            export_interactions(weights.dataset, folder, name, format, extra)
        write_json(
            part / MANIFEST,
            {
                "format_version": FORMAT_VERSION,
                "demure_version": __version__,
                "run": shown(str(Path(run).absolute())),
                "holds": "verdicts",
                "interactions": len(weights.users),
                "modalities": [asdict(modality) for modality in modalities],
                "dataset": weights.dataset.identity,
                "notes": notes,
            },
        )
        files = {str(file.relative_to(part)): file.stat().st_size for file in sorted(part.rglob("*")) if file.is_file()}
    return VerdictExport(str(run), str(out), len(weights.users), modalities, files, notes)


def _table(weights: Weights) -> pa.Table:
    """Return user_id, item_id and the weight of each modality, null where it is missing."""
    columns = {
        "user_id": pa.array(weights.dataset.user_ids, pa.string()).take(pa.array(weights.users)),
        "item_id": pa.array(weights.dataset.item_ids, pa.string()).take(pa.array(weights.items)),
    }
    for column, probability, present in zip(weights.columns, weights.probability.T, weights.present.T, strict=True):
        columns[column] = pa.array(probability, pa.float32(), mask=~present)
    return pa.table(columns)


def _for_all_splits(weights: Weights) -> dict[str, np.ndarray]:
    """Return column -> a weight (N,) for every interaction of the dataset, 1 outside of training."""
    splits = weights.dataset.files.table("interactions.parquet", ["split"])["split"]
    is_train = pc.equal(splits, "train").to_numpy()
    extra = {}
    for column, probability in zip(weights.columns, weights.probability.T, strict=True):
        values = np.ones(len(is_train))
        values[is_train] = probability.astype(np.float64).round(_DECIMALS)
        extra[column] = values
    return extra
