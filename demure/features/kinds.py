"""The kinds of content that can be encoded, and the built-in encoder of each."""

from __future__ import annotations

BUILT_IN = {"text": "tfidf", "image": "color", "attributes": "attributes"}
"""Kind of content -> the encoder that needs no download."""


def plural(kind: str) -> str:
    """Return a kind of content in the plural, for messages: texts, images, attributes."""
    return kind if kind.endswith("s") else f"{kind}s"
