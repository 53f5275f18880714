"""Time and memory of `demure prepare` and of drawing batches, by the size of the data; see `--help`.

The data are drawn logs of 1, 10 and 100 million rows (50,000 users and 10,000 items for each million) as Parquet. Each
step is a process of its own; its peak memory is the kernel's (ru_maxrss of the child). For comparison, pandas does the
same cleaning: the latest row of each user and item, the 5-core, order by user and time, leave-one-out, Parquet.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from speed import DEMURE

MILLION = 1_000_000
app = typer.Typer(add_completion=False)

PANDAS = """
import sys
import pandas as pd
frame = pd.read_parquet(sys.argv[1]).dropna(subset=["user_id", "item_id", "timestamp"])
frame = frame.sort_values("timestamp", kind="stable").drop_duplicates(["user_id", "item_id"], keep="last")
while True:
    few = (frame.groupby("user_id")["item_id"].transform("size") < 5) | (
        frame.groupby("item_id")["user_id"].transform("size") < 5)
    if not few.any():
        break
    frame = frame[~few]
frame = frame.sort_values(["user_id", "timestamp"], kind="stable")
last = frame.groupby("user_id").cumcount(ascending=False)
frame["split"] = last.map({0: "test", 1: "valid"}).fillna("train")
frame.to_parquet(sys.argv[2], compression="zstd")
"""
BATCHES = """
import sys, time
import numpy as np, torch
from demure.data.dataset import Dataset
from demure.training.batches import draw_pieces
began = time.monotonic()
dataset = Dataset.load(sys.argv[1])
train = dataset.histories("train")
loaded = time.monotonic()
generator = torch.Generator().manual_seed(0)
users = torch.randperm(dataset.n_users, generator=generator).numpy()
cells = 0
for start in range(0, len(users), 256):
    cells += int((draw_pieces(train, users[start : start + 256], 50, generator) >= 0).sum())
print(f"{loaded - began:.1f} {time.monotonic() - loaded:.1f}", file=open(sys.argv[2], "w"))
"""


def draw(path: Path, rows: int, seed: int = 0) -> None:
    """Write a log of ``rows`` interactions: few items and users have most of them, times over six years, unordered."""
    rng = np.random.default_rng(seed)
    users, items = rows // 20, rows // 100
    schema = pa.schema(
        {"user_id": pa.string(), "item_id": pa.string(), "timestamp": pa.int64(), "rating": pa.float32()}
    )

    def names(letter: str, codes: np.ndarray) -> pa.Array:
        return pc.binary_join_element_wise(letter, pa.array(codes * 2654435761 % 2**32).cast(pa.string()), "")

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, MILLION):
            n = min(MILLION, rows - start)
            columns = [
                names("u", (users * rng.random(n) ** 1.5).astype(np.int64)),
                names("B", (items * rng.random(n) ** 2.5).astype(np.int64)),
                pa.array(1_500_000_000 + rng.integers(0, 200_000_000, n)),
                pa.array(rng.integers(1, 6, n).astype(np.float32)),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def measure(command: list[str]) -> str:
    """Return seconds by the clock, CPU seconds, and peak GiB of a command, as columns of a table."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command[:3])}: failed\n{errors[-500:]}")
    wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    return f"{wall:.1f} | {cpu:.1f} | {usage.ru_maxrss / 2**20:.2f}"


@app.command()
def main(
    millions: Annotated[str, typer.Option(help="Sizes, in millions of rows.")] = "1,10",
    pandas_up_to: Annotated[int, typer.Option(help="The largest size that pandas is tried with, in millions.")] = 10,
    work: Annotated[Path, typer.Option(help="Where the drawn files go; removed at the end.")] = Path("/tmp/data-scale"),
) -> None:
    """Print time and memory of each step; 100 million rows need 4 GB of disk and 9 GB of memory."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    print("| million rows | step | seconds | CPU seconds | peak GiB |\n| ---: | --- | ---: | ---: | ---: |", flush=True)

    def show(size: int, step: str, columns: str) -> None:
        print(f"| {size} | {step} | {columns} |", flush=True)

    try:
        for size in map(int, millions.split(",")):
            raw, out = work / f"{size}m.parquet", work / f"{size}m"
            draw(raw, size * MILLION)
            arguments = ["--interactions", str(raw), "--out", str(out), "--k-core", "5"]
            show(size, "demure prepare", measure([DEMURE, "--quiet", "prepare", *arguments]))
            if size <= pandas_up_to:
                script = [sys.executable, "-c", PANDAS, str(raw), str(work / "pandas.parquet")]
                show(size, "pandas alone", measure(script))
            raw.unlink()
            columns = measure([sys.executable, "-c", BATCHES, str(out), str(work / "seconds")])
            loaded, drawn = (work / "seconds").read_text().split()
            show(size, f"histories in {loaded} s, every user's batch in {drawn} s", columns)
            shutil.rmtree(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    app()
