"""Closed, full and broken standard streams, and sizes of the terminal that make no sense, are no bugs of demure."""

import errno
import os
import subprocess
import sys

import pytest

from demure_cli.app import main
from demure_cli.output.surroundings import Forgiving, correct_sizes

CODE = "import sys; from demure_cli.app import main; sys.exit(main({arguments!r}))"
GOOD, BAD = ["recipes"], ["frobnicate"]


def with_streams(arguments, redirect):
    """Run a command behind shell redirections; return its exit status, and what reached the pipes."""
    code = CODE.format(arguments=arguments)
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "bug" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "redirect", "status"),
    [
        (["--version"], ">&-", 0),
        (["--help"], ">&-", 0),
        ([*GOOD, "--json"], ">&-", 0),
        (GOOD, "2>&-", 0),
        (GOOD, ">&- 2>&- <&-", 0),
        (BAD, "2>&-", 2),
        (BAD, ">&- 2>&-", 2),
        (GOOD, ">/dev/full", 2),
        (["--help"], ">/dev/full", 2),
        (GOOD, "2>/dev/full", 0),
        (BAD, "2>/dev/full", 2),
        (GOOD, "2</dev/null", 0),
    ],
)
def test_streams_that_take_nothing(arguments, redirect, status):
    returned, out, err = with_streams(arguments, redirect)
    assert returned == status
    if redirect.startswith(">/dev/full"):
        assert out == ""
        assert "No space left on device" in err.splitlines()[-1]
        assert ("standard output: cannot be written" in err) == (arguments == GOOD)  # the help is printed by Typer


def test_a_closed_stream_takes_the_place_of_no_file(tmp_path):
    """A file that is opened while standard output is closed must not get its number, and with it what is printed."""
    file = tmp_path / "file"
    code = (
        "import os, sys; from demure_cli.output.surroundings import open_streams; open_streams(); "
        f"handle = open({str(file)!r}, 'w'); os.write(1, b'text'); os.write(2, b'text'); sys.exit(handle.fileno())"
    )
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, code], check=False)
    assert done.returncode > 2
    assert file.read_bytes() == b""


@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_a_reader_that_is_gone(closed):
    process = subprocess.Popen(
        [sys.executable, "-c", CODE.format(arguments=GOOD)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    for name in closed:
        getattr(process, name).close()
    out, err = (None if stream.closed else stream.read() for stream in (process.stdout, process.stderr))
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == (141 if "stdout" in closed else 0)
    assert not err or b"Exception" not in err
    assert out is None or b"tiny" in out


def test_progress_that_nobody_reads_stops_no_work():
    class Gone:
        encoding = "utf-8"

        def write(self, text):
            raise OSError(errno.EIO, "Input/output error")  # a terminal that was closed

        def flush(self):
            raise OSError(errno.EIO, "Input/output error")

    stream = Forgiving(Gone())
    stream.write("text")
    stream.flush()
    assert stream.encoding == "utf-8"


@pytest.mark.parametrize(
    ("value", "columns"),
    [("0", None), ("00", None), ("-3", None), ("abc", None), ("", None), ("²", None), ("٣", None), ("1", "20"),
     ("20", "20"), ("160", "160"), ("99999999999999", "10000")],
)  # fmt: skip
def test_sizes_of_the_terminal(monkeypatch, value, columns):
    monkeypatch.setenv("COLUMNS", value)
    monkeypatch.setenv("LINES", value)
    monkeypatch.setenv("TERMINAL_WIDTH", value)
    correct_sizes()
    assert (os.environ.get("COLUMNS"), os.environ.get("TERMINAL_WIDTH")) == (columns, columns)
    assert ("LINES" in os.environ) == (columns is not None)


@pytest.mark.parametrize("value", ["0", "1", "²", "x"])
@pytest.mark.parametrize("arguments", [GOOD, ["--help"]])
def test_no_width_hides_the_output(capsys, monkeypatch, arguments, value):
    monkeypatch.setenv("COLUMNS", value)
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "demure" in out
    if arguments != GOOD:
        assert len(out) > 2000
        return
    monkeypatch.setenv("COLUMNS", "200")
    assert main(arguments) == 0
    wide = capsys.readouterr().out.split()
    assert len(wide) > 100
    assert all(word in "".join(out.split()) for word in wide if "─" not in word)
