"""The items nearest to each item in the feature space of a modality.

Shape suffixes: I items, D feature columns, N nearest items, R items with the modality, C cells, B and K items of a
block.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from demure.model.mass_product import CPU

NEAREST = 50
ABSENT = -2.0
"""Cosine of an item without the modality."""
EXACT_ITEMS = 50_000
"""Up to this many items each is compared with every other, on a CPU."""
COMPARED = 20_000
"""Items that each is compared with above that, on a CPU."""
COMPARED_ON_ACCELERATOR = 1_000_000
_BLOCK_CELLS = 20_000_000  # cosines held at once
_SAMPLE = 100_000  # items from which the centres of the cells are found


@dataclass(frozen=True)
class NearestItems:
    """The nearest items of every item in one modality: ``items_IN`` int32 and ``cosine_IN`` float32, -2 for none."""

    items_IN: np.ndarray
    cosine_IN: np.ndarray


def nearest_items(
    vectors_ID: np.ndarray, present_I: np.ndarray, count: int = NEAREST, device: torch.device = CPU
) -> NearestItems:
    """Return the ``count`` items with the largest cosine to each item, among those with the modality.

    They are exact up to ``EXACT_ITEMS`` items on a CPU and ``COMPARED_ON_ACCELERATOR`` elsewhere. Above, an item is
    compared with so many from the cells of a k-means partition that are nearest to its own (the inverted file of
    H. Jegou et al., TPAMI 2011, "Product quantization for nearest neighbor search", section IV, without its codes):
    the work for an item does not grow with their number.
    """
    n_items = len(vectors_ID)
    count = min(count, n_items)
    unit_ID = _unit(vectors_ID)
    if device.type == "cpu" and n_items <= EXACT_ITEMS:
        return _among_all(unit_ID, present_I, count)
    compared = COMPARED if device.type == "cpu" else COMPARED_ON_ACCELERATOR
    return _by_cells(unit_ID, present_I, count, compared, device)


def _among_all(unit_ID: np.ndarray, present_I: np.ndarray, count: int) -> NearestItems:
    n_items = len(unit_ID)
    items_IN = np.empty((n_items, count), np.int32)
    cosine_IN = np.empty((n_items, count), np.float32)
    rows = max(1, _BLOCK_CELLS // n_items)
    for start in range(0, n_items, rows):
        block = slice(start, min(start + rows, n_items))
        cosine_BI = unit_ID[block] @ unit_ID.T
        cosine_BI[:, ~present_I] = ABSENT
        cosine_BI[~present_I[block]] = ABSENT
        nearest_BN = np.argpartition(-cosine_BI, count - 1, axis=1)[:, :count]
        items_IN[block] = np.sort(nearest_BN, axis=1)
        cosine_IN[block] = np.take_along_axis(cosine_BI, items_IN[block].astype(np.int64), axis=1)
    return NearestItems(items_IN, cosine_IN)


def _by_cells(
    unit_ID: np.ndarray, present_I: np.ndarray, count: int, compared: int, device: torch.device
) -> NearestItems:
    """Return nearest items that are found among ``compared`` others at most, those of the nearest cells."""
    n_items = len(unit_ID)
    items_IN = np.tile(np.arange(count, dtype=np.int32), (n_items, 1))
    cosine_IN = np.full((n_items, count), ABSENT, np.float32)
    unit = torch.as_tensor(unit_ID).to(device)
    for queries, candidates in _cells(unit_ID, np.flatnonzero(present_I), compared):
        best_count = min(count, len(candidates))
        among_KD = unit[torch.as_tensor(candidates, device=device)]
        rows = max(1, _BLOCK_CELLS // len(candidates))
        for block in (queries[start : start + rows] for start in range(0, len(queries), rows)):
            best = (unit[torch.as_tensor(block, device=device)] @ among_KD.T).topk(best_count, dim=1)
            items_BN, cosine_BN = candidates[best.indices.cpu().numpy()], best.values.cpu().numpy()
            if best_count < count:  # filled with items that lack the modality
                others = np.flatnonzero(~present_I)[: count - best_count]
                items_BN = np.concatenate([items_BN, np.tile(others, (len(block), 1))], 1)
                cosine_BN = np.pad(cosine_BN, ((0, 0), (0, count - best_count)), constant_values=ABSENT)
            order = items_BN.argsort(axis=1)
            items_IN[block] = np.take_along_axis(items_BN, order, 1)
            cosine_IN[block] = np.take_along_axis(cosine_BN, order, 1)
    return NearestItems(items_IN, cosine_IN)


def _cells(unit_ID: np.ndarray, rows: np.ndarray, compared: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield items of one cell, and the items (at most ``compared``, themselves among them) that they are compared with.

    ``rows``: the items that have the modality; about as many cells as a cell has items.
    """
    if len(rows) <= compared:
        yield rows, rows
        return
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    count = round(len(rows) ** 0.5)
    random = np.random.default_rng(0)
    sample = random.choice(rows, min(len(rows), max(_SAMPLE, count)), replace=False)
    with warnings.catch_warnings():  # fewer cells than asked for, where many items are alike
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans = MiniBatchKMeans(count, random_state=0, n_init=1, batch_size=max(4096, count)).fit(unit_ID[sample])
    blocks = (rows[start : start + _SAMPLE] for start in range(0, len(rows), _SAMPLE))
    cell_R = np.concatenate([kmeans.predict(unit_ID[block]) for block in blocks])
    order = cell_R.argsort(kind="stable")
    members = np.split(rows[order], np.cumsum(np.bincount(cell_R, minlength=count))[:-1])
    centres_CD = torch.as_tensor(kmeans.cluster_centers_)
    for cell, own in enumerate(members):
        nearest_C = torch.linalg.vector_norm(centres_CD - centres_CD[cell], dim=1).argsort().numpy()
        around = np.concatenate([members[other] for other in _until(nearest_C[nearest_C != cell], members, compared)])
        # A cell of more items, such as those with one placeholder as their text, is taken in parts.
        for part in np.array_split(own, -(-len(own) // (compared // 2))) if len(own) else []:
            others = np.concatenate([own[~np.isin(own, part)], around])
            yield part, np.concatenate([part, others[: compared - len(part)]])


def _until(cells: np.ndarray, members: Sequence[np.ndarray], enough: int) -> list[int]:
    """Return the first ``cells`` that have ``enough`` members together."""
    sizes = np.cumsum([len(members[cell]) for cell in cells])
    return [int(cell) for cell in cells[: int(np.searchsorted(sizes, enough)) + 1]]


def add_nearest(
    nearest: NearestItems, vectors_ID: np.ndarray, present_I: np.ndarray, new_ND: np.ndarray, new_present_N: np.ndarray
) -> NearestItems:
    """Return the nearest items of all items once N new ones follow the I items, of which there are ``nearest``.

    ``vectors_ID`` and ``new_ND`` as in :func:`nearest_items`.
    """
    n_items, n_new = len(vectors_ID), len(new_ND)
    count = min(NEAREST, n_items + n_new)
    unit_ID, unit_ND = _unit(vectors_ID), _unit(new_ND)
    cosine_IN = _cosines(unit_ID, present_I, unit_ND, new_present_N)
    items = np.concatenate(
        [nearest.items_IN, np.broadcast_to(np.arange(n_items, n_items + n_new, dtype=np.int32), cosine_IN.shape)], 1
    )
    old = _largest(items, np.concatenate([nearest.cosine_IN, cosine_IN], 1), count)
    of_new = np.concatenate([cosine_IN.T, _cosines(unit_ND, new_present_N, unit_ND, new_present_N)], 1)
    new = _largest(np.broadcast_to(np.arange(n_items + n_new, dtype=np.int32), of_new.shape), of_new, count)
    return NearestItems(np.concatenate([old.items_IN, new.items_IN]), np.concatenate([old.cosine_IN, new.cosine_IN]))


def _unit(vectors_ID: np.ndarray) -> np.ndarray:
    unit_ID: np.ndarray = (vectors_ID / np.maximum(np.linalg.norm(vectors_ID, axis=1, keepdims=True), 1e-9)).astype(
        np.float32
    )
    return unit_ID


def _cosines(rows: np.ndarray, row_present: np.ndarray, columns: np.ndarray, column_present: np.ndarray) -> np.ndarray:
    """Return the cosines of all rows and columns, -2 where one of them lacks the modality."""
    cosine: np.ndarray = rows @ columns.T
    cosine[:, ~column_present] = ABSENT
    cosine[~row_present] = ABSENT
    return cosine


def _largest(items: np.ndarray, cosine: np.ndarray, count: int) -> NearestItems:
    """Return the ``count`` entries of each row with the largest cosine, in the order of the items."""
    place = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(place, np.take_along_axis(items, place, 1).argsort(axis=1, kind="stable"), 1)
    return NearestItems(
        np.take_along_axis(items, order, 1).astype(np.int32), np.take_along_axis(cosine, order, 1).astype(np.float32)
    )
