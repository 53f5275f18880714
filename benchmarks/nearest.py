"""Similar content by cells beside the exact one: `python benchmarks/nearest.py --help`.

Below `EXACT_ITEMS` items the search is exact; here it is made by cells all the same, to see what that costs in quality.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from demure.evaluation.ranking import evaluate
from demure.features import store
from demure.features.normalize import robust_scale
from demure.model import nearest_items as module
from demure.model.content_items import ContentItemModel
from demure.model.nearest_items import NearestItems, nearest_items
from demure.runs.load import LoadedRun, load_run
from demure.runs.ranking import SplitData

app = typer.Typer(no_args_is_help=True, add_completion=False)
Shares = Annotated[str, typer.Option(help="Comma-separated shares of the items that each is compared with.")]


@contextmanager
def by_cells(compared: int) -> Iterator[None]:
    """Search by cells whatever the number of items, among ``compared``."""
    before = module.EXACT_ITEMS, module.COMPARED
    module.EXACT_ITEMS, module.COMPARED = 0, compared
    try:
        yield
    finally:
        module.EXACT_ITEMS, module.COMPARED = before


def nearest_of(dataset: Path, name: str) -> NearestItems:
    """Return the nearest items in the scaled features of a dataset."""
    features = store.load(dataset, name)
    return nearest_items(robust_scale(features), features.present)


@app.command()
def recall(datasets: list[Path], shares: Shares = "0.05,0.2") -> None:
    """Print the share of the exact nearest items that the cells have, for every modality."""
    print("| dataset | modality | items | compared with | of the exact 50 |\n| --- | --- | ---: | ---: | ---: |")
    for dataset in datasets:
        for name in store.names(dataset):
            present = store.load(dataset, name).present
            exact = nearest_of(dataset, name)
            for share in map(float, shares.split(",")):
                with by_cells(round(len(present) * share)):
                    cells = nearest_of(dataset, name)
                worst_exact = exact.cosine_IN[present].min(axis=1)  # by cosine: equal items can stand for each other
                hits = cells.cosine_IN[present] >= worst_exact[:, None] - 1e-6
                print(f"| {dataset.name} | {name} | {len(present):,} | {share:.0%} | {hits.mean():.3f} |", flush=True)


@app.command()
def ranking(folder: Path, shares: Shares = "0.05,0.2") -> None:
    """Print the validation metrics of a run, with similar content that is exact, by cells, and left out."""
    run = load_run(folder)
    recommender = run.recommender
    assert recommender is not None
    content = recommender.content_items
    assert content is not None, "this run has no similar content"
    print("| similar content | recall@20 | NDCG@20 |\n| --- | ---: | ---: |")
    print(_row("exact", run), flush=True)
    for share in map(float, shares.split(",")):
        with by_cells(round(run.dataset.n_items * share)):
            nearest = {name: nearest_of(run.dataset.path, name) for name in content.nearest}
        recommender.content_items = ContentItemModel(nearest, content.counts_I, content.parameters)
        print(_row(f"by cells, compared with {share:.0%}", run), flush=True)
    recommender.content_items = None
    print(_row("left out", run), flush=True)


def _row(name: str, run: LoadedRun) -> str:
    data = SplitData.of(run.dataset, "valid")
    n_items = run.dataset.n_items
    means = evaluate(run.scorer("valid"), data.relevant, data.past, (20,), n_items, users=data.users).means()
    return f"| {name} | {means['recall@20']:.4f} | {means['ndcg@20']:.4f} |"


@app.command()
def seconds(items: str = "100000,500000", columns: int = 512, topics: int = 60) -> None:
    """Print the CPU seconds of the search in drawn features."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(topics, columns)).astype(np.float32)
    for count in map(int, items.split(",")):
        vectors = centres[random.integers(topics, size=count)]
        vectors += random.standard_normal(vectors.shape, dtype=np.float32)
        began = time.process_time()
        nearest_items(vectors, np.ones(count, bool))
        print(f"{count:,} items of {columns} columns: {time.process_time() - began:.0f} CPU s", flush=True)


if __name__ == "__main__":
    app()
