"""The result of `demure extractors`: the families, and what of each runs here without a download."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demure.extraction.loading import families
from demure.extraction.protocol import Family
from demure.features.kinds import BUILT_IN


@dataclass(frozen=True)
class ListedModel:
    """A model as ``--text`` or ``--image`` names it. ``where`` it is: "built in", "package", "cache", or "download";
    ``bytes`` of its weights, which are ``approximate`` for a download."""

    name: str
    where: str
    dim: int | None
    bytes: int | None
    approximate: bool = False


@dataclass(frozen=True)
class Listed:
    """``here`` are encoders that run here without a download; ``missing`` packages that the family needs; ``models``
    those that are here, and some that are worth a download."""

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


def list_extractors() -> list[Listed]:
    """Every family, in the order of the table. Imports no encoder and asks no network."""
    cached = _cached()
    found = []
    for family in families().values():
        missing = [package for package in family.needs if importlib.util.find_spec(package) is None]
        models = list(_models(family, cached.get(family.name, {})))
        here = [model.name for model in models if model.where != "download" and not missing]
        found.append(
            Listed(
                family=family.name,
                about=family.about,
                encodes=[kind for kind in BUILT_IN if family.target(kind)],
                example=family.example,
                here=here,
                missing=missing,
                models=models,
            )
        )
    return found


def _models(family: Family, cached: dict[str, Path]) -> Iterator[ListedModel]:
    if family.built_in:
        yield ListedModel(family.name, "built in", family.dim, 0)
        return
    seen = set()
    for model, package in family.packaged:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None and model not in cached:
            seen.add(model)
            yield _there(f"{family.name}:{model}", "package", Path(spec.origin).parent / "model")
    for model, folder in cached.items():
        seen.add(model)
        yield _there(f"{family.name}:{model}", "cache", folder)
    for known in family.models:
        if known.name not in seen:
            yield ListedModel(f"{family.name}:{known.name}", "download", known.dim, known.megabytes * 10**6, True)


def _there(name: str, where: str, folder: Path) -> ListedModel:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return ListedModel(name, where, _dim(folder), size)


def _dim(folder: Path) -> int | None:
    """What the model's own files say; None where they do not."""
    for file, path in (
        ("open_clip_config.json", ("model_cfg", "embed_dim")),
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


def _cached() -> dict[str, dict[str, Path]]:
    """Family -> models in the hub's cache -> folder, told apart by the files they have; the hub's package is not
    imported."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    root = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    found: dict[str, dict[str, Path]] = {}
    for folder in sorted(root.glob("models--*")):
        snapshot = next((one for one in sorted(folder.glob("snapshots/*")) if any(one.glob("*.safetensors"))), None)
        if snapshot is None:
            continue
        model = folder.name.removeprefix("models--").replace("--", "/")
        for family, file in (
            ("clip", "open_clip_config.json"),
            ("sentence", "modules.json"),
            ("vision", "preprocessor_config.json"),
        ):
            if (snapshot / file).is_file():
                found.setdefault(family, {})[model] = snapshot
    return found
