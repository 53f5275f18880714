"""The log of a command: JSON lines of everything that happened, and nothing where none is asked for."""

import json
import logging
import os

import pytest

from demure.files import write_json
from demure.progress import Notice, Progress, ValidatedEpoch
from demure_cli.app import main
from demure_cli.output.logs import JsonLine, LoggedProgress, LogOutputs

ROWS = "user_id,item_id\n" + "".join(f"u{user},i{item}\n" for user in range(6) for item in range(5))


@pytest.fixture
def clicks(tmp_path):
    (tmp_path / "clicks.csv").write_text(ROWS)
    return tmp_path / "clicks.csv"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_command_logs_its_start_its_stages_its_files_and_its_end(clicks, tmp_path, capsys):
    out, log = tmp_path / "shop", tmp_path / "log.jsonl"
    arguments = [
        "prepare",
        "--interactions",
        str(clicks),
        "--split",
        "ratio",
        "--out",
        str(out),
        "--log-json",
        str(log),
    ]
    assert main(arguments) == 0
    first, *middle, last = lines(log)
    assert first["arguments"] == arguments
    assert first["level"] == "info"
    assert (last["status"], last["message"].split(" after")[0]) == (0, "ended with status 0")
    stages = [line["stage"] for line in middle if line["message"].endswith("begins")]
    assert stages == ["read", "clean", "filter", "split", "write"]
    [prepared] = [line for line in middle if "counts" in line]
    assert prepared["counts"]["interactions"] == 30
    assert prepared["logger"] == "demure.preparation.prepare"
    assert f"wrote the folder {out}" in [line["message"] for line in middle]
    assert all({"time", "level", "logger", "process", "message"} <= line.keys() for line in lines(log))


def test_the_log_does_not_change_what_is_shown(clicks, tmp_path, capsys):
    shown = []
    for extra in ([], ["--log-json", str(tmp_path / "log.jsonl")]):
        assert (
            main(
                [
                    "prepare",
                    "--interactions",
                    str(clicks),
                    "--split",
                    "ratio",
                    "--out",
                    str(tmp_path / "shop"),
                    "--overwrite",
                    *extra,
                ]
            )
            == 0
        )
        shown.append(capsys.readouterr())
    assert shown[0] == shown[1]


def test_the_log_goes_on_in_the_same_file_and_before_the_command(clicks, tmp_path):
    log = tmp_path / "log.jsonl"
    for _ in range(2):
        assert main(["--log-json", str(log), "data", "show", str(tmp_path)]) == 2
    starts = [line for line in lines(log) if "arguments" in line]
    errors = [line["message"] for line in lines(log) if line["level"] == "error"]
    assert len(starts) == len(errors) == 2
    assert str(tmp_path) in errors[0]


def test_a_log_that_cannot_be_written_is_a_plain_error(clicks, tmp_path, capsys):
    assert main(["recipes", "--log-json", str(tmp_path / "none" / "log.jsonl")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot be written (No such file or directory)" in line
    assert "--log-json" in line


def test_a_command_leaves_no_handler_behind(tmp_path):
    before = list(logging.getLogger().handlers)
    main(["recipes", "--verbose", "--log-json", str(tmp_path / "log.jsonl"), "--quiet"])
    assert logging.getLogger().handlers == before


def test_verbose_prints_the_logs_of_the_library_once(clicks, tmp_path, capsys):
    main(
        [
            "prepare",
            "--interactions",
            str(clicks),
            "--out",
            str(tmp_path / "shop"),
            "-v",
            "--log-json",
            str(tmp_path / "log"),
        ]
    )
    shown = capsys.readouterr().err.splitlines()
    assert [line for line in shown if line.startswith("demure.preparation.prepare: read 30 rows")]
    assert not [line for line in shown if line.startswith("demure.terminal")]


def test_every_record_is_one_line_of_json():
    record = logging.makeLogRecord({"name": "n", "msg": "two\nlines %s \udcff", "args": ("\x00",), "nan": float("nan")})
    line = JsonLine().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == "two\nlines \x00 \udcff"
    assert json.loads(line)["nan"] is None
    try:
        raise ValueError("reason")
    except ValueError as error:
        failed = logging.makeLogRecord({"exc_info": (type(error), error, error.__traceback__)})
    assert "ValueError: reason" in json.loads(JsonLine().format(failed))["traceback"]


def test_progress_is_passed_on_and_its_stages_validations_and_notices_are_logged(caplog):
    received = []
    listener = LoggedProgress(received.append)
    reports = [
        Progress("train", 1, 2),
        Progress("train", 2, 2, {"loss": 0.5}),
        ValidatedEpoch("validate", 1, None, {"recall@20": 0.3}, "recall@20", 0.3, 1),
        Notice("train", 2, text="slow"),
        Progress("diagnose", 0),
    ]
    with caplog.at_level(logging.INFO, logger="demure"):
        for report in reports:
            listener(report)
        listener.end()
    assert received == reports
    begun = ["train begins", "diagnose begins"]
    assert [record.getMessage() for record in caplog.records if record.getMessage().endswith("begins")] == begun
    [ended] = [record for record in caplog.records if record.getMessage().startswith("train ended")]
    assert (ended.done, ended.facts) == (2, {"loss": 0.5})
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == ["slow"]


def test_the_library_logs_without_a_command_line(tmp_path, caplog):
    with caplog.at_level(logging.DEBUG, logger="demure"):
        write_json(tmp_path / "a.json", {})
    assert caplog.messages == [f"wrote the file {tmp_path / 'a.json'}"]


def test_two_outputs_do_not_mix(tmp_path):
    outputs = LogOutputs(print)
    outputs.to_file(str(tmp_path / "a"), ["x"])
    outputs.to_file(str(tmp_path / "a"), ["x"])  # the flag before and after the command
    outputs.end(0, 1.0)
    assert [line["message"] for line in lines(tmp_path / "a")] == ["demure x begins", "ended with status 0 after 1.0 s"]


def test_a_full_disk_ends_the_log_and_not_the_command(capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    assert main(["recipes", "list", "--log-json", "/dev/full"]) == 0
    assert capsys.readouterr().err.count("the log cannot be written any more ([Errno 28] No space left on device)") == 1
