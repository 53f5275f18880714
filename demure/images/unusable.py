"""The reason why an input, for example an image file, cannot be used."""

from __future__ import annotations


class UnusableInput(Exception):
    """An input that cannot be used: a short ``kind``, by which problems are counted, and the exact ``value``."""

    def __init__(self, kind: str, value: str = "") -> None:
        self.kind, self.value = kind, value
        super().__init__(kind)
