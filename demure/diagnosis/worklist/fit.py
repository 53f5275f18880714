"""How well an item's picture and text fit together, by what other items' pictures and texts teach.

The coordinates of one modality are predicted from those of another by ridge regression, for every fifth of the items
from the other four fifths. The fit is the log-likelihood ratio, in nats, of the item's own content under the
prediction and under the mean of all items, both Gaussian: positive where the two go together, far below 0 where the
picture or the text is that of something else. Nothing of what users chose enters, so that it is a second opinion on
the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from demure.diagnosis.reader import DiagnosisReader

_COMPONENTS = 128, 32  # of the modality that predicts, and of the one that is predicted
_FOLDS = 5
_RIDGE = 10.0
_LEAST_ITEMS = 200
_MOST_FITTED = 20_000  # items that a regression is fitted to


def fits(reader: DiagnosisReader, features: Mapping[str, np.ndarray] | None = None) -> dict[frozenset[str], np.ndarray]:
    """Return for each pair of modalities the fit of every item (I,), NaN where an item lacks one of them.

    ``features`` as of ``DiagnosisReader.unit_features``, which is the default.

    A pair whose modalities predict nothing of each other has no entry: then a bad fit means nothing.
    """
    features = reader.unit_features if features is None else features
    kinds = {entry.name: entry.kind for entry in reader.placebos.modalities}
    result = {}
    for first, second in combinations(features, 2):
        has_first, has_second = (np.abs(features[name]).sum(1) > 0 for name in (first, second))
        both = np.flatnonzero(has_first & has_second)
        if len(both) < _LEAST_ITEMS:
            continue
        source, target = sorted((first, second), key=lambda name: (kinds.get(name) != "text", name))
        ratio = log_ratio(features[source][both], features[target][both])
        if float(np.median(ratio)) > 0:
            values = np.full(len(has_first), np.nan)
            values[both] = ratio
            result[frozenset((first, second))] = values
    return result


def log_ratio(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the fit (n,) of each row of ``target`` to the same row of ``source``; see the module."""
    count = len(source)
    x = _coordinates(source, min(_COMPONENTS[0], count // 10))
    y = _coordinates(target, min(_COMPONENTS[1], count // 20))
    random = np.random.default_rng(0)
    fold = random.integers(_FOLDS, size=count)
    ratio = np.zeros(count)
    for number in range(_FOLDS):
        held_out, rest = fold == number, np.flatnonzero(fold != number)
        if len(rest) > _MOST_FITTED:
            rest = random.choice(rest, _MOST_FITTED, replace=False)
        a, b = x[rest], y[rest]
        weights = np.linalg.solve(a.T @ a + _RIDGE * np.eye(a.shape[1]), a.T @ b)
        ratio[held_out] = _log_density(y[held_out] - x[held_out] @ weights, b - a @ weights) - _log_density(
            y[held_out], b
        )
    return ratio


def _coordinates(vectors: np.ndarray, count: int) -> np.ndarray:
    """Return the first principal components of ``vectors``, each with variance 1."""
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-12))[-max(count, 1) :]
    coordinates: np.ndarray = (centred @ axes[:, kept]) / np.sqrt(values[kept])
    return coordinates


def _log_density(rows: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Return the log-density of ``rows`` under the Gaussian of mean 0 and the covariance of ``sample``, without the
    constant that all such densities of a dimension share."""
    covariance = sample.T @ sample / len(sample)
    covariance += 1e-6 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    lower = np.linalg.cholesky(covariance)
    solved = np.linalg.solve(lower, rows.T)
    density: np.ndarray = -0.5 * np.square(solved).sum(0) - np.log(np.diag(lower)).sum()
    return density
