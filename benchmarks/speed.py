"""Time and peak memory of every command on real data: `make bench`, or `python benchmarks/speed.py --help`.

Each command runs in a process of its own; peak memory is the kernel's (ru_maxrss of the child).
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "shared" / "data"
DEMURE = str(Path(sys.executable).parent / "demure")
BARE = "import typer\napp = typer.Typer()\n@app.command()\ndef main(name: str = '') -> None:\n    pass\napp()\n"
app = typer.Typer(add_completion=False)

Data = Annotated[Path, typer.Option(help="Folder with ml-100k-posters and tiktok.")]


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Return the seconds and the peak GiB of one command; stop the benchmark if it fails."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {child.returncode}\n{errors[-500:]}")
    return time.monotonic() - start, usage.ru_maxrss / 2**20


def _table(header: str, rows: list[str]) -> None:
    print("\n".join([header, "|" + " --- |" * header.count(" | ") + " --- |", *rows]), "\n", flush=True)


@app.command()
def start_up(rounds: int = 15) -> None:
    """Compare `demure --help` with the help of a bare Typer app, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(timed([DEMURE, "--help"])[0])
            theirs.append(timed([sys.executable, str(bare), "--help"])[0])
    mine, bare_median = statistics.median(ours), statistics.median(theirs)
    _table(
        "| `demure --help` s | bare Typer app s | ratio |",
        [f"| {mine:.3f} | {bare_median:.3f} | {mine / bare_median:.2f} |"],
    )


@app.command()
def pipeline(data: Data = DATA, work: Path = Path("/tmp/demure-speed")) -> None:
    """Measure every command on ML-100K with posters, and those that its split allows on TikTok."""
    shutil.rmtree(work, ignore_errors=True)
    movies, tiktok = data / "ml-100k-posters", data / "tiktok"
    ml, tk = work / "ml-100k", work / "tiktok"
    raw = ["--items", movies / "items.csv", "--images", movies]
    runs = [
        ("ml-100k prepare", _prepare(movies / "interactions.csv", ml, *raw)),
        ("ml-100k extract", [DEMURE, "extract", str(ml)]),
        ("ml-100k train", [DEMURE, "train", str(ml), "--out", str(work / "ml-run")]),
        ("ml-100k eval", [DEMURE, "eval", str(work / "ml-run")]),
        (
            "ml-100k inspect --export",
            [DEMURE, "inspect", str(work / "ml-run"), "--export", str(work / "noise.parquet")],
        ),
        (
            "ml-100k recommend --all",
            [DEMURE, "recommend", str(work / "ml-run"), "--all", "--out", str(work / "top.parquet")],
        ),
        ("ml-100k report", [DEMURE, "report", str(work / "ml-run"), "--out", str(work / "report.html")]),
        ("tiktok prepare", _prepare(tiktok / "tiktok.inter", tk, "--format", "mmrec", "--split", "given")),
        ("tiktok train", [DEMURE, "train", str(tk), "--out", str(work / "tk-run")]),
        ("tiktok eval --split valid", [DEMURE, "eval", str(work / "tk-run"), "--split", "valid"]),
    ]
    rows = []
    for name, command in runs:
        seconds, peak = timed(command)
        rows.append(f"| {name} | {seconds:.1f} | {peak:.2f} |")
    _table("| command | seconds | peak GiB |", rows)


def _prepare(interactions: Path, out: Path, *options: object) -> list[str]:
    return [DEMURE, "prepare", "--interactions", str(interactions), "--out", str(out), *map(str, options)]


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Run everything, and print the machine first."""
    if context.invoked_subcommand is None:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
        start_up()
        pipeline()


if __name__ == "__main__":
    app()
