"""What holds for every command line: exit codes, one line per refusal, where words go."""

import json
import subprocess
import sys

import pytest
import typer
from support.runs_by_hand import small_run

from demure.errors import DataError
from demure_cli import app as application
from demure_cli.app import main

COMMANDS = [
    "prepare",
    "extract",
    "train",
    "tune",
    "eval",
    "inspect",
    "recommend",
    "report",
    "ui",
    "export",
    "recipes",
    "extractors",
    "demo",
]


@pytest.fixture
def run(tmp_path):
    return str(small_run(tmp_path))


@pytest.fixture
def failing(monkeypatch):
    """Make `demure inspect` raise."""

    def fail(error):
        def raises(*_, **__):
            raise error

        monkeypatch.setattr("demure.diagnosis.tables.overview", raises)

    return fail


def one_line(text):
    assert text.startswith("demure: "), text
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f" {command} " in shown for command in COMMANDS)


def test_without_arguments_it_shows_its_help(capsys):
    assert main([]) == 0
    assert "Usage: demure" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_flags(capsys, command):
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--quiet", "--verbose"))
    assert "<bool>" not in shown.split("--help")[0]


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "demure 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["--frobnicate"], "No such option"),
        (["--frobnicate"], "--frobnicate"),  # versions of click quote it or not
        (["inspect"], "Missing argument 'RUN'"),
        (["inspect", "r", "--top", "many"], "--top"),
        (["inspect", "r", "--usr", "5"], "see `demure inspect --help`"),
        (["inspect", "nowhere"], "nowhere: is not a run folder"),
        (["inspect", "r", "--user", "a", "--item", "b"], "got --user and --item; use one at a time"),
        (["recommend", "r", "--out", "x.parquet"], "takes either --user ID (repeatedly), --all or --history"),
        (["recommend", "r", "--out", "x.parquet", "--user", "a", "--all"], "takes either"),
        (["prepare", "--interactions", "x"], "Missing option '--out'"),
        (["prepare", "--interactions", "x", "--out", "y", "--features", "image.npy"], "'image.npy' is not NAME=FILE"),
        (["eval", "r", "--k", "5,zero"], "'zero' is not a whole number above zero"),
        (["eval", "r", "--k", ""], "--k"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(capsys, arguments, message):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in one_line(captured.err)
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [["--quiet", "inspect"], ["inspect", "--quiet"], ["-q", "inspect"]])
def test_quiet_before_and_after_the_command(capsys, run, arguments):
    assert main([*arguments, run]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "Which modality was a point of interest" in captured.out


@pytest.mark.parametrize("arguments", [["--verbose", "inspect"], ["inspect", "-v"]])
def test_verbose_before_and_after_the_command(capsys, failing, arguments):
    failing(RuntimeError("boom"))
    assert main([*arguments, "r"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.splitlines()[-1].startswith("demure: RuntimeError: boom")


def test_flags_of_one_command_line_do_not_stay_for_the_next(capsys, run):
    main(["--quiet", "inspect", run])
    capsys.readouterr()
    main(["inspect", run])
    assert "--user ID" in capsys.readouterr().err


def test_a_users_mistake_is_one_line_and_exit_2(capsys, failing):
    failing(DataError("row has\n3 columns", where="x.csv:7", remedy="mend it"))
    assert main(["inspect", "r"]) == 2
    assert capsys.readouterr().err == "demure: x.csv:7: row has 3 columns; mend it\n"


def test_our_mistake_is_one_line_and_exit_1(capsys, failing):
    failing(KeyError("boom"))
    assert main(["inspect", "r"]) == 1
    assert "this is a bug" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("error", "message"),
    [(PermissionError(13, "Permission denied", "/x"), "/x: Permission denied"), (MemoryError(), "out of memory")],
)
def test_what_the_machine_refuses_is_exit_2(capsys, failing, error, message):
    failing(error)
    assert main(["inspect", "r"]) == 2
    assert message in one_line(capsys.readouterr().err)


def test_bytes_that_are_not_utf8_are_a_users_mistake(capsys, run):
    assert main(["inspect", run, "--user", "u\udcff"]) == 2
    assert "is not UTF-8 text; rename" in one_line(capsys.readouterr().err)


def test_a_folder_whose_name_is_not_utf8_is_not_called_damaged(capsys, tmp_path):
    run = small_run(tmp_path).rename(tmp_path / "r\udcff")
    assert main(["inspect", str(run)]) == 2
    assert "rename the folder: its path is not UTF-8" in one_line(capsys.readouterr().err)


def test_ctrl_c_is_exit_130_and_prints_what_is_kept(capsys, failing):
    failing(KeyboardInterrupt())
    assert main(["inspect", "r"]) == 130
    assert "interrupted; nothing was written" in one_line(capsys.readouterr().err)


def test_ctrl_c_in_an_extraction_names_the_dataset(capsys, monkeypatch):
    from demure_cli.command import Interrupted, command

    @command(kept="kept in {dataset}")
    def extract(dataset: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="kept in films"):
        extract(dataset="films", quiet=True, verbose=False)


def test_abort_is_exit_130(capsys, monkeypatch):
    def abort(**_):
        raise typer.Abort

    monkeypatch.setattr(application, "app", abort)
    assert main([]) == 130


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_nobody_reads_on(arguments):
    code = f"import sys; from demure_cli.app import main; sys.exit(main({arguments!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_hostile_bytes_do_not_reach_the_terminal(capsys):
    assert main(["inspect", "a\x1b]0;owned\x07b\nc\u202e"]) == 2
    shown = one_line(capsys.readouterr().err)
    assert not any(char in shown for char in "\x1b\x07\u202e")


def test_json_is_one_object_and_nothing_else(capsys, run):
    assert main(["inspect", run, "--json"]) == 0
    captured = capsys.readouterr()
    assert isinstance(json.loads(captured.out), dict)
    assert captured.err == ""


def test_json_stays_empty_when_it_fails(capsys):
    assert main(["inspect", "nowhere", "--json"]) == 2
    assert capsys.readouterr().out == ""
