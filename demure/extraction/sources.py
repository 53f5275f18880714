"""Turn the options of ``extract`` into modalities, encoders and columns, and read the inputs of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from demure.errors import ExtractorError
from demure.extraction.columns import attribute_columns, select_columns
from demure.extraction.images import image_inputs
from demure.extraction.inputs import Inputs, attribute_inputs, text_inputs
from demure.extraction.loading import parse_attribute_options, parse_encoder_options
from demure.extraction.media import media_inputs
from demure.extraction.protocol import EncoderSpec
from demure.features import store
from demure.features.kinds import FILES, KINDS, plural
from demure.images.files import HASH_CACHES

if TYPE_CHECKING:
    import pandas as pd

EncoderNames = str | Sequence[str] | None
"""The values of ``--text`` and the other options of this kind: one, several, or none."""


class Request(NamedTuple):
    """One modality that is to be made, its kind of content, and its encoder."""

    kind: str
    name: str
    encoder: str


def requested_modalities(encoders: Mapping[str, EncoderNames]) -> list[Request]:
    """Return the modalities that the user asked for; ``encoders`` are kind -> values of the option.

    Raises ``ExtractorError`` if two encoders would make one modality.
    """
    requests: list[Request] = []
    kind_of: dict[str, str] = {}
    for kind in KINDS:
        values = encoders.get(kind)
        if not values:
            continue
        by_name = parse_attribute_options(values) if kind == "attributes" else parse_encoder_options(kind, values)
        for name, encoder in by_name.items():
            if name in kind_of:
                raise ExtractorError(
                    f"{plural(kind_of[name])} and {plural(kind)} would both make {name!r}",
                    where=f"--{kind}",
                    remedy="give one of them another name",
                )
            kind_of[name] = kind
            requests.append(Request(kind, name, encoder))
    return requests


def columns_of(kind: str, name: str, spec: EncoderSpec, items: pd.DataFrame, text_columns: Sequence[str]) -> list[str]:
    """Return the columns that an encoder reads, in the order of the items file; none for files.

    Raises ``ExtractorError`` for a column that does not exist, or if no column holds attributes.
    """
    if kind in FILES:
        return []
    if not spec.columns:
        return list(text_columns) if kind == "text" else attribute_columns(items)
    columns = ",".join(spec.columns)
    value = f"{spec}[{columns}]" if kind == "text" else columns
    return select_columns(spec.columns, items, f"--{kind} {value if name == kind else f'{name}={value}'}")


def read_inputs(
    kind: str,
    items: pd.DataFrame,
    columns: list[str],
    text_columns: Sequence[str],
    folder: Path,
    roots: Mapping[str, Path],
) -> Inputs:
    """Return the distinct inputs of one kind; ``roots``: kind of files -> their folder.

    Raises ``ExtractorError`` if the items have no such content.
    """
    if kind in FILES:
        cache = Path(folder) / "features" / HASH_CACHES[kind]
        if kind == "image":
            return image_inputs(items, roots.get(kind), cache)
        return media_inputs(kind, items, roots.get(kind), cache)
    if kind == "attributes":
        return attribute_inputs(items, columns)
    return text_inputs(items, columns, chosen=columns != list(text_columns))


def made_by_another(folder: Path, name: str, spec: EncoderSpec, columns: list[str]) -> str | None:
    """Return the encoder that made the stored features, if it is not ``spec`` on these ``columns``."""
    if name not in store.names(folder):
        return None
    manifest = store.read_manifest(folder, name)
    if manifest.encoder != str(spec):
        return manifest.encoder
    return None if manifest.columns == columns else f"{manifest.encoder}[{','.join(manifest.columns)}]"
