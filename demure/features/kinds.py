"""The kinds of content that can be encoded, and the built-in encoder of each."""

from __future__ import annotations

BUILT_IN = {"text": "tfidf", "image": "color", "attributes": "attributes"}
"""What can be encoded, and the encoder of each that needs no download."""


def plural(kind: str) -> str:
    """A kind of input in messages: texts, images, attributes."""
    return kind if kind.endswith("s") else f"{kind}s"
