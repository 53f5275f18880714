"""Names of interests: the words that set an interest apart from the other choices, and the colours of its pictures.

A term's score in interest c is cover_c log(cover_c / cover): ``cover_c`` is the weight of the items of c that hold the
term, ``cover`` that of all chosen items. It is the class-based TF-IDF of BERTopic (Grootendorst, arXiv 2203.05794) with
the lift over all choices in place of the inverse class frequency, so that a word that is frequent everywhere scores 0.

Shape suffixes: C interests of one modality, I items, V terms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_WORD = re.compile(r"[^\W\d_][^\W\d_']+[^\W\d_]")
_MIN_ITEMS, _MAX_SHARE = 3, 0.5  # items of the catalogue that hold a term
_MIN_COVER, _MIN_LIFT = 0.15, 1.4  # of the items of an interest, and over all chosen items
_MIN_SCORE = 0.15
_MAX_TERMS = 50_000
_WORDS_KEPT, _WORDS_NAMED = 8, 3
_MOSTLY = 0.5  # of the items of an interest, whose texts say nothing of them
NO_DESCRIPTION = "items without a real description"
"""The name of an interest whose items share a placeholder text."""
# Words describe pictures from afar: only those of many of their items that are not there by chance, of thousands.
_MIN_COVER_OF_PICTURES, _MAX_CHANCE = 0.3, 1e-6


@dataclass(frozen=True)
class Term:
    """A word or two that set an interest apart: the shares of its items and of all chosen items that hold them.

    ``chance``: the probability of such a share among as many items drawn at random (binomial).
    """

    term: str
    share: float
    share_of_all: float
    chance: float = 0.0


def distinctive_terms(weight_CI: np.ndarray, texts: Sequence[Sequence[str]]) -> list[list[Term]]:
    """Return for each interest the terms that set it apart, best first; none where no text does.

    ``weight_CI``: how much each item stands for each interest, such as the choices that it explains; ``texts``: the
    texts of each item, one per column of the catalogue.
    """
    from scipy.stats import binom
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(analyzer=_terms, min_df=_MIN_ITEMS, max_df=_MAX_SHARE, binary=True)
    vectorizer.max_features = _MAX_TERMS
    try:
        holds_IV = vectorizer.fit_transform(texts).astype(np.float64)
    except ValueError:  # no term is frequent enough, and rare enough
        return [[] for _ in weight_CI]
    names_V = vectorizer.get_feature_names_out()
    damped_CI = np.log1p(weight_CI)  # an item that everybody chose is still one example
    cover_CV = damped_CI @ holds_IV / np.maximum(damped_CI.sum(1, keepdims=True), 1e-12)
    all_I = np.log1p(weight_CI.sum(0))
    cover_V = all_I @ holds_IV / max(float(all_I.sum()), 1e-12)
    lift_CV = np.divide(cover_CV, cover_V, out=np.ones_like(cover_CV), where=(cover_CV > 0) & (cover_V > 0))
    is_distinctive_CV = (cover_CV >= _MIN_COVER) & (lift_CV >= _MIN_LIFT)
    score_CV = np.where(is_distinctive_CV, cover_CV * np.log(lift_CV), 0.0)
    # As many items of equal weight would be as good examples (Kish, Survey Sampling, 1965).
    examples_C = damped_CI.sum(1) ** 2 / np.maximum(np.square(damped_CI).sum(1), 1e-12)
    terms = []
    for c, n in enumerate(np.round(examples_C).tolist()):
        kept = _best(score_CV[c], names_V)
        chance = binom.sf(np.ceil(cover_CV[c, kept] * n) - 1, n, cover_V[kept])
        rows = zip(kept, chance.tolist(), strict=True)
        terms.append([Term(str(names_V[v]), float(cover_CV[c, v]), float(cover_V[v]), p) for v, p in rows])
    return terms


def _terms(texts: Sequence[str]) -> Iterator[str]:
    """Yield the words of an item's texts, and the pairs of neighbours within one text."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    for text in texts:
        previous, end = "", 0
        for match in _WORD.finditer(text.lower()):
            word = match.group()
            if word in ENGLISH_STOP_WORDS:
                previous = ""
                continue
            yield word
            # Only a space or a hyphen lies within a phrase; "dark, blue" is not one.
            if previous and previous != word and text[end : match.start()] in (" ", "-"):
                yield f"{previous} {word}"
            previous, end = word, match.end()


def _best(score_V: np.ndarray, names_V: np.ndarray) -> list[int]:
    """Return the terms with the highest scores, without variants of a better one."""
    kept: list[int] = []
    words: list[str] = []
    for v in np.argsort(-score_V, kind="stable"):
        if score_V[v] < _MIN_SCORE or len(kept) == _WORDS_KEPT:
            break
        own = str(names_V[v]).split()
        if any(word.startswith(other) or other.startswith(word) for word in own for other in words):
            continue
        kept.append(int(v))
        words += own
    return kept


def are_without_description(weight_CI: np.ndarray, has_placeholder_I: np.ndarray) -> list[bool]:
    """Return for each interest whether most of its items, by their weight, have a placeholder as description."""
    damped_CI = np.log1p(weight_CI)
    total_C = damped_CI.sum(1)
    mostly: list[bool] = ((damped_CI @ has_placeholder_I > _MOSTLY * total_C) & (total_C > 0)).tolist()
    return mostly


def item_texts(items: pd.DataFrame, columns: Sequence[str]) -> list[list[str]]:
    """Return the texts of every item, one for each of these ``columns`` that has one."""
    cells = [items[name].fillna("").astype(str).tolist() for name in columns if name in items.columns]
    return [[text for text in row if text] for row in zip(*cells, strict=True)] if cells else [[] for _ in items.index]


def compose_names(
    terms: Sequence[Sequence[Term]],
    colours: Sequence[Sequence[str]] | None = None,
    concepts: Sequence[Sequence[str]] | None = None,
) -> list[str]:
    """Return a name for each interest, from its ``concepts``, ``colours`` and ``terms``: different names as far as
    these differ.

    What pictures show comes first, then one colour; without concepts, all colours. Words that repeat one of these are
    left out. An interest without any is ``unnamed``.
    """
    names: list[str] = []
    for c, own in enumerate(terms):
        shown = list(concepts[c]) if concepts is not None else []
        repeated = {word for text in shown for word in text.split()}
        own_colours = [colour for colour in colours[c] if not set(colour.split()) & repeated] if colours else []
        shown += own_colours[: 1 if shown else None]
        repeated = {word for text in shown for word in text.split()}
        words = [
            term.term
            for term in own
            if not set(term.term.split()) & repeated and (colours is None or _describes_pictures(term))
        ]
        count = max(_WORDS_NAMED - len(shown), 1 if concepts is None else 0)
        while ", ".join(shown + words[:count]) in names and count < len(words):
            count += 1
        names.append(", ".join(shown + words[:count]) or "unnamed")
    return names


def _describes_pictures(term: Term) -> bool:
    return term.share >= _MIN_COVER_OF_PICTURES and term.chance <= _MAX_CHANCE
