"""Planted sets: made users over made (or given) item features, with the cause of every choice on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.demo.choices import choose
from demure.demo.tastes import cluster_tastes, pick_interests, smooth_tastes, zipf_popularity
from demure.errors import DemureError
from demure.files import atomic_folder, write_json


def _require(holds: bool, name: str, value: Any, remedy: str) -> None:
    if not holds:
        raise DemureError(f"{name} is {value}", where="planted", remedy=remedy)


@dataclass(frozen=True)
class Knobs:
    """What a planted set is made of.

    ``length`` and ``interests`` (per modality) are ranges, both ends included. ``alpha`` is the Dirichlet concentration
    of a user's reliance on the modalities: below 1 most users rely on one. ``noise`` is how far items spread around
    their cluster's centre, whose own spread is 1; ``feature_noise`` is added to every feature. ``nats`` is
    how much an interest tells about an item where there are no clusters. Popularity falls as rank ** -``zipf``.
    ``missing`` is the share of items without a modality, drawn for each modality apart: such a modality causes nothing
    and its feature row is zero.
    """

    users: int = 1000
    items: int = 2000
    modalities: tuple[str, ...] = ("image", "text")
    length: tuple[int, int] = (8, 30)
    clusters: int = 20
    interests: tuple[int, int] = (1, 3)
    alpha: float = 0.5
    noise: float = 0.5
    nats: float = 3.0
    feature_noise: float = 0.3
    dimensions: int = 64
    p_none: float = 0.0
    p_two: float = 0.0
    zipf: float = 0.6
    missing: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = {"p_none": self.p_none, "p_two": self.p_two, "missing": self.missing}
        for name, share in shares.items():
            _require(0 <= share <= 1, name, share, "give a share from 0 to 1")
        _require(self.missing < 1, "missing", self.missing, "leave some items with the modality")
        _require(
            self.p_none + self.p_two <= 1, "p_none + p_two", self.p_none + self.p_two, "keep the sum at 1 or below"
        )
        _require(len(self.modalities) > 0, "modalities", "empty", "name one or more")
        _require(len(self.modalities) > 1 or not self.p_two, "p_two", self.p_two, "two causes need two modalities")
        _require(1 <= self.length[0] <= self.length[1], "length", self.length, "give a rising range from 1")
        _require(self.length[1] <= self.items, "length", self.length, f"there are {self.items} items, each chosen once")
        _require(1 <= self.interests[0] <= self.interests[1], "interests", self.interests, "give a rising range from 1")
        _require(self.clusters == 0 or self.interests[1] <= self.clusters, "interests", self.interests, "add clusters")
        for name in ("users", "alpha", "nats", "dimensions"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "give a value above 0")


# As hard as the sets that the project was measured on; a seed and a size of your own make them yours.
KINDS: dict[str, Knobs] = {
    "clear": Knobs(),
    "hard": Knobs(length=(7, 24), clusters=10, interests=(1, 4), alpha=1.0, noise=0.9, feature_noise=0.5),
    "rich": Knobs(
        users=2000,
        items=3000,
        modalities=("image", "text", "audio"),
        length=(8, 40),
        clusters=12,
        alpha=0.7,
        noise=0.8,
        feature_noise=0.4,
        p_none=0.1,
        p_two=0.15,
        missing=0.1,
        zipf=1.0,
    ),
    "smooth": Knobs(
        users=2000, items=2500, clusters=0, interests=(2, 4), alpha=0.8, feature_noise=0.5, p_none=0.05, zipf=0.9
    ),
}


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
    _require(len(set(counts.values())) == 1, "features", counts, "give every modality a row for each item")
    _require(not knobs.clusters, "clusters", knobs.clusters, "given features have none: set clusters to 0")
    return dataclasses.replace(knobs, items=next(iter(counts.values())), modalities=tuple(features))
