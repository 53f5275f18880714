"""The encoders that need no download: ``tfidf`` for texts, ``color`` for images.

Shapes: n inputs, D dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from demure_extractors.words import WordFilter, words
from PIL import Image

from demure.errors import ExtractorError

KEEP_NUMBERS = "keep-numbers"


class Tfidf:
    """Latent semantic analysis: TF-IDF with logarithmic counts, truncated SVD, rows of length 1.

    A text encoder (``demure.extraction.protocol``) that is fitted on the catalogue. Years, ids and model numbers are
    left out (``demure_extractors.words``) unless ``keep-numbers`` is given. Directions are fitted on at most ``sample``
    texts.
    """

    batch = 512
    sample = 50_000

    def __init__(self, options: str = "", max_dimensions: int = 512, texts_per_dimension: int = 12) -> None:
        """Read the options.

        Args:
            options: the text after ``tfidf:``: a number of dimensions, ``keep-numbers``, or both with a comma between.
            max_dimensions: limit without a number; benchmarks/tfidf_dimensions.py measures what fewer cost.
            texts_per_dimension: texts for each dimension without a number; more dimensions fit the words of single
                items.

        Raises ``ExtractorError`` for other options.
        """
        self.max_dimensions, self.texts_per_dimension = max_dimensions, texts_per_dimension
        self.dimensions, keep = _tfidf_options(options)
        self.filter = None if keep else WordFilter()
        self.dim = 0
        self.vectorizer: Any = None
        self.svd: Any = None

    def fit(self, texts: Sequence[str]) -> None:
        """Fit the vocabulary, the weights of its words and the directions on the distinct texts."""
        from sklearn.decomposition import TruncatedSVD

        counts = self.count_words(texts)
        if counts is None:
            # No word is within the limits: every text is then empty to this encoder.
            self.vectorizer, self.dim = None, 1
            return
        if counts.shape[1] < 3:
            self.svd, self.dim = None, counts.shape[1]
            return
        sample = counts
        if len(texts) > self.sample:
            sample = counts[np.sort(np.random.default_rng(0).choice(len(texts), self.sample, replace=False))]
        wanted = self.dimensions or min(self.max_dimensions, max(2, len(texts) // self.texts_per_dimension))
        self.dim = max(1, min(wanted, *(side - 1 for side in sample.shape)))
        self.svd = TruncatedSVD(self.dim, algorithm="randomized", n_iter=4, random_state=0)
        self.svd.fit(sample)
        # Before scikit-learn 1.5 the signs were others. A stored vector is compared with one that is made again.
        axes = self.svd.components_
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
        self.svd.components_ = axes * np.where(largest < 0, -1.0, 1.0)

    def count_words(self, texts: Sequence[str]) -> Any:
        """Fit the vocabulary and return the texts' TF-IDF, sparse (n, words); None if no word is within the limits."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        n = len(texts)
        self.vectorizer = TfidfVectorizer(
            tokenizer=self.filter or words,
            token_pattern=None,
            strip_accents="unicode",
            sublinear_tf=True,
            min_df=2 if n >= 50 else 1,
            max_df=0.5 if n >= 50 else 1.0,
            dtype=np.float64,
        )
        if self.filter is not None:
            self.filter.labels.clear()
            self.filter.counting = True
        try:
            return self.vectorizer.fit_transform(texts)
        except ValueError:
            return None
        finally:
            if self.filter is not None:
                self.filter.counting = False

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, D) float32 of length 1; zero for a text without a word of the vocabulary."""
        if self.vectorizer is None:
            return np.zeros((len(texts), self.dim), dtype=np.float32)
        counts = self.vectorizer.transform(texts)
        dense = counts.toarray() if self.svd is None else self.svd.transform(counts)
        lengths = np.linalg.norm(dense, axis=1, keepdims=True)
        return np.where(lengths > 1e-9, dense / np.maximum(lengths, 1e-9), 0).astype(np.float32)

    def identity(self) -> dict[str, Any]:
        import sklearn

        facts = {
            "library": f"scikit-learn {sklearn.__version__}",
            "version": 2,
            "dim": self.dim,
            "preprocessing": "lower case, accents stripped; words in two texts or more and at most half of them",
        }
        if self.filter is not None:
            facts["left_out"] = self.filter.facts()
        return facts


def _tfidf_options(options: str) -> tuple[int | None, bool]:
    """Return the number of dimensions, None for the default, and whether numbers are kept."""
    dimensions, keep = None, False
    for option in options.split(",") if options else []:
        word = option.strip()
        if word == KEEP_NUMBERS and not keep:
            keep = True
        elif re.fullmatch(r"[1-9]\d{0,4}", word) and dimensions is None:
            dimensions = int(word)
        else:
            raise ExtractorError(
                f"{option!r} is not an option of tfidf",
                where=f"tfidf:{options}",
                remedy=f"write a number of dimensions up to 99999, {KEEP_NUMBERS}, or both: tfidf:256,{KEEP_NUMBERS}",
            )
    return dimensions, keep


class Color:
    """A visual descriptor of colours, their places, and the directions of edges; an image encoder.

    Four blocks of equal weight, each of length 1: a joint Lab histogram (5 x 5 x 5 bins, soft), hue and lightness
    histograms on a 3 x 3 grid, an 8 x 8 Lab thumbnail, and edge orientations on a 4 x 4 grid. Histograms enter as
    square roots (Hellinger), so that a dot product compares them as distributions.
    """

    batch = 64
    side = 64
    dim = 125 + 9 * 12 + 192 + 16 * 9

    def identity(self) -> dict[str, Any]:
        return {"version": 1, "preprocessing": f"squashed to {self.side} x {self.side}, box filter, D65 Lab"}

    def prepare(self, image: Image.Image) -> np.ndarray:
        """Return (64, 64, 3) uint8."""
        return np.asarray(image.convert("RGB").resize((self.side, self.side), Image.Resampling.BOX))

    def encode(self, prepared: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return (n, D) float32."""
        lab = _lab(np.stack(list(prepared)).astype(np.float32) / 255)
        blocks = [_joint(lab), _grid(lab), _thumbnail(lab), _edges(lab[..., 0])]
        return np.concatenate([_unit(block) for block in blocks], axis=1).astype(np.float32) / 2


def _lab(rgb: np.ndarray) -> np.ndarray:
    """Convert (..., 3) sRGB in [0, 1] to CIE Lab (D65), scaled to about [0, 1] and [-1, 1]."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float32)
    xyz = linear @ (matrix / matrix.sum(axis=1, keepdims=True)).T
    cube = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness = 1.16 * cube[..., 1] - 0.16
    lab: np.ndarray = np.stack(
        [lightness, 5 * (cube[..., 0] - cube[..., 1]), 2 * (cube[..., 1] - cube[..., 2])], axis=-1
    )
    return lab.astype(np.float32)


def _soft_bins(values: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """Return (..., bins): each value is shared by its two nearest bin centres."""
    place = np.clip((values - low) / (high - low), 0, 1) * (bins - 1)
    shares: np.ndarray = np.maximum(1 - np.abs(place[..., None] - np.arange(bins, dtype=np.float32)), 0)
    return shares


def _joint(lab: np.ndarray) -> np.ndarray:
    """Return the joint histogram of lightness and chroma over every second pixel, (n, 125)."""
    n = len(lab)
    pixels = lab[:, ::2, ::2].reshape(n, -1, 3)
    lightness, a, b = (
        _soft_bins(pixels[..., 0], 0, 1, 5),
        _soft_bins(pixels[..., 1], -0.6, 0.6, 5),
        _soft_bins(pixels[..., 2], -0.6, 0.6, 5),
    )
    chroma = (a[..., :, None] * b[..., None, :]).reshape(n, -1, 25)
    histogram = np.matmul(lightness.transpose(0, 2, 1), chroma).reshape(n, 125) / pixels.shape[1]
    roots: np.ndarray = np.sqrt(histogram)
    return roots


def _grid(lab: np.ndarray) -> np.ndarray:
    """Return histograms of hue (8 bins) and lightness (4 bins) on a 3 x 3 grid, (n, 108)."""
    n = len(lab)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    turn = (np.arctan2(lab[..., 2], lab[..., 1]) / (2 * np.pi)) % 1 * 8
    away = np.abs(turn[..., None] - np.arange(8, dtype=np.float32))
    hue = np.maximum(1 - np.minimum(away, 8 - away), 0) * chroma[..., None]
    both = np.concatenate([hue, _soft_bins(lab[..., 0], 0, 1, 4)], axis=-1)
    edges = np.linspace(0, lab.shape[1], 4).astype(int)
    fields = [
        both[:, edges[r] : edges[r + 1], edges[c] : edges[c + 1]].mean(axis=(1, 2)) for r in range(3) for c in range(3)
    ]
    roots: np.ndarray = np.sqrt(np.stack(fields, axis=1).reshape(n, -1))
    return roots


def _thumbnail(lab: np.ndarray) -> np.ndarray:
    """Return an 8 x 8 thumbnail, (n, 192)."""
    n, side = len(lab), lab.shape[1] // 8
    small = lab.reshape(n, 8, side, 8, side, 3).mean(axis=(2, 4))
    centred: np.ndarray = small - np.array([0.5, 0, 0], dtype=np.float32)
    return centred.reshape(n, -1)


def _edges(lightness: np.ndarray) -> np.ndarray:
    """Return edge strength by direction (8 bins of half a turn) and a bin for no edge, on a 4 x 4 grid, (n, 144)."""
    n, side = len(lightness), lightness.shape[1] // 4
    down, right = np.gradient(lightness, axis=(1, 2))
    strength = np.hypot(down, right)
    turn = (np.arctan2(down, right) / np.pi) % 1 * 8
    away = np.abs(turn[..., None] - np.arange(8, dtype=np.float32))
    oriented = np.maximum(1 - np.minimum(away, 8 - away), 0) * strength[..., None]
    flat = np.full((*strength.shape, 1), 0.02, dtype=np.float32)
    fields = np.concatenate([oriented, flat], axis=-1).reshape(n, 4, side, 4, side, 9).mean(axis=(2, 4))
    roots: np.ndarray = np.sqrt(fields / fields.sum(axis=-1, keepdims=True))
    return roots.reshape(n, -1)


def _unit(block: np.ndarray) -> np.ndarray:
    unit: np.ndarray = block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-9)
    return unit
