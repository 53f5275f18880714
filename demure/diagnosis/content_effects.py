"""What the words of a text and the parts of a picture add to a choice, and the sentences that say so."""

from __future__ import annotations

import re
from dataclasses import dataclass

MATTERS = 0.9
"""A part without which less of the evidence is left than this matters."""
LISTED = 8
"""Words with their numbers, of those that matter; all are marked."""
WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class WordEffect:
    """A ``word`` of the text, and how often it occurs; ``left``: the share of the text's density ratio that is left
    without it (below 1 it speaks for the choice, above 1 against it)."""

    word: str
    count: int
    left: float

    @property
    def matters(self) -> bool:
        """Whether the choice rests on the word."""
        return self.left < MATTERS

    @property
    def sentence(self) -> str:
        """What the text is without the word."""
        return f"{_percent(self.left)} as much evidence"


@dataclass(frozen=True)
class TextEffects:
    """The ``text`` of a modality as the encoder reads it, and its ``words``, those that matter most first."""

    modality: str
    text: str
    words: list[WordEffect]

    @property
    def strongest(self) -> list[WordEffect]:
        """The words that matter most, at most ``LISTED``."""
        return [effect for effect in self.words if effect.matters][:LISTED]

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """The text cut at its words: each part, and whether it is a word that matters."""
        strong = {effect.word for effect in self.words if effect.matters}
        return [(part, part.lower() in strong) for part in word_parts(self.text) if part]

    @property
    def sentence(self) -> str:
        """The words that matter most and what is left without them."""
        if not self.strongest:
            return "No single word matters: the text without it speaks as much for the choice."
        listed = ", ".join(f"“{effect.word}” {_percent(effect.left)}" for effect in self.strongest)
        return f"What is left of the evidence without a word: {listed}."


@dataclass(frozen=True)
class PictureEffects:
    """The ``picture`` (a file) of a modality; ``grid``: rows from the top of how much each cell adds to the evidence,
    in nats; ``place``: where most of it is, in words, empty where no part matters; ``left``: the share of the density
    ratio that is left without the part around it."""

    modality: str
    picture: str
    grid: list[list[float]]
    place: str
    left: float
    written: str | None = None

    @property
    def sentence(self) -> str:
        """Where the part is that matters most, and what is left without it."""
        if not self.place:
            return "No single part matters: the picture without it speaks as much for the choice."
        left = f"without it, the picture is {_percent(self.left)} as much evidence"
        return f"What matters most is {self.place}: {left}."


def word_parts(text: str) -> list[str]:
    """Return the text cut before and after every word; its words are at the odd places."""
    return re.split(f"({WORD.pattern})", text)


def _percent(left: float) -> str:
    return f"{100 * left:.1f} %"
