"""Measure how often `inspect --explain` finds the word and the patch that mattered, where both are known.

    python benchmarks/explain.py --seeds 3

Every item has a text of filler words with one theme word, and a grey picture with one coloured patch at a random place.
Users choose by themes, by colours, or both. Of the choices that the theme (the colour) caused and whose verdict is
"poi", the hit rate is the share in which the strongest word is the theme word (the strongest cell lies in the patch).
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from demure.demo.affinity import cluster_affinity, draw_interests, zipf_popularity
from demure.demo.simulation import ContentProcess, simulate
from demure.diagnosis.attribution import GRID, ChoiceExplainer
from demure.diagnosis.reader import DiagnosisReader
from demure.extraction.extract import extract
from demure.preparation.prepare import PrepareOptions, prepare
from demure.training.run import train

THEMES = ("detective", "dragon", "spaceship", "romance", "garden", "pirate", "football", "recipe")
COLOURS = ((210, 30, 30), (30, 150, 40), (30, 60, 210), (230, 200, 20), (150, 30, 170), (20, 180, 190))
SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "so", "ti")
FILLERS = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]
SIDE, PATCH = 64, 20


@dataclass(frozen=True)
class Marked:
    """A dataset whose items' theme words and patches are known: item id -> word, and row and column of the patch."""

    dataset: Path
    word: dict[str, str]
    patch: dict[str, tuple[int, int]]
    truth: pd.DataFrame


def make(folder: Path, *, users: int = 600, items: int = 240, seed: int = 0) -> Marked:
    """Write the raw files and the dataset with its features below ``folder``."""
    random = np.random.default_rng(seed)
    raw = folder / "raw"
    (raw / "images").mkdir(parents=True)
    theme, colour = random.integers(len(THEMES), size=items), random.integers(len(COLOURS), size=items)
    ids = np.array([f"i{k}" for k in range(items)], dtype=object)
    word, patch, rows = {}, {}, []
    for k, item in enumerate(ids):
        words = list(random.choice(FILLERS, 12))
        words.insert(int(random.integers(13)), THEMES[theme[k]])
        word[item] = THEMES[theme[k]]
        pixels = np.full((SIDE, SIDE, 3), float(random.integers(110, 146)))
        row, column = (int(random.integers(SIDE - PATCH)) for _ in range(2))
        pixels[row : row + PATCH, column : column + PATCH] = COLOURS[colour[k]] + random.integers(-8, 9, 3)
        patch[item] = row, column
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(raw / "images" / f"{item}.png")
        rows.append((item, " ".join(words), f"{item}.png"))
    pd.DataFrame(rows, columns=["item_id", "description", "image"]).to_csv(raw / "items.csv", index=False)
    kinds = (COLOURS, THEMES)
    interests = [draw_interests(users, len(kind), (1, 2), random) for kind in kinds]
    process = ContentProcess(
        cluster_affinity(np.stack([colour, theme]), interests, np.ones((2, items), bool)),
        zipf_popularity(items, 0.5, random),
        random.dirichlet(np.full(2, 0.5), users),
        random.integers(10, 25, users),
        p_none=0.05,
        p_two=0.05,
    )
    simulation = simulate(process, random)
    user_ids = np.array([f"u{k}" for k in range(users)], dtype=object)
    simulation.interactions(user_ids, ids).to_csv(raw / "interactions.csv", index=False)
    dataset = folder / "dataset"
    prepare(PrepareOptions(raw / "interactions.csv", dataset, items=raw / "items.csv", images=raw / "images"))
    extract(dataset, text="tfidf", image="color")
    return Marked(dataset, word, patch, simulation.truth(user_ids, ids, ("image", "text")))


def hit_rates(marked: Marked, run: Path, choices: int, seed: int = 0) -> dict[str, tuple[float, int]]:
    """Return modality -> hit rate and number of choices, over at most ``choices`` for each modality."""
    diagnosis = pd.read_parquet(run / "diagnosis.parquet")
    caused = diagnosis[diagnosis["verdict"] == "poi"].merge(marked.truth, on=["user_id", "item_id", "modality"])
    rates = {}
    explainer = ChoiceExplainer(DiagnosisReader.open(run), device="cpu")
    for name, rows in caused[caused["caused"] == 1].groupby("modality"):
        hits = []
        for row in rows.sample(min(choices, len(rows)), random_state=seed).itertuples():
            explained = explainer.explain(str(row.user_id), str(row.item_id))
            if name == "text":
                hits.append(explained.texts[0].words[0].word == marked.word[str(row.item_id)])
            else:
                grid = np.array(explained.pictures[0].grid)
                y, x = ((np.array(np.unravel_index(grid.argmax(), grid.shape)) + 0.5) * SIDE / GRID).tolist()
                top, left = marked.patch[str(row.item_id)]
                hits.append(top <= y <= top + PATCH and left <= x <= left + PATCH)
        rates[str(name)] = float(np.mean(hits)), len(hits)
    return rates


def main() -> None:
    """Print the hit rates of one seed or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--choices", type=int, default=60, help="choices of each modality")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            marked = make(Path(folder), seed=seed)
            train(marked.dataset, Path(folder) / "run", device="cpu", seed=seed)
            for name, (rate, count) in hit_rates(marked, Path(folder) / "run", options.choices, seed).items():
                print(f"seed {seed}, {name}: hit rate {rate:.2f} of {count} choices", flush=True)


if __name__ == "__main__":
    main()
