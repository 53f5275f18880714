"""The baselines by name, each with the hyper-parameters it is known to do well with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from demure.baselines.ease import Ease, EaseOptions
from demure.baselines.item_knn import ItemKNN, ItemKNNOptions
from demure.baselines.options import OPTIONS
from demure.baselines.popularity import Popularity, PopularityOptions
from demure.baselines.protocol import Baseline
from demure.errors import RecipeError
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    from demure.baselines.learned import Learned, LearnedOptions, Task


@dataclasses.dataclass(frozen=True)
class Entry:
    """How to make one baseline, and the options (a frozen dataclass) it is made with where nothing else is said."""

    make: Callable[[Any], Baseline]
    options: Any


# The best of a coarse grid on the validation part of ML-100K (leave-one-out by time).
BASELINES: dict[str, Entry] = {
    "popularity": Entry(Popularity, PopularityOptions()),
    "item-knn": Entry(ItemKNN, ItemKNNOptions()),
    "item-knn-decayed": Entry(ItemKNN, ItemKNNOptions(decay=1.0)),
    "ease": Entry(Ease, EaseOptions()),
    "ease-decayed": Entry(Ease, EaseOptions(regularisation=1000.0, decay=1.0)),
}


def make_baseline(name: str, **overrides: float) -> Baseline:
    """The baseline ``name``, not yet fitted; ``overrides`` replace its options.

    Raises ``RecipeError`` for a name or an option that does not exist, and for a negative value.
    """
    if name not in BASELINES:
        raise RecipeError(f"unknown baseline {name!r}", where="baseline", remedy=_instead(name, list(BASELINES)))
    entry = BASELINES[name]
    return entry.make(_changed(entry.options, name, overrides))


LEARNED = ("bpr", "vbpr", "lightgcn", "freedom", "sasrec")
"""Models with weights: `demure.training.baseline_loop` trains them."""
WITH_CONTENT = ("vbpr", "freedom", "sasrec")


def learned_options(name: str, overrides: dict[str, float]) -> LearnedOptions:
    """The options of the learned baseline ``name``; raises ``RecipeError`` as ``make_baseline`` does."""
    defaults: LearnedOptions = _changed(_learned()[name][1], name, overrides)
    heads = getattr(defaults, "heads", 1)
    if defaults.dim % heads:
        raise RecipeError(f"heads is {heads}", where=f"baseline {name}", remedy=f"it must divide dim, {defaults.dim}")
    return defaults


def check_model(name: str) -> None:
    """Raises ``RecipeError`` for a ``model`` that there is not."""
    models = ["demure", *BASELINES, *LEARNED]
    if name not in models:
        remedy = did_you_mean(name, models) or f"one of {', '.join(models)}"
        raise RecipeError(f"unknown model {name!r}", where="model", remedy=remedy)


def default_options(model: str) -> Any:
    """The options of the baseline ``model`` where nothing else is said."""
    return BASELINES[model].options if model in BASELINES else _learned()[model][1]


def make_learned(name: str, options: LearnedOptions, task: Task) -> Learned:
    """The learned baseline ``name`` with its first weights, from torch's global random numbers. Raises ``DemureError``
    if the task lacks what it needs: features, or an order."""
    made: Learned = _learned()[name][0](task, options)
    return made


def _learned() -> dict[str, tuple[Callable[..., Learned], LearnedOptions]]:
    from demure.baselines import pairwise
    from demure.baselines.sasrec import SASRec, SASRecOptions

    return {
        "bpr": (pairwise.Pairwise, pairwise.PairwiseOptions()),
        "vbpr": (pairwise.VBPR, pairwise.PairwiseOptions()),
        "lightgcn": (pairwise.LightGCN, pairwise.LightGCNOptions()),
        "freedom": (pairwise.Freedom, pairwise.FreedomOptions()),
        "sasrec": (SASRec, SASRecOptions()),
    }


def _changed(options: Any, name: str, overrides: dict[str, float]) -> Any:
    known = {field.name: type(getattr(options, field.name)) for field in dataclasses.fields(options)}
    for key, value in overrides.items():
        if key not in known:
            raise RecipeError(f"unknown option {key!r}", where=f"baseline {name}", remedy=_instead(key, list(known)))
        low, high, _, _ = OPTIONS.get(key, (0.0, math.inf, "", ""))
        if not low <= value <= high:
            raise RecipeError(f"{key} is {value}", where=f"baseline {name}", remedy=f"give {low:g} to {high:g}")
        if known[key] is int and value != int(value):
            raise RecipeError(f"{key} is {value}", where=f"baseline {name}", remedy="give a whole number")
    return dataclasses.replace(options, **{key: known[key](value) for key, value in overrides.items()})


def _instead(word: str, known: list[str]) -> str:
    return did_you_mean(word, known) or f"choose one of {', '.join(known) or 'none'}"
