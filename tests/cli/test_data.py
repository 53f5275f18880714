"""`demure prepare` with its further options, and `demure data`, as a user types them."""

import json

import pytest
from support.data_by_hand import csv_of, write

from demure_cli.app import main

LINES = [(f"u{k % 7}", f"i{k * k % 11}", 1_600_000_000 + 86400 * k, 1 + k % 5) for k in range(60)]


@pytest.fixture
def log(tmp_path):
    path = write(tmp_path, "log.csv", csv_of(LINES, "visitorid,sku,when,stars"))
    return [
        "prepare",
        "--interactions",
        str(path),
        "--columns",
        "user=visitorid,item=sku",
        "--columns",
        "timestamp=when",
    ]


def run(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("width", ["80", "160"])
def test_a_dry_run_shows_the_steps_and_the_leaks(tmp_path, log, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    asked = ["--split", "all", "--min-rating", "2", "--user-core", "3", "--since", "2020-09-20", "--dry-run"]
    assert main([*log, "--out", str(tmp_path / "shop"), *asked]) == 0
    captured = capsys.readouterr()
    for words in (
        "would write",
        "before --since",
        "rating below 2",
        "core of users 3, items 0",
        "global-time",
        "random",
    ):
        assert words in captured.out
    assert "…" not in captured.out
    assert max(map(len, captured.out.splitlines())) <= int(width)
    assert "a dry run: nothing was written" in captured.err
    assert "'visitorid' is taken as user_id, as --columns says" in captured.err
    assert not (tmp_path / "shop").exists()


def test_from_a_log_to_another_tool(tmp_path, log, capsys):
    report = run(
        capsys, *log, "--out", tmp_path / "shop", "--split", "ratio", "--ratio", "50/25/25", "--ratio-by", "random"
    )
    leaks = report["splits"]["ratio"]
    assert leaks["after_own"] > 0
    shown = run(capsys, "data", "show", tmp_path / "shop")
    assert shown["counts"] == report["counts"]
    assert shown["leaks"] == leaks
    assert sum(part["count"] for part in shown["histories"]["bins"]) == 7
    written = run(capsys, "data", "export", tmp_path / "shop", "--out", tmp_path / "toy", "--format", "recbole")
    assert "toy.train.inter" in written["files"]
    lines = (tmp_path / "toy" / "toy.train.inter").read_text().splitlines()
    assert len(lines) - 1 == report["counts"]["train"]


@pytest.mark.parametrize("width", ["80", "160"])
def test_show_fits_the_terminal(tmp_path, log, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    assert main(["--quiet", *log, "--out", str(tmp_path / "shop")]) == 0
    capsys.readouterr()
    assert main(["data", "show", str(tmp_path / "shop")]) == 0
    shown = capsys.readouterr().out
    for words in ("density", "sessions", "Users by choices", "Choices over time", "█", "The items have no content"):
        assert words in shown
    assert max(map(len, shown.splitlines())) <= int(width)


def test_several_splits_must_be_named(tmp_path, log, capsys):
    assert main(["--quiet", *log, "--out", str(tmp_path / "all"), "--split", "all"]) == 0
    capsys.readouterr()
    assert main(["data", "show", str(tmp_path / "all")]) == 2
    assert "holds several splits" in capsys.readouterr().err
    assert run(capsys, "data", "show", tmp_path / "all" / "global-time")["leaks"]["after_cut"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "show", "nowhere"], "nowhere: is not a dataset folder"),
        (["data", "export", "nowhere", "--out", "x", "--format", "mmrec"], "nowhere: is not a dataset folder"),
        (["data", "export", "nowhere", "--out", "x", "--format", "excel"], "--format: unknown value 'excel'"),
        (["data", "export", "nowhere", "--out", "x"], "Missing option '--format'"),
        (["data", "sow"], "No such command 'sow'"),
        (["images", "fetch", "nowhere.csv", "--out", "x"], "nowhere.csv: no such file"),
        (["images", "fetch", "nowhere.csv", "--out", "x", "--rate", "0"], "--rate: must be above 0"),
        (["prepare", "--interactions", "x", "--out", "y", "--columns", "user=a,user=b"], "'user' is given twice"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["--quiet", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("group", ["data", "images"])
def test_a_group_shows_its_commands(capsys, group):
    main([group])
    captured = capsys.readouterr()
    assert {"data": "export", "images": "fetch"}[group] in captured.out + captured.err
