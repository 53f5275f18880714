"""Measure the whole way, from `demure prepare` to `demure report`, on a drawn log: `python benchmarks/size.py --help`.

The log has the shape of a shop's: few items and users have most interactions, and every choice is caused by the text
(clusters of 384 columns), the image (512 columns) or by nothing that the items contain. Each step is a process of its
own; its peak memory is the kernel's (ru_maxrss of the child). The seconds of each stage of the training are those of
its log; they are printed too if the training is interrupted.

Shape suffixes: U users, I items, N interactions, D columns of the features.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

DEMURE = [sys.executable, "-m", "demure_cli"]
COLUMNS = {"text": 384, "image": 512}
TOPICS = 60  # of each modality
POPULAR = 0.3  # share of the choices that popularity causes
app = typer.Typer(add_completion=False)


def draw(work: Path, users: int, items: int, length: int, seed: int = 0) -> None:
    """Write log.parquet, ids.txt and one .npy file of features per modality to ``work``."""
    rng = np.random.default_rng(seed)
    popularity_I = (1.0 + np.arange(items)) ** -0.8
    rng.shuffle(popularity_I)
    topic = {}
    for name, columns in COLUMNS.items():
        topic[name] = rng.integers(TOPICS, size=items)
        centres_TD = rng.normal(size=(TOPICS, columns)).astype(np.float32)
        vectors = np.lib.format.open_memmap(work / f"{name}.npy", "w+", np.float32, (items, columns))
        for start in range(0, items, 100_000):
            rows = topic[name][start : start + 100_000]
            vectors[start : start + len(rows)] = centres_TD[rows] + rng.normal(size=(len(rows), columns))
        vectors.flush()
    (work / "ids.txt").write_text("".join(f"i{item}\n" for item in range(items)))
    length_U = np.minimum(3 + rng.geometric(1 / max(length - 3, 1), users), 500)
    user_N = np.repeat(np.arange(users), length_U)
    cumulative_I = np.cumsum(popularity_I / popularity_I.sum())
    item_N = np.searchsorted(cumulative_I[:-1], rng.random(len(user_N)))
    of_text_U = rng.random(users) < 0.5
    for name, of_modality_U in zip(COLUMNS, (of_text_U, ~of_text_U), strict=True):
        of_topic = _by_topic(topic[name], popularity_I)
        interest_U2 = rng.integers(TOPICS, size=(users, 2))
        caused_N = of_modality_U[user_N] & (rng.random(len(user_N)) > POPULAR)
        interest_N = interest_U2[user_N, rng.integers(2, size=len(user_N))]
        for number in range(TOPICS):
            rows = np.flatnonzero(caused_N & (interest_N == number))
            members, cumulative = of_topic[number]
            item_N[rows] = members[np.searchsorted(cumulative, rng.random(len(rows)))]
    table = {
        "user_id": pa.array(np.char.add("u", user_N.astype(str))),
        "item_id": pa.array(np.char.add("i", item_N.astype(str))),
        "timestamp": pa.array(1_600_000_000 + rng.integers(0, 30_000_000, len(user_N))),
    }
    pq.write_table(pa.table(table), work / "log.parquet")


def _by_topic(topic_I: np.ndarray, popularity_I: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    parts = []
    for number in range(TOPICS):
        members = np.flatnonzero(topic_I == number)
        cumulative = np.cumsum(popularity_I[members] / popularity_I[members].sum())
        parts.append((members, cumulative[:-1]))
    return parts


def measure(arguments: list[str], log: Path) -> tuple[float, float, float]:
    """Return seconds by the clock, CPU seconds, and peak GiB of a command; what it prints goes to ``log``."""
    began = time.monotonic()
    with log.open("w") as output:
        child = subprocess.Popen([*DEMURE, *arguments], stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"demure {arguments[0]} failed:\n{log.read_text()[-2000:]}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def print_stages(log: Path) -> None:
    """Print the seconds of each stage in the ``--log-json`` file, in the order of their begin."""
    seconds: dict[str, float] = {}
    began: dict[str, datetime] = {}
    for line in map(json.loads, log.read_text().splitlines()):
        if line["message"].endswith(" begins") and "stage" in line:
            began = {line["stage"]: datetime.fromisoformat(line["time"])}
            seconds.setdefault(line["stage"], 0.0)
        elif "stage" in line and "seconds" in line:
            seconds[line["stage"]] += line["seconds"]
            began = {}
    for stage, value in seconds.items():
        print(f"|   {stage} | {value:.0f} | | |", flush=True)
    for stage, start in began.items():
        print(f"|   {stage}, not ended | {(datetime.now(UTC) - start).total_seconds():.0f} | | |", flush=True)


@app.command()
def main(
    users: Annotated[int, typer.Option(help="Number of users.")] = 100_000,
    items: Annotated[int, typer.Option(help="Number of items.")] = 50_000,
    length: Annotated[int, typer.Option(help="Interactions per user, on average.")] = 10,
    rank: Annotated[bool, typer.Option(help="Evaluate and recommend for all users too.")] = False,
    sets: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE for `demure train`.")] = None,
    work: Annotated[Path, typer.Option(help="Where everything goes; emptied first.")] = Path("/tmp/demure-size"),
) -> None:
    """Print time and peak memory of every command."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    draw(work, users, items, length)
    data, run, log, train_log = str(work / "data"), str(work / "run"), work / "command.log", work / "train.json"
    imports = [f"{name}={work / name}.npy" for name in COLUMNS]
    commands = [
        ["prepare", "--interactions", str(work / "log.parquet"), "--out", data],
        *(["features", "import", data, name, "--ids", str(work / "ids.txt"), "--partial"] for name in imports),
        ["train", data, "--out", run, "--log-json", str(train_log), *(f"--set={pair}" for pair in sets or [])],
        *([["eval", run], ["recommend", run, "--all", "--out", str(work / "lists.parquet")]] if rank else []),
        ["inspect", run, "--export", str(work / "verdicts.parquet")],
        ["report", run, "--out", str(work / "report.html")],
    ]
    print("| command | seconds | CPU seconds | peak GiB |\n| --- | ---: | ---: | ---: |", flush=True)
    total, cpu, peak = 0.0, 0.0, 0.0
    for arguments in commands:
        try:
            seconds, of_cpu, gib = measure(arguments, log)
        finally:
            if arguments[0] == "train":
                print_stages(train_log)
        total, cpu, peak = total + seconds, cpu + of_cpu, max(peak, gib)
        name = " ".join(arguments[:2] if arguments[0] == "features" else arguments[:1])
        print(f"| {name} | {seconds:.0f} | {of_cpu:.0f} | {gib:.2f} |", flush=True)
    print(f"| all | {total:.0f} | {cpu:.0f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    app()
