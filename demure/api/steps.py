"""The commands as functions that give back what they made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.api.dataset import Dataset
from demure.api.run import Run

if TYPE_CHECKING:
    import pandas as pd

Where = Path | str


def prepare(
    interactions: Where,
    out: Where,
    *,
    items: Where | None = None,
    images: Where | None = None,
    features: Mapping[str, Where] | None = None,
    **options: Any,
) -> Dataset:
    """`demure prepare`: read, check and split raw files into the folder ``out``. ``features``: modality -> file.

    ``options`` are those of ``demure.prepare.prepare.PrepareOptions``: split, k_core, format, seed, overwrite. Raises
    ``DemureError`` for what the command refuses.
    """
    from demure.prepare.prepare import PrepareOptions
    from demure.prepare.with_features import prepare_with_features

    given = PrepareOptions(
        interactions=Path(interactions),
        out=Path(out),
        items=None if items is None else Path(items),
        images=None if images is None else Path(images),
        features={name: Path(file) for name, file in (features or {}).items()},
        **options,
    )
    return Dataset.load(prepare_with_features(given).dataset)


def extract(dataset: Dataset | Where, **options: Any) -> Dataset:
    """`demure extract`: features of the items' texts and images; ``options`` as of
    ``demure.extraction.extract.extract``."""
    from demure.extraction.extract import extract as run

    path = dataset.path if isinstance(dataset, Dataset) else Path(dataset)
    run(path, **options)
    return Dataset.load(path)


def train(
    dataset: Dataset | Where, out: Where, *, recipe: Where = "default", overrides: Sequence[str] = (), **options: Any
) -> Run:
    """`demure train`: ``overrides`` are what ``--set`` takes, such as ``"training.epochs=5"``; ``options``: seed,
    device, resume, overwrite, track (names of trackers), profile."""
    from demure.training.tracked import train_tracked as run

    if "watch" in options:  # the name of the first release
        options["track"] = options.pop("watch")
    path = dataset.path if isinstance(dataset, Dataset) else Path(dataset)
    return Run.load(run(path, Path(out), recipe=recipe, overrides=overrides, **options).run)


def compare(
    runs: Sequence[Run | Where],
    *,
    split: str = "test",
    k: int | Sequence[int] = 20,
    metrics: Sequence[str] = ("recall", "ndcg"),
    **options: Any,
) -> pd.DataFrame:
    """`demure compare`: one row per metric and method, each compared with the first, or with ``against``; one per pair
    with ``all_pairs``. ``options``: against, all_pairs, test, device."""
    from demure.runs.evaluate import compare_runs

    paths = [run.path if isinstance(run, Run) else Path(run) for run in runs]
    ks = [k] if isinstance(k, int) else k
    return compare_runs(paths, split=split, ks=ks, metrics=metrics, **options).comparison.table()
