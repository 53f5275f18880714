"""`demure tune`: search for the best values of a recipe's keys; each trial is a training, measured on validation."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from demure.baselines.registry import check_model, is_learned, learned_options
from demure.data.dataset import Dataset
from demure.errors import DemureError, RunError
from demure.files import atomic_file
from demure.leftovers import folder_lock
from demure.locks import hold_folder
from demure.progress import Listener, Progress, ValidatedEpoch, silent
from demure.recipe.load import load_recipe, to_yaml
from demure.recipe.schema import Recipe
from demure.runs.folder import MANIFEST, publish
from demure.runs.manifest import read_manifest
from demure.training.run import train
from demure.tuning.results import TuneReport, best_trial, finished_trials, key_importance, write_page, write_trials
from demure.tuning.space import Dimension, Value, recipe_value, search_space
from demure.tuning.study import MANIFEST as STUDY_MANIFEST
from demure.tuning.study import next_trial, open_study, storage_error, study_manifest, working_folder

if TYPE_CHECKING:
    import optuna

METRICS = ("recall@20", "ndcg@20")
BASE, BEST, PAGE, TRIALS = "recipe.yaml", "best.yaml", "study.html", "trials.csv"
_WARM_UP_EPOCHS, _WARM_UP_VALIDATIONS = 3, 5  # before a trial may be pruned: of demure, and of baselines


class _TimeIsUpError(Exception):
    """The time limit is reached: the trial is left as it is, and goes on when the study does."""


def tune(
    dataset: Path,
    out: Path,
    *,
    recipe: str | Path = "default",
    trials: int = 20,
    timeout: float | None = None,
    overrides: Sequence[str] = (),
    space: Path | None = None,
    metric: str = METRICS[0],
    seed: int = 0,
    seeds: int = 1,
    pruning: bool = True,
    device: str = "auto",
    overwrite: bool = False,
    listener: Listener = silent,
) -> TuneReport:
    """Search until the study ``out`` has ``trials`` trials, or ``timeout`` seconds are over; write its best recipe.

    The first trial is the unchanged recipe, so that the best is no worse. Every trial is trained with the seeds
    ``seed`` to ``seed + seeds - 1`` and measured by the mean of ``metric`` on validation; the test split is never read.
    ``space``: a file of what to search instead of the default space of the model. A study that was killed goes on in
    the middle of its trial, and ends as it would have ended. If the first trial fails, the study is deleted. A study
    that ``overwrite`` replaces stays until the new one has written its best recipe. Raises ``DemureError`` for invalid
    options or data, and if the first trial fails.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    start = time.monotonic()
    _check_options(trials, seeds, timeout, metric)
    base = load_recipe(recipe, overrides)
    check_model(base.model)
    dimensions = search_space(base, space, [override.partition("=")[0].strip() for override in overrides])
    data = Dataset.load(Path(dataset))
    if not len(data.histories("valid").items):
        raise DemureError(
            "has no validation split to tune on", where=dataset, remedy="prepare it with --split leave-one-out, say"
        )
    manifest = study_manifest(data, base, dimensions, metric=metric, seed=seed, seeds=seeds, pruning=pruning)
    warm_up = _WARM_UP_EPOCHS
    if is_learned(base.model):
        warm_up = learned_options(base.model, base.baseline).every * _WARM_UP_VALIDATIONS
    folder = Path(out)
    with hold_folder(folder_lock(folder), folder, "tuned"):
        work = working_folder(folder, overwrite=overwrite)
        study = open_study(work, manifest, warm_up=warm_up, overwrite=overwrite)
        deadline = None if timeout is None else start + timeout
        search = _Search(study, data, work, base, dimensions, metric, seed, seeds, device, listener, trials, deadline)
        try:
            search.run()
            report = _report(search, str(dataset), time.monotonic() - start)
        except (StorageInternalError, SQLAlchemyError) as error:
            raise storage_error(work, error) from error
        if work == folder:
            return report
        publish(folder, STUDY_MANIFEST)
        return replace(report, study=str(folder), written=str(folder / BEST), page=str(folder / PAGE))


def _check_options(trials: int, seeds: int, timeout: float | None, metric: str) -> None:
    for option, value in (("--trials", trials), ("--seeds", seeds)):
        if value < 1:
            raise DemureError(f"is {value}", where=option, remedy="give 1 or more")
    if timeout is not None and timeout <= 0:
        raise DemureError(f"is {timeout:g}", where="--timeout", remedy="give seconds above 0")
    if metric not in METRICS:
        raise DemureError(f"unknown metric {metric!r}", where="--metric", remedy=f"one of {', '.join(METRICS)}")


def _report(search: _Search, dataset: str, seconds: float) -> TuneReport:
    """Write the best recipe, the table of trials and the page of charts, and return the report."""
    out, base, metric = search.out, search.base, search.metric
    finished = finished_trials(search.study, [dimension.key for dimension in search.dimensions])
    best = best_trial(finished)
    if best is None:
        raise RunError("no trial has finished", where=out, remedy="go on without --timeout, or with a longer one")
    about = f"{base.name} tuned on validation: {metric} {best.value:.4f}, {finished[0].value or 0:.4f} before"
    tuned = replace(search.recipe_with(best.params), name=f"{base.name}-tuned", about=about)
    with atomic_file(out / BEST) as part:
        part.write_text(to_yaml(tuned), encoding="utf-8")
    importance = key_importance(search.study, search.first_seed)
    write_trials(finished, out / TRIALS)
    return TuneReport(
        study=str(out),
        dataset=dataset,
        recipe=base.name,
        metric=metric,
        seeds=list(range(search.first_seed, search.first_seed + search.n_seeds)),
        space={dimension.key: dimension.words for dimension in search.dimensions},
        trials=finished,
        best=best,
        importance=importance,
        written=str(out / BEST),
        page=write_page(search.study, importance, search.first_seed, out / PAGE),
        left=max(0, search.left()),
        seconds=seconds,
    )


@dataclass(frozen=True)
class _Search:
    """The trials of one study, one after the other; ``deadline`` by ``time.monotonic``."""

    study: optuna.Study
    data: Dataset
    out: Path
    base: Recipe
    dimensions: Sequence[Dimension]
    metric: str
    first_seed: int
    n_seeds: int
    device: str
    listener: Listener
    n_trials: int
    deadline: float | None

    def run(self) -> None:
        """Run trials until there are enough, or the time is up."""
        try:
            while self.left() > 0 and not self.is_over():
                self.run_trial()
        except _TimeIsUpError:
            pass

    def left(self) -> int:
        """Return the number of trials still to finish."""
        return self.n_trials - sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    def is_over(self) -> bool:
        """Return whether the time is up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def recipe_with(self, params: dict[str, Value]) -> Recipe:
        """Return the recipe with the values of a trial; write the recipe of the study if it is missing."""
        file = self.out / BASE
        if not file.is_file():
            with atomic_file(file) as part:
                part.write_text(to_yaml(self.base), encoding="utf-8")
        return load_recipe(file, [f"{key}={json.dumps(value)}" for key, value in params.items()])

    def run_trial(self) -> None:
        """Run a new trial, or go on with the interrupted one."""
        import optuna

        first = {dimension.key: recipe_value(self.base, dimension.key) for dimension in self.dimensions}
        trial = next_trial(self.study, self.first_seed, first)
        params = {dimension.key: dimension.suggest(trial) for dimension in self.dimensions}
        trial.set_user_attr("params", params)
        folder = self.out / "trials" / f"{trial.number:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / "recipe.yaml") as part:
            part.write_text(to_yaml(self.recipe_with(params)), encoding="utf-8")
        start = time.monotonic()
        state = optuna.trial.TrialState.COMPLETE
        value: float | None = None
        try:
            value = statistics.fmean(self._train(trial, folder, index) for index in range(self.n_seeds))
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        except DemureError as error:  # values that diverge, say; if the unchanged recipe fails, so would all trials
            if not trial.number:
                shutil.rmtree(self.out)
                raise
            state = optuna.trial.TrialState.FAIL
            trial.set_user_attr("failed", str(error))
        seconds = float(trial.user_attrs.get("seconds", 0.0)) + time.monotonic() - start
        trial.set_user_attr("seconds", round(seconds, 2))
        self.study.tell(trial, value, state=state)
        shutil.rmtree(folder, ignore_errors=True)
        self._report_progress(trial.number, 0)

    def _train(self, trial: optuna.Trial, folder: Path, seed_index: int) -> float:
        """Return the metric of one training of the trial, with the seed of this index; it may be trained already."""
        import optuna

        stored = trial.user_attrs.get(f"seed {seed_index}")
        if stored is not None:
            return float(stored)

        def on_progress(progress: Progress) -> None:
            if self.is_over():
                raise _TimeIsUpError
            if isinstance(progress, ValidatedEpoch):
                self._report_progress(trial.number, progress.done)
                if seed_index == 0:  # the other seeds train the same values: they only make the mean more precise
                    trial.report(float(progress.fields[progress.metric]), progress.done)
                    if trial.should_prune():
                        raise optuna.TrialPruned

        run = folder / f"run-{seed_index}"
        if (run / MANIFEST).is_file():  # interrupted between the end of the training and the next lines
            manifest = read_manifest(run)
            valid, epochs = manifest.valid, manifest.epochs
        else:
            report = train(
                self.data.path,
                run,
                recipe=folder / "recipe.yaml",
                seed=self.first_seed + seed_index,
                device=self.device,
                resume=True,
                listener=on_progress,
            )
            valid, epochs = report.valid, report.epochs
        trial.set_user_attr(f"seed {seed_index}", valid[self.metric])
        trial.set_user_attr("epochs", epochs)
        return valid[self.metric]

    def _report_progress(self, trial_number: int, epoch: int) -> None:
        fields: dict[str, float | str] = {"trial": trial_number}
        fields |= {"epoch": epoch} if epoch else {}
        complete = [trial.value for trial in self.study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        fields |= {"best": max(value for value in complete if value is not None)} if complete else {}
        done = min(self.n_trials - self.left(), self.n_trials)
        self.listener(Progress("tune", done, self.n_trials, fields))
