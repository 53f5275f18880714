"""Planted sets: made users over made (or given) item features, with the cause of every choice on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.choices import choose
from demure.demo.knobs import KINDS, Knobs, require
from demure.demo.tastes import cluster_tastes, pick_interests, smooth_tastes, zipf_popularity
from demure.files import atomic_folder, write_json

__all__ = ["KINDS", "Knobs", "Planted", "plant"]


@dataclass(frozen=True)
class Planted:
    """A planted set: ``features`` are (I, d) float32 by modality, a zero row where the item lacks it."""

    knobs: Knobs
    interactions: pd.DataFrame
    items: pd.DataFrame
    features: dict[str, np.ndarray]
    truth: pd.DataFrame

    def write(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write interactions.csv, items.csv, NAME.npy per modality, truth.csv and planted.json into ``folder``."""
        with atomic_folder(folder, overwrite=overwrite) as part:
            self.interactions.to_csv(part / "interactions.csv", index=False)
            self.items.to_csv(part / "items.csv", index=False)
            self.truth.to_csv(part / "truth.csv", index=False)
            for name, vectors in self.features.items():
                np.save(part / f"{name}.npy", vectors, allow_pickle=False)
            write_json(
                part / "planted.json", {"interactions": len(self.interactions), **dataclasses.asdict(self.knobs)}
            )


def plant(knobs: Knobs, features: Mapping[str, np.ndarray] | None = None) -> Planted:
    """Make a planted set; the same knobs give the same set.

    ``features``, modality name -> (I, d), plants users over items that exist already, by tastes without clusters in
    these very features; a zero row is a missing modality. ``knobs.items`` and ``knobs.modalities`` then follow them.
    Raises ``DemureError`` where they cannot.
    """
    if features is not None:
        knobs = _knobs_of(knobs, features)
    random = np.random.default_rng(knobs.seed)
    n_modalities = len(knobs.modalities)
    popularity = zipf_popularity(knobs.items, knobs.zipf, random)
    reliance = random.dirichlet(np.full(n_modalities, knobs.alpha), knobs.users)
    lengths = random.integers(knobs.length[0], knobs.length[1] + 1, knobs.users)
    present = random.random((n_modalities, knobs.items)) >= knobs.missing

    if knobs.clusters:
        cluster = np.stack([random.permutation(np.arange(knobs.items) % knobs.clusters) for _ in knobs.modalities])
        liked = [pick_interests(knobs.users, knobs.clusters, knobs.interests, random) for _ in cluster]
        affinity = cluster_tastes(cluster, liked, present)
        latents = [_around_centres(cluster[m], knobs, random) for m in range(n_modalities)]
    else:
        if features is None:
            latents = [random.standard_normal((knobs.items, 8)) for _ in knobs.modalities]
        else:
            latents = [np.asarray(features[name], dtype=np.float64) for name in knobs.modalities]
            present &= np.stack([np.linalg.norm(latent, axis=1) > 0 for latent in latents])
        affinity = smooth_tastes(
            latents, present, popularity, random, users=knobs.users, interests=knobs.interests, nats=knobs.nats
        )

    if features is None:
        made = [_observe(latent, knobs, random) for latent in latents]
    else:
        made = [np.asarray(features[name], dtype=np.float32) for name in knobs.modalities]
    drawn = choose(affinity, popularity, reliance, lengths, random, p_none=knobs.p_none, p_two=knobs.p_two)
    user_ids = np.array([f"u{k}" for k in range(knobs.users)], dtype=object)
    item_ids = np.array([f"i{k}" for k in range(knobs.items)], dtype=object)
    return Planted(
        knobs,
        drawn.interactions(user_ids, item_ids),
        pd.DataFrame({"item_id": item_ids}),
        {m: made[k] * present[k][:, None].astype(np.float32) for k, m in enumerate(knobs.modalities)},
        drawn.truth(user_ids, item_ids, knobs.modalities),
    )


def _around_centres(cluster: np.ndarray, knobs: Knobs, random: np.random.Generator, size: int = 16) -> np.ndarray:
    centres = random.standard_normal((knobs.clusters, size))
    return centres[cluster] + knobs.noise * random.standard_normal((len(cluster), size))


def _observe(latent: np.ndarray, knobs: Knobs, random: np.random.Generator) -> np.ndarray:
    """(I, d) float32: what an encoder would give, a random two-layer network of the latent point, and noise."""
    hidden = 2 * knobs.dimensions
    first = random.standard_normal((latent.shape[1], hidden)) / np.sqrt(latent.shape[1])
    second = random.standard_normal((hidden, knobs.dimensions)) / np.sqrt(hidden)
    clean = np.tanh(latent @ first) @ second
    return (clean + knobs.feature_noise * random.standard_normal(clean.shape)).astype(np.float32)


def _knobs_of(knobs: Knobs, features: Mapping[str, np.ndarray]) -> Knobs:
    counts = {name: len(matrix) for name, matrix in features.items()}
    require(len(set(counts.values())) == 1, "features", counts, "give every modality a row for each item")
    require(not knobs.clusters, "clusters", knobs.clusters, "given features have none: set clusters to 0")
    return dataclasses.replace(knobs, items=next(iter(counts.values())), modalities=tuple(features))
