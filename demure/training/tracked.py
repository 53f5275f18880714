"""A training that is watched: by TensorBoard and its like, and by a profiler; and the seed that repeats a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from demure import __version__
from demure.baselines.registry import BASELINES
from demure.compute.launcher import leads
from demure.errors import DemureError
from demure.files import read_json
from demure.progress import Listener, silent
from demure.recipe.load import load_recipe
from demure.recipe.schema import Recipe
from demure.runs.folder import MANIFEST
from demure.tracking.listener import TrackingListener
from demure.tracking.profile import Profile, Profiler
from demure.tracking.protocol import RunInfo
from demure.tracking.trackers import open_trackers
from demure.training.run import TrainReport, train


@dataclass(frozen=True)
class TrackedReport(TrainReport):
    """``seed`` that the training had; ``notes`` on what did not work beside it; ``profile`` where one was asked for."""

    seed: int = 0
    notes: list[str] = field(default_factory=list)
    profile: Profile | None = None


def train_tracked(
    dataset: Path,
    out: Path,
    *,
    recipe: str | Path = "default",
    overrides: Sequence[str] = (),
    seed: int | None = None,
    watch: Sequence[str] = (),
    profile: bool = False,
    listener: Listener = silent,
    **options: Any,
) -> TrackedReport:
    """``demure.training.run.train`` with the watchers named in ``watch``, and a trace with ``profile``.

    Without a ``seed`` that of the run is taken whose recipe.yaml ``recipe`` is, or 0. ``options`` are those of
    ``train``. Raises what it raises, and before it ``DemureError`` for a watcher that cannot be had here, and for a
    profile of a model without training steps; whatever a watcher does later only makes a note.
    """
    resolved = load_recipe(recipe, overrides)
    seed = seed_of(recipe) if seed is None else seed
    alone = leads()  # of several processes the first is watched
    watchers = open_trackers(watch) if alone else {}
    if profile and resolved.model in BASELINES:
        remedy = "leave --profile out"
        raise DemureError(f"{resolved.model!r} has no training steps to trace", where="--profile", remedy=remedy)
    facts = {"dataset": str(Path(dataset).absolute()), "seed": seed, "demure_version": __version__}
    watched = TrackingListener(watchers, RunInfo(Path(out), _flat(resolved), facts), listener)
    profiler = Profiler(watched) if profile and alone else None
    metrics: dict[str, float] = {}
    finished = False
    try:
        report = train(
            dataset, out, recipe=recipe, overrides=overrides, seed=seed, listener=profiler or watched, **options
        )
        metrics, finished = report.valid, True
    finally:
        if profiler is not None:
            profiler.stop()
        watched.end(metrics, finished=finished)
    told = profiler.finish(Path(out)) if profiler is not None else None
    return TrackedReport(**vars(report), seed=seed, notes=list(watched.failures.values()), profile=told)


def seed_of(recipe: str | Path) -> int:
    """The seed of the run whose recipe.yaml ``recipe`` is; 0 for every other recipe."""
    manifest = Path(recipe).parent / MANIFEST
    if Path(recipe).name != "recipe.yaml" or not manifest.is_file():
        return 0
    told = read_json(manifest)
    seed = told.get("seed", 0) if isinstance(told, dict) else 0
    return seed if isinstance(seed, int) else 0


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Keys by whole name; of the sections, those of the recipe's own model."""
    flat: dict[str, Any] = {}
    for name, value in asdict(recipe).items():
        if not isinstance(value, dict):
            flat[name] = list(value) if isinstance(value, tuple) else value
        elif (name == "baseline") != (recipe.model == "demure"):
            flat |= {f"{name}.{key}": one for key, one in value.items()}
    return flat
