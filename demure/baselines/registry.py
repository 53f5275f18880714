"""The baselines by name, each with good default options."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from demure.baselines.ease import Ease, EaseOptions
from demure.baselines.item_knn import ItemKNN, ItemKNNOptions
from demure.baselines.options import OPTIONS
from demure.baselines.popularity import Popularity, PopularityOptions
from demure.baselines.protocol import Baseline
from demure.errors import RecipeError
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from demure.baselines.learned import Learned, LearnedOptions, Task

Options = TypeVar("Options", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True)
class Entry:
    """The class of a closed-form baseline, and its default options."""

    make: Callable[[Any], Baseline]
    options: DataclassInstance


# The best of a coarse grid on the validation part of ML-100K (leave-one-out by time).
BASELINES: dict[str, Entry] = {
    "popularity": Entry(Popularity, PopularityOptions()),
    "item-knn": Entry(ItemKNN, ItemKNNOptions()),
    "item-knn-decayed": Entry(ItemKNN, ItemKNNOptions(decay=1.0)),
    "ease": Entry(Ease, EaseOptions()),
    "ease-decayed": Entry(Ease, EaseOptions(regularisation=1000.0, decay=1.0)),
}


def make_baseline(name: str, **overrides: float) -> Baseline:
    """Return the baseline ``name``, not yet fitted; ``overrides`` replace its options.

    Raises ``RecipeError`` for a name or an option that does not exist, and for a value out of range.
    """
    if name not in BASELINES:
        raise RecipeError(f"unknown baseline {name!r}", where="baseline", remedy=_suggest(name, list(BASELINES)))
    entry = BASELINES[name]
    return entry.make(_override(entry.options, name, overrides))


LEARNED = (
    "bpr",
    "vbpr",
    "lightgcn",
    "freedom",
    "lattice",
    "bm3",
    "mgcn",
    "da-mrs",
    "smore",
    "sasrec",
    "unisrec",
    "mmmlp",
)
"""Models with weights: `demure.training.baseline_loop` trains them."""
WITH_CONTENT = tuple(name for name in LEARNED if name not in ("bpr", "lightgcn"))
WITH_VERDICTS = ("vbpr", "freedom", "mgcn", "smore", "sasrec")
"""Models that can count the features of an interaction by the verdicts of a run (recipe key ``denoise``)."""


def learned_options(name: str, overrides: dict[str, float]) -> LearnedOptions:
    """Return the options of the learned baseline ``name``. Raises ``RecipeError`` as ``make_baseline`` does."""
    options = _override(_learned()[name][1], name, overrides)
    heads = getattr(options, "heads", 1)
    if options.dim % heads:
        raise RecipeError(f"heads is {heads}", where=f"baseline {name}", remedy=f"it must divide dim, {options.dim}")
    return options


def check_model(name: str) -> None:
    """Raise ``RecipeError`` unless there is a model ``name``."""
    models = ["demure", *BASELINES, *LEARNED]
    if name not in models:
        remedy = did_you_mean(name, models) or f"one of {', '.join(models)}"
        raise RecipeError(f"unknown model {name!r}", where="model", remedy=remedy)


def default_options(model: str) -> DataclassInstance:
    """Return the default options of the baseline ``model``."""
    return BASELINES[model].options if model in BASELINES else _learned()[model][1]


def make_learned(name: str, options: LearnedOptions, task: Task) -> Learned:
    """Return the learned baseline ``name`` with initial weights from torch's global random numbers.

    Raises ``DemureError`` if the task has no features, or no order, and the model needs them.
    """
    return _learned()[name][0](task, options)


def _learned() -> dict[str, tuple[Callable[..., Learned], LearnedOptions]]:
    from demure.baselines.bm3 import BM3, BM3Options
    from demure.baselines.da_mrs import DAMRS, DAMRSOptions
    from demure.baselines.graph import Freedom, FreedomOptions, LightGCN, LightGCNOptions
    from demure.baselines.lattice import LATTICE, LATTICEOptions
    from demure.baselines.mgcn import MGCN, MGCNOptions
    from demure.baselines.mmmlp import MMMLP, MMMLPOptions
    from demure.baselines.pairwise import Pairwise, PairwiseOptions
    from demure.baselines.sasrec import SASRec, SASRecOptions
    from demure.baselines.smore import SMORE, SMOREOptions
    from demure.baselines.unisrec import UniSRec, UniSRecOptions
    from demure.baselines.vbpr import VBPR, VBPROptions

    return {
        "bpr": (Pairwise, PairwiseOptions()),
        "vbpr": (VBPR, VBPROptions()),
        "lightgcn": (LightGCN, LightGCNOptions()),
        "freedom": (Freedom, FreedomOptions()),
        "lattice": (LATTICE, LATTICEOptions()),
        "bm3": (BM3, BM3Options()),
        "mgcn": (MGCN, MGCNOptions()),
        "da-mrs": (DAMRS, DAMRSOptions()),
        "smore": (SMORE, SMOREOptions()),
        "sasrec": (SASRec, SASRecOptions()),
        "unisrec": (UniSRec, UniSRecOptions()),
        "mmmlp": (MMMLP, MMMLPOptions()),
    }


def _override(options: Options, name: str, overrides: dict[str, float]) -> Options:
    """Return ``options`` with other values. Raises ``RecipeError`` for an unknown option and a value out of range."""
    types = {field.name: type(getattr(options, field.name)) for field in dataclasses.fields(options)}
    for key, value in overrides.items():
        if key not in types:
            raise RecipeError(f"unknown option {key!r}", where=f"baseline {name}", remedy=_suggest(key, list(types)))
        low, high, _, _ = OPTIONS.get(key, (0.0, math.inf, "", ""))
        if not low <= value <= high:
            raise RecipeError(f"{key} is {value}", where=f"baseline {name}", remedy=f"give {low:g} to {high:g}")
        if types[key] is int and value != int(value):
            raise RecipeError(f"{key} is {value}", where=f"baseline {name}", remedy="give a whole number")
    return dataclasses.replace(options, **{key: types[key](value) for key, value in overrides.items()})


def _suggest(name: str, names: list[str]) -> str:
    return did_you_mean(name, names) or f"choose one of {', '.join(names) or 'none'}"
