"""A package that is installed beside demure adds an encoder and recipes by entry points."""

import json
import sys

import numpy as np
import pytest
from support.small_sets import prepared_set

from demure.errors import DemureError
from demure.extraction.available import list_extractors
from demure.features import store
from demure.recipe.load import load_recipe
from demure.recipe.shipped import list_recipes
from demure_cli.app import main

MODULE = """
import string

import numpy as np

from demure.extraction.protocol import EncoderFamily

LETTERS = EncoderFamily("letters", "counts of letters", "letters", text="letters_plugin:Letters", built_in=True)


class Letters:
    dim, batch = 26, 512

    def identity(self):
        return {"version": 1}

    def encode(self, texts):
        return np.array([[t.count(letter) for letter in string.ascii_lowercase] for t in texts], np.float32)
"""
ENTRIES = """[demure.extractors]
letters = letters_plugin:LETTERS

[demure.recipes]
letters = letters_plugin.recipes
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install the package with these entry points, as pip lays it out."""
    site = tmp_path / "site"
    (site / "letters_plugin" / "recipes").mkdir(parents=True)
    (site / "letters_plugin" / "__init__.py").write_text(MODULE)
    (site / "letters_plugin" / "recipes" / "__init__.py").write_text("")
    (site / "letters_plugin" / "recipes" / "few-themes.yaml").write_text(
        "about: fewer clusters\nextends: tiny\ndenoiser: {clusters: 3}\n"
    )

    def write(entries=ENTRIES, name="letters-plugin"):
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entries)

    monkeypatch.syspath_prepend(str(site))
    for name in ("letters_plugin", "letters_plugin.recipes"):  # that of another test
        monkeypatch.delitem(sys.modules, name, raising=False)
    return write


def test_an_encoder_of_a_package_is_listed_and_encodes(install, tmp_path, capsys):
    install()
    assert [family.family for family in list_extractors()][-1] == "letters"
    dataset = prepared_set(tmp_path / "set", {"item_id": ["a", "b", "c"], "title": ["abba", "cab", "zz top"]})
    assert main(["extract", str(dataset), "--text", "letters", "--json"]) == 0
    json.loads(capsys.readouterr().out)
    np.testing.assert_array_equal(store.load(dataset, "text").vectors[:, :3], [[2, 2, 0], [1, 1, 1], [0, 0, 0]])


def test_a_recipe_of_a_package_is_listed_and_extends_one_of_ours(install):
    install()
    assert {"name": "few-themes", "model": "demure", "about": "fewer clusters"} in list_recipes()
    recipe = load_recipe("few-themes")
    assert recipe.denoiser.clusters == 3
    assert recipe.training == load_recipe("tiny").training


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[demure.extractors]\nletters = letters_plugin:NOTHING\n", "repair or uninstall the package letters-plugin"),
        ("[demure.extractors]\nletters = no_such_module:X\n", "repair or uninstall the package letters-plugin"),
        ("[demure.extractors]\ntfidf = letters_plugin:LETTERS\n", "a package adds 'tfidf', which demure has"),
        ("[demure.extractors]\nwords = letters_plugin:LETTERS\n", "it must be an EncoderFamily named 'words'"),
        ("[demure.extractors]\nletters = letters_plugin:Letters\n", "it must be an EncoderFamily named 'letters'"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(install, entries, message):
    install(entries)
    with pytest.raises(DemureError, match=message):
        list_extractors()


def test_a_name_that_two_packages_use_is_refused(install):
    install()
    install(name="other-letters")
    with pytest.raises(DemureError, match="two packages add 'letters'"):
        list_extractors()


def test_a_recipe_with_the_name_of_ours_is_refused(install, tmp_path):
    install()
    recipes = tmp_path / "site" / "letters_plugin" / "recipes"
    (recipes / "few-themes.yaml").rename(recipes / "default.yaml")
    with pytest.raises(DemureError, match="a package adds 'default', which demure has"):
        list_recipes()
