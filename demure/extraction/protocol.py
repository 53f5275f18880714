"""What an encoder is, how a family of encoders is listed, and how a name such as ``clip:ViT-B-32/openai`` is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from demure.errors import ExtractorError


class Encoder(Protocol):
    """Common to all: ``dim`` is d, ``batch`` how many inputs one call to ``encode`` should have."""

    dim: int
    batch: int

    def identity(self) -> dict[str, Any]:
        """JSON-able facts that decide the vectors: weights, revision, preprocessing, pooling, what was assumed."""
        ...


class TextEncoder(Encoder, Protocol):
    """Texts to vectors."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) float32. A row of zeros says that the text has nothing the encoder knows."""
        ...


@runtime_checkable
class FittedEncoder(Protocol):
    """An encoder that looks at the whole catalogue first (TF-IDF, attributes); ``dim`` is known after ``fit``."""

    def fit(self, inputs: Sequence[Any]) -> None:
        """``inputs`` are the catalogue's distinct texts, or the attributes of all items with any, in item order."""
        ...


class AttributeEncoder(Encoder, Protocol):
    """Attributes to vectors; also a ``FittedEncoder``."""

    def encode(self, rows: Sequence[dict[str, str | None]]) -> np.ndarray:
        """(n, d) float32 from the cells of n items by column, None where nothing is given."""
        ...


class ImageEncoder(Encoder, Protocol):
    """Images to vectors, in two halves, so that decoding and preprocessing overlap with the encoder."""

    def prepare(self, image: Image.Image) -> Any:
        """An RGB image as an array of one shape for all images. Runs in processes that are forked from this one."""
        ...

    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """(n, d) float32 from n results of ``prepare``, also as one array (n, ...)."""
        ...


@dataclass(frozen=True)
class Model:
    """``dim`` of its vectors, and about how many ``megabytes`` a download of its weights takes."""

    name: str
    dim: int
    megabytes: int


@dataclass(frozen=True)
class Family:
    """One line of ``demure extractors``. ``text``, ``image`` and ``attributes`` are ``"module:Class"`` or None.

    A class takes ``(model, revision, device, precision)``; ``needs`` are the packages it imports, ``models`` some that
    are worth trying, ``packaged`` pairs of a model and an installable package that carries its weights; ``built_in``
    families take no model, and have vectors of ``dim``. Where ``options`` says how they are written, a built-in class
    takes the options that stand in the model's place.
    """

    name: str
    about: str
    example: str
    text: str | None = None
    image: str | None = None
    needs: tuple[str, ...] = ()
    models: tuple[Model, ...] = ()
    packaged: tuple[tuple[str, str], ...] = ()
    built_in: bool = False
    dim: int | None = None
    attributes: str | None = None
    options: str = ""

    @property
    def known(self) -> list[str]:
        """The names of its ``models``, to correct typing errors by."""
        return [model.name for model in self.models]

    def target(self, kind: str) -> str | None:
        """``"module:Class"`` for ``kind`` ``"text"``, ``"image"`` or ``"attributes"``."""
        return {"text": self.text, "image": self.image, "attributes": self.attributes}[kind]


@dataclass(frozen=True)
class Spec:
    """``family:model@revision[columns]``, taken apart; no ``columns`` are all that there are.

    The text of a ``Spec`` is the encoder's name alone: the same encoder reads any columns.
    """

    family: str
    model: str = ""
    revision: str | None = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"{self.family}:{self.model}" if self.model else self.family
        return f"{name}@{self.revision}" if self.revision else name


def parse(text: str) -> Spec:
    """Read ``family[:model[@revision]]``, and ``[column,column]`` after it. A model that is a path here may itself hold
    colons, ``@`` and brackets.

    Raises ``ExtractorError`` for an empty part, for a path that is not there and for a revision of a local folder.
    """
    bare, columns = _split_columns(text.strip())
    return replace(_parse(bare, text), columns=columns)


def _split_columns(text: str) -> tuple[str, tuple[str, ...]]:
    match = re.fullmatch(r"(.*)\[([^\[\]]*)\]", text, re.DOTALL)
    model = text.partition(":")[2]
    if match is None or (model and Path(model).expanduser().exists()):
        return text, ()
    columns = tuple(dict.fromkeys(one.strip() for one in match[2].split(",")))
    if "" in columns:
        raise _malformed(text)
    return match[1], columns


def _parse(bare: str, text: str) -> Spec:
    family, colon, model = bare.partition(":")
    if not family or (colon and not model):
        raise _malformed(text)
    path = Path(model).expanduser()
    if not model or path.exists():
        return Spec(family, str(path) if model else "")
    name, at, revision = model.rpartition("@")
    if at and name and Path(name).expanduser().exists():
        raise ExtractorError(
            f"{model!r} asks for revision {revision!r} of a local folder, which has none",
            where=family,
            remedy="leave out @revision",
        )
    if model.startswith(("/", "./", "../", "~")):
        raise ExtractorError(f"{model!r} is not there", where=family, remedy="give an existing file or folder")
    if at and not (name and revision):
        raise _malformed(text)
    return Spec(family, name, revision) if at else Spec(family, model)


def _malformed(text: str) -> ExtractorError:
    return ExtractorError(
        f"{text!r} is not an encoder",
        remedy="write family:model[@revision], and [column,column] after it; `demure extractors` lists the families",
    )
