"""Items, or users, of a run on a plane: those with similar content, or similar interests, lie near each other.

Items are laid out by the features of a modality, scaled as for training; users by the square roots of the shares of
their choices that its interests explain, so that distances compare them as distributions (Hellinger). The layout is
t-SNE (van der Maaten and Hinton, 2008): who is near whom counts, not how far apart groups are.

Shapes: N points, D dimensions, K interests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demure.diagnosis.interests.view import Interests, measured_interests
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError

KINDS = ("items", "users")
_MOST = 2000  # points; the layout of so many takes some 10 s on an idle core
_LEAST = 5
_DIMENSIONS = 30  # principal components that the layout starts from
_PERPLEXITY = 30.0
_ANGLE = 0.8  # of the approximation: a quarter faster than 0.5, with the same divergence
_SIDE = 1000


@dataclass(frozen=True)
class MapGroup:
    """An interest on the map: its ``name``, its ``key`` as of `demure inspect --interests`, and its ``points``."""

    name: str
    key: str
    points: int


@dataclass(frozen=True)
class ContentMap:
    """Points of a map in the order of their choices, most first: ``codes`` (N,) in the diagnosis and ``places`` (N, 2)
    from 0 to 1000, y downwards.

    ``group`` (N,): the place in ``groups``, largest first, of the interest that explains most of the choices, -1 where
    none above its placebo does. ``note``: which points these are, and what their nearness means, in sentences.
    """

    kind: str
    modality: str
    codes: np.ndarray
    places: np.ndarray
    group: np.ndarray
    groups: list[MapGroup]
    note: str


def content_map(reader: DiagnosisReader, kind: str, modality: str, *, most: int = _MOST, seed: int = 0) -> ContentMap:
    """Return the map of the ``most`` items or users with the most choices by one modality.

    Raises ``DemureError`` for another ``kind``, an unknown modality, features that are gone, and too few points.
    """
    if kind not in KINDS:
        raise DemureError(f"there is no map of {kind!r}", where="map", remedy=f"there are: {', '.join(KINDS)}")
    table = reader.table
    if modality not in table.modalities:
        remedy = f"there are: {', '.join(table.modalities)}"
        raise DemureError(f"there is no modality {modality!r}", where="map", remedy=remedy)
    own = None if reader.interests is None else measured_interests(reader)
    columns = _columns(own, modality)
    if kind == "items":
        vectors_ND, counts = _item_vectors(reader, modality), table.item_counts
        shares = np.zeros((len(counts), 0)) if own is None else own.shares.by_item_IK[:, columns]
    else:
        counts = table.lengths
        shares = np.zeros((len(counts), 0)) if own is None else own.shares.by_user_UK[:, columns] / counts[:, None]
        vectors_ND = np.sqrt(shares)
    present = np.flatnonzero(vectors_ND.any(axis=1)) if vectors_ND.shape[1] else np.zeros(0, np.int64)
    codes = present[np.argsort(-counts[present], kind="stable")[:most]]
    if len(codes) < _LEAST:
        raise DemureError(f"only {len(codes)} {kind} can be placed by {modality}, too few for a map", where="map")
    group, groups = _groups(own, columns, shares[codes])
    return ContentMap(
        kind,
        modality,
        codes,
        _layout(vectors_ND[codes], seed),
        group,
        groups,
        _note(kind, modality, len(codes), len(present)),
    )


def _columns(own: Interests | None, modality: str) -> list[int]:
    if own is None:
        return []
    return [k for k, (name, _) in enumerate(own.columns) if name == modality and own.shown[k]]


def _item_vectors(reader: DiagnosisReader, modality: str) -> np.ndarray:
    """Return the features of the items of the diagnosis, rows of length 1, zero where the modality is missing."""
    if modality not in reader.unit_features:
        raise DemureError(
            f"the features {modality!r} are gone", where=reader.dataset, remedy="run `demure extract` again"
        )
    rows = np.array([reader.item_rows[str(item)] for item in reader.table.item_ids], np.int64)
    vectors: np.ndarray = reader.unit_features[modality][rows]
    return vectors


def _groups(own: Interests | None, columns: list[int], shares_NK: np.ndarray) -> tuple[np.ndarray, list[MapGroup]]:
    if own is None or not columns:
        return np.full(len(shares_NK), -1), []
    best = np.where(shares_NK.max(axis=1) > 0, shares_NK.argmax(axis=1), -1)
    counts = np.bincount(best[best >= 0], minlength=len(columns))
    order = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k]]
    place = np.full(len(columns) + 1, -1)  # the last is for -1
    place[order] = np.arange(len(order))
    groups = []
    for k in order:
        modality, interest = own.columns[columns[k]]
        groups.append(MapGroup(interest.name, f"{modality} {own.numbers[columns[k]]}", int(counts[k])))
    return place[best], groups


def _layout(vectors_ND: np.ndarray, seed: int) -> np.ndarray:
    """Return places (N, 2) of points with these vectors, the same for the same vectors and seed."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    points = vectors_ND.astype(np.float64)
    wanted = min(_DIMENSIONS, *points.shape)
    if wanted < points.shape[1]:
        points = PCA(wanted, svd_solver="randomized", random_state=seed).fit_transform(points)
    if points.shape[1] < 2:
        points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    start = points[:, :2] - points[:, :2].mean(axis=0)
    # Points in the same place would never part; the start of t-SNE is small (Kobak and Berens, 2019).
    start = 1e-4 * start / max(start[:, 0].std(), 1e-12)
    start += 1e-6 * np.random.default_rng(seed).normal(size=start.shape)
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    layout = TSNE(2, perplexity=perplexity, init=start.astype(np.float32), angle=_ANGLE, random_state=seed)
    laid = layout.fit_transform(points).astype(np.float64)
    low, high = laid.min(axis=0), laid.max(axis=0)
    scaled: np.ndarray = (laid - (low + high) / 2) / max(float((high - low).max()), 1e-9) + 0.5
    return scaled * _SIDE


def _note(kind: str, modality: str, shown: int, total: int) -> str:
    number = f"the {shown:,} of {total:,} {kind} with the most choices" if shown < total else f"all {total:,} {kind}"
    near = f"similar in their {modality}" if kind == "items" else f"choosing by similar interests in the {modality}"
    return (
        f"Each point is one of {number} that can be placed. Points that are near each other are {near}; "
        "how far apart groups are means nothing."
    )
