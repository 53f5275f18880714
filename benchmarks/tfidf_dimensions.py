"""Measure the loss by truncating TF-IDF: recall of content profiles without training, by the number of dimensions.

A profile is the mean of the vectors of a user's training items; all other items are ranked by their cosine to it, and
recall@20 is measured on the validation part. `python benchmarks/tfidf_dimensions.py --help`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if TYPE_CHECKING:
    from demure.data.dataset import Dataset

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
SETS = "hm-week,amazon-scientific,amazon-beauty"
K = 20
_BLOCK = 1024


def prepared(raw: Path, out: Path) -> Dataset:
    """Prepare a data set with its own split."""
    from demure.data.dataset import Dataset
    from demure.preparation.options import PrepareOptions
    from demure.preparation.prepare import prepare

    prepare(PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", split="given"))
    return Dataset.load(out)


def recall(dataset: Dataset, vectors: Any) -> float:
    """Return the mean recall@20 on the validation part; ``vectors`` (I, D) are dense or sparse, of length 1."""
    from scipy.sparse import csr_matrix

    train, valid = dataset.histories("train"), dataset.histories("valid")
    past = csr_matrix((np.ones(len(train.items)), train.items, train.indptr), shape=(dataset.n_users, dataset.n_items))
    users = np.flatnonzero((valid.lengths > 0) & (train.lengths > 0))
    shares = []
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        scores = past[block] @ vectors @ vectors.T
        scores = np.asarray(scores if isinstance(scores, np.ndarray) else scores.todense())
        scores[past[block].nonzero()] = -np.inf
        best = np.argpartition(-scores, K, axis=1)[:, :K]
        for row, user in zip(best, block.tolist(), strict=True):
            relevant = np.unique(valid.items[valid.indptr[user] : valid.indptr[user + 1]])
            shares.append(np.isin(relevant, row).mean())
    return float(np.mean(shares))


def main(
    data: Annotated[Path, typer.Option(help="Folder with the data sets.")] = DATA,
    sets: Annotated[str, typer.Option(help="Names of data sets, with commas.")] = SETS,
    dimensions: Annotated[str, typer.Option(help="Numbers of dimensions, with commas.")] = "64,128,256,512,1024",
    options: Annotated[str, typer.Option(help="Further options of tfidf, such as keep-numbers.")] = "",
) -> None:
    """Print recall@20 on validation, and seconds to fit and encode, for each number of dimensions and for all."""
    print("| set | dimensions | texts | words | recall@20 | of centred vectors | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in sets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            dataset = prepared(data / name, Path(folder) / "set")
            for number in [*dimensions.split(","), ""]:
                print(f"| {name} | {number or 'all'} | {_measure(dataset, number, options)} |", flush=True)


def _measure(dataset: Dataset, number: str, options: str) -> str:
    """Return one line of the table; an empty ``number`` is TF-IDF without truncation."""
    from demure_extractors.builtin import Tfidf

    from demure.extraction.inputs import text_inputs

    inputs = text_inputs(dataset.items, dataset.text_columns)
    distinct = [inputs.load(k) for k in range(len(inputs.keys))]
    began = time.perf_counter()
    encoder = Tfidf(",".join(option for option in (number, options) if option))
    if number:
        encoder.fit(distinct)
        vectors = encoder.encode(distinct)
    else:
        vectors = encoder.count_words(distinct)
    seconds = time.perf_counter() - began
    by_item = vectors[np.maximum(inputs.index, 0)]
    columns = [f"{len(distinct):,}", f"{len(encoder.vectorizer.vocabulary_):,}", f"{recall(dataset, by_item):.4f}", "-"]
    if number:
        centred = by_item - by_item.mean(axis=0)
        columns[-1] = f"{recall(dataset, centred / np.linalg.norm(centred, axis=1, keepdims=True).clip(1e-9)):.4f}"
    return " | ".join([*columns, f"{seconds:.1f}"])


if __name__ == "__main__":
    typer.run(main)
