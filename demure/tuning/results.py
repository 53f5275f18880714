"""What a study found: its trials, the best, which numbers mattered, and a page that shows it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.files import atomic_file

if TYPE_CHECKING:
    import optuna

_LEAST_FOR_IMPORTANCE = 4


@dataclass(frozen=True)
class Trial:
    """``state``: complete, pruned (stopped early) or failed; ``value`` only where complete; ``error`` where failed."""

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    epochs: int | None
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class TuneReport:
    """What `demure tune` found. ``trials`` in their order, the first being the recipe as it was; ``importance``: key ->
    its share of the variance of the value; ``written``: the best recipe; ``left`` trials that time did not allow."""

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


def rows_of(study: optuna.Study, keys: Sequence[str]) -> list[Trial]:
    """The finished trials."""
    rows = []
    for one in study.get_trials(deepcopy=False):
        if not one.state.is_finished():
            continue
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(one.state.name, "failed")
        told = one.user_attrs
        params = {key: told.get("params", one.params).get(key) for key in keys}
        value = one.value if state == "complete" else None
        rows.append(
            Trial(one.number, state, value, params, told.get("epochs"), told.get("seconds", 0.0), told.get("failed"))
        )
    return rows


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The highest value, the earliest of equals."""
    complete = [one for one in trials if one.value is not None]
    return max(complete, key=lambda one: (one.value, -one.number)) if complete else None


def importance_of(study: optuna.Study, seed: int) -> dict[str, float]:
    """fANOVA's share of each key (Hutter et al., ICML 2014), the largest first; empty where there are too few trials to
    say, or all have one value."""
    import optuna

    values = [one.value for one in study.get_trials(deepcopy=False) if one.state.name == "COMPLETE"]
    if len(values) < _LEAST_FOR_IMPORTANCE or len(set(values)) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    try:
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):  # no key was varied in all of them
        return {}
    return {key: float(value) for key, value in found.items()}


def write_trials(trials: Sequence[Trial], file: Path) -> None:
    """One row per trial, its numbers in columns of their own."""
    keys = list(trials[0].params) if trials else []
    with atomic_file(file) as part, open(part, "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["trial", "state", "value", "epochs", "seconds", *keys, "error"])
        for one in trials:
            numbers = [one.params[key] for key in keys]
            writer.writerow([one.number, one.state, one.value, one.epochs, one.seconds, *numbers, one.error or ""])


def write_page(study: optuna.Study, importance: dict[str, float], seed: int, file: Path) -> str:
    """Optuna's own charts on one page that opens offline; return its path."""
    from optuna import visualization
    from optuna.importance import FanovaImportanceEvaluator

    figures = [visualization.plot_optimization_history(study), visualization.plot_intermediate_values(study)]
    if importance:
        evaluator = FanovaImportanceEvaluator(seed=seed)
        figures.insert(0, visualization.plot_param_importances(study, evaluator=evaluator))
        figures.append(visualization.plot_slice(study, params=list(importance)))
    parts = [one.to_html(full_html=False, include_plotlyjs=not at) for at, one in enumerate(figures)]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>demure tune</title><body>'
    with atomic_file(file) as part:
        part.write_text(head + "\n".join(parts) + "</body></html>\n", encoding="utf-8")
    return str(file)
