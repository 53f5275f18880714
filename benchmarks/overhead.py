"""CPU seconds and time of a command, with all processes that it starts: `python benchmarks/overhead.py WORD ...`.

The words are those of `demure`. Ray's own processes are counted as its workers are; a process that ends between two
looks, a fifth of a second apart, is counted as at the last of them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def processes() -> dict[int, tuple[int, float]]:
    """Return process -> its parent and its CPU seconds."""
    table = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                table[int(folder.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS)
    return table


def main() -> None:
    began = time.monotonic()
    command = subprocess.Popen(
        [sys.executable, "-m", "demure_cli", *sys.argv[1:], "--quiet"], stdout=subprocess.DEVNULL
    )
    seconds = {command.pid: 0.0}
    while command.poll() is None:
        table = processes()
        for number in sorted(table):  # parents before their children, mostly: the others at the next look
            parent, used = table[number]
            if number in seconds or parent in seconds:
                seconds[number] = max(used, seconds.get(number, 0.0))
        time.sleep(0.2)
    wall = time.monotonic() - began
    own = seconds.pop(command.pid)
    others = sum(seconds.values())
    print(f"{own:.1f} CPU s of the command, {others:.1f} of others, {wall:.1f} s; exit {command.returncode}")


if __name__ == "__main__":
    main()
