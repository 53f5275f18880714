"""Planted sets: made users over made (or given) item features, with the cause of every choice on record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.choices import Choices, choose
from demure.demo.knobs import KINDS, Knobs, require
from demure.demo.rivals import FIRST_RELEASE, LAST_RELEASE, Process, choose_by, draw_links
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
            knobs = dataclasses.asdict(self.knobs)
            if self.knobs.rival is None:  # a set without a rival keeps the file that it had before rivals existed
                knobs = {name: value for name, value in knobs.items() if name not in ("rival", "p_rival")}
            write_json(part / "planted.json", {"interactions": len(self.interactions), **knobs})


def plant(knobs: Knobs, features: Mapping[str, np.ndarray] | None = None) -> Planted:
    """Make a planted set; the same knobs give the same set.

    ``features``, modality name -> (I, d), plants users over items that exist already, by tastes without clusters in
    these very features; a zero row is a missing modality. ``knobs.items`` and ``knobs.modalities`` then follow them.
    Raises ``DemureError`` where they cannot.
    """
    if features is not None:
        knobs = _knobs_of(knobs, features)
    random = np.random.default_rng(knobs.seed)
    if knobs.rival is not None:
        return _plant_with_rival(knobs, random)
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
    return _planted(
        knobs, drawn, {m: made[k] * present[k][:, None].astype(np.float32) for k, m in enumerate(knobs.modalities)}
    )


def _plant_with_rival(knobs: Knobs, random: np.random.Generator) -> Planted:
    given = len(knobs.modalities)
    made = given + 1 if knobs.rival == "hidden" else given
    cluster = random.integers(0, knobs.clusters, (made, knobs.items))
    process = Process(
        popularity=zipf_popularity(knobs.items, knobs.zipf, random),
        cluster=cluster,
        liked=[pick_interests(knobs.users, knobs.clusters, knobs.interests, random) for _ in range(made)],
        present=random.random((made, knobs.items)) >= knobs.missing,
        reliance=random.dirichlet(np.full(made, knobs.alpha), knobs.users),
        p_rival=knobs.p_rival,
        release=random.uniform(FIRST_RELEASE, LAST_RELEASE, knobs.items) if knobs.rival == "trend" else None,
        links=draw_links(knobs.items, random) if knobs.rival == "habit" else None,
    )
    features = [_observe(_around_centres(cluster[m], knobs, random), knobs, random) for m in range(given)]
    if process.release is not None:
        features[-1] += _date(process.release, knobs, random)
    features = [matrix * process.present[m][:, None].astype(np.float32) for m, matrix in enumerate(features)]
    lengths = random.integers(knobs.length[0], knobs.length[1] + 1, knobs.users)
    drawn = choose_by(process, lengths, random)
    caused, posterior = drawn.caused[:, :given].copy(), drawn.posterior[:, :given].copy()
    if knobs.rival == "junk":
        features[0] = random.permutation(features[0])
        caused[:, 0], posterior[:, 0] = False, 0.0
    drawn = dataclasses.replace(drawn, caused=caused, posterior=posterior)
    return _planted(knobs, drawn, dict(zip(knobs.modalities, features, strict=True)))


def _planted(knobs: Knobs, drawn: Choices, features: dict[str, np.ndarray]) -> Planted:
    user_ids = np.array([f"u{k}" for k in range(knobs.users)], dtype=object)
    item_ids = np.array([f"i{k}" for k in range(knobs.items)], dtype=object)
    return Planted(
        knobs,
        drawn.interactions(user_ids, item_ids),
        pd.DataFrame({"item_id": item_ids}),
        features,
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


def _date(release: np.ndarray, knobs: Knobs, random: np.random.Generator) -> np.ndarray:
    """Return what a release date adds to the features, (I, d) float32: season and date in random directions.

    A date that only grows would be one direction, easy to remove; the season bends it. The strength is as measured on
    the set that this kind follows.
    """
    turn = 2 * np.pi * release / LAST_RELEASE
    date = np.stack([np.sin(turn), np.cos(turn), release / LAST_RELEASE], axis=1)
    return (0.55 * date @ random.standard_normal((3, knobs.dimensions))).astype(np.float32)


def _knobs_of(knobs: Knobs, features: Mapping[str, np.ndarray]) -> Knobs:
    counts = {name: len(matrix) for name, matrix in features.items()}
    require(len(set(counts.values())) == 1, "features", counts, "give every modality a row for each item")
    require(not knobs.clusters, "clusters", knobs.clusters, "given features have none: set clusters to 0")
    return dataclasses.replace(knobs, items=next(iter(counts.values())), modalities=tuple(features))
