"""Measure `demure whatif` on planted sets, whose process knows how often an item would be chosen with other content.

    python benchmarks/whatif.py --kinds clear clear-skewed --seeds 2

``-skewed``: some interests have many more users than others, as in life; elsewhere all have about as many, so that
another content changes little. For each modality, items of at least five choices get the content of other items in it,
or lose it. Printed: the rank correlation of the expected with the true relative change, the slope of the true on the
expected change, the mean distance, and how often the 95 % interval holds the truth; the same for the users who choose
mostly by the modality.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from demure.data.dataset import Dataset
from demure.demo.planted import KINDS, PlantedOptions, content_process, plant
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.whatif.answer import measure
from demure.diagnosis.whatif.effects import DemandOfRun
from demure.diagnosis.whatif.variants import Variant
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features
from demure.runs.load import load_run
from demure.training.run import train

SKEW = 1.0
LEAST_CHOICES, SOURCES = 5, 4


def options_of(kind: str, seed: int) -> PlantedOptions:
    """Return the options of a kind of planted sets."""
    options = KINDS[kind.removesuffix("-skewed")]
    return dataclasses.replace(options, seed=seed, skew=SKEW if kind.endswith("-skewed") else 0.0)


def train_on(options: PlantedOptions, folder: Path) -> Path:
    """Plant a set, prepare it and train on it; return the run folder."""
    if not (folder / "run" / "run.json").is_file():
        planted = plant(options)
        planted.write(folder / "raw", overwrite=True)
        raw = folder / "raw"
        features = {name: raw / f"{name}.npy" for name in planted.features}
        dataset = folder / "dataset"
        interactions, items = raw / "interactions.csv", raw / "items.csv"
        prepare_with_features(PrepareOptions(interactions, dataset, items=items, features=features, overwrite=True))
        train(dataset, folder / "run", device="cpu", overwrite=True)
    return folder / "run"


def compare(options: PlantedOptions, run: Path, items: int, seed: int) -> pd.DataFrame:
    """Return the expected and the true relative change of swaps and removals, for all users and for a segment."""
    process, random = content_process(options), np.random.default_rng(seed)
    reader = DiagnosisReader.open(run)
    dataset, model = Dataset.load(reader.dataset), load_run(run, "cpu").recommender
    assert model is not None
    denoiser = model.denoiser
    number = np.array([int(name[1:]) for name in dataset.item_ids])  # in the planted set
    of_run = DemandOfRun(reader, denoiser, dataset.histories("train"))
    counts = dataset.histories("train").count_items(dataset.n_items)
    users = np.array([int(name[1:]) for name in reader.table.user_ids])
    rows = []
    for m, name in enumerate(denoiser.modalities):
        expert, own = denoiser.experts()[m], list(options.modalities).index(name)
        has = expert.present_I.numpy() > 0
        mostly = users[reader.reliance_shares.argmax(1) == m]
        for item in random.choice(np.flatnonzero(has & (counts >= LEAST_CHOICES)), items, replace=False):
            sources = random.choice(np.flatnonzero(has), SOURCES, replace=False)
            variants = [Variant(str(j), {name: expert.coordinates_ID[j].numpy()}) for j in sources]
            variants.append(Variant("without", {name: None}))
            changes, _ = measure(reader, of_run, str(dataset.item_ids[item]), variants)
            for source, change in zip([*sources, None], changes, strict=True):
                before, after = process.expected_choices(number[item], own, None if source is None else number[source])
                kind = "without" if source is None else "swap"
                true = after.sum() / before.sum() - 1
                rows.append((name, kind, "all", change.relative, change.low, change.high, true))
                part = next((s for s in change.segments if s.segment == f"users who choose mostly by {name}"), None)
                if part is not None and before[mostly].sum():
                    true = after[mostly].sum() / before[mostly].sum() - 1
                    rows.append((name, kind, "own", part.relative, part.low, part.high, true))
    return pd.DataFrame(rows, columns=["modality", "kind", "users", "expected", "low", "high", "true"])


def report(label: str, frame: pd.DataFrame) -> None:
    """Print how well the expected changes of one group agree with the true ones."""
    expected, true = frame["expected"], frame["true"]
    inside = ((frame["low"] <= true) & (true <= frame["high"])).mean()
    slope = np.polyfit(expected, true, 1)[0]
    print(
        f"{label}: rank correlation {spearmanr(expected, true)[0]:.3f}, slope {slope:.2f}, mean distance "
        f"{(expected - true).abs().mean():.3f} (spread of the truth {true.std():.3f}), in the interval {inside:.2f}, "
        f"of {len(frame)}",
        flush=True,
    )


def main() -> None:
    """Print the agreement for each kind and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["clear", "clear-skewed", "hard", "hard-skewed"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--items", type=int, default=30, help="items of each modality")
    parser.add_argument("--work", type=Path, help="folder that keeps the sets and runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for kind in arguments.kinds:
            for seed in range(arguments.seeds):
                options = options_of(kind, seed)
                run = train_on(options, (arguments.work or Path(temporary)) / f"{kind}-{seed}")
                frame = compare(options, run, arguments.items, seed)
                for keys, group in frame.groupby(["users", "kind", "modality"], sort=True):
                    report(f"{kind} {seed} {' '.join(map(str, keys))}", group)
                for users, group in frame.groupby("users"):
                    report(f"{kind} {seed} {users}", group)


if __name__ == "__main__":
    main()
