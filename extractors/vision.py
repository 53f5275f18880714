"""The encoder ``vision``: transformers image models with the image processor that their own files describe.

Shapes: n images, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from demure_extractors import hub
from demure_extractors.devices import TorchSettings
from demure_extractors.table import FAMILIES
from demure_extractors.weights import load_model
from PIL import Image


class Vision:
    """An image encoder: the model's pooled output, or its first token where the model has no trained pooler."""

    def __init__(
        self,
        model: str,
        revision: str | None,
        device: str,
        precision: str = "auto",
        *,
        trust_remote_code: bool = False,
    ) -> None:
        where = f"vision:{model}"
        names = FAMILIES["vision"].model_names
        source = hub.find_model(model, revision, "vision", names, code=trust_remote_code)
        self.folders = [source.folder]
        hub.require_transformers_files(source.folder, where, "image")
        self.settings = TorchSettings(device, precision)
        self.device, self.batch = self.settings.device, self.settings.batch
        processors: Any = transformers.AutoImageProcessor  # transformers leaves it untyped
        self.processor = processors.from_pretrained(
            source.folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
        self.pixels_of_a_side = _pixels_of_a_side(self.processor)
        self.model, untrained = load_model(
            transformers.AutoModel, source.folder, where, unused=("pooler",), trust_remote_code=trust_remote_code
        )
        self.model.to(self.device)
        self.tower = (
            "image features" if hasattr(self.model, "get_image_features") else "first token" if untrained else ""
        )
        blank = self.prepare(Image.new("RGB", (64, 64), "grey"))
        with self.settings.inference():
            self.dim = self._forward(blank[None].to(self.device)).shape[1]
        self.facts = {
            "library": f"transformers {transformers.__version__}",
            "precision": self.settings.precision,
            **source.facts,
            "files_sha256": hub.fingerprint(source.folder),
        }
        if trust_remote_code:
            self.facts |= {"trust_remote_code": True, "code_sha256": hub.code_fingerprint(source.folder)}
        elif notes := hub.unused_code(source.folder):
            self.facts["assumed"] = notes

    def __getstate__(self) -> dict[str, Any]:
        """Return what ``prepare`` needs: worker processes that are not forked get no copy of the model."""
        return {name: value for name, value in vars(self).items() if name not in ("model", "settings")}

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Return (3, height, width) float32, as the model's own processor makes it."""
        pixels: torch.Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def encode(self, prepared: Sequence[torch.Tensor] | np.ndarray) -> np.ndarray:
        """Return (n, D) float32."""
        return self.submit(prepared)()

    def submit(self, prepared: Sequence[torch.Tensor] | np.ndarray) -> Callable[[], np.ndarray]:
        with self.settings.inference():
            return self.settings.deliver(self._forward(self.settings.to_batch(prepared)))

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (n, D) from (n, 3, height, width), and set ``tower`` to the output that was taken."""
        if self.tower == "image features":
            features = self.model.get_image_features(pixel_values=pixels)
            vectors: torch.Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
            return vectors
        out = self.model(pixel_values=pixels)
        pooled: torch.Tensor | None = getattr(out, "pooler_output", None)
        if self.tower == "first token" or pooled is None:
            self.tower = "first token"
            states: torch.Tensor = out.last_hidden_state
            return states[:, 0]
        self.tower = "pooled output"
        return pooled.flatten(1)

    def identity(self) -> dict[str, Any]:
        stated = {key: value for key, value in json.loads(self.processor.to_json_string()).items() if value is not None}
        return {**self.facts, "dim": self.dim, "output": self.tower, "preprocessing": stated}


def _pixels_of_a_side(processor: Any) -> int | None:
    """Return the longest side in pixels to which a processor resizes images; None if that is not plainly stated."""
    size = getattr(processor, "size", None)
    stated = dict(size) if getattr(processor, "do_resize", False) and size is not None else {}
    sides = {name: value for name, value in stated.items() if value is not None}
    if not sides or not set(sides) <= {"height", "width", "shortest_edge"}:
        return None
    return max(map(int, sides.values()))
