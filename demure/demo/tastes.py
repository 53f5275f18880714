"""What draws a made user to an item: interests that are clusters, or points among the items.

With clusters, an item belongs to one of them per modality, an interest is a cluster, and a user is drawn to the items
of their interests alone. Without, nearness counts: r(i) is the mean over the user's interests of
exp(kappa * cosine(interest, i)), normalised, where kappa is such that an interest tells a given number of nats about
the item that it makes a user choose (the mean Kullback-Leibler divergence from popularity).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demure.demo.choices import Affinity


def zipf_popularity(n_items: int, exponent: float, random: np.random.Generator) -> np.ndarray:
    """(I,) summing to 1: rank ** -exponent over randomly ranked items."""
    weights = np.arange(1, n_items + 1, dtype=np.float64) ** -exponent
    return random.permutation(weights / weights.sum())


def pick_interests(users: int, n: int, span: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """(U, n) bool: for each user a random number of the n interests, within ``span``."""
    counts = random.integers(span[0], span[1] + 1, users)
    return random.random((users, n)).argsort(axis=1).argsort(axis=1) < counts[:, None]


def cluster_tastes(cluster: np.ndarray, liked: Sequence[np.ndarray], present: np.ndarray) -> Affinity:
    """Drawn to the items of liked clusters: ``cluster`` (M, I), ``liked`` M times (U, clusters), ``present`` (M, I)."""

    def affinity(users: np.ndarray) -> np.ndarray:
        each = [liked[m][users][:, cluster[m]] * present[m] for m in range(len(cluster))]
        return np.stack(each).astype(np.float64)

    return affinity


def smooth_tastes(
    latents: list[np.ndarray],
    present: np.ndarray,
    popularity: np.ndarray,
    random: np.random.Generator,
    *,
    users: int,
    interests: tuple[int, int],
    nats: float,
) -> Affinity:
    """Drawn to what is near to one's interests, which are points where items are: ``latents`` M times (I, d)."""
    parts = []
    for latent, here in zip(latents, present, strict=True):
        centred = latent - latent[here].mean(axis=0)
        points = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        places = np.flatnonzero(here)
        chosen = random.choice(places, (users, interests[1]))
        counts = random.integers(interests[0], interests[1] + 1, users)
        kappa = _kappa(points[random.choice(places, 64)] @ points[here].T, popularity[here], nats)
        parts.append((points, chosen, np.arange(interests[1]) < counts[:, None], kappa))

    def affinity(block: np.ndarray) -> np.ndarray:
        out = np.zeros((len(parts), len(block), len(popularity)))
        for m, (points, chosen, used, kappa) in enumerate(parts):
            for slot in range(chosen.shape[1]):
                pull = np.exp(kappa * (points[chosen[block, slot]] @ points.T - 1)) * present[m]
                out[m] += used[block, slot, None] * pull / (pull @ popularity)[:, None]
        return out

    return affinity


def _kappa(cosines: np.ndarray, popularity: np.ndarray, nats: float) -> float:
    """The sharpness at which interests (n, I) diverge from popularity (I,) by ``nats`` in the mean, by bisection."""
    base = popularity / popularity.sum()
    low, high = 0.0, 500.0
    for _ in range(50):
        kappa = (low + high) / 2
        pull = np.exp(kappa * (cosines - 1))
        ratio = pull / (pull @ base)[:, None]
        divergence = float((ratio * np.log(np.maximum(ratio, 1e-300)) @ base).mean())
        low, high = (kappa, high) if divergence < nats else (low, kappa)
    return (low + high) / 2
