"""The interests of a run as the page shows them: a gallery for each modality, and every interest in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demure.diagnosis.interests.sentences import (
    NO_INTEREST,
    hidden_sentences,
    interest_sentences,
    interests_total,
    together_phrases,
)
from demure.diagnosis.interests.view import (
    Interest,
    Interests,
    InterestsView,
    interests,
    measured_interests,
    profile_columns,
)
from demure.diagnosis.reader import DiagnosisReader

NO_INTERESTS = (
    "This run has no interests: an earlier demure made it. Train the run again "
    "(`demure train DATASET --out RUN`), and they are shown here."
)
_LEADING = 10  # interests of all modalities on the first screen
_LEAST_LEADING = 2  # of one modality
_LEAST_PERIODS = 3  # that a development over time needs


@dataclass(frozen=True)
class Gallery:
    """The interests of one ``modality`` above their placebo, largest first, what they explain together (``total``), and
    how many of them the first screen names (``leading``). ``kind`` as of ``placebo.Modality``."""

    modality: str
    kind: str
    total: str
    interests: list[Interest]
    leading: int


@dataclass(frozen=True)
class PageInterests:
    """``galleries``: by modality, those with interests. ``notes``: sentences about what is not shown, and why.

    ``details``: every interest in full for the page's script, in the order of the galleries; ``profiles``: for each
    user (code) the interests that explain most of the choices, as places in ``details`` with per cent, None for a run
    of an earlier version.
    """

    galleries: list[Gallery] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)
    profiles: list[list[tuple[int, int]]] | None = None

    @property
    def example_ids(self) -> list[str]:
        """Ids of the items that stand for interests, those of the first screen first."""
        galleries = self.galleries
        leading = [entry for gallery in galleries for entry in gallery.interests[: gallery.leading]]
        others = [entry for gallery in galleries for entry in gallery.interests[gallery.leading :]]
        ids = (example.item_id for entry in [*leading, *others] for example in entry.examples)
        return list(dict.fromkeys(ids))


def page_interests(reader: DiagnosisReader) -> PageInterests:
    """Return the interests of a run; for a run of an earlier version only a note on how to get them."""
    if reader.interests is None:
        return PageInterests(notes=[NO_INTERESTS])
    own, view = measured_interests(reader), interests(reader)
    assert isinstance(view, InterestsView)  # all, and not one
    shown = np.flatnonzero(own.shown).tolist()
    by_modality = {name: [own.all[k] for k in shown if own.columns[k][0] == name] for name in view.modalities}
    with_interests = {name: entries for name, entries in by_modality.items() if entries}
    leading = max(_LEAST_LEADING, _LEADING // max(len(with_interests), 1))
    galleries = [
        Gallery(
            name,
            reader.placebos.of(name).kind,
            interests_total(name, entries),
            entries,
            min(leading, len(entries)),
        )
        for name, entries in with_interests.items()
    ]
    return PageInterests(
        galleries=galleries,
        notes=[*([] if galleries else [NO_INTEREST]), *hidden_sentences(view)],
        details=[_detail(own, k) for k in shown],
        profiles=_profiles(own, shown),
    )


def interest_key(entry: Interest) -> str:
    """Return what `demure inspect --interests` and the page's addresses call an interest: ``image 3``."""
    return f"{entry.modality} {entry.number}"


def _profiles(own: Interests, shown: Sequence[int]) -> list[list[tuple[int, int]]]:
    place = {k: number for number, k in enumerate(shown)}
    users = np.arange(len(own.reader.table.user_ids))
    return [[(place[k], round(100 * share)) for k, share in entries] for entries in profile_columns(own, users)]


def _detail(own: Interests, k: int) -> dict[str, Any]:
    view = own.view(k)
    entry = view.interest
    periods = [[period["period"], round(100 * period["share"], 2)] for period in view.over_time]
    return {
        "key": interest_key(entry),
        "name": entry.name,
        "modality": entry.modality,
        "words": entry.words,
        "sentences": interest_sentences(entry),
        "together": together_phrases(entry),
        "examples": [[example.item_id, round(example.choices), example.interactions] for example in entry.examples],
        "titles": [example.title or example.item_id for example in entry.examples],
        "users": [[user["user_id"], round(user["choices"]), user["interactions"]] for user in view.top_users],
        "periods": periods if len(periods) >= _LEAST_PERIODS else [],
    }
