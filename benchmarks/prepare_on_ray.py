"""Time and memory of `demure prepare` in one process and on a Ray cluster of this machine; see `--help`.

The data are the drawn logs of `data.py`. All outputs are compared byte for byte. The memory of a process is the peak of
its own pages (RssAnon, read twenty times a second), without files that are mapped into memory.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer
from data import MILLION, draw
from speed import DEMURE

_SECONDS = 0.05
app = typer.Typer(add_completion=False)


def processes_below(root: int) -> dict[int, str]:
    """Return the number and the command line of every process that ``root`` has started, itself included."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError):
                head, _, tail = Path(f"/proc/{entry}/stat").read_text().rpartition(")")
                parents[int(entry)] = int(tail.split()[1])
                command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                names[int(entry)] = command or head.partition("(")[2]
    below = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        if not more:
            return {pid: names[pid] for pid in below if pid in names}
        below |= more


def own_bytes(pid: int) -> int:
    """Return the bytes of a process that no file backs; 0 if it has ended."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) << 10
    return 0


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process; 0 if it has ended."""
    with contextlib.suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def measure(command: list[str], *, all_helpers: bool = False) -> tuple[float, float, float, list[float]]:
    """Return seconds, CPU seconds of command and workers, and the peak GiB of the command and of each worker.

    With ``all_helpers``, other processes of Ray that run our code, and forked ones, count as workers.
    """
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peaks: dict[int, int] = {}
    seconds: dict[int, float] = {}
    workers: set[int] = set()
    while child.poll() is None:
        names = processes_below(child.pid)
        own = names.get(child.pid, "")
        for pid, name in names.items():
            seconds[pid] = max(seconds.get(pid, 0.0), cpu_seconds(pid))
            peaks[pid] = max(peaks.get(pid, 0), own_bytes(pid))
            is_worker = name.startswith("ray::" if all_helpers else "ray::Worker") or (all_helpers and name == own)
            workers |= {pid} if is_worker and pid != child.pid else set()
        time.sleep(_SECONDS)
    if child.returncode:
        assert child.stderr is not None
        raise SystemExit(f"{' '.join(command[:3])}: failed\n{child.stderr.read()[-500:]}")
    gib = {pid: peak / 2**30 for pid, peak in peaks.items()}
    cpu = seconds[child.pid] + sum(seconds[pid] for pid in workers)
    return time.monotonic() - began, cpu, gib[child.pid], sorted(gib[pid] for pid in workers)


def same_files(first: Path, second: Path) -> bool:
    """Return whether two folders have the same files."""
    names = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    others = {path.relative_to(second) for path in second.rglob("*") if path.is_file()}
    return names == others and all(filecmp.cmp(first / name, second / name, shallow=False) for name in names)


@app.command()
def main(
    millions: Annotated[str, typer.Option(help="Sizes, in millions of rows.")] = "1",
    workers: Annotated[str, typer.Option(help="Numbers of workers.")] = "1,2",
    work: Annotated[Path, typer.Option(help="Where the drawn files go; removed at the end.")] = Path("/tmp/ray-scale"),
) -> None:
    """Print a line for each size and number of workers, of which 0 is one process without Ray."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    print("| million rows | workers | seconds | CPU seconds | GiB of the command | GiB of a worker | same files |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
    try:
        for size in map(int, millions.split(",")):
            raw = work / f"{size}m.parquet"
            draw(raw, size * MILLION)
            for n in (0, *map(int, workers.split(","))):
                out = work / f"{size}m-{n}"
                command = [DEMURE, "--quiet", "prepare", "--interactions", str(raw), "--out", str(out), "--k-core", "5"]
                command += ["--on", "ray", "--ray-workers", str(n)] if n else []
                seconds, cpu, of_command, of_workers = measure(command)
                same = same_files(work / f"{size}m-0", out)
                memory = f"{of_command:.2f} | {', '.join(f'{gib:.2f}' for gib in of_workers) or '-'}"
                print(f"| {size} | {n or 'none'} | {seconds:.1f} | {cpu:.1f} | {memory} | {same} |", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    app()
