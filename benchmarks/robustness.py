"""The effect of swapped pictures and texts, and metrics of cold items: `python benchmarks/robustness.py swaps|cold`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from quality import DATA, WORK, Data, Recipes, Seeds, Sets, Work, markdown, measure, publish, run_of
from sets import BenchmarkSet, obtain

from demure.data.dataset import Dataset
from demure.diagnosis.calibration import auc
from demure.diagnosis.flagging import deviations
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist import list_content
from demure.features import store
from demure.features.store import Features
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features
from demure.runs.evaluate import evaluate_runs
from demure.runs.load import load_run

app = typer.Typer(add_completion=False)
BANDS = ((0, 0), (1, 4), (5, 19), (20, 10**9))


def swapped(benchmark: BenchmarkSet, modality: str, share: float, work: Path) -> tuple[BenchmarkSet, np.ndarray]:
    """Return ``benchmark`` with the features of ``share`` of its items permuted, and a mask (I,) of these items."""
    features = store.load(benchmark.path, modality)
    random = np.random.default_rng(0)
    present = np.flatnonzero(features.present)
    chosen = random.permutation(present)[: int(share * len(present))]
    vectors = features.vectors.copy()
    vectors[chosen] = features.vectors[np.roll(chosen, 1)]
    name = f"{benchmark.name}~{modality}{share:g}"
    out = work / "sets" / name
    if not out.exists():
        shutil.copytree(benchmark.path, out)
        store.save(out, Features(modality, vectors, features.present, features.provenance | {"swapped": share}))
    mask = np.zeros(len(features.present), bool)
    mask[chosen] = True
    return BenchmarkSet(name, out), mask


def auc_of_swapped(run: Path, dataset: Dataset, modality: str, mask: np.ndarray) -> tuple[float, float, float]:
    """Return the AUC of separating swapped items from the others: by the mean probability to be noise, by the mean
    evidence, negated, and by the deviation that `demure inspect` sorts items by (the evidence after shrinkage)."""
    columns = ["item_id", "modality", "poi_probability", "evidence", "verdict"]
    frame = pd.read_parquet(run / "diagnosis.parquet", columns=columns)
    items = frame[(frame["modality"] == modality) & (frame["verdict"] != "missing")].groupby("item_id")
    means = items[["poi_probability", "evidence"]].mean()
    is_swapped = pd.Series(mask.astype(float), index=dataset.item_ids).reindex(means.index).to_numpy()
    rows = deviations(DiagnosisReader.open(run))
    below = rows[rows["modality"] == modality].set_index("item_id")["below"].reindex(means.index)
    noise, negated = -means["poi_probability"].to_numpy(), -means["evidence"].to_numpy()
    return auc(is_swapped, noise), auc(is_swapped, negated), auc(is_swapped, below.to_numpy())


@app.command()
def swaps(
    data: Data = DATA,
    work: Work = WORK,
    seeds: Seeds = "0,1,2",
    sets: Sets = "demo,planted-clear",
    recipes: Recipes = "default,no-denoising,freedom,vbpr",
    shares: str = "0.1,0.3,0.5",
) -> None:
    """Give the pictures, then the texts, of some items to others: recall lost, and swapped items found."""
    rows = []
    for name in sets.split(","):
        benchmark = obtain(name, data, work)
        for modality in store.names(benchmark.path):
            for recipe in recipes.split(","):
                runs = [int(seed) for seed in seeds.split(",")]
                whole = np.array([_recall(measure(benchmark, recipe, seed, work)) for seed in runs])
                for share in map(float, shares.split(",")):
                    other, mask = swapped(benchmark, modality, share, work)
                    recall = np.array([_recall(measure(other, recipe, seed, work)) for seed in runs])
                    row = [name, modality, f"{share:.0%}", recipe, f"{whole.mean():.4f}", f"{recall.mean():.4f}"]
                    spread = f"{(1 - recall / whole).std(ddof=1):.1%}" if len(runs) > 1 else "-"
                    row += [f"{1 - recall.mean() / whole.mean():+.1%}", spread]
                    folders = [run_of(other, recipe, seed, work) for seed in runs]
                    if all((folder / "diagnosis.parquet").exists() for folder in folders):
                        dataset = Dataset.load(other.path)
                        by = np.mean([auc_of_swapped(folder, dataset, modality, mask) for folder in folders], axis=0)
                        rows.append([*row, *(f"{value:.3f}" for value in by)])
                    else:
                        rows.append([*row, "-", "-", "-"])
    header = [
        "set",
        "modality",
        "swapped",
        "recipe",
        "r@20",
        "r@20 swapped",
        "lost",
        "sd over seeds",
        "found by noise, AUC",
        "by evidence",
        "by deviation",
    ]
    publish("swaps", markdown(header, rows))


@app.command()
def worklist(data: Data = DATA, work: Work = WORK, sets: Sets = "hm-week", share: float = 0.1) -> None:
    """Deal the pictures, then the texts, of some items to others: their share of the first rows of the work list."""
    rows = []
    for name in sets.split(","):
        benchmark = obtain(name, data, work)
        for modality in store.names(benchmark.path):
            other, mask = swapped(benchmark, modality, share, work)
            measure(other, "default", 0, work)
            dealt = set(Dataset.load(other.path).item_ids[mask])
            listed = list_content(run_of(other, "default", 0, work), kinds=["content"]).rows
            own = listed[listed["modality"] == modality]
            parts = [frame["item_id"].isin(dealt).head(n).mean() for frame in (listed, own) for n in (20, 50)]
            rows.append([name, modality, f"{share:.0%}", *(f"{part:.2f}" for part in parts)])
    header = ["set", "dealt", "share", "of the first 20", "50", "of the first 20 of the modality", "50"]
    publish("worklist", markdown(header, rows))


def _recall(line: dict[str, Any]) -> float:
    """Return recall@20 on the test split, or on the validation split of a set that has no test split."""
    recall: float = line.get("test", line["valid"])["recall@20"]
    return recall


def frozen(benchmark: BenchmarkSet, share: float, work: Path) -> BenchmarkSet:
    """Return ``benchmark`` without the training interactions of ``share`` of its items; their content stays."""
    name = f"{benchmark.name}~frozen{share:g}"
    out, raw = work / "sets" / name, work / "raw" / name
    if not out.exists():
        dataset = Dataset.load(benchmark.path)
        chosen = np.random.default_rng(0).permutation(dataset.item_ids)[: int(share * dataset.n_items)]
        rows = pd.read_parquet(benchmark.path / "interactions.parquet")
        raw.mkdir(parents=True, exist_ok=True)
        rows[(rows["split"] != "train") | ~rows["item_id"].isin(chosen)].to_parquet(raw / "interactions.parquet")
        dataset.items[["item_id"]].to_parquet(raw / "items.parquet")
        files = {}
        for modality in store.names(benchmark.path):
            features = store.load(benchmark.path, modality)
            files[modality] = raw / f"{modality}.npy"
            np.save(files[modality], np.where(features.present[:, None], features.vectors, np.nan))
        options = PrepareOptions(
            raw / "interactions.parquet", out, items=raw / "items.parquet", features=files, split="given"
        )
        prepare_with_features(options)
    return BenchmarkSet(name, out)


@app.command()
def cold(
    data: Data = DATA,
    work: Work = WORK,
    seeds: Seeds = "0",
    sets: Sets = "demo,ml-100k,planted-rich",
    recipes: Recipes = "default,no-denoising,content-only,freedom,item-knn",
    share: float = 0.2,
) -> None:
    """Recall@20 by how often the item to be found was taken in training, and by the modalities that it has.

    ``share`` of the items are kept from training. Ranked among all items, and those never taken among such alone; on
    the test split, or on validation for a set without one.
    """
    rows = []
    seed = int(seeds.split(",")[0])
    for name in sets.split(","):
        benchmark = frozen(obtain(name, data, work), share, work)
        dataset = Dataset.load(benchmark.path)
        split = "test" if len(dataset.histories("test").items) else "valid"
        targets = dataset.histories(split)
        taken = np.bincount(dataset.histories("train").items, minlength=dataset.n_items)
        users = np.flatnonzero(targets.lengths == 1)
        items = targets.items[targets.indptr[users]]
        target = pd.DataFrame(
            {"taken": taken[items], "has": modalities_of(benchmark)[items]}, index=dataset.user_ids[users]
        )
        kinds = ["any", *(sorted(set(target["has"])) if target["has"].nunique() > 1 else [])]
        for recipe in recipes.split(","):
            measure(benchmark, recipe, seed, work)
            run = run_of(benchmark, recipe, seed, work)
            file = work / "per-user.parquet"
            evaluate_runs([run], split=split, per_user=file, ks=(20,), device="cpu")
            recall = pd.read_parquet(file).set_index("user_id")["recall@20"]
            among_cold = pd.Series(recall_among(run, split, taken == 0, users, items), index=target.index)
            for kind in kinds:
                row = [name, recipe, kind]
                of_kind = target["has"].eq(kind) | (kind == "any")
                asked = [(recall, target["taken"].between(low, high)) for low, high in BANDS]
                for values, chosen in [*asked, (among_cold, target["taken"].eq(0))]:
                    recalls = values.reindex(target.index[of_kind & chosen])
                    row.append(f"{recalls.mean():.3f} ({len(recalls)})" if len(recalls) else "-")
                rows.append(row)
        chance = min(1.0, 20 / max(1, int((taken == 0).sum())))
        rows.append([name, "by chance", "any", *"----", f"{chance:.3f}"])
    header = [
        "set",
        "recipe",
        "item has",
        "never",
        "1 to 4 times",
        "5 to 19",
        "20 and more",
        "never, among such",
    ]
    publish("cold", markdown(header, rows))


def recall_among(run: Path, split: str, allowed_I: np.ndarray, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the recall@20 of ``items``, one for each of ``users``, in the ranking of the allowed items alone (U,).

    Ties are in any order; 0 where the item is not allowed.
    """
    score = load_run(run).scorer(split)
    recall = np.zeros(len(users))
    for rows in np.array_split(np.flatnonzero(allowed_I[items]), 20):
        if len(rows):
            scores = score(users[rows])
            own = scores[np.arange(len(rows)), items[rows]][:, None]
            above, equal = ((side & allowed_I).sum(1) for side in (scores > own, scores == own))
            recall[rows] = np.clip((20 - above) / equal, 0, 1)
    return recall


def modalities_of(benchmark: BenchmarkSet) -> np.ndarray:
    """Return the names of the modalities that each item has, joined by ``+`` (I,)."""
    names = store.names(benchmark.path)
    present = np.stack([store.load(benchmark.path, name).present for name in names], 1)
    return np.array(["+".join(np.array(names)[row]) or "none" for row in present], dtype=object)


if __name__ == "__main__":
    app()
