"""Print `demure inspect --user`: one history with its verdicts and reasons, with pictures where possible."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure_cli.output.characters import safe
from demure_cli.output.pictures import PICTURE_WIDTH, picture
from demure_cli.output.rows import first_rows, more_rows
from demure_cli.output.style import aside, count, facts, heading, or_dash, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ID, TITLE, cell, verdicts_legend

if TYPE_CHECKING:
    from rich.table import Table

    from demure.diagnosis.user import Choice, UserView
    from demure.diagnosis.verdict import ModalityVerdict

_VERDICT_WIDTH = 10
_REASON_WIDTH = 25  # columns that a modality needs for a verdict with its reason, and a space
_CHOICE_WIDTH = 24
_SHOWN = 20  # choices
_ROOMY = 90  # columns of a terminal that a date fits into
_RECOMMENDED_LEGEND = (
    "because of: what contributes most to the score of the item; closest past choice: the choice that supports it "
    "most, held-out choices included"
)


def show_user(view: UserView) -> None:
    """Print what a user relies on, the newest choices or, with ``--long``, all with their reasons, and the recommended
    items."""
    user = [("user", view.user_id), ("relies on", reliance(view)), *_interests(view), *_drift(view)]
    choices = first_rows(view.history, _SHOWN, last=not view.sorted_by)
    shown = replace(view, history=list(choices))
    title, terse = _title(view, len(choices)), not terminal.long and terminal.pictures is not True
    terminal.result(
        facts(user),
        "",
        heading(title),
        _compact(shown) if terse else user_table(shown, terminal.width, pictures=terminal.shows_pictures),
        *_more(view, choices),
        aside(verdicts_legend([name for name in view.modalities if name not in view.cannot_tell])),
    )
    if view.recommended:
        made_of = [Text(view.made_of)] if view.made_of else []
        terminal.result("", heading("Recommended items"), *made_of, _recommended(view.recommended))
        terminal.result(aside(_RECOMMENDED_LEGEND))
    terminal.notes(view.notes, prefix="")
    if terse and view.history:
        terminal.note("more: --long for the reason of each verdict, --item ID --explain for what in an item mattered")


def _more(view: UserView, choices: Sequence[Choice]) -> list[Text]:
    """Return a line about the choices that are not shown, if any."""
    shown, total = len(choices), len(view.history)
    if not view.sorted_by and shown < total:
        remedy = f"--where 'choice<{choices[0].position + 1}' for the next of them"
        return more_rows(shown, total, "earlier" if view.dated else "more", remedy)
    return more_rows(shown, total)


def _title(view: UserView, shown: int) -> str:
    """Return how many choices the table shows, of how many, and in which order."""
    total, matched = count(view.interactions), count(view.matched)
    source = f"choice{'s' * (view.interactions != 1)}{f' in {safe(view.file)}' if view.file else ''}"
    which = "first" if view.sorted_by else "newest" if view.dated else "last"
    if shown == view.matched:
        subject = f"{total} {source}" if shown == view.interactions else f"{matched} of {total} {source}"
    elif view.matched == view.interactions:
        subject = f"The {which} {count(shown)} of {total} {source}"
    else:
        subject = f"The {which} {count(shown)} of the {matched} {source} that meet the conditions"
    return subject + (_order(view, shown) if shown and view.interactions > 1 else "")


def _order(view: UserView, shown: int) -> str:
    if view.sorted_by:
        direction = ", descending" if view.sorted_by.startswith("-") else ""
        return f", sorted by {safe(view.sorted_by.removeprefix('-'))}{direction}"
    if view.dated:
        return ", oldest first"
    return ", in no known order" if shown == view.matched else ", in the order of the data"


def _compact(view: UserView) -> Table:
    """Return a line for each choice: the verdicts without their reasons; its headings are fields of ``--where``."""
    from demure.diagnosis.user import date

    titled = any(choice.title for choice in view.history)
    dated = terminal.width >= _ROOMY and any(date(choice.time) for choice in view.history)
    columns: list[str | tuple[str, dict[str, Any]]] = [">choice", *(["date"] if dated else []), ("item", ID)]
    columns += [("title", TITLE)] if titled else []
    shown = table([*columns, *((name, {"no_wrap": True}) for name in view.modalities)])
    for choice in view.history:
        verdicts = (
            cell(choice.verdicts.get(name), informative=name not in view.cannot_tell) for name in view.modalities
        )
        names = [*([date(choice.time)] if dated else []), choice.item_id, *([or_dash(choice.title)] if titled else [])]
        row(shown, choice.position + 1, *names, *verdicts)
    return shown


def reliance(view: UserView) -> str:
    """Return ``image 60 % (41-77 %), text ...``: shares of the choices with the 90 % interval of each."""
    from demure.diagnosis.placebo import CANNOT_TELL_REASON

    parts = []
    for name, share in view.reliance.items():
        if name not in view.cannot_tell:
            low, high = view.reliance_interval.get(name, (0.0, 1.0))
            parts.append(f"{name} {percent(share)} ({100 * low:.0f}-{100 * high:.0f} %)")
    unexplained = "".join(f"; {safe(name)}: {CANNOT_TELL_REASON}" for name in view.cannot_tell)
    return ", ".join(parts) + " of the choices" + unexplained


def _interests(view: UserView) -> list[tuple[str, str]]:
    from demure.diagnosis.interests.sentences import describe_profile

    return [("interests", describe_profile(view.interests) + " of the choices")] if view.interests else []


def _drift(view: UserView) -> list[tuple[str, str]]:
    from demure.diagnosis.user import date

    drift = view.drift
    if drift is None:
        return []
    change = f"mean probability {drift.before:.2f} before and {drift.after:.2f} since choice {drift.position + 1}"
    day = f" ({date(drift.time)})" if date(drift.time) else ""
    return [("drift", f"{drift.modality}: {change}{day}; permutation test, p {drift.p_value:.3f}")]


def user_table(
    view: UserView, width: int, caused: Collection[tuple[str, str]] = (), *, pictures: bool = False
) -> Table:
    """Return a user's history as a table: the verdict on each modality with its reason.

    Reasons stand below the verdicts if ``width`` allows, else below the title. ``caused``: (item, modality) pairs that
    are known to have caused the choice; they get a star.
    """
    fixed = 4 + (PICTURE_WIDTH + 1 if pictures else 0) + _CHOICE_WIDTH
    roomy = width - fixed >= _REASON_WIDTH * len(view.modalities)
    columns: list[str | tuple[str, dict[str, Any]]] = [">choice"]
    columns += [("", {"width": PICTURE_WIDTH, "no_wrap": True})] if pictures else []
    columns += [("title", {"ratio": 3, "min_width": 14, "overflow": "fold"})]
    options: dict[str, Any] = {"ratio": 4, "overflow": "fold"} if roomy else {"no_wrap": True}
    options |= {} if roomy else {"min_width": _VERDICT_WIDTH}
    shown = table([*columns, *((name, options) for name in view.modalities)])
    shown.expand = True
    shown.leading = 1
    below_title = [] if roomy else [name for name in view.modalities if name not in view.cannot_tell]
    for choice in view.history:
        cells: list[object] = [choice.position + 1, *([picture(choice.picture)] if pictures else [])]
        cells.append(_choice(choice, below_title))
        for name in view.modalities:
            star = " *" if (choice.item_id, name) in caused else ""
            diagnosed, informative = choice.verdicts.get(name), name not in view.cannot_tell
            reason = _reason(diagnosed) if roomy and informative else ""
            cells.append(
                Text.assemble(cell(diagnosed, informative=informative), star, (reason and f"\n{reason}", "dim"))
            )
        row(shown, *cells)
    return shown


def _choice(choice: Choice, explained: list[str]) -> Text:
    """Return title, id and date, and the reasons of the modalities ``explained``."""
    from demure.diagnosis.user import date

    lines = [Text(safe(choice.title or choice.item_id))]
    details = [choice.item_id if choice.title else "", date(choice.time)]
    if any(details):
        lines.append(Text(safe(" · ".join(part for part in details if part)), style="dim"))
    for name in explained:
        reason = _reason(choice.verdicts.get(name))
        if reason:
            lines.append(Text(f"{safe(name)}: {reason}", style="dim"))
    return Text("\n").join(lines)


def _reason(diagnosed: ModalityVerdict | None) -> str:
    """Return the reason of a verdict; empty for a missing modality, where the verdict is already the reason."""
    return "" if diagnosed is None or diagnosed.missing or not diagnosed.reason else safe(diagnosed.reason.sentence())


def _recommended(items: list[dict[str, Any]]) -> Table:
    because: dict[str, Any] = {"overflow": "fold", "max_width": 30}
    shown = table([">#", ("item", ID), ("title", TITLE), ("because of", because), ("closest past choice", TITLE)])
    for item in items:
        reason = f"{item['because']}: {item['interest']}" if item["interest"] else item["because"]
        past = or_dash(item["past_title"] or item["past_item_id"])
        cells = (item["item_id"], or_dash(item["title"]), reason, past)
        row(shown, item["rank"], *cells)
    return shown
