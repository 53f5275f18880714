"""``clip:``, the image and text towers of open_clip models."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from demure_extractors import devices, hub
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from demure.errors import ExtractorError

STATED = ("mean", "std")
DEFAULTS = {"interpolation": "bicubic", "resize_mode": "shortest"}


class _Clip:
    def __init__(self, model: str, revision: str | None, device: str, precision: str = "auto") -> None:
        self.where = f"clip:{model}"
        self.device = devices.device(device)
        self.precision = devices.precision(precision, self.device)
        self.batch = devices.batch_size(self.device, 32, 256)
        self.facts: dict[str, Any] = {
            "library": f"open_clip {open_clip.__version__}",
            "precision": self.precision,
        }
        with _silence():
            self._load(model, revision)
        self.model.eval()

    def _load(self, model: str, revision: str | None) -> None:
        architecture, _, tag = model.rpartition("/")
        if not Path(model).exists() and (architecture or model) in open_clip.list_models():
            self._load_tag(architecture or model, tag if architecture else "", revision)
        else:
            self._load_folder(model, revision)

    def _load_folder(self, model: str, revision: str | None) -> None:
        known = [f"{a}/{t}" for a, t in open_clip.list_pretrained()]
        source = hub.find(model, revision, "clip", known)
        config = source.folder / "open_clip_config.json"
        if not config.is_file():
            raise ExtractorError(
                f"no open_clip_config.json in {source.folder}", where=self.where, remedy="give an open_clip model"
            )
        stated = hub.read(config, self.where)
        if not isinstance(stated, dict) or not isinstance(stated.get("model_cfg"), dict):
            raise ExtractorError(f"{config} has no model_cfg", where=self.where, remedy="give an open_clip model")
        hub.require_weights(source, self.where)
        preprocessing = self._stated(stated.get("preprocess_cfg"), str(config))
        name = f"local-dir:{source.folder}"
        self.model = open_clip.create_model(name, device=self.device, force_preprocess_cfg=preprocessing)
        self.tokenizer_name = name
        self.dim = int(stated["model_cfg"]["embed_dim"])
        self.facts |= {**source.facts, "files_sha256": hub.fingerprint(source.folder)}

    def _load_tag(self, architecture: str, tag: str, revision: str | None) -> None:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        config = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
        if not config:
            have = ", ".join(tags[:8]) + (f" and {len(tags) - 8} more" if len(tags) > 8 else "") or "none"
            raise ExtractorError(
                f"{architecture} has no pretrained tag {tag!r}" if tag else "no pretrained tag is given",
                where=self.where,
                remedy=f"write clip:{architecture}/TAG; {hub.near(tag, tags)}there are: {have}",
            )
        repository, _, file = config.get("hf_hub", "").rpartition("/")
        if not repository:
            raise ExtractorError(
                "its weights are published only as a pickle, which demure does not read",
                where=self.where,
                remedy=f"use another tag of {architecture}: {', '.join(one for one in tags if one != tag) or 'none'}",
            )
        source = hub.find(repository, revision, "clip", asked=f"{architecture}/{tag}")
        names = [f"{Path(file).stem}.safetensors"] if file else ["open_clip_model.safetensors", "model.safetensors"]
        checkpoint = next((source.folder / one for one in names if (source.folder / one).is_file()), None)
        if checkpoint is None:
            raise ExtractorError(f"no {names[0]} in {repository}", where=self.where, remedy="use another tag")
        preprocessing = self._stated(config, f"open_clip's entry of {architecture}/{tag}")
        self.model = open_clip.create_model(
            architecture,
            pretrained=str(checkpoint),
            device=self.device,
            force_quick_gelu=bool(config.get("quick_gelu")),
            force_preprocess_cfg=preprocessing,
        )
        # A copy beside the weights needs no network; some architectures' tokenizers would.
        own = (source.folder / "open_clip_config.json").is_file()
        self.tokenizer_name = f"local-dir:{source.folder}" if own else architecture
        self.dim = int(open_clip.get_model_config(architecture)["embed_dim"])
        self.facts |= {**source.facts, "architecture": architecture, "tag": tag, "file": checkpoint.name}

    def _stated(self, config: Any, where: str) -> dict[str, Any]:
        absent = [key for key in STATED if not (config or {}).get(key)]
        if absent:
            raise ExtractorError(
                f"{where} does not say how images are preprocessed (no {absent[0]!r})",
                where=self.where,
                remedy="add preprocess_cfg with mean, std, interpolation and resize_mode, as the model was trained",
            )
        assumed = [key for key in DEFAULTS if not config.get(key)]
        if assumed:
            self.facts["assumed"] = [f"{key} {DEFAULTS[key]} (open_clip's default)" for key in assumed]
        return {**DEFAULTS, **{key: config[key] for key in (*STATED, *DEFAULTS) if config.get(key)}}

    def _finish(self, vectors: torch.Tensor) -> np.ndarray:
        return vectors.float().cpu().numpy()


class ClipImage(_Clip):
    """Image tower; vectors of length 1."""

    def _load(self, model: str, revision: str | None) -> None:
        super()._load(model, revision)
        stated = dict(self.model.visual.preprocess_cfg)
        self.transform = image_transform_v2(PreprocessCfg(**stated), is_train=False)
        self.stated = {key: list(value) if isinstance(value, tuple) else value for key, value in stated.items()}

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(3, side, side) float32, as the model's own configuration asks."""
        return self.transform(image)

    def encode(self, prepared: Sequence[torch.Tensor] | np.ndarray) -> np.ndarray:
        """(n, d) float32."""
        with devices.computing(self.device, self.precision):
            return self._finish(self.model.encode_image(devices.stacked(prepared, self.device), normalize=True))

    def identity(self) -> dict[str, Any]:
        return {**self.facts, "tower": "image", "dim": self.dim, "preprocessing": self.stated}


class ClipText(_Clip):
    """Text tower; vectors of length 1. Text beyond the model's context is cut."""

    def _load(self, model: str, revision: str | None) -> None:
        super()._load(model, revision)
        self.tokenizer = open_clip.get_tokenizer(self.tokenizer_name)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32."""
        with devices.computing(self.device, self.precision):
            tokens = self.tokenizer(list(texts)).to(self.device)
            return self._finish(self.model.encode_text(tokens, normalize=True))

    def identity(self) -> dict[str, Any]:
        tokens = int(self.tokenizer.context_length)
        return {**self.facts, "tower": "text", "dim": self.dim, "preprocessing": f"cut at {tokens} tokens"}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """open_clip logs through the root logger, also what is no concern of a user."""
    root = logging.getLogger()
    before = root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
