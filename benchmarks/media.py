"""CPU seconds and memory of the excerpts of a long MP3 and FLAC, beside soundfile where that is installed.

python benchmarks/media.py --hours 3
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from demure.media.sound import SoundFile, excerpt_starts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.media_files import tone, write_sound

RATE, SECONDS, MOST = 16_000, 10.0, 3
REPEATS = 5


def make(path: Path, hours: float) -> None:
    """Write ``hours`` of rising tones, a minute each."""
    minute = tone(60.0, 200, 3000, rate=RATE)
    write_sound(path, np.tile(minute, round(hours * 60)), rate=RATE)


def excerpts(path: Path) -> None:
    SoundFile(path, path.name).excerpts(RATE, SECONDS, MOST)


def by_soundfile(path: Path) -> None:
    """Read the same places as they are in the file, without resampling."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        for start in excerpt_starts(len(file) / file.samplerate, SECONDS, MOST):
            file.seek(round(start * file.samplerate))
            file.read(round(SECONDS * file.samplerate), dtype="float32")


def measure(read: Callable[[Path], None], path: Path) -> str:
    read(path)
    started = time.process_time()
    for _ in range(REPEATS):
        read(path)
    return f"{1000 * (time.process_time() - started) / REPEATS:.0f} ms"


def report(path: Path) -> None:
    """Print a line about one file, from a process that has read nothing else."""
    import av  # noqa: F401  so that its own memory does not count

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = {"PyAV": measure(excerpts, path)}
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if importlib.util.find_spec("soundfile") is not None:
        times["soundfile"] = measure(by_soundfile, path)
    print(f"{path.name}: {path.stat().st_size >> 20} MB, {times}, {memory:.0f} MB of memory more with PyAV", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--make", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    if options.make:
        make(options.make, options.hours)
    elif options.report:
        report(options.report)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("long.mp3", "long.flac"):
                path = Path(folder) / name
                for action in (["--make", str(path), "--hours", str(options.hours)], ["--report", str(path)]):
                    subprocess.run([sys.executable, __file__, *action], check=True)


if __name__ == "__main__":
    main()
