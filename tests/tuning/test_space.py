"""What is searched: the default of every model, a file, what is settled; and what is refused."""

from dataclasses import replace

import optuna
import pytest
from guards.tree import ROOT

from demure.baselines.reference import keys_of
from demure.baselines.registry import BASELINES, LEARNED
from demure.errors import RecipeError
from demure.recipe.load import load_recipe
from demure.tuning.space import SPACES, Dimension, recipe_value, search_space


def test_every_model_has_a_space_of_its_own_keys():
    assert set(SPACES) == {"demure", *BASELINES, *LEARNED}
    for model in SPACES:
        keys = {key.name: key for key in keys_of(model)}
        for key, values in SPACES[model].items():
            ends = values if isinstance(values, list) else [values["low"], values["high"]]
            assert all(keys[key].low <= end <= keys[key].high for end in ends), (model, key)


@pytest.mark.parametrize("recipe", ["default", "tiny", "sasrec", "ease-decayed", "item-knn", "bpr-sparse", "freedom"])
def test_what_the_recipe_has_is_in_the_space(recipe):
    loaded = load_recipe(recipe)
    for dimension in search_space(loaded):
        value = recipe_value(loaded, dimension.key)
        assert value in dimension.choices if dimension.choices else dimension.low <= value <= dimension.high


def test_a_file_names_what_to_search(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "training.epochs: {low: 2, high: 9}\ndenoiser.hard: [true, false]\n"
        "training.cluster_rate: {low: 1e-3, high: 1, log: true}\ndenoiser.themes: [4, 8]\n"
    )
    dimensions = {dimension.key: dimension for dimension in search_space(load_recipe("default"), file)}
    assert dimensions["training.epochs"] == Dimension("training.epochs", 2, 25)  # as wide as the recipe's own 25
    assert dimensions["denoiser.hard"].choices == (True, False)
    assert dimensions["denoiser.clusters"].choices == (4, 8, 20)
    assert dimensions["training.cluster_rate"] == Dimension("training.cluster_rate", 0.001, 1.0, log=True)
    kinds = {
        key: type(dimension.suggest(optuna.trial.FixedTrial({key: (*dimension.choices, dimension.low)[0]})))
        for key, dimension in dimensions.items()
    }
    assert list(kinds.values()) == [int, bool, float, int]


def test_what_is_settled_is_not_searched():
    fixed = ["baseline.dim", "about"]
    assert "baseline.dim" not in {dimension.key for dimension in search_space(load_recipe("bpr"), fixed=fixed)}


def test_zero_in_a_logarithmic_range_makes_it_even():
    assert Dimension("a", 1e-3, 1.0, log=True).including(0.0) == Dimension("a", 0.0, 1.0, log=False)


@pytest.mark.parametrize(
    ("recipe", "text", "message"),
    [
        ("default", "training.epoch: [1]", "training.epoch: is not a key to search; did you mean training.epochs?"),
        ("default", "baseline.dim: [1]", "baseline.dim: is not a key"),
        ("bpr", "baseline.dims: [1]", "did you mean baseline.dim?"),
        ("default", "name: [a, b]", "name: is not a key to search"),
        ("default", "training.epochs: 3", "is 3; give"),
        ("default", "training.epochs: []", "is []; give"),
        ("default", "training.epochs: {low: 3}", "give [choices] or"),
        ("default", "training.epochs: {low: 3, high: 3}", "low must be below high"),
        ("default", "training.epochs: {low: 0, high: 3, log: true}", "above 0 with log"),
        ("default", "training.epochs: {low: 1.5, high: 3}", "1.5 is not a whole number"),
        ("default", "training.epochs: [many]", "'many' is not a whole number"),
        ("default", "training.held_out: {low: 0.2, high: 2}", "2 is out of range; 0.01 to 0.9"),
        ("default", "denoiser.hard: [1, 0]", "1 is not true or false"),
        ("default", "denoiser.hard: {low: false, high: true}", "has no range"),
        ("default", "- a", "holds no keys to search"),
        ("default", "a: [", "cannot be read"),
        ("default", "{}", "holds nothing to search"),
        ("popularity", None, "the space of popularity: holds nothing to search; choose another recipe"),
    ],
)
def test_what_is_refused(tmp_path, recipe, text, message):
    file = None
    if text is not None:
        file = tmp_path / "space.yaml"
        file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        search_space(load_recipe(recipe), file)
    assert message in str(caught.value), str(caught.value)


def test_how_much_of_the_verdicts_counts_is_searched_where_there_are_verdicts():
    searched = [
        [dimension.key for dimension in search_space(replace(load_recipe("vbpr"), denoise=run))] for run in ("", "run")
    ]
    assert searched[1] == [*searched[0], "baseline.denoising"]


def test_the_page_lists_every_default_space():
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    for model in SPACES:
        for dimension in search_space(load_recipe({"demure": "default"}.get(model, model))) if SPACES[model] else ():
            assert f"| `{model}` | `{dimension.key}` | {dimension.words} |" in text, (
                model,
                dimension.key,
                dimension.words,
            )
