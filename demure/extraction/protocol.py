"""What an encoder is, how a family of encoders is listed, and how a name such as ``clip:ViT-B-32/openai`` is read.

To add an encoder, write a class with the methods of ``TextEncoder``, ``ImageEncoder``, ``AudioEncoder`` or
``AttributeEncoder`` (no base class is needed), and name it in ``FAMILIES`` of ``extractors/table.py`` as
``"module:Class"``. For example::

    class Letters:
        dim = 26  # length of a vector
        batch = 512  # inputs that one call of encode() should get

        def __init__(self, model: str, revision: str | None, device: str, precision: str) -> None: ...

        def identity(self) -> dict[str, Any]:
            return {"version": 1}  # raise the number when the vectors of the same text change

        def encode(self, texts: Sequence[str]) -> np.ndarray:
            counts = [[text.count(letter) for letter in string.ascii_lowercase] for text in texts]
            return np.array(counts, dtype=np.float32)

A class of a family with a model is called with ``(model, revision, device, precision)``, and with the keywords of
``EncoderFamily.keywords`` that the user gives; a built-in class is called without arguments, or with the options that
stand after the colon. An encoder raises ``ExtractorError`` for a model that
it cannot load. It need not care for batches that are too large (``oom``), for interruptions (``shards``) or for inputs
that occur twice (``inputs``). Its vectors need no scale: training scales all features robustly.
"""

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
    """What all encoders have: ``dim``, the length D of a vector, and ``batch``, the inputs of one ``encode`` call.

    An encoder with a model also has ``folders``, a list of the folders of the files that decide its vectors: as long as
    none of them changes, features are known to be up to date without loading the model.

    An encoder on an accelerator should also have ``submit``, which takes what ``encode`` takes, starts the computation
    and returns a function that waits for its vectors: the next batch is prepared meanwhile.
    """

    dim: int
    batch: int

    def identity(self) -> dict[str, Any]:
        """Return what decides the vectors, as JSON: weights, revision, preprocessing, pooling, assumptions.

        Vectors of an earlier run are reused only if it is equal. Keys with a meaning: ``files_sha256`` (the weights, by
        content: the model may then be moved), ``assumed`` (list of sentences, printed), and ``left_out`` (content that
        the encoder ignores: ``what``, ``remedy``, ``distinct``, ``examples``).
        """
        ...


class TextEncoder(Encoder, Protocol):
    """Encodes texts."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, D) float32; a row of zeros means that the encoder can use nothing in the text."""
        ...


@runtime_checkable
class FittedEncoder(Protocol):
    """An encoder that is fitted on the whole catalogue first (TF-IDF, attributes); ``dim`` is valid after ``fit``."""

    def fit(self, inputs: Sequence[Any]) -> None:
        """Fit on the catalogue's distinct texts, or on the attributes of all items that have any, in item order."""
        ...


class AttributeEncoder(Encoder, Protocol):
    """Encodes attributes; also a ``FittedEncoder``."""

    def encode(self, rows: Sequence[dict[str, str | None]]) -> np.ndarray:
        """Return (n, D) float32 from n items' values by column, None where the item has no value."""
        ...


class ImageEncoder(Encoder, Protocol):
    """Encodes images in two steps, so that preprocessing overlaps with the encoder's computation.

    With ``pixels_of_a_side``, the longer side of what the encoder reads of a whole image in pixels, JPEG files that are
    many times as large are decoded at a reduced size.
    """

    def prepare(self, image: Image.Image) -> Any:
        """Return an RGB image as an array; all images give one shape. Runs in worker processes, which on
        macOS and Windows get a pickle of the encoder: leave the model out of it by ``__getstate__``."""
        ...

    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """Return (n, D) float32 from n results of ``prepare``, which may come as one array (n, ...)."""
        ...


class Sound(Protocol):
    """The sound of a file, decoded where the encoder asks for it (``demure.media.sound``)."""

    def excerpts(self, rate: int, seconds: float, most: int) -> list[np.ndarray]:
        """Return at most ``most`` parts of at most ``seconds``, evenly spaced, each (samples,) float32, mono at
        ``rate`` samples a second."""
        ...


class AudioEncoder(Encoder, Protocol):
    """Encodes sounds in two steps, as ``ImageEncoder`` does images."""

    def prepare(self, sound: Sound) -> Any:
        """Return the sound as an array; all sounds give one shape. Runs in worker processes."""
        ...

    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """Return (n, D) float32 from n results of ``prepare``, which may come as one array (n, ...)."""
        ...


@dataclass(frozen=True)
class KnownModel:
    """A model worth a download: ``dim`` of its vectors, and about how many ``megabytes`` its weights are."""

    name: str
    dim: int
    megabytes: int


@dataclass(frozen=True)
class EncoderFamily:
    """One line of ``demure extractors``.

    Attributes:
        name: the part of an encoder's name before the colon.
        about: a phrase for the list.
        example: a complete encoder name.
        text, image, attributes, audio: the class that encodes this kind, ``"module:Class"``, or None. Video is encoded
            by the class for images, frame by frame.
        needs: packages that the classes import.
        models: models that are worth a download.
        packaged: (model, installable package that holds its weights).
        built_in: whether the family works without a model.
        dim: length of a built-in family's vectors, where it is fixed.
        options: how the options of a built-in family are written; empty if it has none.
        keywords: options that the classes take: ``"trust_remote_code"`` and ``"prompt"`` of `demure extract`, and
            ``"prompt_text"``, which the manifest of stored features holds.
    """

    name: str
    about: str
    example: str
    text: str | None = None
    image: str | None = None
    needs: tuple[str, ...] = ()
    models: tuple[KnownModel, ...] = ()
    packaged: tuple[tuple[str, str], ...] = ()
    built_in: bool = False
    dim: int | None = None
    attributes: str | None = None
    options: str = ""
    keywords: tuple[str, ...] = ()
    audio: str | None = None

    @property
    def model_names(self) -> list[str]:
        """The names of ``models``, for suggestions."""
        return [model.name for model in self.models]

    def target(self, kind: str) -> str | None:
        """Return ``"module:Class"`` for a ``kind`` of ``KINDS``, or None."""
        classes = {"text": self.text, "image": self.image, "attributes": self.attributes, "audio": self.audio}
        return classes["image" if kind == "video" else kind]

    @property
    def encodes(self) -> list[str]:
        """The kinds of content that have a class."""
        return [kind for kind in ("text", "image", "attributes", "audio") if self.target(kind)]


@dataclass(frozen=True)
class EncoderSpec:
    """The parts of ``family:model@revision[columns]``; empty ``columns`` mean all columns.

    ``str`` leaves out the columns: the same encoder can read any columns.
    """

    family: str
    model: str = ""
    revision: str | None = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f"{self.family}:{self.model}" if self.model else self.family
        return f"{name}@{self.revision}" if self.revision else name


def parse_encoder(text: str) -> EncoderSpec:
    """Parse ``family[:model[@revision]]``, which ``[column,column]`` may follow.

    A model that is an existing path may itself contain colons, ``@`` and brackets. Raises ``ExtractorError`` for an
    empty part, for a path that does not exist and for a revision of a local folder.
    """
    bare, columns = _split_columns(text.strip())
    return replace(_parse(bare, text), columns=columns)


def _split_columns(text: str) -> tuple[str, tuple[str, ...]]:
    match = re.fullmatch(r"(.*)\[([^\[\]]*)\]", text, re.DOTALL)
    model = text.partition(":")[2]
    if match is None or (model and Path(model).expanduser().exists()):
        return text, ()
    columns = tuple(dict.fromkeys(column.strip() for column in match[2].split(",")))
    if "" in columns:
        raise _malformed(text)
    return match[1], columns


def _parse(bare: str, text: str) -> EncoderSpec:
    family, colon, model = bare.partition(":")
    if not family or (colon and not model):
        raise _malformed(text)
    path = Path(model).expanduser()
    if not model or path.exists():
        return EncoderSpec(family, str(path) if model else "")
    name, separator, revision = model.rpartition("@")
    if separator and name and Path(name).expanduser().exists():
        raise ExtractorError(
            f"{model!r} asks for revision {revision!r} of a local folder, which has none",
            where=family,
            remedy="leave out @revision",
        )
    if model.startswith(("/", "./", "../", "~")):
        raise ExtractorError(f"{model!r} is not there", where=family, remedy="give an existing file or folder")
    if separator and not (name and revision):
        raise _malformed(text)
    return EncoderSpec(family, name, revision) if separator else EncoderSpec(family, model)


def _malformed(text: str) -> ExtractorError:
    return ExtractorError(
        f"{text!r} is not an encoder",
        remedy="write family:model[@revision], and [column,column] after it; `demure extractors` lists the families",
    )
