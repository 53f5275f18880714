"""Every command has a help that fits the terminal, and old names of options keep working."""

import json

import pytest
import typer

from demure_cli.app import app, main


def commands(command=None, path=()):
    """The path of every command, such as ``("data", "show")``."""
    command = command or typer.main.get_command(app)
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


@pytest.mark.parametrize("width", ["80", "160"])
@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_is_complete_and_fits(capsys, monkeypatch, path, width):
    monkeypatch.setenv("COLUMNS", width)
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= int(width)
    assert "…" not in text


@pytest.mark.parametrize("option", ["--track", "--watch"])
def test_track_has_its_old_name_as_a_hidden_alias(capsys, monkeypatch, option):
    monkeypatch.setattr("demure.training.tracked.train_tracked", lambda *_, track, **__: {"track": track})
    assert main(["train", "data", "--out", "run", option, "wandb,mlflow", option, "trackio", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"track": ["wandb", "mlflow", "trackio"]}
    main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "--track" in shown
    assert "--watch" not in shown
