"""What a model takes from the interactions of all users: on a cluster it is computed once, for all workers.

The workers sum over parts of the users, and the command makes the fit from the sums. In one process, ``load_run``
computes the same where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from demure.baselines.protocol import Baseline, SummedBaseline
from demure.baselines.registry import is_closed_form, make_baseline
from demure.cluster.executor import Executor, Part, Result, Task
from demure.data.dataset import Dataset
from demure.data.user_sums import UserSumTask, sum_on
from demure.errors import RunError
from demure.model.item_item import ItemItemFit, fit_item_item, item_item_sums
from demure.model.item_item_density import ItemItemParameters
from demure.recipe.load import load_recipe
from demure.runs.folder import INTERESTS, MANIFEST, NEAREST_ITEMS, RECIPE, WEIGHTS
from demure.runs.manifest import RunManifest, run_files

if TYPE_CHECKING:
    from demure.runs.load import LoadedRun

P = TypeVar("P")


@dataclass(frozen=True)
class RunFit:
    """The item-item model of a demure model, or a closed-form ``baseline`` after its fit."""

    item_item: ItemItemFit | None = None
    baseline: Baseline | None = None


@dataclass(frozen=True)
class RunTask(Task[Part, Result]):
    """A task that opens a run; ``fit``: what was computed for all workers."""

    fit: RunFit | None = field(default=None, compare=False, kw_only=True)

    def take_over(self, earlier: Task[Any, Any]) -> None:
        """Keep the dataset that was opened for the sums."""
        if isinstance(earlier, UserSumTask):
            vars(self).update(opened=earlier.opened)

    @cached_property
    def opened(self) -> Dataset | None:
        """The dataset of the run, if it is open already."""
        return None

    def open_run(self, run: Path, device: str) -> LoadedRun:
        """Open the run. Raises as ``load_run``."""
        from demure.runs.load import load_run

        return load_run(run, device=device, fit=self.fit, dataset=self.opened)


def fit_for_workers(run: Path, manifest: RunManifest, dataset: Dataset, executor: Executor) -> RunFit | None:
    """Return what the model of ``run`` takes from all interactions of its ``dataset``; the sums are those of workers.

    None in one process, and for a model that needs no sums. The files of the model are hashed here, so that no worker
    has to. Raises as ``load_run``.
    """
    if executor.is_local:
        return None
    files = run_files(run, manifest)
    files.check(WEIGHTS, NEAREST_ITEMS, INTERESTS)
    recipe = load_recipe(files.file(RECIPE))
    if is_closed_form(recipe.model):
        baseline = make_baseline(recipe.model, **recipe.baseline)
        if not isinstance(baseline, SummedBaseline):
            return None
        (sums,) = sum_on(executor, dataset, [baseline.summed(dataset.n_items)])
        baseline.fit_sums(sums)
        return RunFit(baseline=baseline)
    if manifest.walk is None or not recipe.collaborative.enabled:
        return None
    parameters = parameters_of(ItemItemParameters, run, "walk", manifest.walk)
    summed = item_item_sums(dataset.n_items, parameters, recipe.collaborative.window)
    return RunFit(fit_item_item(sum_on(executor, dataset, summed), parameters))


def parameters_of(kind: Callable[..., P], path: Path, key: str, numbers: dict[str, float] | None) -> P:
    """Return the parameters stored in run.json as ``key``.

    Raises ``RunError`` if they are missing, or have names that ``kind`` does not know.
    """
    if numbers is None:
        raise RunError(f"lacks the key '{key}'", where=path / MANIFEST, remedy="train the run again")
    try:
        return kind(**numbers)
    except TypeError as error:
        problem = f"has parameters of another version of demure ({error})"
        raise RunError(problem, where=path / MANIFEST, remedy="train the run again") from error
