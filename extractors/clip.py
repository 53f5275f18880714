"""The encoder ``clip``: the image and text towers of open_clip models.

Shapes: n inputs, D dimensions.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from demure_extractors import hub
from demure_extractors.devices import TorchSettings
from demure_extractors.weights import never_asked
from open_clip.transform import MaybeToTensor, PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision.transforms import Normalize

from demure.errors import ExtractorError

REQUIRED = ("mean", "std")
"""Keys of the preprocessing that a model must state."""
DEFAULTS = {"interpolation": "bicubic", "resize_mode": "shortest"}


class _ClipTower:
    """Loads a model by ``ARCHITECTURE/TAG`` of open_clip, hub name or folder, and records its preprocessing."""

    def __init__(self, model: str, revision: str | None, device: str, precision: str = "auto") -> None:
        self.where = f"clip:{model}"
        self.settings = TorchSettings(device, precision)
        self.device, self.batch = self.settings.device, self.settings.batch
        self.facts: dict[str, Any] = {
            "library": f"open_clip {open_clip.__version__}",
            "precision": self.settings.precision,
        }
        with _silence(), never_asked():
            self._load(model, revision)
        self.model.eval()

    def _load(self, model: str, revision: str | None) -> None:
        architecture, _, tag = model.rpartition("/")
        if not Path(model).exists() and (architecture or model) in open_clip.list_models():
            self._load_tag(architecture or model, tag if architecture else "", revision)
        else:
            self._load_folder(model, revision)

    def _load_folder(self, model: str, revision: str | None) -> None:
        tags = [f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()]
        source = hub.find_model(model, revision, "clip", tags)
        self.folders = [source.folder]
        config = source.folder / "open_clip_config.json"
        if not config.is_file():
            raise ExtractorError(
                f"no open_clip_config.json in {source.folder}", where=self.where, remedy="give an open_clip model"
            )
        stated = hub.read_json_file(config, self.where)
        if not isinstance(stated, dict) or not isinstance(stated.get("model_cfg"), dict):
            raise ExtractorError(f"{config} has no model_cfg", where=self.where, remedy="give an open_clip model")
        hub.require_weights(source.folder, self.where)
        preprocessing = self._preprocessing(stated.get("preprocess_cfg"), str(config))
        name = f"local-dir:{source.folder}"
        self.model = open_clip.create_model(name, device=self.device, force_preprocess_cfg=preprocessing)
        self.tokenizer_name = name
        self.tokenizer_options = _tokenizer_options(stated["model_cfg"])
        self.dim = int(stated["model_cfg"]["embed_dim"])
        self.facts |= {**source.facts, "files_sha256": hub.fingerprint(source.folder)}

    def _load_tag(self, architecture: str, tag: str, revision: str | None) -> None:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        config = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
        if not config:
            available = ", ".join(tags[:8]) + (f" and {len(tags) - 8} more" if len(tags) > 8 else "") or "none"
            raise ExtractorError(
                f"{architecture} has no pretrained tag {tag!r}" if tag else "no pretrained tag is given",
                where=self.where,
                remedy=f"write clip:{architecture}/TAG; {hub.suggestion(tag, tags)}there are: {available}",
            )
        repository, _, file = config.get("hf_hub", "").rpartition("/")
        if not repository:
            others = ", ".join(other for other in tags if other != tag)
            raise ExtractorError(
                "its weights are published only as a pickle, which demure does not read",
                where=self.where,
                remedy=f"use another tag of {architecture}: {others or 'none'}",
            )
        source = hub.find_model(repository, revision, "clip", alias=f"{architecture}/{tag}")
        self.folders = [source.folder]
        names = [f"{Path(file).stem}.safetensors"] if file else ["open_clip_model.safetensors", "model.safetensors"]
        checkpoint = next((source.folder / name for name in names if (source.folder / name).is_file()), None)
        if checkpoint is None:
            raise ExtractorError(f"no {names[0]} in {repository}", where=self.where, remedy="use another tag")
        preprocessing = self._preprocessing(config, f"open_clip's entry of {architecture}/{tag}")
        self.model = open_clip.create_model(
            architecture,
            pretrained=str(checkpoint),
            device=self.device,
            force_quick_gelu=bool(config.get("quick_gelu")),
            force_preprocess_cfg=preprocessing,
        )
        # A tokenizer beside the weights needs no network; the tokenizers of some architectures would.
        has_tokenizer = (source.folder / "open_clip_config.json").is_file()
        self.tokenizer_name = f"local-dir:{source.folder}" if has_tokenizer else architecture
        own = hub.read_json_file(source.folder / "open_clip_config.json", self.where) if has_tokenizer else {}
        self.tokenizer_options = _tokenizer_options(
            own.get("model_cfg") if has_tokenizer else open_clip.get_model_config(architecture)
        )
        self.dim = int(open_clip.get_model_config(architecture)["embed_dim"])
        self.facts |= {**source.facts, "architecture": architecture, "tag": tag, "file": checkpoint.name}

    def _preprocessing(self, config: Any, where: str) -> dict[str, Any]:
        """Return the preprocessing that ``config`` states. Raises ``ExtractorError`` if it lacks a required key."""
        absent = [key for key in REQUIRED if not (config or {}).get(key)]
        if absent:
            raise ExtractorError(
                f"{where} does not say how images are preprocessed (no {absent[0]!r})",
                where=self.where,
                remedy="add preprocess_cfg with mean, std, interpolation and resize_mode, as the model was trained",
            )
        assumed = [key for key in DEFAULTS if not config.get(key)]
        if assumed:
            self.facts["assumed"] = [f"{key} {DEFAULTS[key]} (open_clip's default)" for key in assumed]
        return {**DEFAULTS, **{key: config[key] for key in (*REQUIRED, *DEFAULTS) if config.get(key)}}


def _tokenizer_options(config: Any) -> dict[str, Any]:
    """Return options that overrule the options of a configuration: its tokenizer may not run code of its folder."""
    text = (config or {}).get("text_cfg") or {}
    return {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}


class ClipImage(_ClipTower):
    """The image tower: an image encoder with vectors of length 1."""

    def _load(self, model: str, revision: str | None) -> None:
        super()._load(model, revision)
        stated = dict(self.model.visual.preprocess_cfg)
        self.transform = image_transform_v2(PreprocessCfg(**stated), is_train=False)
        # The last two steps make floats of the pixels: they are done on the device, which gets a quarter of the bytes.
        *self.steps, to_floats, normalize = self.transform.transforms
        self.scale: tuple[torch.Tensor, torch.Tensor] | None = None
        if isinstance(to_floats, MaybeToTensor) and isinstance(normalize, Normalize):
            mean, std = (torch.tensor(values, device=self.device) for values in (normalize.mean, normalize.std))
            self.scale = mean[:, None, None], std[:, None, None]
        size = self.model.visual.image_size
        self.pixels_of_a_side = max(size) if isinstance(size, tuple | list) else int(size)
        self.stated = {key: list(value) if isinstance(value, tuple) else value for key, value in stated.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return what ``prepare`` needs: worker processes that are not forked get no copy of the model."""
        state = {name: value for name, value in vars(self).items() if name not in ("model", "settings")}
        return {**state, "scale": self.scale and tuple(part.cpu() for part in self.scale)}

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Return (3, side, side), preprocessed as the model's own configuration states; uint8, which ``encode`` scales.

        Float32 where the library's preprocessing has other steps.
        """
        if self.scale is None:
            prepared: torch.Tensor = self.transform(image)
            return prepared
        for step in self.steps:
            image = step(image)
        pixels = np.asarray(image).transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(pixels))

    def encode(self, prepared: Sequence[torch.Tensor] | np.ndarray) -> np.ndarray:
        """Return (n, D) float32."""
        return self.submit(prepared)()

    def submit(self, prepared: Sequence[torch.Tensor] | np.ndarray) -> Callable[[], np.ndarray]:
        with self.settings.inference():
            batch = self.settings.to_batch(prepared)
            if batch.dtype == torch.uint8:
                assert self.scale is not None
                mean, std = self.scale
                # The same operations as the library's, so that the vectors are the same to the last bit.
                batch = batch.float().div_(255).sub_(mean).div_(std)
            return self.settings.deliver(self.model.encode_image(batch, normalize=True))

    def identity(self) -> dict[str, Any]:
        return {**self.facts, "tower": "image", "dim": self.dim, "preprocessing": self.stated}


class ClipText(_ClipTower):
    """The text tower: a text encoder with vectors of length 1. Text beyond the model's context is cut."""

    def _load(self, model: str, revision: str | None) -> None:
        super()._load(model, revision)
        self.tokenizer = open_clip.get_tokenizer(self.tokenizer_name, **self.tokenizer_options)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, D) float32."""
        return self.submit(texts)()

    def submit(self, texts: Sequence[str]) -> Callable[[], np.ndarray]:
        with self.settings.inference():
            tokens = self.tokenizer(list(texts)).to(self.device)
            return self.settings.deliver(self.model.encode_text(tokens, normalize=True))

    def identity(self) -> dict[str, Any]:
        tokens = int(self.tokenizer.context_length)
        return {**self.facts, "tower": "text", "dim": self.dim, "preprocessing": f"cut at {tokens} tokens"}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence open_clip, which logs details through the root logger."""
    root = logging.getLogger()
    before = root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
