"""The diagnosis of real data, with its placebo: `python benchmarks/real.py`.

Prints a row per set and modality, as Markdown for results/real.md. Nothing here is selected on a test split.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from sets import REAL, obtain

from demure.training.run import train

COLUMNS = (
    "set",
    "modality",
    "poi",
    "mean probability",
    "placebo",
    "excess (95 %)",
    "gain, nats",
    "neither",
    "content / popularity / transition / taste",
    "valid recall@20",
)


def rows_of(name: str, run: Path) -> list[list[str]]:
    """Return the rows of a finished run."""
    manifest = json.loads((run / "run.json").read_text())
    verdicts = pd.read_parquet(run / "diagnosis.parquet")
    poi = verdicts.assign(poi=verdicts.verdict == "poi").groupby(["user_id", "position"]).poi.any()
    causes = manifest["causes"]
    rivals = [causes.get(rival, 0.0) for rival in ("popularity", "transition", "taste")]
    rows = []
    for modality, placebo in manifest["placebo"].items():
        own = verdicts[(verdicts.modality == modality) & (verdicts.verdict != "missing")]
        rows.append(
            [
                name,
                modality,
                f"{(own.verdict == 'poi').mean():.3f}",
                f"{own.poi_probability.mean():.3f}",
                f"{placebo['mean_probability']:.3f}",
                f"{placebo['excess']:.3f} ({placebo['low']:.3f} to {placebo['high']:.3f})"
                if placebo["admitted"]
                else "not admitted",
                f"{placebo['gain']:.4f}",
                f"{1 - poi.mean():.3f}",
                " / ".join(f"{share:.2f}" for share in (1 - sum(rivals), *rivals)),
                f"{manifest['valid'].get('recall@20', float('nan')):.4f}",
            ]
        )
    return rows


def main(
    data: Annotated[Path, typer.Option(help="Folder with the sets.")] = Path("../shared/data"),
    work: Annotated[Path, typer.Option(help="Scratch folder.")] = Path("/tmp/demure-benchmarks"),
    sets: Annotated[str, typer.Option(help="Comma-separated sets.")] = ",".join(REAL),
    overrides: Annotated[str, typer.Option("--set", help="Comma-separated key=value of the recipe.")] = "",
) -> None:
    """Train the default recipe on each set and print the table."""
    print("| " + " | ".join(COLUMNS) + " |")
    print("| " + " | ".join("---" for _ in COLUMNS) + " |")
    for name in sets.split(","):
        benchmark, run = obtain(name, data, work), work / "real" / name
        shutil.rmtree(run, ignore_errors=True)
        train(benchmark.path, run, overrides=[key for key in overrides.split(",") if key], device="cpu")
        for row in rows_of(name, run):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
