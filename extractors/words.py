"""Split a text into words for ``tfidf``, without tokens that are not content: years, ids and model numbers."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

# Words of two letters and more; scripts that are written without spaces go by character.
_WORDS = re.compile(r"(?u)[^\W\u3040-\u30ff\u3400-\u9fff]{2,}|[\u3040-\u30ff\u3400-\u9fff]")
# A number with a unit (500ml, 1080p, 1990s) and a size (13x40x40) are content; so are short names (mp3, wd40).
_YEAR = re.compile(r"(19|20)\d\d")
_LONG_NUMBER = re.compile(r"\d{5,}")
_MEASURE = re.compile(r"\d+(x\d+)*[a-z]{0,4}")
_DIGITS = 4
_EXAMPLES = 5
RULE = "years from 1900 to 2099, numbers of 5 digits or more, tokens of letters and at least 4 digits but for measures"


def words(text: str) -> list[str]:
    """Return all tokens of a text in lower case."""
    return _WORDS.findall(text)


def is_label(token: str) -> bool:
    """Return whether ``token`` dates or identifies an item rather than describes it; see ``RULE``."""
    if not any(character.isdigit() for character in token):
        return False
    if token.isdigit():
        return bool(_YEAR.fullmatch(token) or _LONG_NUMBER.fullmatch(token))
    return sum(character.isdigit() for character in token) >= _DIGITS and not _MEASURE.fullmatch(token)


class WordFilter:
    """A tokenizer that leaves out labels (``is_label``), and counts them while ``counting``."""

    def __init__(self) -> None:
        self.counting = False
        self.labels: Counter[str] = Counter()

    def __call__(self, text: str) -> list[str]:
        """Return the content words of a text in lower case."""
        kept = []
        for token in words(text):
            if not is_label(token):
                kept.append(token)
            elif self.counting:
                self.labels[token] += 1
        return kept

    def facts(self) -> dict[str, Any]:
        """Return how many distinct tokens were left out, how often they occur, and the most frequent of them."""
        ranked = sorted(self.labels.items(), key=lambda pair: (-pair[1], pair[0]))
        return {
            "what": "words that are years, ids or model numbers",
            "rule": RULE,
            "remedy": "tfidf:keep-numbers keeps them",
            "distinct": len(self.labels),
            "occurrences": sum(self.labels.values()),
            "examples": [token for token, _ in ranked[:_EXAMPLES]],
        }
