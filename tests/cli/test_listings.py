"""`demure recipes` and `demure extractors`."""

import json

import pytest

from demure_cli.app import main


def test_recipes_are_listed(capsys):
    assert main(["recipes"]) == 0
    bare = capsys.readouterr().out
    assert main(["recipes", "list"]) == 0
    assert capsys.readouterr().out == bare
    assert bare.splitlines()[2].startswith("default")
    assert main(["recipes", "--json"]) == 0
    bare = capsys.readouterr().out
    assert main(["recipes", "list", "--json"]) == 0
    assert capsys.readouterr().out == bare
    assert json.loads(bare)["recipes"][0]["name"] == "default"


def test_a_recipe_is_shown_as_it_is(capsys):
    from demure.recipe.shipped import recipe_text

    assert main(["recipes", "show", "tiny"]) == 0
    assert capsys.readouterr().out == recipe_text("tiny")


def test_a_recipe_in_full_has_every_key_with_its_meaning(capsys):
    assert main(["recipes", "show", "tiny", "--resolved"]) == 0
    shown = capsys.readouterr().out
    assert "  epochs: 2 " in shown
    assert "  patience: 3 " in shown
    assert "# maximum number of soft clusters per modality (1 to 4096)" in shown


@pytest.mark.parametrize("width", [80, 160])
def test_every_key_is_listed(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["recipes", "keys"]) == 0
    shown = capsys.readouterr().out
    assert "training.offset_rate" in shown
    assert max(map(len, shown.splitlines())) <= width
    assert main(["recipes", "keys", "sasrec", "--json"]) == 0
    output = {key["name"]: key for key in json.loads(capsys.readouterr().out)["keys"]}
    assert output["baseline.dropout"]["default"] == 0.3
    assert output["baseline.dropout"]["high"] == 0.99
    assert main(["recipes", "keys", "sasrek"]) == 2
    assert "did you mean sasrec?" in capsys.readouterr().err


def test_a_recipe_is_copied_once(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    assert main(["recipes", "copy", "tiny", str(file)]) == 0
    assert "name: tiny" in file.read_text()
    assert main(["recipes", "copy", "tiny", str(file)]) == 2
    assert "already exists" in capsys.readouterr().err


def test_an_unknown_recipe_names_the_nearest(capsys):
    assert main(["recipes", "show", "defalt"]) == 2
    assert "did you mean default?" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 160])
def test_extractors(capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["extractors"]) == 0
    shown = capsys.readouterr().out
    assert all(family in shown for family in ("tfidf", "color", "clip", "sentence", "vision"))
    assert max(map(len, shown.splitlines())) <= width
    assert main(["extractors", "--json"]) == 0
    output = {row["family"]: row for row in json.loads(capsys.readouterr().out)["extractors"]}
    assert output["tfidf"]["here"] == ["tfidf"]
