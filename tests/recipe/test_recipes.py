"""YAML and overrides into a recipe: shipped recipes load, mistakes are named, a written recipe reads back."""

import dataclasses

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demure.errors import DemureError, RecipeError
from demure.recipe.load import load_recipe, to_yaml
from demure.recipe.schema import DenoiserRecipe, Recipe, TrainingRecipe
from demure.recipe.shipped import copy_recipe, list_recipes, recipe_text, shipped_names


@pytest.fixture
def file(tmp_path):
    def write(text, name="mine.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_recipe_loads_and_has_a_description(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.about
    row = next(row for row in list_recipes() if row["name"] == name)
    assert row == {"name": name, "model": recipe.model, "about": recipe.about}


def test_the_default_comes_first_and_is_the_defaults():
    assert shipped_names()[0] == "default"
    assert shipped_names()[1:] == sorted(shipped_names()[1:])
    assert dataclasses.replace(load_recipe("default"), about="") == Recipe()


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("no-denoising", {("denoiser", "denoise"): False}),
        ("content-only", {("collaborative", "enabled"): False}),
    ],
)
def test_ablations_differ_from_the_default_in_one_thing(name, changed):
    base, other = (dataclasses.asdict(load_recipe(recipe)) for recipe in ("default", name))
    sections = ("denoiser", "collaborative", "training", "model", "modalities", "baseline")
    differences = {
        (section, key): other[section][key]
        for section in sections
        if isinstance(base[section], dict)
        for key in base[section]
        if base[section][key] != other[section][key]
    }
    assert differences == changed
    assert (other["model"], other["modalities"]) == (base["model"], base["modalities"])


def test_a_file_extends_a_recipe_key_by_key(file):
    recipe = load_recipe(file("extends: tiny\nname: mine\ntraining:\n  epochs: 9\n"))
    tiny = load_recipe("tiny")
    assert recipe.name == "mine"
    assert recipe.training == dataclasses.replace(tiny.training, epochs=9)
    assert recipe.denoiser == tiny.denoiser != DenoiserRecipe()


def test_files_that_extend_each_other_are_refused(file):
    other = file("", "other.yaml")
    mine = file(f"extends: {other}\n")
    other.write_text(f"extends: {mine}\n")
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(mine)


def test_a_file_is_found_from_the_file_that_extends_it(file, tmp_path, monkeypatch):
    (tmp_path / "bases").mkdir()
    file("extends: deeper.yaml\nname: base\n", "bases/base.yaml")
    file("training:\n  epochs: 8\n", "bases/deeper.yaml")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = load_recipe(file("extends: bases/base.yaml\nabout: mine\n"))
    assert (recipe.name, recipe.about, recipe.training.epochs) == ("base", "mine", 8)


def test_a_circle_of_relative_files_is_refused(file):
    file("extends: b.yaml\n", "a.yaml")
    file("extends: a.yaml\n", "b.yaml")
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(file("extends: a.yaml\n"))
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(file("extends: mine.yaml\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: defualt\n", ["mine.yaml, extends", "no recipe 'defualt'", "did you mean default?"]),
        ("extends: absent.yaml\n", ["absent.yaml", "cannot be read"]),
        ("extends: [default, tiny]\n", ["mine.yaml", "extends is ['default', 'tiny']"]),
        ("extends:\n", ["mine.yaml", "extends is None"]),
        ("extends: tiny\ntraining:\n  epoch: 3\n", ["training.epoch", "did you mean epochs?"]),
        ("extends: tiny\ntraining: 3\n", ["training", "is 3"]),
        ("extends: tiny\nbaseline:\n  dim: wide\n", ["baseline.dim", "'wide' is not a number"]),
    ],
)
def test_what_is_wrong_below_extends_is_named(file, text, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe(file(text))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_overrides_come_last_in_their_order(file):
    path = file("training:\n  epochs: 4\n  patience: 7\n")
    changes = ["training.epochs=5", "denoiser.denoise=false", "training.epochs=6", "modalities=[text, image]"]
    recipe = load_recipe(path, changes)
    assert recipe.training == TrainingRecipe(epochs=6, patience=7)
    assert recipe.denoiser == DenoiserRecipe(denoise=False)
    assert recipe.modalities == ("text", "image")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("training.learning_rate=1e-3", 0.001),
        ("training.learning_rate=.5", 0.5),
        ("training.learning_rate=1", 1.0),
        ("training.learning_rate = 0.25", 0.25),
    ],
)
def test_numbers_as_people_write_them(override, value):
    rate = load_recipe("default", [override]).training.learning_rate
    assert (rate, type(rate)) == (value, float)


def test_other_kinds_of_value():
    assert load_recipe("default", ["modalities=text"]).modalities == ("text",)
    assert load_recipe("default", ["about=one = two"]).about == "one = two"
    assert load_recipe("ease", ["baseline.regularisation=7"]).baseline == {"regularisation": 7}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("denoiser.cluster=4", ["denoiser.cluster", "did you mean clusters?"]),
        ("trainin.epochs=4", ["trainin", "did you mean training?"]),
        ("training.zzz=4", ["training.zzz", "known: epochs"]),
        ("training.epochs=many", ["training.epochs", "'many'", "whole number"]),
        ("training.epochs=2.5", ["training.epochs", "2.5", "whole number"]),
        ("training.epochs=true", ["training.epochs", "True", "whole number"]),
        ("training.epochs=-1", ["training.epochs", "-1 is out of range", "0 to 100000"]),
        ("training.held_out=1.5", ["training.held_out", "1.5 is out of range", "0.01 to 0.9"]),
        ("training.held_out=.nan", ["training.held_out", "out of range"]),
        ("training.held_out=nan", ["training.held_out", "out of range"]),
        ("training.held_out=much", ["training.held_out", "'much' is not a number"]),
        ("training.held_out=", ["training.held_out", "None is not a number"]),
        ("denoiser.denoise=1", ["denoiser.denoise", "1 is not true or false"]),
        ("name=3", ["name", "3 is not text"]),
        ("modalities=[1, 2]", ["modalities", "[1, 2]", "list of names"]),
        ("denoiser=4", ["denoiser", "4"]),
        ("denoiser.clusters.deep=4", ["denoiser.clusters", "whole number"]),
        ("name.deep=4", ["name", "holds no keys"]),
        ("baseline=4", ["baseline", "4"]),
        ("epochs", ["'epochs' is not KEY=VALUE"]),
        ("=4", ["is not KEY=VALUE"]),
        ("name=[", ["--set name", "cannot be read"]),
    ],
)
def test_a_wrong_override_is_named(override, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe("default", [override])
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "", "3", "a: [", "training:\n", "training: 3\n", "1: 2\n"])
def test_a_file_that_is_no_recipe_is_refused(file, text):
    with pytest.raises(RecipeError):
        load_recipe(file(text))


def test_an_unknown_recipe_has_a_nearest_name(tmp_path):
    for load in (load_recipe, recipe_text):
        with pytest.raises(RecipeError, match="did you mean no-denoising"):
            load("no-denosing")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "absent.yaml")


@example(Recipe(name="two\x85lines", baseline={"\u2028": 1.0, "é": 2.0}))
@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        Recipe,
        name=st.text(),
        about=st.text(),
        modalities=st.lists(st.text(min_size=1), max_size=3).map(tuple),
        denoiser=st.builds(DenoiserRecipe, denoise=st.booleans(), clusters=st.integers(1, 4096)),
        training=st.builds(TrainingRecipe, epochs=st.integers(1, 100_000), learning_rate=st.floats(0, 10)),
        baseline=st.dictionaries(st.text(min_size=1), st.floats(0, 1e6)),
    )
)
def test_what_is_written_reads_back(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_the_ranges_hold_the_defaults():
    """So that a recipe with every key written out is no other recipe."""
    written = yaml.safe_load(to_yaml(Recipe()))
    changes = [f"{part}.{key}={value}" for part in ("denoiser", "training") for key, value in written[part].items()]
    assert dataclasses.replace(load_recipe("default", changes), about="") == Recipe()


def test_a_copy_is_the_same_recipe_and_replaces_nothing(tmp_path):
    path = copy_recipe("tiny", tmp_path / "new" / "tiny.yaml")
    assert load_recipe(path) == load_recipe("tiny")
    path.write_text("name: mine\n")
    with pytest.raises(DemureError, match="already exists"):
        copy_recipe("default", path)
    assert path.read_text() == "name: mine\n"


def test_numbers_of_a_baseline_may_be_written_with_an_exponent():
    assert load_recipe("freedom", ["baseline.modal_weight=1e-05"]).baseline == {"modal_weight": 1e-05}
    with pytest.raises(RecipeError, match=r"'much' is not a number"):
        load_recipe("freedom", ["baseline.modal_weight=much"])
