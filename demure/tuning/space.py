"""The search space of a study: a range or choices for keys of a recipe, by default per model, or from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from demure.baselines.reference import keys_of
from demure.baselines.registry import default_options
from demure.errors import RecipeError
from demure.recipe.aliases import current_name
from demure.recipe.reference import Key, short
from demure.recipe.schema import Recipe
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    import optuna

Value = float | int | bool | str


@dataclass(frozen=True)
class Dimension:
    """The values of one key: ``choices``, or the range from ``low`` to ``high`` (whole numbers if both are).

    With ``log``, the range is searched evenly over its logarithm.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Value, ...] = ()

    @property
    def words(self) -> str:
        """The values as a reader sees them."""
        if self.choices:
            return ", ".join(short(choice) for choice in self.choices)
        return f"{short(self.low)} to {short(self.high)}" + (", log" if self.log else "")

    def including(self, value: Value) -> Dimension:
        """Return the dimension, widened to hold ``value``."""
        if self.choices:
            return self if value in self.choices else replace(self, choices=(*self.choices, value))
        number = float(value) if isinstance(self.low, float) or isinstance(self.high, float) else int(value)
        low, high = min(self.low, number), max(self.high, number)
        return replace(self, low=low, high=high, log=self.log and low > 0)

    def suggest(self, trial: optuna.Trial) -> Value:
        """Draw the value of ``trial``; numbers are rounded to four digits, so that a recipe can be read."""
        if self.choices:
            return cast(Value, trial.suggest_categorical(self.key, self.choices))
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.key, self.low, self.high, log=self.log)
        return float(f"{trial.suggest_float(self.key, self.low, self.high, log=self.log):.4g}")


def _range(low: float, high: float, *, log: bool = False) -> dict[str, Any]:
    return {"low": low, "high": high, "log": log}


_NEIGHBOURS = [0, 20, 50, 100, 200, 500]
_LEARNED = {
    "baseline.learning_rate": _range(3e-4, 1e-2, log=True),
    "baseline.dim": [32, 64, 128],
}
_PAIRWISE = {**_LEARNED, "baseline.regularisation": _range(1e-5, 0.3, log=True)}
_GRAPHS = {**_PAIRWISE, "baseline.layers": _range(1, 4), "baseline.neighbours": _range(5, 40, log=True)}
_SEQUENTIAL = {**_LEARNED, "baseline.layers": _range(1, 3), "baseline.dropout": _range(0.1, 0.6)}
SPACES: dict[str, dict[str, Any]] = {
    "demure": {
        "denoiser.clusters": _range(8, 64, log=True),
        "denoiser.max_dim": _range(10, 40, log=True),
        "collaborative.window": _range(10, 100, log=True),
        "training.cluster_rate": _range(0.02, 0.5, log=True),
        "training.gate_rate": _range(0.03, 0.5, log=True),
        "training.held_out": _range(0.1, 0.4),
    },
    "popularity": {},
    "item-knn": {"baseline.neighbours": _NEIGHBOURS, "baseline.shrink": _range(0.0, 100.0)},
    "item-knn-decayed": {
        "baseline.decay": _range(0.2, 2.0),
        "baseline.window": _range(5, 100, log=True),
        "baseline.neighbours": _NEIGHBOURS,
    },
    "ease": {"baseline.regularisation": _range(10.0, 10_000.0, log=True)},
    "ease-decayed": {
        "baseline.regularisation": _range(10.0, 10_000.0, log=True),
        "baseline.decay": _range(0.2, 2.0),
    },
    "bpr": _PAIRWISE,
    "vbpr": _PAIRWISE,
    "lightgcn": {**_PAIRWISE, "baseline.layers": _range(1, 4)},
    "freedom": {
        **_LEARNED,
        "baseline.layers": _range(1, 3),
        "baseline.neighbours": _range(5, 30, log=True),
        "baseline.pruned": _range(0.0, 0.9),
        "baseline.modal_weight": _range(1e-6, 1e-2, log=True),
    },
    "lattice": {**_GRAPHS, "baseline.kept_graph": _range(0.0, 1.0)},
    "bm3": {
        **_PAIRWISE,
        "baseline.layers": _range(1, 3),
        "baseline.dropout": _range(0.1, 0.6),
        "baseline.modal_weight": _range(0.1, 10.0, log=True),
    },
    "mgcn": {**_GRAPHS, "baseline.contrast_weight": _range(1e-4, 1.0, log=True)},
    "da-mrs": {
        **_GRAPHS,
        "baseline.contrast_weight": _range(1e-4, 1.0, log=True),
        "baseline.align_weight": _range(1e-2, 10.0, log=True),
    },
    "smore": {
        **_GRAPHS,
        "baseline.contrast_weight": _range(1e-4, 1.0, log=True),
        "baseline.dropout": _range(0.0, 0.5),
    },
    "sasrec": _SEQUENTIAL,
    "unisrec": {**_SEQUENTIAL, "baseline.experts": _range(1, 16), "baseline.whitened": [32, 64, 128, 256]},
    "mmmlp": _SEQUENTIAL,
}
"""Model -> key -> its choices or range, as in a file of the user."""
_WITH_DENOISE = {"baseline.denoising": _range(0.0, 1.0)}


def search_space(recipe: Recipe, file: Path | None = None, fixed: Sequence[str] = ()) -> list[Dimension]:
    """Return the space of the recipe's model, or of ``file``, without the ``fixed`` keys.

    Each dimension is wide enough for the recipe's own value. Raises ``RecipeError`` for a file that is not a space, a
    key that the model does not have, values out of the key's range, and where nothing is left to search.
    """
    ours = SPACES.get(recipe.model, {}) | (_WITH_DENOISE if recipe.denoise else {})  # another package's has none
    space = ours if file is None else {current_name(key): value for key, value in _read(file).items()}
    keys = {key.name: key for key in keys_of(recipe.model)}
    where = str(file) if file is not None else f"the space of {recipe.model}"
    left_out = {current_name(key) for key in fixed}
    dimensions = [_dimension(name, value, keys, where) for name, value in space.items() if name not in left_out]
    if not dimensions:
        remedy = "choose another recipe" if not space else "leave a --set out, or name other keys with --space FILE"
        if recipe.model not in SPACES and file is None:
            remedy = "name the keys to search with --space FILE"
        raise RecipeError("holds nothing to search", where=where, remedy=remedy)
    return [dimension.including(recipe_value(recipe, dimension.key)) for dimension in dimensions]


def recipe_value(recipe: Recipe, key: str) -> Value:
    """Return the value of ``key`` in ``recipe``, or the default of its model."""
    section, _, name = key.rpartition(".")
    if section == "baseline":
        default = getattr(default_options(recipe.model), name)
        number: Value = type(default)(recipe.baseline.get(name, default))
        return number
    value: Value = getattr(getattr(recipe, section) if section else recipe, name)
    return value


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"cannot be read ({error})", where=file, remedy="see docs/tuning.md") from error
    if not isinstance(values, dict):
        remedy = "a line is KEY: [choices] or KEY: {low: 1, high: 9, log: true}"
        raise RecipeError("holds no keys to search", where=file, remedy=remedy)
    return {str(key): value for key, value in values.items()}


def _dimension(name: str, value: object, keys: Mapping[str, Key], where: str) -> Dimension:
    place = f"{where}, {name}"
    if name not in keys or keys[name].type in ("text", "list of names"):
        raise RecipeError("is not a key to search", where=place, remedy=did_you_mean(name, keys))
    key = keys[name]
    if isinstance(value, list) and value:
        return Dimension(name, choices=tuple(_checked(key, choice, place) for choice in value))
    if not isinstance(value, Mapping) or not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        remedy = "give [choices] or {low: 1, high: 9, log: true}"
        raise RecipeError(f"is {value!r}", where=place, remedy=remedy)
    low, high, log = _checked(key, value["low"], place), _checked(key, value["high"], place), value.get("log", False)
    if isinstance(low, bool | str) or isinstance(high, bool | str):
        raise RecipeError("has no range", where=place, remedy="give [true, false]")
    if not low < high or not isinstance(log, bool) or (log and low <= 0):
        remedy = "low must be below high, and above 0 with log"
        raise RecipeError(f"is {value!r}", where=place, remedy=remedy)
    return Dimension(name, low, high, log)


def _checked(key: Key, value: object, place: str) -> Value:
    """Return ``value`` with the key's type. Raises ``RecipeError`` if it has another type, or is out of range."""
    if key.type == "true or false":
        if not isinstance(value, bool):
            raise RecipeError(f"{value!r} is not true or false", where=place)
        return value
    try:
        number = float("nan") if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    whole = key.type == "whole number"
    if number != number or (whole and number != int(number)):
        raise RecipeError(f"{value!r} is not a {'whole ' if whole else ''}number", where=place)
    assert key.low is not None and key.high is not None  # noqa: PT018
    if not key.low <= number <= key.high:
        raise RecipeError(f"{value} is out of range", where=place, remedy=key.range)
    return int(number) if whole else number
