"""What the verdicts of a run do to other recommenders: `python benchmarks/denoising.py --help`.

Every recipe is trained as it is, with `denoise`, with `denoise` whose verdicts are dealt anew among the interactions,
and with the rivals for the same job. Every training is a line of results/denoising.jsonl, so that a stopped benchmark
goes on where it was. All numbers are of the validation split.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from quality import DATA, markdown, publish
from sets import BenchmarkSet, obtain

from demure.data.dataset import Dataset
from demure.evaluation.stats import t_test
from demure.integrity import SEAL
from demure.runs.evaluate import evaluate_runs
from demure.training.run import train

RESULTS = Path(__file__).parent / "results" / "denoising.jsonl"
TABLE = RESULTS.with_suffix(".md")
METRICS = ("recall@20", "ndcg@20")
_FAST = ("baseline.learning_rate=0.004", "baseline.patience=5")
RECIPES = {
    "vbpr": ("baseline.regularisation=0.01", *_FAST),
    "freedom": _FAST,
    "mgcn": ("baseline.regularisation=0.01", *_FAST),
    "sasrec-content": ("baseline.patience=3",),
}
"""Recipe -> overrides, for all variants the same: the regularisation that is best for most sets without verdicts
(quality.jsonl), and rates that end sooner than the defaults, for about 2 % of the metrics."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "denoise": ("denoise",),
    "denoise in full": ("denoise", "baseline.denoising=1"),
    "dealt": ("denoise",),
    "truncated": ("baseline.truncation=0.1",),
    "reweighted": ("baseline.reweighting=0.2",),
    "attention": ("baseline.attention=1",),
}
"""Variant -> overrides; `denoise` stands for the run with the verdicts. ADT's own choices are 0.1 or so, and 0.2."""
NEEDS_ORDER = ("sasrec-content",)
NO_ATTENTION = ("mgcn", "sasrec-content")


def verdicts_of(benchmark: BenchmarkSet, work: Path, *, dealt: bool) -> Path:
    """Return a run of the default recipe, seed 0; with ``dealt`` a copy whose verdicts lie at random interactions."""
    run = work / "verdicts" / benchmark.name
    if not (run / "run.json").exists():
        train(benchmark.path, run, recipe="default", device="cpu", resume=run.exists())
    if not dealt:
        return run
    copy = work / "verdicts" / f"{benchmark.name}-dealt"
    if not copy.exists():
        shutil.copytree(run, copy)
        frame, random = pd.read_parquet(run / "diagnosis.parquet"), np.random.default_rng(0)
        columns = ["poi_probability", "evidence"]
        for _, rows in frame[frame["verdict"] != "missing"].groupby("modality", observed=True):
            frame.loc[rows.index, columns] = rows[columns].to_numpy()[random.permutation(len(rows))]
        frame.to_parquet(copy / "diagnosis.parquet", index=False)
        manifest = json.loads((copy / "run.json").read_text())
        del manifest["files"], manifest[SEAL]
        (copy / "run.json").write_text(json.dumps(manifest))
    return copy


def run_of(name: str, recipe: str, variant: str, seed: int, work: Path) -> Path:
    """Return the run folder of ``measure``."""
    return work / "denoising" / name / f"{recipe}-{variant.replace(' ', '-')}-{seed}"


def measure(benchmark: BenchmarkSet, recipe: str, variant: str, seed: int, work: Path) -> dict[str, Any]:
    """Train and evaluate on validation, unless that is done; return the line of the results."""
    key = {"set": benchmark.name, "recipe": recipe, "variant": variant, "seed": seed}
    for text in RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else ():
        line: dict[str, Any] = json.loads(text)
        if line | key == line:
            return line
    run = run_of(benchmark.name, recipe, variant, seed, work)
    shutil.rmtree(run, ignore_errors=True)
    overrides = [*RECIPES[recipe], *VARIANTS[variant]]
    if "denoise" in overrides:
        overrides[overrides.index("denoise")] = f"denoise={verdicts_of(benchmark, work, dealt=variant == 'dealt')}"
    report = train(benchmark.path, run, recipe=recipe, overrides=overrides, seed=seed, device="cpu")
    file = run / "users-valid.parquet"
    metrics = evaluate_runs([run], split="valid", ks=(20,), per_user=file, device="cpu").runs[0].metrics
    line = {**key, **{name: round(metrics[name], 5) for name in METRICS}}
    line |= {"best_epoch": report.best_epoch, "seconds": round(report.seconds, 1)}
    print(json.dumps(line), flush=True)
    with open(RESULTS, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")
    return line


def stored_differences() -> dict[tuple[str, ...], list[str]]:
    """Return the differences of the last table by set, recipe, variant and seeds: their runs may be gone."""
    if not TABLE.exists():
        return {}
    rows = [row.strip("| ").split(" | ") for row in TABLE.read_text(encoding="utf-8").splitlines()[2:]]
    return {tuple(row[:4]): row[6:8] for row in rows}


def difference(name: str, recipe: str, variant: str, seeds: Sequence[int], work: Path, metric: str) -> str:
    """Return the mean over users of the variant less the plain recipe, and the p-value of the paired t test over users
    and seeds; "-" where the runs are no longer there."""
    samples = []
    for own in (variant, "plain"):
        files = [run_of(name, recipe, own, seed, work) / "users-valid.parquet" for seed in seeds]
        if not all(file.exists() for file in files):
            return "-"
        samples.append(pd.concat([pd.read_parquet(file).set_index("user_id")[metric] for file in files], axis=1))
    users = (samples[0].mean(axis=1) - samples[1].mean(axis=1)).dropna()
    p = t_test(users.to_numpy(), [sample.mean().to_numpy() for sample in samples])
    return f"{users.mean():+.4f} (p {p:.3f})" if p >= 0.001 else f"{users.mean():+.4f} (p < .001)"


def main(
    data: Annotated[Path, typer.Option(help="Folder with the raw sets.")] = DATA,
    work: Annotated[Path, typer.Option(help="Scratch folder for prepared sets and runs.")] = Path("/tmp/demure-bench"),
    sets: Annotated[str, typer.Option(help="Comma-separated sets.")] = "planted-hard,amazon-scientific,tiktok",
    recipes: Annotated[str, typer.Option(help="Comma-separated recipes.")] = ",".join(RECIPES),
    variants: Annotated[str, typer.Option(help="Comma-separated variants.")] = ",".join(VARIANTS),
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds.")] = "0,1,2",
    table_only: Annotated[bool, typer.Option(help="Write the table of what is measured, and measure nothing.")] = False,
) -> None:
    """Measure, then write results/denoising.md with all that was ever measured."""
    for name in [] if table_only else sets.split(","):
        benchmark = obtain(name, data, work)
        ordered = Dataset.load(benchmark.path).has_time
        for seed in map(int, seeds.split(",")):
            for recipe in recipes.split(","):
                for variant in variants.split(","):
                    fits = variant != "attention" or recipe not in NO_ATTENTION
                    if fits and (ordered or recipe not in NEEDS_ORDER):
                        measure(benchmark, recipe, variant, seed, work)
    publish("denoising", table(work))


def table(work: Path) -> str:
    """Return the table of all stored lines: means over seeds, and differences from the plain recipe."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for text in RESULTS.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        groups.setdefault((line["set"], line["recipe"], line["variant"]), []).append(line)
    rows, stored = [], stored_differences()
    for (name, recipe, variant), lines in sorted(groups.items()):
        seeds = [line["seed"] for line in lines]
        plain = {line["seed"] for line in groups.get((name, recipe, "plain"), [])}
        shared = [seed for seed in seeds if seed in plain]
        row = [name, recipe, variant, ", ".join(map(str, seeds))]
        row += [f"{np.mean([line[metric] for line in lines]):.4f}" for metric in METRICS]
        if variant == "plain":
            row += ["", ""]
        else:
            own = [difference(name, recipe, variant, shared, work, metric) for metric in METRICS]
            row += stored.get(tuple(row[:4]), own) if "-" in own else own
        rows.append([*row, f"{np.mean([line['seconds'] for line in lines]):.0f}"])
    header = ["set", "recipe", "variant", "seeds", *METRICS, *(f"{metric} less plain" for metric in METRICS), "train s"]
    return markdown(header, rows)


if __name__ == "__main__":
    typer.run(main)
