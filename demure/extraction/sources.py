"""What ``extract`` was asked for, as modalities, encoders and columns; and the inputs that each of them reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demure.errors import ExtractorError
from demure.extraction import inputs
from demure.extraction.columns import attribute_columns, pick
from demure.extraction.inputs import Inputs
from demure.extraction.loading import named, named_attributes
from demure.extraction.protocol import Spec
from demure.features import store
from demure.features.kinds import BUILT_IN, plural

if TYPE_CHECKING:
    import pandas as pd

Named = str | Sequence[str] | None
# What is known of the image files; it can be deleted at any time.
MEMORY = ".images.parquet"


def requested(given: Mapping[str, Named]) -> list[tuple[str, str, str]]:
    """(kind, modality, encoder) of all that is ``given`` by kind. Raises ``ExtractorError`` where two would make one
    modality."""
    found: list[tuple[str, str, str]] = []
    taken: dict[str, str] = {}
    for kind in BUILT_IN:
        value = given.get(kind)
        if not value:
            continue
        encoders = named_attributes(value) if kind == "attributes" else named(kind, value)
        for name, encoder in encoders.items():
            if name in taken:
                raise ExtractorError(
                    f"{plural(taken[name])} and {plural(kind)} would both make {name!r}",
                    where=f"--{kind}",
                    remedy="give one of them another name",
                )
            taken[name] = kind
            found.append((kind, name, encoder))
    return found


def columns_of(kind: str, name: str, spec: Spec, items: pd.DataFrame, text_columns: Sequence[str]) -> list[str]:
    """The columns that an encoder reads, in the order of the items file; none for images.

    Raises ``ExtractorError`` for a column that is not there, or if no column holds attributes.
    """
    if kind == "image":
        return []
    if not spec.columns:
        return list(text_columns) if kind == "text" else attribute_columns(items)
    columns = ",".join(spec.columns)
    written = f"{spec}[{columns}]" if kind == "text" else columns
    return pick(spec.columns, items, f"--{kind} {written if name == kind else f'{name}={written}'}")


def read(
    kind: str,
    items: pd.DataFrame,
    columns: list[str],
    text_columns: Sequence[str],
    folder: Path,
    images_root: Path | None,
) -> Inputs:
    """The distinct inputs of one kind. Raises ``ExtractorError`` if the items have nothing of it."""
    if kind == "image":
        return inputs.images(items, images_root, Path(folder) / "features" / MEMORY)
    if kind == "attributes":
        return inputs.attributes(items, columns)
    return inputs.texts(items, columns, chosen=columns != list(text_columns))


def made_by_another(folder: Path, name: str, spec: Spec, columns: list[str]) -> str | None:
    """What made the features that are there, if it is another encoder or read other ``columns``."""
    if name not in store.names(folder):
        return None
    provenance = store.manifest(folder, name)["provenance"]
    encoder, used = str(provenance.get("encoder")), list(provenance.get("input", {}).get("columns", []))
    if encoder != str(spec):
        return encoder
    return None if used == columns else f"{encoder}[{','.join(used)}]"
