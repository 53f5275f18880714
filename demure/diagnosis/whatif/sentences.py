"""The result of `demure whatif` in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demure.diagnosis.whatif.answer import Change, SegmentChange, WhatIf

_CLEARLY_BEST = 0.8


def whatif_summary(view: WhatIf) -> list[str]:
    """Return what the best change would do, and how sure it is that it is the best."""
    name = f"{view.title} ({view.item})" if view.title else f"Item {view.item}"
    best = view.ranked[0]
    sentences = [f"{name}, chosen {view.choices:,} times, {_effect(best)}."]
    if len(view.changes) == 1:
        return sentences
    number = f"{len(view.changes)} changes"
    if best.relative <= 0:
        return [*sentences, f"None of {number} is expected to make it more popular: leave it as it is."]
    if best.best < _CLEARLY_BEST:
        return [*sentences, f"Of {number} that is the best guess, with a probability of {100 * best.best:.0f} % only."]
    return [*sentences, f"Of {number} that is the best for all users, with a probability of {100 * best.best:.0f} %."]


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
