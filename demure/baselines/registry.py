"""The baselines by name, each with good default options; those of other packages too (``demure.plugins``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from demure.baselines.ease import Ease, EaseOptions
from demure.baselines.item_knn import ItemKNN, ItemKNNOptions
from demure.baselines.options import option_range
from demure.baselines.popularity import Popularity, PopularityOptions
from demure.baselines.protocol import Baseline
from demure.errors import RecipeError
from demure.plugins import BASELINES as GROUP
from demure.plugins import load_plugins, refuse_taken
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


@dataclasses.dataclass(frozen=True)
class LearnedEntry:
    """The class of a baseline with weights, its default options, and whether it reads the features of the items."""

    make: Callable[[Task, Any], Learned]
    options: LearnedOptions
    content: bool = False


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
    entry = BASELINES[name] if name in BASELINES else added_baselines().get(name)
    if not isinstance(entry, Entry):
        raise RecipeError(f"unknown baseline {name!r}", where="baseline", remedy=_suggest(name, list(BASELINES)))
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
    options = _override(_learned_entry(name).options, name, overrides)
    heads = getattr(options, "heads", 1)
    if options.dim % heads:
        raise RecipeError(f"heads is {heads}", where=f"baseline {name}", remedy=f"it must divide dim, {options.dim}")
    return options


def is_closed_form(name: str) -> bool:
    """Return whether the model ``name`` is a baseline that is fitted, and not trained."""
    return name in BASELINES or isinstance(added_baselines().get(name), Entry)


def is_learned(name: str) -> bool:
    """Return whether the model ``name`` is a baseline with weights."""
    return name in LEARNED or isinstance(added_baselines().get(name), LearnedEntry)


def uses_content(name: str) -> bool:
    """Return whether the learned baseline ``name`` reads the features of the items."""
    return name in WITH_CONTENT or _learned_entry(name).content


def added_baselines() -> dict[str, Entry | LearnedEntry]:
    """Return name -> baseline of other packages. Raises ``DemureError`` for one that cannot be used."""
    added = load_plugins(GROUP)
    refuse_taken(GROUP, added, _own_models())
    for name, entry in added.items():
        if not isinstance(entry, Entry | LearnedEntry) or not _has_options(entry):
            remedy = "it must be an Entry or a LearnedEntry of demure.baselines.registry, whose options are numbers"
            raise RecipeError(f"{name!r} is {entry!r}", where=GROUP, remedy=remedy)
    return added


def _has_options(entry: Entry | LearnedEntry) -> bool:
    """Return whether the options are a dataclass of numbers, and those of a learned baseline ``LearnedOptions``."""
    options: Any = entry.options
    if isinstance(options, type) or not dataclasses.is_dataclass(options):
        return False
    if isinstance(entry, LearnedEntry):
        from demure.baselines.learned import LearnedOptions

        if not isinstance(options, LearnedOptions):
            return False
    return all(type(value) in (int, float) for value in vars(options).values())


def _own_models() -> list[str]:
    return ["demure", *BASELINES, *LEARNED]


def check_model(name: str) -> None:
    """Raise ``RecipeError`` unless there is a model ``name``, and ``DemureError`` for a package that cannot be used."""
    models = [*_own_models(), *added_baselines()]
    if name not in models:
        remedy = did_you_mean(name, models) or f"one of {', '.join(models)}"
        raise RecipeError(f"unknown model {name!r}", where="model", remedy=remedy)


def default_options(model: str) -> DataclassInstance:
    """Return the default options of the baseline ``model``."""
    if model in BASELINES:
        return BASELINES[model].options
    return _learned()[model].options if model in LEARNED else added_baselines()[model].options


def make_learned(name: str, options: LearnedOptions, task: Task) -> Learned:
    """Return the learned baseline ``name`` with initial weights from torch's global random numbers.

    Raises ``DemureError`` if the task has no features, or no order, and the model needs them.
    """
    return _learned_entry(name).make(task, options)


def _learned_entry(name: str) -> LearnedEntry:
    """Return the learned baseline ``name``, which exists."""
    entry = _learned()[name] if name in LEARNED else added_baselines()[name]
    assert isinstance(entry, LearnedEntry)
    return entry


def _learned() -> dict[str, LearnedEntry]:
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

    classes: dict[str, tuple[Callable[..., Learned], LearnedOptions]] = {
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
    return {name: LearnedEntry(*pair, content=name in WITH_CONTENT) for name, pair in classes.items()}


def _override(options: Options, name: str, overrides: dict[str, float]) -> Options:
    """Return ``options`` with other values. Raises ``RecipeError`` for an unknown option and a value out of range."""
    fields = {field.name: field for field in dataclasses.fields(options)}
    types = {name: type(getattr(options, name)) for name in fields}
    for key, value in overrides.items():
        if key not in types:
            raise RecipeError(f"unknown option {key!r}", where=f"baseline {name}", remedy=_suggest(key, list(types)))
        low, high, _, _ = option_range(fields[key])
        if not low <= value <= high:
            raise RecipeError(f"{key} is {value}", where=f"baseline {name}", remedy=f"give {low:g} to {high:g}")
        if types[key] is int and value != int(value):
            raise RecipeError(f"{key} is {value}", where=f"baseline {name}", remedy="give a whole number")
    return dataclasses.replace(options, **{key: types[key](value) for key, value in overrides.items()})


def _suggest(name: str, names: list[str]) -> str:
    return did_you_mean(name, names) or f"choose one of {', '.join(names) or 'none'}"
