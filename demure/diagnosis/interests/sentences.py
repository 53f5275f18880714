"""Interests in sentences, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from demure.diagnosis.interests.naming import NO_DESCRIPTION
from demure.diagnosis.placebo import CANNOT_TELL_REASON

if TYPE_CHECKING:
    from demure.diagnosis.interests.view import Interest, InterestsView

NO_INTEREST = "No interest explains more choices than it would with shuffled features."
PROFILE_ENTRY = "{name} ({modality}, {percent} %)"
"""One interest of a user's profile, with the names of the arguments in braces."""
_NAMED = 3
_FOR = {"image": "the pictures", "text": "the texts"}


def interests_summary(modalities: Sequence[str], interests: Sequence[Interest]) -> list[str]:
    """Return a sentence for each of ``modalities`` that names its largest ``interests``."""
    sentences = []
    for modality in modalities:
        own = [entry for entry in interests if entry.modality == modality]
        if own:
            largest = sorted(own, key=lambda entry: -entry.share)[:_NAMED]
            named = "; ".join(f"{entry.name} ({100 * entry.share:.0f} %)" for entry in largest)
            sentences.append(f"{interests_total(modality, own)}, most of all {named}.")
    if not sentences:
        sentences.append(NO_INTEREST)
    return sentences


def interests_total(modality: str, interests: Sequence[Interest]) -> str:
    """Return how much the ``interests`` of a modality, one at least, explain together: a sentence without its stop."""
    subject = _FOR.get(modality, f"the modality {modality!r}")
    total = 100 * sum(entry.share for entry in interests)
    count = f"{len(interests)} interest{'s' if len(interests) > 1 else ''} in {subject}"
    return f"{count} {'explain' if len(interests) > 1 else 'explains'} {total:.0f} % of the choices"


def hidden_sentences(view: InterestsView) -> list[str]:
    """Return what is not shown, and why."""
    sentences = [
        f"{count} more of {modality} explain{'s' if count == 1 else ''} no more than with shuffled features: not shown."
        for modality, count in view.below.items()
        if count
    ]
    return sentences + [f"{name} has none: {CANNOT_TELL_REASON}." for name in view.cannot_tell]


def interest_sentences(entry: Interest) -> list[str]:
    """Return what one interest explains, above its placebo and over time."""
    sentences = [
        f"{entry.name[:1].upper()}{entry.name[1:]}: explains {100 * entry.share:.1f} % of the choices "
        f"({100 * entry.low:.1f} to {100 * entry.high:.1f} %), and is a point of interest of {entry.users:,} users "
        f"({100 * entry.user_share:.1f} %)."
    ]
    if entry.name == NO_DESCRIPTION:
        sentences.append("That is not a taste: their texts are the same placeholder, which `demure worklist` lists.")
    if entry.excess is not None and entry.excess_low is not None and entry.excess_high is not None:
        interval = f"({100 * entry.excess_low:.1f} to {100 * entry.excess_high:.1f} %)"
        sentences.append(
            f"That is {100 * entry.excess:.1f} % of the choices more than with shuffled features {interval}."
            if entry.above_placebo
            else f"That is no more than with shuffled features {interval}: it may be chance."
        )
    else:
        sentences.append("Its features explain no more than shuffled ones: it may be chance.")
    if entry.trend in ("growing", "shrinking"):
        assert entry.growth is not None
        before = entry.share - entry.growth / 2
        sentences.append(
            f"It is {entry.trend}: from about {100 * before:.1f} % in the earlier half of the choices to "
            f"{100 * (before + entry.growth):.1f} % in the later."
        )
    return sentences


def together_phrases(entry: Interest) -> list[str]:
    """Return the interests that the users of one choose by more often than all users do."""
    return [f"{other['name']} ({other['modality']}), {other['lift']:.1f} times as often" for other in entry.together]


def describe_profile(entries: Sequence[dict[str, Any]]) -> str:
    """Return the entries of a profile in words, or an empty text."""
    return "; ".join(
        PROFILE_ENTRY.format(name=entry["name"], modality=entry["modality"], percent=f"{100 * entry['share']:.0f}")
        for entry in entries
    )
