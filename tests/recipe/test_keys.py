"""Every key of a recipe is documented on the page as in the schema."""

import dataclasses
import importlib.util

import pytest
import yaml
from guards.tree import ROOT

from demure.baselines.options import OPTIONS
from demure.baselines.reference import keys_of, reference, resolved_text
from demure.baselines.registry import BASELINES, LEARNED, default_options, learned_options
from demure.errors import RecipeError
from demure.recipe.load import load_recipe
from demure.recipe.reference import recipe_keys, short
from demure.recipe.schema import Recipe
from demure.recipe.shipped import shipped_names

MODELS = ["demure", *BASELINES, *LEARNED]


def test_every_key_is_documented():
    names = {key.name for key in recipe_keys()}
    sections = {name: section for name, section in dataclasses.asdict(Recipe()).items() if isinstance(section, dict)}
    expected = {f"{section}.{key}" for section, keys in sections.items() for key in keys}
    assert names == expected | {"name", "about", "model", "modalities", "denoise"}
    for key in recipe_keys():
        assert key.doc, key.name
        assert key.source, key.name
        assert (key.type in ("number", "whole number")) == (key.low is not None) == bool(key.range), key.name


def test_every_option_of_a_baseline_is_documented_and_its_default_is_in_range():
    used = set()
    for model in (*BASELINES, *LEARNED):
        for field in dataclasses.fields(default_options(model)):
            used.add(field.name)
            low, high, doc, source = OPTIONS[field.name]
            assert low <= getattr(default_options(model), field.name) <= high, (model, field.name)
            assert doc, field.name
            assert source, field.name
    assert used == set(OPTIONS)


@pytest.mark.parametrize("model", MODELS)
def test_the_documented_defaults_are_the_defaults_in_use(model):
    for key in keys_of(model):
        if key.name.startswith("baseline."):
            assert getattr(default_options(model), key.name.removeprefix("baseline.")) == key.default
        elif key.low is not None:
            loaded = load_recipe("default", [f"{key.name}={key.default}"])
            assert loaded == load_recipe("default"), key.name


def test_the_page_is_written_from_the_schema():
    """`python docs/make_recipes.py` writes it."""
    spec = importlib.util.spec_from_file_location("make_recipes", ROOT / "docs" / "make_recipes.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert text == maker.page(text), "run `python docs/make_recipes.py`"
    assert all(f"| `{key.name}` |" in reference() for model in MODELS for key in keys_of(model))


@pytest.mark.parametrize("name", shipped_names())
def test_a_resolved_recipe_is_the_recipe(name):
    values = yaml.safe_load(resolved_text(name))
    options = values.pop("baseline")
    loaded = load_recipe(name)
    written = dataclasses.asdict(dataclasses.replace(loaded, modalities=list(loaded.modalities)))
    assert values == {key: value for key, value in written.items() if key != "baseline"}
    if loaded.model in LEARNED:
        assert learned_options(loaded.model, options) == learned_options(loaded.model, loaded.baseline)
    assert resolved_text(name).count("  # ") == len(recipe_keys()) + len(options)


def test_recipes_for_sparse_sets_differ_in_one_number():
    for name in ("bpr", "lightgcn"):
        base, sparse = load_recipe(name), load_recipe(f"{name}-sparse")
        assert dataclasses.replace(sparse, name=base.name, about=base.about, baseline={}) == base
        assert list(sparse.baseline) == ["regularisation"]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("sasrec", {"dropout": 1.5}, "dropout is 1.5; give 0 to 0.99"),
        ("sasrec", {"heads": 3}, "heads is 3; it must divide dim, 64"),
        ("bpr", {"dim": 0}, "dim is 0; give 1 to 65536"),
        ("bpr", {"learning_rate": -1}, "learning_rate is -1; give 0 to 10"),
        ("lightgcn", {"layer": 2}, "unknown option 'layer'; did you mean layers"),
    ],
)
def test_an_option_out_of_range_is_refused(model, options, message):
    with pytest.raises(RecipeError, match=message):
        learned_options(model, options)


def test_an_unknown_model_has_a_nearest_name():
    with pytest.raises(RecipeError, match="did you mean lightgcn"):
        keys_of("lightgcm")


def test_numbers_are_short():
    written = [short(value) for value in (1_000_000_000, 1e9, 640_000, 0.0001, 0.5, True, 3)]
    assert written == ["1e9", "1e9", "640000", "0.0001", "0.5", "true", "3"]
