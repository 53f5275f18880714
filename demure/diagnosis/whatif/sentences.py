"""The result of `demure whatif` in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demure.diagnosis.whatif.answer import Change, SegmentChange, WhatIf

_CLEARLY_BEST = 0.5


def whatif_summary(view: WhatIf) -> list[str]:
    """Return what the best change would do, and for which users another one is better."""
    name = f"{view.title} ({view.item})" if view.title else f"Item {view.item}"
    best = view.ranked[0]
    sentences = [f"{name}, chosen {view.choices:,} times, {_effect(best)}."]
    if len(view.changes) == 1:
        return sentences
    if best.relative <= 0:
        return [*sentences, f"No change of {len(view.changes)} makes it more popular: leave it as it is."]
    sentences.append(f"Of {len(view.changes)} changes that is the best for all users{_certainty(best)}.")
    for k, own in enumerate(best.segments):
        other = max(view.changes, key=lambda change: change.segments[k].relative)
        gain = other.segments[k]
        if other is not best and gain.best >= _CLEARLY_BEST and gain.relative > own.relative:
            label = gain.segment[:1].upper() + gain.segment[1:]
            sentences.append(f"{label}: {other.what} is better, {signed_percent(gain.relative)}.")
    return sentences


def signed_percent(relative: float) -> str:
    """Return a relative change of 0.1 as ``+10 %``."""
    digits = 1 if abs(relative) < 0.095 else 0
    return f"{100 * relative:+.{digits}f} %"


def interval(change: Change | SegmentChange) -> str:
    """Return the interval of a change as ``-2.0 % to +14 %``."""
    return f"{signed_percent(change.low)} to {signed_percent(change.high)}"


def _effect(change: Change) -> str:
    limits = f"95 % interval {interval(change)}"
    if not change.sure:
        return f"would be chosen about as often {_with(change)}: {signed_percent(change.relative)}, {limits}"
    word = "more" if change.relative > 0 else "less"
    amount = signed_percent(abs(change.relative)).removeprefix("+")
    return f"would be chosen {amount} {word} often {_with(change)}, {limits}"


def _with(change: Change) -> str:
    if change.what.startswith("without ") or change.what == "all together":
        return change.what if change.what.startswith("without ") else "with all changes together"
    return f"with {change.what}"


def _certainty(change: Change) -> str:
    return f", with a probability of {change.best:.0%}"
