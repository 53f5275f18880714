"""The study folder: an Optuna study in a database, and the manifest of what it is a study of."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure import __version__
from demure.data.dataset import Dataset
from demure.errors import DemureError, RunError
from demure.files import read_json, refuse_existing, write_json
from demure.leftovers import bring_back, sweep
from demure.recipe.load import to_yaml
from demure.recipe.schema import Recipe
from demure.runs.folder import UNFINISHED, publish_in_place
from demure.storage.names import shown
from demure.tuning.space import Dimension, Value

if TYPE_CHECKING:
    import optuna

FORMAT_VERSION = 1
MANIFEST, DATABASE = "study.json", "study.db"
_STARTUP = 5  # random trials before the sampler models their values
_UNPRUNED_TRIALS = 4  # finished trials before another may be stopped early


def study_manifest(
    data: Dataset, recipe: Recipe, space: Sequence[Dimension], *, metric: str, seed: int, seeds: int, pruning: bool
) -> dict[str, Any]:
    """Return all that decides a study but the number of trials: a study goes on only where all of it is the same."""
    return {
        "format_version": FORMAT_VERSION,
        "dataset": {"path": shown(str(data.path.absolute())), "identity": data.identity},
        "recipe": to_yaml(recipe),
        "space": [{**asdict(dimension), "choices": list(dimension.choices)} for dimension in space],
        "metric": metric,
        "seed": seed,
        "seeds": seeds,
        "pruning": pruning,
    }


def working_folder(out: Path, *, overwrite: bool) -> Path:
    """Return the folder of the study to begin or to go on with: within ``out`` while it is to replace another study."""
    bring_back(out)
    within = out / UNFINISHED
    if (within / MANIFEST).is_file() and not (out / MANIFEST).is_file():  # killed while it was published
        publish_in_place(out, MANIFEST)
    if overwrite and (out / MANIFEST).is_file():
        return within
    if not (within / MANIFEST).is_file():
        with contextlib.suppress(OSError):
            sweep(within)
            within.rmdir()  # killed at its start
    return within if within.is_dir() and (out / MANIFEST).is_file() else out


def open_study(out: Path, manifest: dict[str, Any], *, warm_up: int, overwrite: bool) -> optuna.Study:
    """Begin the study in ``out``, or go on with it. Trials are not stopped early before step ``warm_up``.

    Raises ``RunError`` for a folder that is not a study, or a study of something else.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sweep(out)
    if (out / MANIFEST).is_file() and not overwrite:
        _check_manifest(out, manifest)
    else:
        replaceable = (out / MANIFEST).is_file() or not out.exists() or (out.is_dir() and not any(out.iterdir()))
        if not replaceable:
            refuse_existing(out)
            raise RunError("is not a study folder", where=out, remedy="choose another --out")
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        write_json(out / MANIFEST, {**manifest, "demure_version": __version__, "optuna_version": optuna.__version__})
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if manifest["pruning"]:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=warm_up)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{(out / DATABASE).absolute()}")
        return optuna.create_study(
            storage=storage, study_name="demure", direction="maximize", load_if_exists=True, pruner=pruner
        )
    except Exception as error:  # SQLAlchemy raises exceptions of its own
        raise storage_error(out, error) from error


def storage_error(out: Path, error: BaseException) -> DemureError:
    """Return the error for a database of trials that cannot be used.

    Only a damaged one is to be begun again: after a full disk or a missing permission, the study goes on.
    """
    file = out / DATABASE
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    reason = str(causes[-1]).splitlines()[0] if str(causes[-1]) else type(causes[-1]).__name__
    if any(words in reason for words in ("malformed", "not a database", "no such table", "no such column")):
        return RunError(f"cannot be read ({reason})", where=file, remedy="begin again with --overwrite")
    if "locked" in reason:
        return RunError(f"is in use ({reason})", where=file, remedy="wait for the other process, then try again")
    remedy = "check space and permissions; the same command then goes on"
    return RunError(f"cannot be read or written ({reason})", where=file, remedy=remedy)


def next_trial(study: optuna.Study, seed: int, first: dict[str, Value]) -> optuna.Trial:
    """Return the interrupted trial if there is one, else a new one; the very first takes the values ``first``.

    The sampler is seeded by the number of the trial, so that a study that goes on draws the same values as a study that
    was not interrupted.
    """
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    number = running[0].number if running else len(study.trials)
    study.sampler = optuna.samplers.TPESampler(
        seed=seed * 1_000_003 + number, n_startup_trials=_STARTUP, multivariate=True, constant_liar=False
    )
    if running:
        return optuna.Trial(study, running[0]._trial_id)
    if not study.trials:
        study.enqueue_trial(first)
    return study.ask()


def _check_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Raise ``RunError`` unless the study in ``out`` has this manifest."""
    stored = read_json(out / MANIFEST)
    if not isinstance(stored, dict) or stored.get("format_version") != FORMAT_VERSION:
        raise RunError("has another format version", where=out / MANIFEST, remedy="begin again with --overwrite")
    dataset = stored.get("dataset")
    identity = dataset.get("identity") if isinstance(dataset, dict) else None
    changed = ["dataset"] if identity != manifest["dataset"]["identity"] else []
    keys = ("recipe", "space", "metric", "seed", "seeds", "pruning")
    changed += [key for key in keys if stored.get(key) != manifest[key]]
    if changed:
        raise RunError(
            f"is a study of another {', '.join(changed)}",
            where=out,
            remedy="choose another --out, or say --overwrite to begin again",
        )
