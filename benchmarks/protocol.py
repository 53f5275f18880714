"""The same methods under several protocols, with the hash of each split: `python benchmarks/protocol.py --help`.

Prints the tables of docs/protocol.md. Everything is measured on the validation split; test splits are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from sets import NAMES, REAL, RIVALS, obtain

from demure.data.dataset import Dataset
from demure.extraction.extract import extract
from demure.preparation.prepare import PrepareOptions, prepare
from demure.recipe.reference import short
from demure.runs.evaluate import evaluate_runs
from demure.training.run import train
from demure.tuning.tune import tune

SPLITS = ("leave-one-out", "random", "global-time")
COLUMNS = ("hit@5", "ndcg@5", "hit@10", "ndcg@10", "recall@20", "ndcg@20")
MULTIMODAL_RECIPES = (
    "popularity,item-knn:baseline.shrink=1000,ease,bpr:baseline.regularisation=0.1,"
    "vbpr:baseline.regularisation=0.01,lightgcn:baseline.regularisation=0.01,freedom,bm3:baseline.patience=15,"
    "mgcn:baseline.regularisation=0.1,smore:baseline.regularisation=0.1,da-mrs,default"
)
"""With the values that are best for TikTok on validation: quality.jsonl, and LOG.md for the recent ones."""
MULTIMODAL = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
TUNED = (
    *("ease", "ease-decayed", "item-knn", "item-knn-decayed", "bpr", "vbpr", "lightgcn", "freedom", "lattice", "bm3"),
    *("mgcn", "da-mrs", "smore", "sasrec-content", "unisrec", "mmmlp", "default"),
)
app = typer.Typer(no_args_is_help=True, add_completion=False)

Data = Annotated[Path, typer.Option(help="Folder with ml-100k-posters and the other sets.")]
Work = Annotated[Path, typer.Option(help="Scratch folder for prepared sets and runs; finished runs are used again.")]
Recipes = Annotated[str, typer.Option(help="Comma-separated recipes, each NAME or NAME:key=value:key=value.")]


def trained(dataset: Path, recipe: str, work: Path) -> Path:
    """Return the run of ``recipe`` on ``dataset`` with seed 0, trained unless it is there."""
    name, *overrides = recipe.split(":")
    run = work / "protocol" / f"{dataset.parent.name}-{dataset.name}-{recipe.replace(':', '+')}"
    if not (run / "run.json").is_file():
        train(dataset, run, recipe=name, overrides=overrides, device="cpu", resume=run.is_dir())
    return run


def measure(dataset: Path, recipes: list[str], work: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Print a table of ``recipes`` on the validation split of ``dataset``, below the hash of its split."""
    identity = Dataset.load(dataset).identity["split"]
    print(f"\n{dataset.name}, split {identity[:12]}\n\n| recipe | {' | '.join(columns)} |")
    print(f"|{' --- |' * (len(columns) + 1)}")
    for recipe in recipes:
        run = trained(dataset, recipe, work)
        [result] = evaluate_runs([run], split="valid", ks=(5, 10, 20), device="cpu").runs
        values = " | ".join(f"{result.metrics[name]:.4f}" for name in columns)
        print(f"| {recipe} | {values} |", flush=True)


@app.command()
def hashes(data: Data = Path("../shared/data"), work: Work = Path("build/bench")) -> None:
    """The split of every set whose numbers are reported, so that another can be seen to have the same."""
    print("| set | users | items | training interactions | split |\n| --- | ---: | ---: | ---: | --- |")
    for name in dict.fromkeys((*NAMES, *(f"planted-{kind}" for kind in RIVALS), *REAL)):
        dataset = Dataset.load(obtain(name, data, work).path)
        counts = (dataset.n_users, dataset.n_items, len(dataset.histories("train").items))
        print(f"| {name} | {' | '.join(f'{n:,}' for n in counts)} | `{dataset.identity['split'][:12]}` |", flush=True)


@app.command()
def splits(
    data: Data = Path("../shared/data"),
    work: Work = Path("build/bench"),
    recipes: Recipes = "default,ease-decayed,item-knn-decayed,ease,popularity",
) -> None:
    """ML-100K split in three ways."""
    raw, out = data / "ml-100k-posters", work / "sets" / "ml-100k-splits"
    if not out.exists():
        prepare(PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", images=raw, split="all"))
    for split in SPLITS:
        extract(out / split, text="tfidf", image="color")
        measure(out / split, recipes.split(","), work)


@app.command()
def sequences(
    data: Data = Path("../shared/data"),
    work: Work = Path("build/bench"),
    recipes: Recipes = "default,ease-decayed,ease,item-knn-decayed",
    sets: Annotated[str, typer.Option(help="Comma-separated sets.")] = "amazon-scientific,amazon-beauty",
) -> None:
    """The sets and cut-offs of papers on sequences: leave-one-out, full ranking."""
    for name in sets.split(","):
        measure(obtain(name, data, work).path, recipes.split(","), work)


@app.command()
def multimodal(
    data: Data = Path("../shared/data"),
    work: Work = Path("build/bench"),
    recipes: Recipes = MULTIMODAL_RECIPES,
    set_name: Annotated[str, typer.Option("--set", help="The set.")] = "tiktok",
) -> None:
    """The set, the split and the cut-offs of papers on multi-modal recommendation."""
    measure(obtain(set_name, data, work).path, recipes.split(","), work, MULTIMODAL)


@app.command()
def budgets(
    data: Data = Path("../shared/data"),
    work: Work = Path("build/bench"),
    recipes: Annotated[str, typer.Option(help="Comma-separated recipes.")] = ",".join(TUNED),
    set_name: Annotated[str, typer.Option("--set", help="The set.")] = "amazon-scientific",
    trials: Annotated[int, typer.Option(help="Trials of each method; the first is the recipe as it ships.")] = 6,
) -> None:
    """All methods with the same number of trials of `demure tune`; a study that was stopped goes on."""
    dataset = obtain(set_name, data, work).path
    identity = Dataset.load(dataset).identity["split"]
    print(f"\n{set_name}, split {identity[:12]}, {trials} trials each\n")
    print("| recipe | recall@20 as shipped | best | stopped early | with | seconds |\n|" + " --- |" * 6)
    for recipe in recipes.split(","):
        study = work / "budgets" / f"{set_name}-{recipe}"
        report = tune(dataset, study, recipe=recipe, trials=trials, device="cpu")
        stopped = sum(trial.state == "pruned" for trial in report.trials)
        values = ", ".join(f"{key.rpartition('.')[2]} {short(value)}" for key, value in report.best.params.items())
        if report.best.number == 0:
            values = "as shipped"
        seconds = sum(trial.seconds for trial in report.trials)
        shipped, best = (f"{trial.value:.4f}" for trial in (report.trials[0], report.best))
        print(f"| {recipe} | {shipped} | {best} | {stopped} | {values} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    app()
