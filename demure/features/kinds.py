"""The kinds of content that can be encoded, and the built-in encoder of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

BUILT_IN = {"text": "tfidf", "image": "color", "attributes": "attributes"}
"""Kind of content -> the encoder that needs no download."""
MEDIA = ("audio", "video")
"""Kinds of content in files that are decoded in parts."""
FILES = ("image", *MEDIA)
"""Kinds of content in files; the items' column of that name has the names of the files."""
KINDS = (*BUILT_IN, *MEDIA)


class Noun(NamedTuple):
    """What the sentences of a diagnosis call the content of a modality."""

    singular: str
    plural: str

    @property
    def with_article(self) -> str:
        """``singular`` with its article: a picture, an audio file."""
        return f"{'an' if self.singular.lstrip('`')[0] in 'aeiou' else 'a'} {self.singular}"


NOUNS = {
    "text": Noun("text", "texts"),
    "image": Noun("picture", "pictures"),
    "attributes": Noun("set of attributes", "attributes"),
    "audio": Noun("audio file", "audio files"),
    "video": Noun("video", "videos"),
}
"""Kind of content -> its noun."""


def noun(kind: str, name: str) -> Noun:
    """Return the noun for the modality ``name`` made from a kind of content; for an unknown kind, by its name."""
    return NOUNS.get(kind) or Noun(f"`{name}` vector", f"features `{name}`")


def plural(kind: str) -> str:
    """Return a kind of content in the plural, for messages: texts, images, attributes, audio files, videos."""
    if kind == "audio":
        return "audio files"
    return kind if kind.endswith("s") else f"{kind}s"


def with_article(kind: str) -> str:
    """Return a kind of content with its article, for messages: a text, an image."""
    return f"an {kind}" if kind[0] in "ai" else f"a {kind}"


def recorded_kind(name: str, manifest: Mapping[str, Any]) -> str:
    """Return the kind of content of the features ``name``, by their manifest; ``name`` itself where they were imported,
    so that imported features called ``image`` count as those of images."""
    return str((manifest.get("provenance") or {}).get("kind") or name)
