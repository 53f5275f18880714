"""Quality of the diagnosis and of the recommendations: `make bench-quality`, or `python benchmarks/quality.py --help`.

Every training is a line of benchmarks/results/quality.jsonl, so that a stopped benchmark goes on where it was; delete
lines to measure them again. Everything is chosen on validation; test metrics are only read.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from scipy.stats import spearmanr
from sets import NAMES, BenchmarkSet, obtain

from demure.baselines.registry import BASELINES, LEARNED
from demure.data.dataset import Dataset
from demure.diagnosis.calibration import KEY, auc, calibration_error, log_loss, score_diagnosis
from demure.evaluation.stats import t_test
from demure.features import store
from demure.features.normalize import robust_scale
from demure.runs.evaluate import evaluate_runs
from demure.training.run import train

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "quality.jsonl"
DEMURE_RECIPES = "default,no-denoising"
ALL_RECIPES = ",".join((DEMURE_RECIPES, *BASELINES, *LEARNED, "sasrec-content"))
METRICS = [f"{name}@{k}" for name in ("recall", "ndcg") for k in (10, 20, 50)]
ALL_SETS, PLANTED_SETS = ",".join(NAMES), ",".join(NAMES[:6])
NEEDS_ORDER = ("item-knn-decayed", "ease-decayed", "sasrec", "unisrec", "mmmlp")
TUNED = {
    "item-knn": ("shrink", (0.0, 10.0, 100.0, 1000.0)),
    "bpr": ("regularisation", (1e-4, 1e-2, 1e-1)),
    "vbpr": ("regularisation", (1e-4, 1e-2, 1e-1)),
    "lightgcn": ("regularisation", (1e-4, 1e-2, 1e-1)),
    "freedom": ("modal_weight", (1e-3, 1e-5)),
    "lattice": ("kept_graph", (0.5, 0.9)),
    "bm3": ("modal_weight", (0.2, 2.0)),
    "mgcn": ("regularisation", (1e-4, 1e-2, 1e-1)),
    "da-mrs": ("contrast_weight", (1e-3, 1e-2, 1e-1)),
    "smore": ("regularisation", (1e-4, 1e-2, 1e-1)),
}
"""Baseline -> the option that is tuned for each set, by validation recall@20 of the first seed, and its values."""
app = typer.Typer(no_args_is_help=False, add_completion=False)

Data = Annotated[Path, typer.Option(help="Folder with ml-100k-posters, tiktok and planted-*.")]
Work = Annotated[Path, typer.Option(help="Scratch folder for prepared sets and runs.")]
Seeds = Annotated[str, typer.Option(help="Comma-separated seeds.")]
Sets = Annotated[str, typer.Option(help="Comma-separated sets.")]
Recipes = Annotated[str, typer.Option(help="Comma-separated recipes, each NAME or NAME:key=value:key=value.")]


def measure(benchmark: BenchmarkSet, recipe: str, seed: int, work: Path) -> dict[str, Any]:
    """Train ``recipe`` on ``benchmark`` unless that is done; return seconds, metrics on both splits, and the scores of
    the diagnosis."""
    stored = _stored_line(benchmark.name, recipe, seed)
    if stored is not None:
        return stored
    name, *overrides = recipe.split(":")
    run = run_of(benchmark, recipe, seed, work)
    shutil.rmtree(run, ignore_errors=True)
    start = time.monotonic()
    report = train(benchmark.path, run, recipe=name, overrides=overrides, seed=seed, device="cpu")
    line: dict[str, Any] = {"set": benchmark.name, "recipe": recipe, "seed": seed, "seconds": round(report.seconds, 1)}
    line["epochs"], line["best_epoch"] = report.epochs, report.best_epoch
    dataset = Dataset.load(benchmark.path)
    for split in ("valid", "test"):
        if len(dataset.histories(split).items):
            file = run / f"users-{split}.parquet"
            metrics = evaluate_runs([run], split=split, ks=(10, 20, 50), per_user=file, device="cpu").runs[0].metrics
            line[split] = {k: round(v, 5) for k, v in metrics.items() if k.startswith(("recall", "ndcg"))}
    truth = benchmark.read_truth()
    if truth is not None and (run / "diagnosis.parquet").exists():
        score = score_diagnosis(truth, pd.read_parquet(run / "diagnosis.parquet"))
        fields = ("auc", "ece", "log_loss", "ceiling", "noise_precision", "noise_recall")
        values = {key: getattr(score, key) for key in fields}
        line["diagnosis"] = {key: None if value is None else round(value, 5) for key, value in values.items()}
    manifest = json.loads((run / "run.json").read_text())
    line |= {key: manifest[key] for key in ("pool", "walk") if key in manifest}
    print(f"{benchmark.name} {recipe} {seed}: {time.monotonic() - start:.0f} s", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")
    return line


def _stored_line(name: str, recipe: str, seed: int) -> dict[str, Any] | None:
    if not RESULTS.exists():
        return None
    for text in RESULTS.read_text(encoding="utf-8").splitlines():
        line: dict[str, Any] = json.loads(text)
        if (line["set"], line["recipe"], line["seed"]) == (name, recipe, seed):
            return line
    return None


def _by_user(benchmark: BenchmarkSet, recipe: str, seeds: Sequence[int], work: Path, metric: str) -> pd.DataFrame:
    """``metric`` on test, or the ``log_loss`` of the diagnosis: a row per user, a column per seed."""
    columns = []
    for seed in seeds:
        run = run_of(benchmark, recipe, seed, work)
        if metric != "log_loss":
            columns.append(pd.read_parquet(run / "users-test.parquet").set_index("user_id")[metric])
            continue
        truth = benchmark.read_truth()
        assert truth is not None
        diagnosis = pd.read_parquet(run / "diagnosis.parquet").query("verdict != 'missing'")
        pairs = truth.merge(diagnosis, on=KEY)
        users = pairs.groupby("user_id")[["caused", "poi_probability"]]
        columns.append(
            users.apply(lambda user: log_loss(user["caused"].to_numpy(), user["poi_probability"].to_numpy()))
        )
    return pd.concat(columns, axis=1)


def paired(benchmark: BenchmarkSet, recipes: tuple[str, str], seeds: Sequence[int], work: Path, metric: str) -> str:
    """Return the mean of first minus second over users, each user's mean over the seeds, and the p-value of the t test
    over users and seeds; "-" where the runs are no longer there."""
    try:
        first, second = (_by_user(benchmark, recipe, seeds, work, metric) for recipe in recipes)
    except FileNotFoundError:
        return "-"
    difference = (first.mean(axis=1) - second.mean(axis=1)).dropna()
    p = t_test(difference.to_numpy(), [sample.mean().to_numpy() for sample in (first, second)])
    return f"{difference.mean():+.4f} (p {p:.3f})" if p >= 0.001 else f"{difference.mean():+.4f} (p < .001)"


def stability(benchmark: BenchmarkSet, recipe: str, seeds: Sequence[int], work: Path) -> str:
    """Return the mean rank correlation of ``poi_probability`` between every two seeds; "-" where there is nothing to
    compare."""
    try:
        frames = [pd.read_parquet(run_of(benchmark, recipe, seed, work) / "diagnosis.parquet") for seed in seeds]
    except FileNotFoundError:
        return "-"
    probabilities = [frame.loc[frame["verdict"] != "missing", "poi_probability"].to_numpy() for frame in frames]
    correlations = [spearmanr(a, b).statistic for k, a in enumerate(probabilities) for b in probabilities[:k]]
    return f"{np.mean(correlations):.3f}" if correlations else "-"


def no_learning_kernel(benchmark: BenchmarkSet) -> dict[str, float]:
    """Return AUC and ECE of a leave-one-out kernel ratio on the unchanged features (cosine, bandwidth .2).

    Nothing is learned; the probability is that of an equal prior over the modalities.
    """
    dataset = Dataset.load(benchmark.path)
    train_part = dataset.histories("train")
    names = store.names(benchmark.path)
    ratios, present = [], []
    for name in names:
        features = store.load(benchmark.path, name)
        vectors = robust_scale(features)
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        kernel = np.exp(vectors @ vectors.T / 0.2) * features.present
        base = kernel.mean(1)
        ratio = np.ones(len(train_part.items))
        for user in range(dataset.n_users):
            history = slice(train_part.indptr[user], train_part.indptr[user + 1])
            items = train_part.items[history]
            block = kernel[np.ix_(items, items)]
            np.fill_diagonal(block, 0.0)
            others = np.maximum(features.present[items].sum() - features.present[items], 1)
            ratio[history] = block.sum(1) / others / base[items]
        ratios.append(ratio)
        present.append(features.present[train_part.items])
    R, has = np.stack(ratios, 1), np.stack(present, 1)
    R = np.where(has, R, 0.0)
    probability = R / np.maximum(R.sum(1, keepdims=True), 1e-12)
    owner = train_part.owners
    frame = pd.DataFrame(
        {
            "user_id": np.repeat(dataset.user_ids[owner], len(names)),
            "item_id": np.repeat(dataset.item_ids[train_part.items], len(names)),
            "modality": np.tile(np.array(names, dtype=object), len(owner)),
            "probability": probability.ravel(),
            "has": has.ravel(),
        }
    )
    truth = benchmark.read_truth()
    assert truth is not None
    joined = truth.merge(frame[frame["has"]], on=["user_id", "item_id", "modality"])
    caused, guess = joined["caused"].to_numpy(), joined["probability"].to_numpy()
    return {"auc": auc(caused, guess), "ece": calibration_error(caused, guess)}


def _spread(values: Iterable[float]) -> str:
    array = np.array(list(values))
    return f"{array.mean():.4f}" + (f" ± {array.std(ddof=1):.4f}" if len(array) > 1 else "")


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def run_of(benchmark: BenchmarkSet, recipe: str, seed: int, work: Path) -> Path:
    """Return the run folder of ``measure``."""
    return work / "runs" / benchmark.name / f"{recipe.replace(':', '+').replace('/', '_')}-{seed}"


def each(sets: str, recipes: Sequence[str], seeds: str, data: Path, work: Path) -> dict[str, dict[str, list[Any]]]:
    lines: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for name in sets.split(","):
        benchmark = obtain(name, data, work)
        ordered = Dataset.load(benchmark.path).has_time
        for recipe in recipes:
            if not ordered and recipe.startswith(NEEDS_ORDER):
                continue
            # A baseline has no seed.
            own = seeds.split(",")[:1] if recipe.split(":")[0] in BASELINES else seeds.split(",")
            lines[name][recipe] = [measure(benchmark, recipe, int(seed), work) for seed in own]
    return lines


def tuned(benchmark: BenchmarkSet, recipe: str, seed: int, work: Path) -> str:
    """Return ``recipe`` with the value of ``TUNED`` that is best on the validation split of ``benchmark``."""
    if recipe not in TUNED:
        return recipe
    key, values = TUNED[recipe]
    variants = [recipe, *(f"{recipe}:baseline.{key}={value:g}" for value in values[1:])]
    return max(variants, key=lambda variant: measure(benchmark, variant, seed, work)["valid"]["recall@20"])


DATA, WORK = HERE.parent.parent / "shared" / "data", Path("/tmp/demure-bench")


@app.command()
def diagnosis(
    data: Data = DATA,
    work: Work = WORK,
    seeds: Seeds = "0,1,2",
    sets: Sets = PLANTED_SETS,
    recipes: Recipes = DEMURE_RECIPES,
) -> None:
    """Compare the diagnosis of planted sets with the truth."""
    rows = []
    for name, by_recipe in each(sets, recipes.split(","), seeds, data, work).items():
        kernel = no_learning_kernel(obtain(name, data, work))
        rows.append([name, "kernel, nothing learned", f"{kernel['auc']:.4f}", f"{kernel['ece']:.4f}", *"-----"])
        for recipe, lines in by_recipe.items():
            scores = [line["diagnosis"] for line in lines]
            keys = ("auc", "ece", "log_loss", "noise_precision", "noise_recall")
            rows.append([name, recipe, *(_spread(s[key] for s in scores) for key in keys)])
            rows[-1].append(stability(obtain(name, data, work), recipe, [line["seed"] for line in lines], work))
            rows[-1].append(f"{np.mean([line['seconds'] for line in lines]):.0f}")
        rows.append([name, "generator's own posterior", f"{scores[0]['ceiling']:.4f}", *"------"])
    header = ["set", "recipe", "AUC", "ECE", "log-loss", "noise precision", "noise recall", "seeds agree", "train s"]
    publish("diagnosis", markdown(header, rows))


ABLATIONS = {
    "the default": "default",
    "no denoising": "no-denoising",
    "users do not differ in reliance": "default:denoiser.reliance=false",
    "one cause at most": "default:denoiser.exclusive=true",
    "hard evidence": "default:denoiser.hard=true",
    "only the past is evidence": "default:denoiser.causal=true",
    "nothing learned": "default:training.epochs=0",
    "without the items' own offsets": "default:training.offset_epochs=0",
    "without belief propagation": "default:training.hearings=0",  # the former name, as in the stored results
    "without the rivals of content": "default:denoiser.rivals=false",
    "without the `id` channel": "content-only",
}


@app.command()
def ablations(
    data: Data = DATA, work: Work = WORK, seeds: Seeds = "0,1,2", sets: Sets = "planted-hard,planted-smooth,demo"
) -> None:
    """Measure the default recipe with one part off at a time."""
    rows = []
    for name in sets.split(","):
        benchmark = obtain(name, data, work)
        names = store.names(benchmark.path)
        alone = {f"{modality} alone": f"default:modalities=[{modality}]" for modality in names}
        by_recipe = each(name, [*ABLATIONS.values(), *alone.values()], seeds, data, work)[name]
        for words, recipe in (ABLATIONS | alone).items():
            lines = by_recipe[recipe]
            row = [name, words]
            row += [_spread(line["diagnosis"][key] for line in lines) for key in ("auc", "ece", "log_loss")]
            row += [_spread(line["test"][key] for line in lines) for key in ("recall@20", "ndcg@20")]
            same = [line["seed"] for line in lines]
            tested = ("log_loss", "ndcg@20")
            row += [
                "-" if recipe == "default" else paired(benchmark, (recipe, "default"), same, work, m) for m in tested
            ]
            rows.append(row)
    header = ["set", "part", "AUC", "ECE", "log-loss", "test r@20", "test n@20", "log-loss against the default"]
    publish("ablations", markdown([*header, "n@20 against the default"], rows))


@app.command()
def recommendation(
    data: Data = DATA,
    work: Work = WORK,
    seeds: Seeds = "0,1,2",
    sets: Sets = ALL_SETS,
    recipes: Recipes = ALL_RECIPES,
) -> None:
    """Compare recommendations by full ranking on validation and test; learned baselines are tuned on validation."""
    rows = []
    for name in sets.split(","):
        benchmark = obtain(name, data, work)
        chosen = [tuned(benchmark, recipe, int(seeds.split(",")[0]), work) for recipe in recipes.split(",")]
        for recipe, lines in each(name, chosen, seeds, data, work)[name].items():
            split = "test" if "test" in lines[0] else "valid"
            row = [name, recipe, _spread(line["valid"]["recall@20"] for line in lines), split]
            for metric in METRICS:
                row.append(_spread(line[split][metric] for line in lines))
            rows.append([*row, f"{np.mean([line['seconds'] for line in lines]):.0f}"])
    publish("recommendation", markdown(["set", "recipe", "valid r@20", "split", *METRICS, "train s"], rows))


def publish(name: str, text: str) -> None:
    """Write a table to results/ and print it."""
    path = HERE / "results" / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    print(text + f"\nwritten: {path}")


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """All tables, one after the other; hours on two cores, and it goes on where it was stopped."""
    if context.invoked_subcommand is None:
        diagnosis()
        recommendation()
        ablations()


if __name__ == "__main__":
    app()
