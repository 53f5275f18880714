"""`demure tune`: trials of a recipe's numbers, each a training, judged and stopped early on the validation split."""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.baselines.registry import LEARNED, check_model, learned_options
from demure.data.dataset import Dataset
from demure.errors import DemureError, RunError
from demure.files import atomic_file
from demure.progress import ValidatedEpoch, Listener, Progress, silent
from demure.recipe.load import load_recipe, to_yaml
from demure.recipe.schema import Recipe
from demure.runs.folder import MANIFEST, read_manifest
from demure.training.run import train
from demure.tuning.results import TuneReport, best_of, importance_of, rows_of, write_page, write_trials
from demure.tuning.space import Dimension, space_of, value_of
from demure.tuning.study import manifest_of, next_trial, open_study

if TYPE_CHECKING:
    import optuna

METRICS = ("recall@20", "ndcg@20")
BASE, BEST, PAGE, TRIALS = "recipe.yaml", "best.yaml", "study.html", "trials.csv"
_WARM_JUDGEMENTS = 5


class _TimeIsUp(Exception):
    """The trial is left where it is: it goes on when the study does."""


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

    The first trial is the recipe as it is, so that the best is no worse. Every trial is trained with the seeds ``seed``
    to ``seed + seeds - 1`` and valued by the mean of ``metric`` on validation; the test split is never read. A study
    that was killed goes on, in the middle of its trial, and ends as it would have. Raises ``DemureError`` for what a
    user can cause.
    """
    began = time.monotonic()
    for name, value in (("--trials", trials), ("--seeds", seeds)):
        if value < 1:
            raise DemureError(f"is {value}", where=name, remedy="give 1 or more")
    if timeout is not None and timeout <= 0:
        raise DemureError(f"is {timeout:g}", where="--timeout", remedy="give seconds above 0")
    if metric not in METRICS:
        raise DemureError(f"unknown metric {metric!r}", where="--metric", remedy=f"one of {', '.join(METRICS)}")
    base = load_recipe(recipe, overrides)
    check_model(base.model)
    dimensions = space_of(base, space, [one.partition("=")[0].strip() for one in overrides])
    data = Dataset.load(Path(dataset))
    if not len(data.histories("valid").items):
        raise DemureError(
            "has no validation split to tune on", where=dataset, remedy="prepare it with --split leave-one-out, say"
        )
    manifest = manifest_of(data, base, dimensions, metric=metric, seed=seed, seeds=seeds, pruning=pruning)
    warm = learned_options(base.model, base.baseline).every * _WARM_JUDGEMENTS if base.model in LEARNED else 3
    study = open_study(Path(out), manifest, warm=warm, overwrite=overwrite)
    search = _Search(study, data, Path(out), base, dimensions, metric, seed, seeds, device, listener, trials)
    search.until = None if timeout is None else began + timeout
    try:
        while search.left() > 0 and not search.is_over():
            search.once()
    except _TimeIsUp:
        pass
    rows = rows_of(study, [one.key for one in dimensions])
    best = best_of(rows)
    if best is None:
        raise RunError("no trial has finished", where=out, remedy="go on without --timeout, or with a longer one")
    chosen = search.recipe_of(best.params)
    told = f"{base.name} tuned on validation: {metric} {best.value:.4f}, {rows[0].value or 0:.4f} before"
    with atomic_file(Path(out) / BEST) as part:
        part.write_text(to_yaml(replace(chosen, name=f"{base.name}-tuned", about=told)), encoding="utf-8")
    importance = importance_of(study, seed)
    write_trials(rows, Path(out) / TRIALS)
    page = write_page(study, importance, seed, Path(out) / PAGE)
    return TuneReport(
        study=str(out),
        dataset=str(dataset),
        recipe=base.name,
        metric=metric,
        seeds=list(range(seed, seed + seeds)),
        space={one.key: one.words for one in dimensions},
        trials=rows,
        best=best,
        importance=importance,
        written=str(Path(out) / BEST),
        page=page,
        left=max(0, search.left()),
        seconds=time.monotonic() - began,
    )


class _Search:
    """The trials of one study, one after the other."""

    until: float | None = None

    def __init__(
        self,
        study: optuna.Study,
        data: Dataset,
        out: Path,
        base: Recipe,
        space: Sequence[Dimension],
        metric: str,
        seed: int,
        seeds: int,
        device: str,
        listener: Listener,
        wanted: int,
    ) -> None:
        self.study, self.data, self.out, self.base, self.space = study, data, out, base, space
        self.metric, self.seed, self.seeds, self.device = metric, seed, seeds, device
        self.listener, self.wanted = listener, wanted

    def left(self) -> int:
        """How many trials are still to finish."""
        return self.wanted - sum(trial.state.is_finished() for trial in self.study.get_trials(deepcopy=False))

    def is_over(self) -> bool:
        """Whether the time is."""
        return self.until is not None and time.monotonic() >= self.until

    def recipe_of(self, params: dict[str, Any]) -> Recipe:
        """The recipe with the values of a trial."""
        file = self.out / BASE
        if not file.is_file():
            with atomic_file(file) as part:
                part.write_text(to_yaml(self.base), encoding="utf-8")
        return load_recipe(file, [f"{key}={json.dumps(value)}" for key, value in params.items()])

    def once(self) -> None:
        """One trial: begin it, or go on with the one that was cut off."""
        import optuna

        first = {one.key: value_of(self.base, one.key) for one in self.space}
        trial = next_trial(self.study, self.seed, first)
        params = {one.key: one.suggest(trial) for one in self.space}
        trial.set_user_attr("params", params)
        folder = self.out / "trials" / f"{trial.number:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / "recipe.yaml") as part:
            part.write_text(to_yaml(self.recipe_of(params)), encoding="utf-8")
        began = time.monotonic()
        state = optuna.trial.TrialState.COMPLETE
        value: float | None = None
        try:
            value = statistics.fmean(self._train(trial, folder, at) for at in range(self.seeds))
        except optuna.TrialPruned:
            state = optuna.trial.TrialState.PRUNED
        except DemureError as error:  # a number that diverges, say; where the recipe itself fails, all would
            if not trial.number:
                shutil.rmtree(self.out)
                raise
            state = optuna.trial.TrialState.FAIL
            trial.set_user_attr("failed", str(error))
        spent = float(trial.user_attrs.get("seconds", 0.0)) + time.monotonic() - began
        trial.set_user_attr("seconds", round(spent, 2))
        self.study.tell(trial, value, state=state)
        shutil.rmtree(folder, ignore_errors=True)
        self._report(trial.number, 0, value)

    def _train(self, trial: optuna.Trial, folder: Path, at: int) -> float:
        """The metric with the ``at``-th seed; known where it was trained before the study was cut off."""
        import optuna

        known = trial.user_attrs.get(f"seed {at}")
        if known is not None:
            return float(known)

        def watch(progress: Progress) -> None:
            if self.is_over():
                raise _TimeIsUp
            if isinstance(progress, ValidatedEpoch):
                self._report(trial.number, progress.done, None)
                if at == 0:  # the other seeds tell of the same numbers: they only make the value surer
                    trial.report(float(progress.fields[progress.metric]), progress.done)
                    if trial.should_prune():
                        raise optuna.TrialPruned

        run = folder / f"run-{at}"
        if (run / MANIFEST).is_file():  # cut off between the end of the training and the next line
            told = read_manifest(run)
            return self._known(trial, at, told["valid"], told["epochs"])
        report = train(
            self.data.path,
            run,
            recipe=folder / "recipe.yaml",
            seed=self.seed + at,
            device=self.device,
            resume=True,
            listener=watch,
        )
        return self._known(trial, at, report.valid, report.epochs)

    def _known(self, trial: optuna.Trial, at: int, valid: dict[str, float], epochs: int) -> float:
        trial.set_user_attr(f"seed {at}", valid[self.metric])
        trial.set_user_attr("epochs", epochs)
        return valid[self.metric]

    def _report(self, number: int, epoch: int, value: float | None) -> None:
        done = self.wanted - self.left()
        fields: dict[str, float | str] = {"trial": number}
        fields |= {"epoch": epoch} if epoch else {}
        complete = [one.value for one in self.study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
        fields |= {"best": max(known for known in complete if known is not None)} if complete else {}
        self.listener(Progress("tune", min(done, self.wanted), self.wanted, fields))
