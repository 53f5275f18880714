"""In which space a text search by vector finds what was asked for: `python benchmarks/searching.py RUN`.

Each query is two words of a random item's text, each in at least five items and at most a tenth of them. The number is
the mean share of the two words that the ten nearest items have, for the cosine of the raw features, of the features
scaled as for training, and of the run's coordinates.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from demure.extraction.inputs import text_inputs
from demure.features.normalize import fit_robust_scale
from demure.runs.load import load_run
from demure.runs.new_content import ContentEncoder

_LISTED = 10


def precision(run: Path, modality: str = "text", queries: int = 300, seed: int = 0) -> dict[str, float]:
    """Return the number of each space for a run whose ``modality`` encodes texts."""
    loaded = load_run(run)
    content = ContentEncoder(loaded)
    encoder, features = content.encoder(modality), content.stored(modality)
    scale = fit_robust_scale(features)
    trained = content.denoiser.experts()[content.modalities.index(modality)].coordinates_ID.cpu().numpy()
    catalogue = {
        "raw": features.vectors,
        "scaled": scale.apply(features.vectors, features.present),
        "coordinates": trained * features.present[:, None],
    }
    inputs = text_inputs(loaded.dataset.items, encoder.columns)
    texts = [str(inputs.load(k)) if k >= 0 else "" for k in inputs.index]
    words = [set(re.findall(r"[a-z]{4,}", text.lower())) for text in texts]
    counts = Counter(word for own in words for word in own)
    usable = {word for word, count in counts.items() if 5 <= count <= len(words) / 10}
    candidates = [sorted(own & usable) for own in words if len(own & usable) >= 2]
    random = np.random.default_rng(seed)
    shares: dict[str, list[float]] = {space: [] for space in catalogue}
    for _ in range(queries):
        query = random.choice(candidates[random.integers(len(candidates))], 2, replace=False)
        new = content.encode_texts(modality, [" ".join(query)])
        vectors = {"raw": new.vectors, "scaled": scale.apply(new.vectors, new.present), "coordinates": new.coordinates}
        matched = np.array([np.mean([word in own for word in query]) for own in words])
        for space, rows in catalogue.items():
            lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-9)
            best = np.argsort(-(rows @ vectors[space][0]) / lengths, kind="stable")[:_LISTED]
            shares[space].append(float(matched[best].mean()))
    return {space: float(np.mean(own)) for space, own in shares.items()}


def main(run: Annotated[Path, typer.Argument()], modality: str = "text", queries: int = 300) -> None:
    """Print the share of the query's words that the nearest items have."""
    for space, share in precision(run, modality, queries).items():
        print(f"{space}: {share:.3f}")


if __name__ == "__main__":
    typer.run(main)
