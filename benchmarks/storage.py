"""What a folder at a URL costs beyond a local one: `python benchmarks/storage.py RUN [URL]`.

RUN is a run folder with its dataset. Both are uploaded below URL (a folder on this machine by default), and opened
again in fresh processes: as they are locally, from an empty cache, and from a cache that has them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPEN = """
import sys, time
start = time.perf_counter()
import demure
run = demure.Run.load(sys.argv[1], device="cpu")
run.dataset.items
print(time.perf_counter() - start)
"""
_TIMES = 7


def seconds(*arguments: str) -> float:
    """Return the seconds that a fresh process needs to open a run and its dataset."""
    return float(subprocess.run([sys.executable, "-c", OPEN, *arguments], check=True, capture_output=True).stdout)


def upload(folder: Path, url: str) -> tuple[float, float]:
    """Write a local folder to a URL; return the seconds, and the size in MB."""
    from demure.storage.folders import Use, work_folder

    start = time.perf_counter()
    with work_folder(url, Use.MAKE, overwrite=True) as work:
        shutil.rmtree(work.path, ignore_errors=True)
        shutil.copytree(folder, work.path, symlinks=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return time.perf_counter() - start, size


def main() -> None:
    """Print the seconds as a Markdown table."""
    run = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        url = sys.argv[2] if len(sys.argv) > 2 else f"file://{scratch}/remote"
        os.environ["DEMURE_CACHE"] = f"{scratch}/cache"
        copy = shutil.copytree(run, f"{scratch}/run")
        manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
        written = upload(Path(manifest["dataset"]["path"]), f"{url}/dataset")
        manifest["dataset"]["path"] = f"{url}/dataset"  # which may be edited
        Path(copy, "run.json").write_text(json.dumps(manifest), encoding="utf-8")
        more = upload(Path(copy), f"{url}/run")
        print(f"{written[1] + more[1]:.0f} MB, uploaded in {written[0] + more[0]:.2f} s")
        shutil.rmtree(f"{scratch}/cache")
        first = seconds(f"{url}/run")
        pairs = [(seconds(str(run)), seconds(f"{url}/run")) for _ in range(_TIMES)]
        local, again = (statistics.median(side) for side in zip(*pairs, strict=True))
        print("| local | fetched | nothing changed |\n| ---: | ---: | ---: |")
        print(f"| {local:.2f} s | {first:.2f} s | {again:.2f} s (+{again - local:.2f}) |")


if __name__ == "__main__":
    main()
