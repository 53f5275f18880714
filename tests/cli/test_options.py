"""Every command has a help that fits the terminal, and old names of options keep working."""

import json
import re

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


PATH = re.compile(r"\b(FILE|DIR|DATASET|RUN|STUDY|FROM|TO|PATH)\b")
"""What the metavar of an option or argument has if its value is a path."""


def command_at(path):
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    return command


PATHS = [
    pytest.param(path, parameter.name, id=" ".join([*path, parameter.name]))
    for path in commands()
    for parameter in command_at(path).params
    if PATH.search(parameter.metavar or "")
]


def option_of(parameter):
    return parameter.opts[:1] if parameter.param_type_name == "option" else []


@pytest.mark.parametrize(("path", "name"), PATHS)
def test_an_empty_path_is_refused_and_not_the_current_folder(capsys, monkeypatch, tmp_path, path, name):
    monkeypatch.chdir(tmp_path)
    parameters = command_at(path).params
    (empty,) = [parameter for parameter in parameters if parameter.name == name]
    words = [
        word
        for parameter in parameters
        if parameter is empty or parameter.required
        for word in [*option_of(parameter), "" if parameter is empty else "x"]
    ]
    assert main([*path, *words]) == 2
    printed = capsys.readouterr()
    shown = (option_of(empty) or [empty.metavar.rstrip(".")])[0]
    assert re.search(rf"{re.escape(shown)}:? ''.*; give ", printed.err)
    assert (printed.out, list(tmp_path.iterdir())) == ("", [])


def test_a_blank_path_is_refused(capsys):
    assert main(["report", "run", "--out", " "]) == 2
    assert "--out: ' ' names nothing; give FILE.html (" in capsys.readouterr().err


def test_an_empty_path_among_others_is_refused(capsys):
    assert main(["compare", "best", "", "other"]) == 2
    assert capsys.readouterr().err == (
        "demure: RUN: '' names nothing; give RUN (a shell variable that is not set is empty)\n"
    )


def test_paragraphs_of_help_fill_their_lines(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["inspect", "--help"]) == 0
    assert "interaction is poi (it was a point of interest), noise," in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--track", "--watch"])
def test_track_has_its_old_name_as_a_hidden_alias(capsys, monkeypatch, option):
    monkeypatch.setattr("demure.training.tracked.train_tracked", lambda *_, track, **__: {"track": track})
    assert main(["train", "data", "--out", "run", option, "wandb,mlflow", option, "trackio", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"track": ["wandb", "mlflow", "trackio"]}
    main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "--track" in shown
    assert "--watch" not in shown


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_shows_every_option_by_its_name_in_lower_case(capsys, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", "160")
    command = command_at(path)
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    options = [option for option in command.params if option.param_type_name == "option" and not option.hidden]
    names = [name for option in options for name in option.opts if name.startswith("--")]
    assert [name for name in names if name != name.lower() or f"{name} " not in shown.replace("/", " ")] == []


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("prepare", "--interactions --items --images --features --split --k-core --format --out"),
        ("extract", "--text --image --device --resume --no-resume"),
        ("train", "--out --recipe --set --seed --device --resume"),
        ("eval", "--split --k --json --per-user --device --format"),
        ("compare", "--split --k --format --device --test"),
        ("inspect", "--user --item --json --export --list"),
        ("recommend", "--user --all --k --out"),
        ("report", "--out --compare --truth"),
        ("ui", "--host --port --compare --truth --open"),
        ("data export", "--out --format --name"),
        ("features import", "--format --ids"),
        ("images fetch", "--out --columns --rate"),
    ],
)
def test_the_names_of_options_do_not_change(capsys, path, names):
    command = typer.main.get_command(app)
    for name in path.split():
        command = command.commands[name]
    opts = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    assert set(names.split()) - opts == set()
