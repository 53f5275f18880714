"""The changes of an item that a user asks about, with their content in the coordinates of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    from demure.runs.new_content import ContentEncoder, EncodedContent
_KINDS = ("text", "image", "attributes")
_SHOWN = 40  # characters of a text that name a change
_MOST_CANDIDATES = 200


@dataclass(frozen=True)
class Variant:
    """Other content of an item: its ``name``; ``coordinates``: modality -> latent coordinates (D,), None where the
    item would lack the modality. A modality that is not named stays as it is."""

    name: str
    coordinates: dict[str, np.ndarray | None] = field(default_factory=dict)


def encode_variants(
    reader: DiagnosisReader,
    encoder: ContentEncoder,
    row: int,
    *,
    image: Path | None,
    text: str | None,
    without: Sequence[str],
    candidates: Path | None,
) -> tuple[list[Variant], list[str]]:
    """Return the changes of the item in ``row`` of the dataset, and sentences about what could not be used.

    Each option is a change; where several modalities change, one more change is all of them together. Raises
    ``DemureError`` if nothing changes, and for a picture or a text that cannot be used.
    """
    variants, notes = [], []
    if image is not None:
        if not image.is_file():
            raise DemureError("no such picture", where=image, remedy="give an image file")
        pictures, problems = _pictures(reader, encoder, row, [image], "--image")
        if problems:
            raise DemureError(
                problems[0].removeprefix(f"{image.name}: "), where=image, remedy="give another image file"
            )
        variants += pictures
    if text is not None:
        variants.append(_text(reader, encoder, row, text))
    for name in without:
        if name not in encoder.modalities:
            remedy = did_you_mean(name, encoder.modalities) or f"there are: {', '.join(encoder.modalities)}"
            raise DemureError(f"the run has no modality {name!r}", where="--without", remedy=remedy)
        m = encoder.modalities.index(name)
        if not encoder.denoiser.experts()[m].present_I[row]:
            raise DemureError(f"the item has no {name}", where="--without", remedy="name a modality that it has")
        variants.append(Variant(f"without {name}", {name: None}))
    together = _together(variants)
    if candidates is not None:
        files = _files(candidates)
        pictures, problems = _pictures(reader, encoder, row, files, "--candidates")
        if not pictures:
            problem = f"none of {len(files)} files can be used: {problems[0]}"
            raise DemureError(problem, where=candidates, remedy="give a folder of pictures")
        variants, notes = [*variants, *pictures], [f"left out: {problem}" for problem in problems]
    if not variants:
        raise DemureError(
            "nothing changes", where="whatif", remedy="give --image, --text, --without MODALITY or --candidates DIR"
        )
    return [*variants, *together], notes


def _together(variants: list[Variant]) -> list[Variant]:
    """Return the change that makes all ``variants`` at once, if they are several of different modalities."""
    names = [name for variant in variants for name in variant.coordinates]
    if len(variants) < 2:
        return []
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DemureError(f"{twice} is changed twice", where="whatif", remedy="leave one of the options out")
    both = {name: content for variant in variants for name, content in variant.coordinates.items()}
    return [Variant("all together", both)]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DemureError("no such folder", where=folder, remedy="give a folder of pictures")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise DemureError("the folder is empty", where=folder, remedy="give a folder of pictures")
    if len(files) > _MOST_CANDIDATES:
        remedy = f"give at most {_MOST_CANDIDATES}"
        raise DemureError(f"holds {len(files)} files", where=folder, remedy=remedy)
    return files


def _pictures(
    reader: DiagnosisReader, encoder: ContentEncoder, row: int, files: list[Path], option: str
) -> tuple[list[Variant], list[str]]:
    """Return a change for each usable picture of one folder, and why the others cannot be used."""
    import pandas as pd

    names = _usable(reader, encoder, "image", option)
    frame = pd.DataFrame({"item_id": [file.name for file in files], "image": [file.name for file in files]})
    rows = np.full(len(files), row)
    contents = {name: encoder.encode_pictures(name, frame, files[0].absolute().parent, rows) for name in names}
    variants, problems = [], []
    for k, file in enumerate(files):
        lacking = next((name for name in names if not contents[name].present[k]), None)
        if lacking is None:
            variants.append(Variant(file.name, {name: contents[name].coordinates[k] for name in names}))
        else:
            problems.append(f"{file.name}: {_problem(contents[lacking], k)}")
    return variants, problems


def _text(reader: DiagnosisReader, encoder: ContentEncoder, row: int, text: str) -> Variant:
    from demure.extraction import cleaning

    names = _usable(reader, encoder, "text", "--text")
    lines = "\n".join(line for line in map(cleaning.clean, text.splitlines()) if line)
    coordinates: dict[str, np.ndarray | None] = {}
    for name in names:
        content = encoder.encode_texts(name, [lines], np.array([row]))
        if not content.present[0]:
            problem = f"{name}: {_problem(content, 0)}" if lines else "the text is empty"
            raise DemureError(problem, where="--text", remedy=f"give another text, or --without {name}")
        coordinates[name] = content.coordinates[0]
    shown = lines.replace("\n", " ")
    return Variant(f"text “{shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + '…'}”", coordinates)


def _problem(content: EncodedContent, k: int) -> str:
    first = next((problem for problem in content.problems if problem.item == k), None)
    if first is None:
        return "the encoder gives no vector for it"
    return first.kind + (f" ({first.value})" if first.value else "")


def _usable(reader: DiagnosisReader, encoder: ContentEncoder, kind: str, option: str) -> list[str]:
    """Return the modalities of a kind that explain choices. Raises ``DemureError`` if there are none."""
    names = encoder.of_kind(kind)
    if not names:
        encoded = {name for each in _KINDS for name in encoder.of_kind(each)}
        imported = [name for name in encoder.modalities if name not in encoded]
        also = f" (imported as vectors, for which no encoder is known: {', '.join(imported)})" if imported else ""
        problem = f"the run has no modality made from {kind}s{also}"
        raise DemureError(problem, where=option, remedy=f"use --without {' or '.join(encoder.modalities)}")
    telling = [name for name in names if name not in reader.placebos.cannot_tell]
    if not telling:
        raise DemureError(
            f"cannot tell: {', '.join(names)} explains no more than shuffled features, so the effect of another "
            f"{kind} is not known",
            where=option,
            remedy="change another modality",
        )
    return telling
