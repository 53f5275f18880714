"""The result of `demure extractors`: the families, and what of each runs here without a download."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from demure.features.loading import families
from demure.features.protocol import Family


@dataclass(frozen=True)
class Listed:
    """``here`` are encoders that run here without a download; ``missing`` packages that the family needs."""

    family: str
    about: str
    encodes: list[str]
    example: str
    here: list[str]
    missing: list[str]

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
        found.append(
            Listed(
                family=family.name,
                about=family.about,
                encodes=[kind for kind in ("text", "image") if family.target(kind)],
                example=family.example,
                here=[] if missing else _here(family, cached),
                missing=missing,
            )
        )
    return found


def _here(family: Family, cached: dict[str, list[str]]) -> list[str]:
    if family.built_in:
        return [family.name]
    packaged = [model for model, package in family.packaged if importlib.util.find_spec(package) is not None]
    return [f"{family.name}:{model}" for model in dict.fromkeys([*packaged, *cached.get(family.name, [])])]


def _cached() -> dict[str, list[str]]:
    """Family -> models in the hub's cache, told apart by the files they have; the hub's package is not imported."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    root = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    found: dict[str, list[str]] = {}
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
                found.setdefault(family, []).append(model)
    return found
