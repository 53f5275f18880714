"""The study folder: an Optuna study in a database, and what it is a study of."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure import __version__
from demure.data.dataset import Dataset
from demure.errors import RunError
from demure.files import read_json, refuse_existing, write_json
from demure.recipe.load import to_yaml
from demure.recipe.schema import Recipe
from demure.tuning.space import Dimension

if TYPE_CHECKING:
    import optuna

FORMAT_VERSION = 1
MANIFEST, DATABASE = "study.json", "study.db"
_STARTUP = 5  # trials at random before the sampler models what it has seen
_KEPT_FROM_PRUNING = 4  # finished trials before another may be stopped early


def manifest_of(
    data: Dataset, recipe: Recipe, space: Sequence[Dimension], *, metric: str, seed: int, seeds: int, pruning: bool
) -> dict[str, Any]:
    """What decides a study but the number of trials: a study goes on only where all of it is the same."""
    return {
        "format_version": FORMAT_VERSION,
        "dataset": {"path": str(data.path.absolute()), "identity": data.identity},
        "recipe": to_yaml(recipe),
        "space": [{**asdict(one), "choices": list(one.choices)} for one in space],
        "metric": metric,
        "seed": seed,
        "seeds": seeds,
        "pruning": pruning,
    }


def open_study(out: Path, manifest: dict[str, Any], *, warm: int, overwrite: bool) -> optuna.Study:
    """The study in ``out``, begun or gone on with. Trials are stopped early not before step ``warm``.

    Raises ``RunError`` for a folder that is no study, or one of something else.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if (out / MANIFEST).is_file() and not overwrite:
        _refuse_other(out, manifest)
    else:
        ours = (out / MANIFEST).is_file() or not out.exists() or (out.is_dir() and not any(out.iterdir()))
        if not ours:
            refuse_existing(out)
            raise RunError("is not a study folder", where=out, remedy="choose another --out")
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        write_json(out / MANIFEST, {**manifest, "demure_version": __version__, "optuna_version": optuna.__version__})
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if manifest["pruning"]:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_KEPT_FROM_PRUNING, n_warmup_steps=warm)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{(out / DATABASE).absolute()}")
        return optuna.create_study(
            storage=storage, study_name="demure", direction="maximize", load_if_exists=True, pruner=pruner
        )
    except Exception as error:  # SQLAlchemy's own kinds
        told = str(error).splitlines()[0]
        raise RunError(
            f"cannot be read ({told})", where=out / DATABASE, remedy="begin again with --overwrite"
        ) from error


def next_trial(study: optuna.Study, seed: int, first: dict[str, Any]) -> optuna.Trial:
    """The trial that was cut off, or a new one; the very first takes the values ``first``.

    The sampler is seeded by the number of the trial, so that a study that goes on draws what it would have drawn.
    """
    import optuna

    cut_off = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    number = cut_off[0].number if cut_off else len(study.trials)
    study.sampler = optuna.samplers.TPESampler(
        seed=seed * 1_000_003 + number, n_startup_trials=_STARTUP, multivariate=True, constant_liar=False
    )
    if cut_off:
        return optuna.Trial(study, cut_off[0]._trial_id)
    if not study.trials:
        study.enqueue_trial(first)
    return study.ask()


def _refuse_other(out: Path, manifest: dict[str, Any]) -> None:
    found = read_json(out / MANIFEST)
    if not isinstance(found, dict) or found.get("format_version") != FORMAT_VERSION:
        raise RunError("has another format version", where=out / MANIFEST, remedy="begin again with --overwrite")
    dataset = found.get("dataset", {})
    changed = ["dataset"] if dataset.get("identity") != manifest["dataset"]["identity"] else []
    changed += [
        key for key in ("recipe", "space", "metric", "seed", "seeds", "pruning") if found.get(key) != manifest[key]
    ]
    if changed:
        raise RunError(
            f"is a study of another {', '.join(changed)}",
            where=out,
            remedy="choose another --out, or say --overwrite to begin again",
        )
