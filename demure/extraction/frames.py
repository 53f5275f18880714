"""An encoder of images as an encoder of video: the mean of the vectors of a few frames.

Shapes: n videos, K frames, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

FRAMES = 8
"""Frames of a video that are encoded."""


class FrameEncoder:
    """Encodes ``FRAMES`` frames of a video, evenly spaced (``demure.media.clip``), each as an image, and averages.

    The order of the frames does not matter: what moves, and how, is not encoded.
    """

    def __init__(self, encoder: Any) -> None:
        """``encoder``: an image encoder (``demure.extraction.protocol``)."""
        self.encoder = encoder
        self.dim: int = encoder.dim
        self.batch = max(1, encoder.batch // FRAMES)
        self.folders = getattr(encoder, "folders", [])
        self.device = getattr(encoder, "device", None)

    def prepare(self, video: Any) -> np.ndarray:
        """Return (K, ...), what the encoder makes of each frame."""
        images = video.frames(FRAMES)
        prepared = {id(image): np.asarray(self.encoder.prepare(image)) for image in images}  # some occur repeatedly
        return np.stack([prepared[id(image)] for image in images])

    def encode(self, prepared: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return (n, D) float32."""
        return self.submit(prepared)()

    def submit(self, prepared: Sequence[np.ndarray] | np.ndarray) -> Callable[[], np.ndarray]:
        """Start to encode; return a function that waits for the vectors (n, D)."""
        stacked = np.ascontiguousarray(prepared)
        images = stacked.reshape(-1, *stacked.shape[2:])
        if hasattr(self.encoder, "submit"):
            waiting: Callable[[], np.ndarray] = self.encoder.submit(images)
        else:
            vectors: np.ndarray = self.encoder.encode(images)
            waiting = lambda: vectors  # noqa: E731
        return lambda: waiting().reshape(len(stacked), FRAMES, -1).mean(1, dtype=np.float32)

    def identity(self) -> dict[str, Any]:
        """Return what decides the vectors: the encoder's own identity, and the frames."""
        return {**self.encoder.identity(), "frames": {"version": 1, "count": FRAMES, "pooling": "mean"}}
