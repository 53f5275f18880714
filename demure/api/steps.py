"""The commands as functions that return datasets, runs and frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from demure.api.dataset import Dataset
from demure.api.run import Run
from demure.progress import Listener, silent
from demure.storage.files import local_file
from demure.storage.folders import Use, local_folder, work_folder
from demure.storage.names import url_of

if TYPE_CHECKING:
    import pandas as pd

    from demure.evaluation.stats import Test
    from demure.extraction.extract import ExtractKeywords
    from demure.extraction.sources import EncoderNames

PathLike = Path | str


class PrepareKeywords(TypedDict, total=False):
    """Further options of :func:`prepare`, explained in ``demure.preparation.options.PrepareOptions``."""

    split: str
    k_core: int
    format: str
    seed: int
    overwrite: bool
    columns: dict[str, str]
    encoding: str | None
    quotes: str
    bad_rows: str
    events: dict[str, float | None]
    time_format: str | None
    ratio: tuple[int, int, int]
    ratio_by: str
    user_core: int | None
    item_core: int | None
    min_history: int
    max_history: int
    since: str | None
    until: str | None
    min_rating: float | None
    duplicates: str
    bare_items: str
    dry_run: bool


def prepare(
    interactions: PathLike,
    out: PathLike,
    *,
    items: PathLike | None = None,
    images: PathLike | None = None,
    audio: PathLike | None = None,
    video: PathLike | None = None,
    features: Mapping[str, PathLike] | None = None,
    **options: Unpack[PrepareKeywords],
) -> Dataset:
    """Read, check and split raw files into the folder ``out``, as `demure prepare` does.

    ``images``, ``audio``, ``video``: folders of the items' files. ``features``: modality -> file. Raises
    ``DemureError`` for everything that the command refuses.
    """
    from demure.preparation.options import PrepareOptions
    from demure.preparation.with_features import prepare_with_features

    with work_folder(out, Use.MAKE, overwrite=bool(options.get("overwrite"))) as work:
        prepare_with_features(
            PrepareOptions(
                interactions=local_file(interactions),
                out=work.path,
                items=None if items is None else local_file(items),
                images=None if images is None else local_file(images),
                audio=None if audio is None else local_file(audio),
                video=None if video is None else local_file(video),
                features={name: Path(file) for name, file in (features or {}).items()},
                **options,
            )
        )
    return Dataset.load(out)


def extract(
    dataset: Dataset | PathLike,
    text: EncoderNames = None,
    image: EncoderNames = None,
    *,
    attributes: EncoderNames = None,
    audio: EncoderNames = None,
    video: EncoderNames = None,
    listener: Listener = silent,
    **options: Unpack[ExtractKeywords],
) -> Dataset:
    """Turn the items' texts, images, audio and video into features, as `demure extract` does.

    The encoders are explained at ``demure.extraction.extract.extract``, the ``options`` at its ``ExtractOptions``.
    Raises ``DemureError`` for everything that the command refuses.
    """
    from demure.extraction.extract import extract as extract_features

    place = (url_of(dataset.path) or dataset.path) if isinstance(dataset, Dataset) else dataset
    with work_folder(place, Use.CHANGE, listener=listener) as work:
        extract_features(work.path, text, image, listener, attributes=attributes, audio=audio, video=video, **options)
    return Dataset.load(place)


def train(
    dataset: Dataset | PathLike,
    out: PathLike,
    *,
    recipe: PathLike = "default",
    overrides: Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    track: Sequence[str] = (),
    watch: Sequence[str] = (),
    profile: bool = False,
    checkpoint_minutes: float | None = None,
    listener: Listener = silent,
) -> Run:
    """Train on a dataset into the folder ``out``, as `demure train` does.

    ``overrides``: values of ``--set``, such as ``"training.epochs=5"``; ``track``: names of trackers (``watch`` is its
    earlier name); ``seed``: without one, that of a recipe.yaml that a run wrote, or 0; ``profile``: whether to write a
    trace. Raises ``DemureError`` for everything that the command refuses.
    """
    from demure.training.checkpoint import CHECKPOINT_MINUTES
    from demure.training.tracked import train_tracked

    folder = dataset.path if isinstance(dataset, Dataset) else local_folder(dataset, listener)
    command = f"train {folder} {recipe} {list(overrides)} {seed} {overwrite}"
    with work_folder(out, Use.RESUME, command=command, overwrite=overwrite, resume=resume, listener=listener) as work:
        if not work.uploaded:
            train_tracked(
                folder,
                work.path,
                recipe=recipe,
                overrides=overrides,
                seed=seed,
                device=device,
                resume=resume,
                overwrite=overwrite,
                track=(*track, *watch),
                profile=profile,
                checkpoint_minutes=CHECKPOINT_MINUTES if checkpoint_minutes is None else checkpoint_minutes,
                listener=listener,
            )
    return Run.load(out)


def compare(
    runs: Sequence[Run | PathLike],
    *,
    split: str = "test",
    k: int | Sequence[int] = 20,
    metrics: Sequence[str] = ("recall", "ndcg"),
    against: str | None = None,
    all_pairs: bool = False,
    test: Test = "t",
    lists: Mapping[str, PathLike | pd.DataFrame | list[PathLike | pd.DataFrame]] | None = None,
    device: str = "auto",
    listener: Listener = silent,
) -> pd.DataFrame:
    """Compare methods on one split, as `demure compare` does.

    Returns one row per metric and method, each compared with ``against`` (a run, or a method by name; by default the
    first), or with ``all_pairs`` one row per metric and pair. ``lists``: name -> the recommendations of any other
    model, a file or frame with user_id, item_id and rank or score, or a list of those that are its seeds;
    ``attrs["notes"]`` of the returned frame says what is odd about them.
    """
    import contextlib

    from demure.preparation.later_files import as_file
    from demure.runs.evaluate import compare_runs

    with contextlib.ExitStack() as stack:
        files = [
            (name, stack.enter_context(as_file(table, name)))
            for name, tables in (lists or {}).items()
            for table in (tables if isinstance(tables, list) else [tables])
        ]
        comparison = compare_runs(
            [run.path if isinstance(run, Run) else local_folder(run) for run in runs],
            split=split,
            ks=[k] if isinstance(k, int) else k,
            metrics=metrics,
            against=against,
            all_pairs=all_pairs,
            test=test,
            lists=files,
            device=device,
            listener=listener,
        )
    frame = comparison.comparison.table()
    frame.attrs["notes"] = comparison.notes()
    return frame
