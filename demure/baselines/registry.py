"""The baselines by name, each with the hyper-parameters it is known to do well with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from demure.baselines.ease import Ease, EaseOptions
from demure.baselines.item_knn import ItemKNN, ItemKNNOptions
from demure.baselines.popularity import Popularity, PopularityOptions
from demure.baselines.protocol import Baseline
from demure.errors import RecipeError


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
    known = [field.name for field in dataclasses.fields(entry.options)]
    for key, value in overrides.items():
        if key not in known:
            raise RecipeError(f"unknown option {key!r}", where=f"baseline {name}", remedy=_instead(key, known))
        if value < 0:
            raise RecipeError(f"{key} is {value}", where=f"baseline {name}", remedy="give a value of 0 or more")
    return entry.make(dataclasses.replace(entry.options, **overrides))


def _instead(word: str, known: list[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"choose one of {', '.join(known) or 'none'}"
