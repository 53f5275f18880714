"""What `demure extract` calls: encoders by name, over the texts and images of a dataset folder."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.errors import ExtractorError, NothingUsable
from demure.features import inputs as reading
from demure.features import store
from demure.features.encoding import PROBLEMS, Encoded, encode_modality
from demure.features.inputs import Inputs
from demure.features.loading import choose, load_encoder
from demure.features.protocol import BUILT_IN, Spec
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Extracted:
    """What became of one modality. ``problems``: kind -> items; ``first``: an item of each kind, id and value.

    ``encoded`` of the ``distinct`` inputs went through the encoder now, ``resumed`` had been before; ``kept`` says why
    nothing was done at all; ``assumed`` what the model's files leave open.
    """

    name: str
    encoder: str
    dim: int
    items: int
    present: int
    missing: int
    distinct: int
    encoded: int
    resumed: int
    problems: dict[str, int]
    first: list[dict[str, str]]
    seconds: float
    folder: Path
    assumed: list[str] = field(default_factory=list)
    kept: str | None = None


@dataclass(frozen=True)
class ExtractReport:
    """Result of ``extract``. ``left_out``: what the items seemed to have, and why it could not be used."""

    dataset: Path
    modalities: list[Extracted]
    left_out: list[str] = field(default_factory=list)


def extract(
    dataset_path: Path,
    text: str | None = None,
    image: str | None = None,
    device: str = "auto",
    resume: bool = True,
    listener: Listener = silent,
) -> ExtractReport:
    """Turn item texts and images into features ``text`` and ``image`` in the dataset folder.

    ``text`` and ``image`` name encoders, ``family:model[@revision]``; where both are None the built-in ones run on what
    the dataset has, and leave alone features that were imported or made by another encoder. What cannot be encoded is
    missing, and listed in ``features/NAME/problems.csv``. With ``resume``, shards of an interrupted run with the same
    encoder and inputs are used, and features that are up to date are kept. Raises ``DatasetError``,
    ``ExtractorError``, ``MachineError``.
    """
    from demure.data.dataset import Dataset

    dataset = Dataset.load(Path(dataset_path))
    named = {"text": text, "image": image}
    return extract_items(
        dataset.path, dataset.items, dataset.text_columns, dataset.images_root, named, device, resume, listener
    )


def extract_items(
    folder: Path,
    items: pd.DataFrame,
    text_columns: Sequence[str],
    images_root: Path | None,
    named: dict[str, str | None],
    device: str = "auto",
    resume: bool = True,
    listener: Listener = silent,
) -> ExtractReport:
    """``extract`` for items in memory: row k of ``items`` is item k of ``folder``, ``named`` modality -> encoder."""
    chosen = {kind: name for kind, name in named.items() if name is not None}
    asked = bool(chosen)
    if not asked:
        has = {"text": bool(text_columns), "image": images_root is not None and "image" in items.columns}
        chosen = {kind: BUILT_IN[kind] for kind, there in has.items() if there}
    there = [] if asked or chosen else store.names(folder)
    if not chosen and not there:
        raise ExtractorError(
            "the items have neither texts nor images",
            where=folder,
            remedy="prepare with --items, or with --features NAME=FILE.npy",
        )
    # Both names are understood before any work begins.
    resolved = {kind: choose(name, kind) for kind, name in chosen.items()}
    done = [_summary(folder, name, Encoded(), 0.0, "kept, the items have nothing to extract from") for name in there]
    ids = items["item_id"].tolist()
    left_out: list[NothingUsable] = []
    for kind, (spec, family) in resolved.items():
        other = None if asked else _others(folder, kind, spec)
        if other is not None:
            kept = f"kept, made by {other}; say --{kind} {spec} to replace it"
            done.append(_summary(folder, kind, Encoded(), 0.0, kept))
            continue
        started = time.perf_counter()
        listener(Progress(f"reading {kind}s", 0, len(items)))
        found: Inputs = (
            reading.texts(items, list(text_columns)) if kind == "text" else reading.images(items, images_root)
        )
        encoder = load_encoder(spec, family, kind, device)
        try:
            made = encode_modality(folder, ids, kind, spec, found, encoder, resume, listener)
        except NothingUsable as error:
            if asked:
                raise
            left_out.append(error)
            continue
        seconds = time.perf_counter() - started
        done.append(_summary(folder, kind, made, seconds, "up to date" if made.up_to_date else None))
    if left_out and not done:
        raise left_out[0]
    return ExtractReport(Path(folder), done, [str(error) for error in left_out])


def _others(folder: Path, name: str, spec: Spec) -> str | None:
    """The encoder that made existing features, if it is another one."""
    if name not in store.names(folder):
        return None
    encoder = str(store.manifest(folder, name)["provenance"].get("encoder"))
    return None if encoder == str(spec) else encoder


def _summary(folder: Path, name: str, made: Encoded, seconds: float, kept: str | None) -> Extracted:
    facts, where = store.manifest(folder, name), Path(folder) / "features" / name
    provenance: dict[str, Any] = facts["provenance"]
    return Extracted(
        name=name,
        encoder=str(provenance.get("encoder")),
        dim=facts["dim"],
        items=facts["items"],
        present=facts["present"],
        missing=facts["missing"],
        distinct=provenance.get("distinct_inputs", facts["present"]),
        encoded=made.encoded,
        resumed=made.resumed,
        problems=provenance.get("problems", {}),
        first=_first(where / PROBLEMS),
        seconds=round(seconds, 3),
        folder=where,
        assumed=list(provenance.get("assumed", [])),
        kept=kept,
    )


def _first(listed: Path) -> list[dict[str, str]]:
    if not listed.is_file():
        return []
    first: dict[str, dict[str, str]] = {}
    with open(listed, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            first.setdefault(row["problem"], row)
    return list(first.values())
