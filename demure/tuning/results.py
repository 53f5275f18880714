"""The results of a study: its trials, the best one, the importance of each key, and a page of charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demure.files import atomic_file, write_csv
from demure.tuning.space import Value

if TYPE_CHECKING:
    import optuna

_MIN_TRIALS_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class Trial:
    """``state``: complete, pruned (stopped early) or failed; ``value`` only where complete; ``error`` where failed."""

    number: int
    state: str
    value: float | None
    params: dict[str, Value]
    epochs: int | None
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class TuneReport:
    """The result of `demure tune`.

    ``space``: key -> its values in words; ``trials`` in their order, the first being the unchanged recipe;
    ``importance``: key -> its share of the variance of the value; ``written``: file of the best recipe; ``page``: file
    of the charts; ``left``: trials that the time limit did not allow.
    """

    study: str
    dataset: str
    recipe: str
    metric: str
    seeds: list[int]
    space: dict[str, str]
    trials: list[Trial]
    best: Trial
    importance: dict[str, float]
    written: str
    page: str
    left: int
    seconds: float


def finished_trials(study: optuna.Study, keys: Sequence[str]) -> list[Trial]:
    """Return the finished trials of the study with their values of ``keys``."""
    trials = []
    for frozen in study.get_trials(deepcopy=False):
        if not frozen.state.is_finished():
            continue
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(frozen.state.name, "failed")
        facts = frozen.user_attrs
        params = {key: facts.get("params", frozen.params).get(key) for key in keys}
        value = frozen.value if state == "complete" else None
        seconds, error = facts.get("seconds", 0.0), facts.get("failed")
        trials.append(Trial(frozen.number, state, value, params, facts.get("epochs"), seconds, error))
    return trials


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the highest value, the earliest of equals; None if none is complete."""
    complete = [(trial.value, -trial.number, trial) for trial in trials if trial.value is not None]
    return max(complete, key=lambda entry: entry[:2])[2] if complete else None


def key_importance(study: optuna.Study, seed: int) -> dict[str, float]:
    """Return fANOVA's share of each key (Hutter et al., ICML 2014), the largest first.

    Empty where there are too few trials, or all have one value.
    """
    import optuna

    values = [frozen.value for frozen in study.get_trials(deepcopy=False) if frozen.state.name == "COMPLETE"]
    if len(values) < _MIN_TRIALS_FOR_IMPORTANCE or len(set(values)) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    try:
        importances = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):  # no key was varied in all trials
        return {}
    return {key: float(value) for key, value in importances.items()}


def write_trials(trials: Sequence[Trial], file: Path) -> None:
    """Write a CSV file with a row per trial and a column per key."""
    keys = list(trials[0].params) if trials else []
    rows = [
        [trial.number, trial.state, trial.value, trial.epochs, trial.seconds]
        + [trial.params[key] for key in keys]
        + [trial.error or ""]
        for trial in trials
    ]
    with atomic_file(file) as part:
        write_csv(part, ["trial", "state", "value", "epochs", "seconds", *keys, "error"], rows)


def write_page(study: optuna.Study, importance: dict[str, float], seed: int, file: Path) -> str:
    """Write Optuna's charts as one page that opens offline; return its path."""
    from optuna import visualization
    from optuna.importance import FanovaImportanceEvaluator

    figures = [visualization.plot_optimization_history(study), visualization.plot_intermediate_values(study)]
    if importance:
        evaluator = FanovaImportanceEvaluator(seed=seed)
        figures.insert(0, visualization.plot_param_importances(study, evaluator=evaluator))
        figures.append(visualization.plot_slice(study, params=list(importance)))
    # The first figure carries plotly.js for all.
    parts = [figure.to_html(full_html=False, include_plotlyjs=not k) for k, figure in enumerate(figures)]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>demure tune</title><body>'
    with atomic_file(file) as part:
        part.write_text(head + "\n".join(parts) + "</body></html>\n", encoding="utf-8")
    return str(file)
