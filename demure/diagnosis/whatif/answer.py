"""`demure whatif`: how much more often an item would be chosen with another picture or text, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demure.diagnosis.interests.view import measured_interests
from demure.diagnosis.placebo import CANNOT_TELL_REASON
from demure.diagnosis.reader import NONE, DiagnosisReader
from demure.diagnosis.segments import TOO_SHORT, dominant_cause_of_users
from demure.diagnosis.whatif.ab_test import assign, refuse_other_file, write_assignment
from demure.diagnosis.whatif.effects import DemandOfRun, ItemEffects, relative
from demure.diagnosis.whatif.variants import Variant, encode_variants
from demure.progress import Listener, silent

CAUTION = (
    "This is a model's answer, not an experiment: it assumes that users go on to look at what they looked at so far, "
    "and that how popular the item is for other reasons stays."
)
_MIN_USERS = 30  # of a segment
_MOST_INTERESTS = 6
_FEW_CHOICES = 5


@dataclass(frozen=True)
class SegmentChange:
    """A change as the users of a ``segment`` see it: ``relative``, ``low``, ``high`` and ``best`` as in ``Change``.
    ``share``: of the item's expected choices, those by these users."""

    segment: str
    users: int
    share: float
    relative: float
    low: float
    high: float
    best: float


@dataclass(frozen=True)
class Change:
    """One change, ``what``: ``relative`` 0.1 means that the item is chosen 10 % more often; ``low`` to ``high`` is the
    95 % interval. ``best``: the probability that it is the best of all changes, and of none at all."""

    what: str
    relative: float
    low: float
    high: float
    best: float
    segments: list[SegmentChange] = field(default_factory=list)

    @property
    def sure(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class WhatIf:
    """The expected effect of ``changes`` of an ``item`` that was chosen ``choices`` times in the training data.

    ``caution``: what the answer is and is not; ``notes``: what is odd; ``ab_test``: the file with the assignment of the
    users to variants, if one was asked for.
    """

    run: str
    item: str
    title: str
    choices: int
    changes: list[Change]
    caution: str = CAUTION
    notes: list[str] = field(default_factory=list)
    ab_test: str | None = None

    def best_by_segment(self) -> list[tuple[SegmentChange, Change | None]]:
        """Return the best change for each segment; None, and the numbers of the least bad one, where that is no change
        at all."""
        rows = []
        for k in range(len(self.changes[0].segments)):
            change = max(self.changes, key=lambda change: change.segments[k].relative)
            own = change.segments[k]
            rows.append((own, change if own.relative > 0 else None))
        return rows

    @property
    def ranked(self) -> list[Change]:
        """The changes, the largest gain first."""
        return sorted(self.changes, key=lambda change: -change.relative)


def what_if(
    run: Path | str | DiagnosisReader,
    item: str,
    *,
    image: Path | str | None = None,
    text: str | None = None,
    without: Sequence[str] = (),
    candidates: Path | str | None = None,
    ab_test: Path | str | None = None,
    seed: int = 0,
    device: str = "auto",
    listener: Listener = silent,
) -> WhatIf:
    """Return how much more often ``item`` would be chosen with other content; nothing is trained.

    Args:
        run: the run, with a diagnosis.
        item: an item of its dataset.
        image: a picture in place of the item's.
        text: a text in place of all its texts.
        without: modalities that the item would lack.
        candidates: a folder of pictures, each a change of its own.
        ab_test: a CSV file to write, which assigns every user to a variant at random.
        seed: decides the intervals and the assignment.
        device: computes.
        listener: gets the progress.

    Raises ``RunError`` for an unknown item and a run without a diagnosis; ``DemureError`` if nothing changes, for
    content that cannot be used, and for a modality that explains nothing.
    """
    from demure.runs.load import load_run
    from demure.runs.new_content import ContentEncoder

    reader = DiagnosisReader.of(run)
    if item not in reader.item_rows:
        raise reader.unknown_id("item", item)
    out = None if ab_test is None else Path(ab_test)
    if out is not None:
        refuse_other_file(out)
    encoder = ContentEncoder(load_run(reader.run, device), device)
    variants, notes = encode_variants(
        reader,
        encoder,
        reader.item_rows[item],
        image=None if image is None else Path(image),
        text=text,
        without=without,
        candidates=None if candidates is None else Path(candidates),
    )
    demand = DemandOfRun(reader, encoder.denoiser, encoder.loaded.dataset.histories("train"))
    changes, more = measure(reader, demand, item, variants, seed=seed, listener=listener)
    if out is not None:
        names = [variant.name for variant in variants]
        write_assignment(out, assign(reader.table.user_ids, reader.table.lengths, names, seed))
    code = reader.table.item_code.get(item)
    choices = 0 if code is None else int(reader.table.item_counts[code])
    if choices < _FEW_CHOICES:
        notes.append(f"chosen {choices} times: what the model knows of the item is its content alone")
    title = reader.titles.get(item, "")
    written = None if out is None else str(out)
    return WhatIf(str(reader.run), item, title, choices, changes, notes=[*notes, *more], ab_test=written)


def measure(
    reader: DiagnosisReader,
    demand: DemandOfRun,
    item: str,
    variants: Sequence[Variant],
    *,
    seed: int = 0,
    listener: Listener = silent,
) -> tuple[list[Change], list[str]]:
    """Return the effect of each of the ``variants`` of ``item``, and sentences about what is odd."""
    effects = ItemEffects(demand, reader.item_rows[item], variants, seed, listener)
    everybody = np.ones(len(effects.users), bool)
    best_V = effects.expected(everybody)
    change_V, interval_V2, best = relative(best_V, effects.draws(everybody))
    segments: list[list[SegmentChange]] = [[] for _ in variants]
    for name, mask in _segments(reader, effects, best_V).items():
        own_V = effects.expected(mask)
        own_change, own_interval, own_best = relative(own_V, effects.draws(mask))
        for k, of_change in enumerate(segments):
            share = float(own_V[0] / best_V[0])
            interval = float(own_interval[k, 0]), float(own_interval[k, 1])
            numbers = share, float(own_change[k]), *interval, float(own_best[k])
            of_change.append(SegmentChange(name, int(mask.sum()), *numbers))
    changes = []
    for k, variant in enumerate(variants):
        low, high = interval_V2[k].tolist()
        changes.append(Change(variant.name, float(change_V[k]), low, high, float(best[k]), segments[k]))
    notes = [f"measured on {len(effects.users):,} users, drawn at random"] if effects.sampled else []
    notes += _notes(reader, demand, variants)
    return changes, notes


def _notes(reader: DiagnosisReader, demand: DemandOfRun, variants: Sequence[Variant]) -> list[str]:
    notes = []
    for m, name in enumerate(demand.denoiser.modalities):
        lacking = any(name in v.coordinates and v.coordinates[name] is None for v in variants)
        if lacking and bool((demand.denoiser.experts()[m].present_I > 0).all()):
            notes.append(f"no item of the data lacks {name}, so a missing one counts as causing no choice")
        changed = any(name in variant.coordinates for variant in variants)
        if changed and name in reader.placebos.cannot_tell:
            notes.append(f"{name}: {CANNOT_TELL_REASON}")
    return notes


def _segments(reader: DiagnosisReader, effects: ItemEffects, total_V: np.ndarray) -> dict[str, np.ndarray]:
    """Return the segments by name, each a mask (U,) of the users of ``effects``: what users rely on most, and the
    interests whose users would make more of the choices ``total_V`` of a variant than their number suggests."""
    masks = {}
    names, code = dominant_cause_of_users(reader)
    for k, name in enumerate(names):
        if name != TOO_SHORT:
            label = "users who choose by neither" if name == NONE else f"users who choose mostly by {name}"
            masks[label] = (code == k)[effects.codes]
    if reader.interests is not None:
        interests = measured_interests(reader)
        has_poi = interests.shares.has_poi_UK[effects.codes]
        shown = [int(k) for k in np.flatnonzero(interests.shown) if has_poi[:, k].sum() >= _MIN_USERS]
        share_of = {k: float((effects.expected(has_poi[:, k]) / total_V).max()) for k in shown}
        for k in sorted(shown, key=lambda k: -share_of[k] / has_poi[:, k].mean())[:_MOST_INTERESTS]:
            masks[f"users of {interests.label(k)}"] = has_poi[:, k]
    return {name: mask for name, mask in masks.items() if mask.sum() >= _MIN_USERS}
