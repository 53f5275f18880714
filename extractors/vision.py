"""``vision:``, transformers image models with the image processor that their own files describe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from demure_extractors import devices, hub
from demure_extractors.table import FAMILIES
from demure_extractors.weights import load_model
from PIL import Image

from demure.errors import ExtractorError


class Vision:
    """One image, one vector: the model's own pooled output, or its first token where it has none that was trained."""

    def __init__(self, model: str, revision: str | None, device: str, precision: str = "auto") -> None:
        where = f"vision:{model}"
        source = hub.find(model, revision, "vision", FAMILIES["vision"].known)
        for name in ("config.json", "preprocessor_config.json"):
            if not (source.folder / name).is_file():
                raise ExtractorError(
                    f"no {name} in {source.folder}", where=where, remedy="give a transformers image model, whole"
                )
        hub.require_weights(source, where)
        self.device = devices.device(device)
        self.precision = devices.precision(precision, self.device)
        self.batch = devices.batch_size(self.device, 32, 256)
        self.processor = transformers.AutoImageProcessor.from_pretrained(source.folder, local_files_only=True)
        self.model, empty = load_model(transformers.AutoModel, source.folder, where, unused=("pooler",))
        self.model.to(self.device)
        self.tower = "image features" if hasattr(self.model, "get_image_features") else "first token" if empty else ""
        blank = self.prepare(Image.new("RGB", (64, 64), "grey"))
        with devices.computing(self.device, self.precision):
            self.dim = self._forward(blank[None].to(self.device)).shape[1]
        self.facts = {
            "library": f"transformers {transformers.__version__}",
            "precision": self.precision,
            **source.facts,
            "files_sha256": hub.fingerprint(source.folder),
        }

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, height, width) float32, as the model's own processor makes it."""
        return self.processor(images=image, return_tensors="pt")["pixel_values"][0]

    def encode(self, prepared: Sequence[torch.Tensor] | np.ndarray) -> np.ndarray:
        """(n, d) float32."""
        with devices.computing(self.device, self.precision):
            return self._forward(devices.stacked(prepared, self.device)).float().cpu().numpy()

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if self.tower == "image features":
            found = self.model.get_image_features(pixel_values=pixels)
            return found if isinstance(found, torch.Tensor) else found.pooler_output
        out = self.model(pixel_values=pixels)
        pooled = getattr(out, "pooler_output", None)
        if self.tower == "first token" or pooled is None:
            self.tower = "first token"
            return out.last_hidden_state[:, 0]
        self.tower = "pooled output"
        return pooled.flatten(1)

    def identity(self) -> dict[str, Any]:
        stated = {key: value for key, value in json.loads(self.processor.to_json_string()).items() if value is not None}
        return {**self.facts, "dim": self.dim, "output": self.tower, "preprocessing": stated}
