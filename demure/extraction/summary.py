"""The result of ``extract``: for each modality its numbers, its problems, and notes that a user should read."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demure.data.feature_manifest import FeatureManifest
from demure.extraction.assemble import PROBLEMS
from demure.extraction.encoding import EncodingResult
from demure.features import store
from demure.files import unquote_formula


@dataclass(frozen=True)
class ExtractedModality:
    """The result for one modality.

    Attributes:
        items: items of the dataset; ``present`` of them have a vector, ``missing`` have none.
        distinct: distinct inputs; ``encoded`` of them went through the encoder now, ``resumed`` did before or in
            another process.
        problems: kind of problem -> items; ``first`` holds one item of each kind, with its id and the exact value.
        seconds: time of this run.
        folder: where the features are.
        assumed: what the model's files do not state, and demure assumed.
        kept: why nothing was done at all; None if something was.
        kind: one of ``KINDS``; None for imported features.
        columns: columns of the items that were encoded.
        notes: sentences on content that the encoder ignored, or that counts twice.
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
    kind: str | None = None
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ExtractReport:
    """Result of ``extract``; ``left_out`` says which content the items seemed to have, and why it could not be used."""

    dataset: Path
    modalities: list[ExtractedModality]
    left_out: list[str] = field(default_factory=list)


def summarize(
    folder: Path, name: str, result: EncodingResult | None = None, seconds: float = 0.0, kept: str | None = None
) -> ExtractedModality:
    """Return the result for modality ``name``, from its manifest and from this run's encoding, if there was one."""
    result = result or EncodingResult()
    manifest = store.read_manifest(folder, name)
    features, provenance = Path(folder) / "features" / name, manifest.provenance
    return ExtractedModality(
        name=name,
        encoder=manifest.encoder,
        dim=manifest.dim,
        items=manifest.items,
        present=manifest.present,
        missing=manifest.missing,
        distinct=provenance.get("distinct_inputs", manifest.present),
        encoded=result.encoded,
        resumed=result.resumed,
        problems=provenance.get("problems", {}),
        first=_first_of_each_kind(features / PROBLEMS),
        seconds=round(seconds, 3),
        folder=features,
        assumed=list(provenance.get("assumed", [])),
        kept=kept,
        kind=manifest.kind,
        columns=manifest.columns,
        notes=[*_ignored_content(provenance.get("left_out")), *_counted_twice(folder, manifest)],
    )


def _counted_twice(folder: Path, manifest: FeatureManifest) -> list[str]:
    """Return a note for each text modality that reads columns which are also attributes."""
    notes = []
    for other in store.names(folder) if manifest.kind == "attributes" else []:
        text = store.read_manifest(folder, other)
        both = [column for column in manifest.columns if column in text.columns]
        if text.kind == "text" and both:
            name = "" if other == "text" else f"{other}="
            remedy = f"--text '{name}{text.encoder}[COLUMNS]' with other columns keeps them apart"
            notes.append(f"also read by {other}, so that they count twice: {', '.join(both)}; {remedy}")
    return notes


def _ignored_content(left_out: dict[str, Any] | None) -> list[str]:
    """Return a note on the words or values that the encoder ignored."""
    if not left_out or not left_out["distinct"]:
        return []
    shown = ", ".join(left_out["examples"]) + (", ..." if left_out["distinct"] > len(left_out["examples"]) else "")
    line = f"left out as no content: {left_out['distinct']:,} {left_out['what']} ({shown})"
    return [f"{line}; {left_out['remedy']}" if left_out["remedy"] else line]


def _first_of_each_kind(problems: Path) -> list[dict[str, str]]:
    """Return the first row of each kind of problem in a ``problems.csv``."""
    if not problems.is_file():
        return []
    first: dict[str, dict[str, str]] = {}
    with open(problems, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            first.setdefault(row["problem"], {name: unquote_formula(cell) for name, cell in row.items()})
    return list(first.values())
