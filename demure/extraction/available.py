"""The result of `demure extractors`: the families of encoders, and which models of each run here without a download."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demure.extraction.loading import encoder_families
from demure.extraction.protocol import EncoderFamily

_AUDIO_EXTRACTORS = ("ClapFeatureExtractor", "Wav2Vec2FeatureExtractor")


@dataclass(frozen=True)
class ListedModel:
    """A model, with the ``name`` that ``--text`` or ``--image`` takes.

    ``where`` is "built in", "package", "cache", or "download"; ``bytes`` is the size of its weights, ``approximate``
    for a download.
    """

    name: str
    where: str
    dim: int | None
    bytes: int | None
    approximate: bool = False


@dataclass(frozen=True)
class ListedFamily:
    """A family of encoders.

    Attributes:
        here: names of the encoders that run here without a download.
        missing: packages that the family needs and that are not installed.
        models: the models that are here, and some that are worth a download.
    """

    family: str
    about: str
    encodes: list[str]
    example: str
    here: list[str]
    missing: list[str]
    models: list[ListedModel] = field(default_factory=list)

    @property
    def state(self) -> str:
        """A few words for a table."""
        if self.missing:
            return f"needs package {', '.join(self.missing)}"
        if not self.here:
            return "needs a download or a local folder"
        return "built in" if self.here == [self.family] else f"{len(self.here)} here without a download"


def list_extractors() -> list[ListedFamily]:
    """Return every family, in the order of the table. Imports no encoder and uses no network."""
    cached = _cached_models()
    listed = []
    for family in encoder_families().values():
        missing = [package for package in family.needs if importlib.util.find_spec(package) is None]
        models = list(_models(family, cached.get(family.name, {})))
        here = [model.name for model in models if model.where != "download" and not missing]
        listed.append(
            ListedFamily(
                family=family.name,
                about=family.about,
                encodes=family.encodes,
                example=family.example,
                here=here,
                missing=missing,
                models=models,
            )
        )
    return listed


def _models(family: EncoderFamily, cached: dict[str, Path]) -> Iterator[ListedModel]:
    if family.built_in:
        yield ListedModel(family.name, "built in", family.dim, 0)
        return
    listed = set()
    for model, package in family.packaged:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None and model not in cached:
            listed.add(model)
            yield _local_model(f"{family.name}:{model}", "package", Path(spec.origin).parent / "model")
    for model, folder in cached.items():
        listed.add(model)
        yield _local_model(f"{family.name}:{model}", "cache", folder)
    for download in family.models:
        if download.name not in listed:
            name, size = f"{family.name}:{download.name}", download.megabytes * 10**6
            yield ListedModel(name, "download", download.dim, size, approximate=True)


def _local_model(name: str, where: str, folder: Path) -> ListedModel:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return ListedModel(name, where, _dim(folder), size)


def _dim(folder: Path) -> int | None:
    """Return the dimension that the model's own files state, or None."""
    for file, path in (
        ("open_clip_config.json", ("model_cfg", "embed_dim")),
        ("config.json", ("projection_dim",)),
        ("config.json", ("hidden_size",)),
        ("config.json", ("vision_config", "hidden_size")),
    ):
        try:
            value: Any = json.loads((folder / file).read_text(encoding="utf-8"))
            for key in path:
                value = value[key]
            return int(value)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _cached_models() -> dict[str, dict[str, Path]]:
    """Return family -> model in the hub's cache -> folder; the family is recognised by the files of the folder.

    The hub's package is not imported, as that takes long.
    """
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    root = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    models: dict[str, dict[str, Path]] = {}
    for folder in sorted(root.glob("models--*")):
        snapshots = (path for path in sorted(folder.glob("snapshots/*")) if any(path.glob("*.safetensors")))
        snapshot = next(snapshots, None)
        if snapshot is None:
            continue
        model = folder.name.removeprefix("models--").replace("--", "/")
        for family, file in (
            ("clip", "open_clip_config.json"),
            ("sentence", "modules.json"),
            ("vision", "preprocessor_config.json"),
        ):
            if (snapshot / file).is_file():
                family = "audio" if family == "vision" and _reads_sound(snapshot / file) else family
                models.setdefault(family, {})[model] = snapshot
    return models


def _reads_sound(file: Path) -> bool:
    """Return whether a ``preprocessor_config.json`` is that of an audio model."""
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("feature_extractor_type") in _AUDIO_EXTRACTORS
    except (OSError, ValueError, AttributeError):
        return False
