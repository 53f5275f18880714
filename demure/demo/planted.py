"""Planted sets: simulated users over generated or existing item features, with the cause of every interaction."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.affinity import cluster_affinity, draw_interests, smooth_affinity, zipf_popularity
from demure.demo.options import KINDS, PlantedOptions, require
from demure.demo.rivals import FIRST_RELEASE, LAST_RELEASE, RivalProcess, draw_links, simulate_with_rival
from demure.demo.simulation import ContentProcess, Simulation, simulate
from demure.files import atomic_folder, write_json

__all__ = ["KINDS", "Planted", "PlantedOptions", "content_process", "plant"]


@dataclass(frozen=True)
class Planted:
    """A planted set; ``features`` are modality -> (I, D) float32, a zero row where the item lacks the modality."""

    options: PlantedOptions
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
            content = dataclasses.asdict(self.options)
            # A set keeps the file that it had before rivals and unequal interests existed.
            new = [
                *(("rival", "p_rival") if self.options.rival is None else ()),
                *(() if self.options.skew else ("skew",)),
            ]
            content = {name: value for name, value in content.items() if name not in new}
            write_json(part / "planted.json", {"interactions": len(self.interactions), **content})


def plant(options: PlantedOptions, features: Mapping[str, np.ndarray] | None = None) -> Planted:
    """Generate a planted set; the same options give the same set.

    ``features``, modality -> (I, D), simulates users over existing items, by interests without clusters in these
    features; a zero row is a missing modality. Items and modalities of the options then follow the features. Raises
    ``DemureError`` where they cannot.
    """
    if features is not None:
        options = _matching_options(options, features)
    random = np.random.default_rng(options.seed)
    if options.rival is not None:
        return _plant_with_rival(options, random)
    process, observed = _draw(options, features, random)
    return _planted(options, simulate(process, random), observed)


def content_process(options: PlantedOptions, features: Mapping[str, np.ndarray] | None = None) -> ContentProcess:
    """Return the process behind the set that :func:`plant` makes of the same arguments; sets with a rival have none."""
    require(options.rival is None, "rival", options.rival, "leave it out")
    if features is not None:
        options = _matching_options(options, features)
    return _draw(options, features, np.random.default_rng(options.seed))[0]


def _draw(
    options: PlantedOptions, features: Mapping[str, np.ndarray] | None, random: np.random.Generator
) -> tuple[ContentProcess, dict[str, np.ndarray]]:
    """Draw the process, and the features of the items."""
    n_modalities = len(options.modalities)
    popularity = zipf_popularity(options.items, options.zipf, random)
    reliance = random.dirichlet(np.full(n_modalities, options.alpha), options.users)
    lengths = random.integers(options.length[0], options.length[1] + 1, options.users)
    present = random.random((n_modalities, options.items)) >= options.missing

    if options.clusters:
        cluster = np.stack(
            [random.permutation(np.arange(options.items) % options.clusters) for _ in options.modalities]
        )
        interests = [
            draw_interests(options.users, options.clusters, options.interests, random, options.skew) for _ in cluster
        ]
        affinity = cluster_affinity(cluster, interests, present)
        latents = [_around_centres(cluster[m], options, random) for m in range(n_modalities)]
    else:
        if features is None:
            latents = [random.standard_normal((options.items, 8)) for _ in options.modalities]
        else:
            latents = [np.asarray(features[name], dtype=np.float64) for name in options.modalities]
            present &= np.stack([np.linalg.norm(latent, axis=1) > 0 for latent in latents])
        affinity = smooth_affinity(
            latents, present, popularity, random, users=options.users, interests=options.interests, nats=options.nats
        )

    if features is None:
        observed = [_observe(latent, options, random) for latent in latents]
    else:
        observed = [np.asarray(features[name], dtype=np.float32) for name in options.modalities]
    process = ContentProcess(affinity, popularity, reliance, lengths, options.p_none, options.p_two)
    masked = {m: observed[k] * present[k][:, None].astype(np.float32) for k, m in enumerate(options.modalities)}
    return process, masked


def _plant_with_rival(options: PlantedOptions, random: np.random.Generator) -> Planted:
    visible = len(options.modalities)
    n_modalities = visible + 1 if options.rival == "hidden" else visible
    cluster = random.integers(0, options.clusters, (n_modalities, options.items))
    process = RivalProcess(
        popularity=zipf_popularity(options.items, options.zipf, random),
        cluster=cluster,
        interests=[
            draw_interests(options.users, options.clusters, options.interests, random, options.skew)
            for _ in range(n_modalities)
        ],
        present=random.random((n_modalities, options.items)) >= options.missing,
        reliance=random.dirichlet(np.full(n_modalities, options.alpha), options.users),
        p_rival=options.p_rival,
        release=random.uniform(FIRST_RELEASE, LAST_RELEASE, options.items) if options.rival == "trend" else None,
        links=draw_links(options.items, random) if options.rival == "habit" else None,
    )
    features = [_observe(_around_centres(cluster[m], options, random), options, random) for m in range(visible)]
    if process.release is not None:
        features[-1] += _date(process.release, options, random)
    features = [matrix * process.present[m][:, None].astype(np.float32) for m, matrix in enumerate(features)]
    lengths = random.integers(options.length[0], options.length[1] + 1, options.users)
    simulation = simulate_with_rival(process, lengths, random)
    caused, posterior = simulation.caused[:, :visible].copy(), simulation.posterior[:, :visible].copy()
    if options.rival == "junk":
        features[0] = random.permutation(features[0])
        caused[:, 0], posterior[:, 0] = False, 0.0
    simulation = dataclasses.replace(simulation, caused=caused, posterior=posterior)
    return _planted(options, simulation, dict(zip(options.modalities, features, strict=True)))


def _planted(options: PlantedOptions, simulation: Simulation, features: dict[str, np.ndarray]) -> Planted:
    user_ids = np.array([f"u{k}" for k in range(options.users)], dtype=object)
    item_ids = np.array([f"i{k}" for k in range(options.items)], dtype=object)
    return Planted(
        options,
        simulation.interactions(user_ids, item_ids),
        pd.DataFrame({"item_id": item_ids}),
        features,
        simulation.truth(user_ids, item_ids, options.modalities),
    )


def _around_centres(
    cluster: np.ndarray, options: PlantedOptions, random: np.random.Generator, size: int = 16
) -> np.ndarray:
    """Draw a latent point (I, size) for each item, around the centre of its ``cluster`` (I,)."""
    centres = random.standard_normal((options.clusters, size))
    points: np.ndarray = centres[cluster] + options.noise * random.standard_normal((len(cluster), size))
    return points


def _observe(latent: np.ndarray, options: PlantedOptions, random: np.random.Generator) -> np.ndarray:
    """Return features (I, D) float32 like an encoder's: a random two-layer network of the latent points, and noise."""
    hidden = 2 * options.dimensions
    first = random.standard_normal((latent.shape[1], hidden)) / np.sqrt(latent.shape[1])
    second = random.standard_normal((hidden, options.dimensions)) / np.sqrt(hidden)
    clean = np.tanh(latent @ first) @ second
    features: np.ndarray = clean + options.feature_noise * random.standard_normal(clean.shape)
    return features.astype(np.float32)


def _date(release: np.ndarray, options: PlantedOptions, random: np.random.Generator) -> np.ndarray:
    """Return the trace of release dates in the features, (I, D) float32: season and date in random directions.

    A date that only grows would be one direction, easy to remove; the season makes it a curve. The strength was
    measured on the data set that this kind follows.
    """
    turn = 2 * np.pi * release / LAST_RELEASE
    date = np.stack([np.sin(turn), np.cos(turn), release / LAST_RELEASE], axis=1)
    return (0.55 * date @ random.standard_normal((3, options.dimensions))).astype(np.float32)


def _matching_options(options: PlantedOptions, features: Mapping[str, np.ndarray]) -> PlantedOptions:
    counts = {name: len(matrix) for name, matrix in features.items()}
    require(len(set(counts.values())) == 1, "features", counts, "give every modality a row for each item")
    require(not options.clusters, "clusters", options.clusters, "given features have none: set clusters to 0")
    return dataclasses.replace(options, items=next(iter(counts.values())), modalities=tuple(features))
