"""The affinity of a generated user for each item, by interests that are clusters or points in feature space.

With clusters, an item belongs to one cluster per modality, an interest is a cluster, and a user has affinity for the
items of these clusters alone. Without clusters, similarity counts: r(i) is the mean over the user's interests of
exp(kappa * cosine(interest, i)), normalised. kappa is chosen so that an interest carries a given number of nats about
the item that it causes (the mean Kullback-Leibler divergence from popularity).

Shapes: U users, B users of a block, M modalities, I items, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demure.demo.simulation import Affinity


def zipf_popularity(n_items: int, exponent: float, random: np.random.Generator) -> np.ndarray:
    """Return popularity (I,), which sums to 1: rank ** -exponent over randomly ranked items."""
    weights = np.arange(1, n_items + 1, dtype=np.float64) ** -exponent
    return random.permutation(weights / weights.sum())


def draw_interests(
    users: int, clusters: int, number: tuple[int, int], random: np.random.Generator, skew: float = 0.0
) -> np.ndarray:
    """Draw the clusters of each user, (U, clusters) bool; their number is within the range ``number``.

    Without replacement, in proportion to rank ** -``skew`` of the cluster (Efraimidis and Spirakis, 2006).
    """
    counts = random.integers(number[0], number[1] + 1, users)
    order = random.random((users, clusters))
    if skew:
        order = -np.log(order) * np.arange(1, clusters + 1) ** skew
    return order.argsort(axis=1).argsort(axis=1) < counts[:, None]


def cluster_affinity(cluster: np.ndarray, interests: Sequence[np.ndarray], present: np.ndarray) -> Affinity:
    """Return the affinity for items of the users' clusters.

    ``cluster`` (M, I) is each item's cluster, ``interests`` are M times (U, clusters) bool, ``present`` is (M, I).
    """

    def affinity(users: np.ndarray) -> np.ndarray:
        by_modality = [interests[m][users][:, cluster[m]] * present[m] for m in range(len(cluster))]
        return np.stack(by_modality).astype(np.float64)

    return affinity


def smooth_affinity(
    latents: list[np.ndarray],
    present: np.ndarray,
    popularity: np.ndarray,
    random: np.random.Generator,
    *,
    users: int,
    interests: tuple[int, int],
    nats: float,
) -> Affinity:
    """Return the affinity for items similar to the users' interests, which are the points of random items.

    ``latents`` are M times (I, D); ``interests`` is the range of a user's interests, ``nats`` the information of one.
    """
    parts = []
    for latent, is_present in zip(latents, present, strict=True):
        centred = latent - latent[is_present].mean(axis=0)
        points = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        candidates = np.flatnonzero(is_present)
        centres = random.choice(candidates, (users, interests[1]))
        counts = random.integers(interests[0], interests[1] + 1, users)
        cosines = points[random.choice(candidates, 64)] @ points[is_present].T
        kappa = _kappa(cosines, popularity[is_present], nats)
        parts.append((points, centres, np.arange(interests[1]) < counts[:, None], kappa))

    def affinity(block: np.ndarray) -> np.ndarray:
        out = np.zeros((len(parts), len(block), len(popularity)))
        for m, (points, centres, used, kappa) in enumerate(parts):
            for slot in range(centres.shape[1]):
                weight = np.exp(kappa * (points[centres[block, slot]] @ points.T - 1)) * present[m]
                out[m] += used[block, slot, None] * weight / (weight @ popularity)[:, None]
        return out

    return affinity


def _kappa(cosines: np.ndarray, popularity: np.ndarray, nats: float) -> float:
    """Return the sharpness at which interests diverge from popularity (I,) by ``nats`` on average, by bisection.

    ``cosines`` (n, I) are the similarities of n interests and the items.
    """
    base = popularity / popularity.sum()
    low, high = 0.0, 500.0
    for _ in range(50):
        kappa = (low + high) / 2
        weight = np.exp(kappa * (cosines - 1))
        ratio = weight / (weight @ base)[:, None]
        divergence = float((ratio * np.log(np.maximum(ratio, 1e-300)) @ base).mean())
        low, high = (kappa, high) if divergence < nats else (low, kappa)
    return (low + high) / 2
