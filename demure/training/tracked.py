"""A training with experiment trackers and a profiler, and with the seed that repeats a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demure import __version__
from demure.baselines.registry import is_closed_form
from demure.compute.launcher import is_first_process
from demure.errors import DemureError
from demure.files import read_json
from demure.progress import Listener, silent
from demure.recipe.load import load_recipe
from demure.recipe.schema import Recipe
from demure.runs.folder import MANIFEST, RECIPE, working_folder
from demure.storage.names import shown
from demure.tracking.listener import TrackingListener
from demure.tracking.profile import Profile, Profiler
from demure.tracking.protocol import RunInfo
from demure.tracking.trackers import open_trackers
from demure.training.checkpoint import CHECKPOINT_MINUTES
from demure.training.run import TrainReport, train


@dataclass(frozen=True)
class TrackedReport(TrainReport):
    """``seed`` of the training; ``notes`` also on trackers that failed; ``profile`` where one was asked for."""

    seed: int = 0
    profile: Profile | None = None


def train_tracked(
    dataset: Path,
    out: Path,
    *,
    recipe: str | Path = "default",
    overrides: Sequence[str] = (),
    seed: int | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    track: Sequence[str] = (),
    profile: bool = False,
    listener: Listener = silent,
) -> TrackedReport:
    """Train as ``demure.training.run.train`` does, with the trackers named in ``track``, and a trace with ``profile``.

    Without a ``seed``, that of the run whose recipe.yaml ``recipe`` is, or 0. Raises as ``train``, and before it
    ``DemureError`` for a tracker that is not available and for a profile of a model without training steps; a tracker
    that fails later only adds a note.
    """
    resolved = load_recipe(recipe, overrides)
    seed = read_seed(recipe) if seed is None else seed
    is_first = is_first_process()
    trackers = open_trackers(track) if is_first else {}
    if profile and is_closed_form(resolved.model):
        remedy = "leave --profile out"
        raise DemureError(f"{resolved.model!r} has no training steps to trace", where="--profile", remedy=remedy)
    facts = {"dataset": shown(str(Path(dataset).absolute())), "seed": seed, "demure_version": __version__}
    info = RunInfo(Path(out), _flatten(resolved), facts, working_folder(Path(out), overwrite=overwrite))
    tracking = TrackingListener(trackers, info, listener)
    profiler = Profiler(tracking) if profile and is_first else None
    valid: dict[str, float] = {}
    finished = False
    try:
        report = train(
            dataset,
            out,
            recipe=recipe,
            overrides=overrides,
            seed=seed,
            device=device,
            resume=resume,
            overwrite=overwrite,
            checkpoint_minutes=checkpoint_minutes,
            listener=profiler or tracking,
        )
        valid, finished = report.valid, True
    finally:
        if profiler is not None:
            profiler.stop()
        tracking.end(valid, finished=finished)
    measured = profiler.finish(Path(out)) if profiler is not None else None
    notes = [*report.notes, *tracking.failures.values()]
    return TrackedReport(**vars(report) | {"notes": notes}, seed=seed, profile=measured)


def read_seed(recipe: str | Path) -> int:
    """Return the seed of the run whose recipe.yaml ``recipe`` is; 0 for every other recipe."""
    path = Path(recipe).parent / MANIFEST
    if Path(recipe).name != RECIPE or not path.is_file():
        return 0
    manifest = read_json(path)
    seed = manifest.get("seed", 0) if isinstance(manifest, dict) else 0
    return seed if isinstance(seed, int) else 0


def _flatten(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe with whole names of keys; of the sections only those of its own model."""
    flat: dict[str, Any] = {}
    for name, value in asdict(recipe).items():
        if not isinstance(value, dict):
            flat[name] = list(value) if isinstance(value, tuple) else value
        elif (name == "baseline") != (recipe.model == "demure"):
            flat |= {f"{name}.{key}": number for key, number in value.items()}
    return flat
