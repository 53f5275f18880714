"""Former names of recipe keys keep working, with one note each."""

import dataclasses

import pytest

from demure.errors import RecipeError
from demure.recipe.aliases import ALIASES, current_name
from demure.recipe.load import load_recipe, to_yaml
from demure.recipe.reference import recipe_keys

OLD = """
extends: tiny
denoiser:
  themes: 9
training:
  hearings: 1
  epochs: 3
"""


@pytest.fixture
def old_file(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    return tmp_path / "old.yaml"


def test_an_alias_names_a_key_of_its_section_and_is_not_a_key():
    names = {key.name for key in recipe_keys()}
    for old, new in ALIASES.items():
        assert old not in names
        assert new in names
        assert old.partition(".")[0] == new.partition(".")[0]
        assert (current_name(old), current_name(new)) == (new, new)


def test_former_names_give_the_same_recipe_with_one_note_each(old_file):
    notices = []
    recipe = load_recipe(old_file, ["training.hearings=2", "training.hearings=2"], listener=notices.append)
    tiny = load_recipe("tiny")
    assert recipe.denoiser == dataclasses.replace(tiny.denoiser, clusters=9)
    assert recipe.training == dataclasses.replace(tiny.training, belief_passes=2, epochs=3)
    assert [notice.text for notice in notices] == [
        "denoiser.themes is now denoiser.clusters",
        "training.hearings is now training.belief_passes",
    ]


def test_the_last_value_counts_under_either_name(old_file):
    assert load_recipe(old_file, ["denoiser.clusters=4"]).denoiser.clusters == 4
    assert load_recipe("default", ["denoiser.clusters=4", "denoiser.themes=5"]).denoiser.clusters == 5


def test_current_names_give_no_note():
    notices = []
    load_recipe("tiny", ["training.belief_passes=0"], listener=notices.append)
    assert notices == []


def test_a_key_under_both_names_is_refused(tmp_path):
    file = tmp_path / "both.yaml"
    file.write_text("denoiser:\n  themes: 9\n  clusters: 8\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"both\.yaml: denoiser\.themes is the former name of denoiser\.clusters"):
        load_recipe(file)


def test_a_recipe_is_written_under_current_names(old_file):
    text = to_yaml(load_recipe(old_file))
    assert not any(f" {old.rpartition('.')[2]}:" in text for old in ALIASES)


def test_a_wrong_value_is_named_under_the_current_name():
    with pytest.raises(RecipeError, match=r"training\.belief_passes: -1 is out of range"):
        load_recipe("default", ["training.hearings=-1"])
