"""Time and memory of `demure extract` of drawn JPEG files, in one process and on a Ray cluster of this machine.

The encoder is a CLIP of one small layer with random weights: decoding, and what Ray costs, are nearly all of the time.
All features are compared byte for byte. CPU seconds and memory are of the command and of all processes that encode and
decode, without Ray's own; memory as in `prepare_on_ray.py`. See `--help`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from encoder_rates import draw_pictures, tiny
from prepare_on_ray import measure, same_files
from speed import DEMURE

app = typer.Typer(add_completion=False)


def draw(folder: Path, number: int, side: int) -> None:
    """Write ``number`` JPEG files and the tables of items and interactions."""
    names = draw_pictures(folder / "images", number, side)
    ids = [f"i{k}" for k in range(number)]
    pd.DataFrame({"item_id": ids, "image": names}).to_csv(folder / "items.csv", index=False)
    rows = pd.DataFrame({"user_id": [f"u{k // 5}" for k in range(50)], "item_id": ids[:50], "timestamp": range(50)})
    rows.to_csv(folder / "interactions.csv", index=False)


@app.command()
def main(
    images: int = 2000,
    side: Annotated[int, typer.Option(help="Pixels of a side.")] = 256,
    workers: Annotated[str, typer.Option(help="Numbers of workers; 0 is one process without Ray.")] = "0,1,2",
    work: Annotated[Path, typer.Option(help="Where the files go; removed at the end.")] = Path("/tmp/ray-extract"),
) -> None:
    """Print a line for each number of workers."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        _, clip = tiny(work)
        draw(work / "raw", images, side)
        raw, dataset, features = work / "raw", work / "dataset", work / "dataset" / "features"
        words = ["prepare", "--interactions", str(raw / "interactions.csv"), "--items", str(raw / "items.csv")]
        measure([DEMURE, "--quiet", *words, "--images", str(raw / "images"), "--out", str(dataset)])
        print(f"{images} JPEG files of {side} x {side} pixels; load {os.getloadavg()[0]:.1f}")
        print("| workers | seconds | CPU seconds | GiB of the command | GiB of the others | same files |")
        print("| ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
        first: Path | None = None
        for n in map(int, workers.split(",")):
            command = [DEMURE, "--quiet", "extract", str(dataset), "--image", f"clip:{clip}", "--device", "cpu"]
            command += ["--on", "ray", "--ray-workers", str(n)] if n else []
            seconds, cpu, of_command, of_others = measure(command, all_helpers=True)
            out = features.rename(work / f"features-{n}") / "image"
            first = first or out
            memory = f"{of_command:.2f} | {', '.join(f'{gib:.2f}' for gib in of_others if gib > 0.02)}"
            print(f"| {n or 'none'} | {seconds:.1f} | {cpu:.1f} | {memory} | {same_files(first, out)} |", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    app()
