"""Print the overview of `demure inspect`: a whole run, or one segment of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.rows import more_rows
from demure_cli.output.style import aside, count, facts, heading, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ITEMS_LEGEND, items_table, sentences, shares

if TYPE_CHECKING:
    from rich.console import RenderableType

    from demure.diagnosis.tables import Overview


def show_overview(view: Overview) -> None:
    """Print the summary, the shares of verdicts, the agreement of modalities, reliance, and flagged items."""
    diagnosed = f"{count(view.interactions)} choices of {count(view.users)} users among {count(view.items)} items"
    segment = [("only", view.segment)] if view.segment else []
    run = f"{view.run} (recipe {view.recipe})"
    terminal.result(
        *sentences(view.summary),
        "",
        facts([*segment, ("diagnosed", diagnosed), ("run", run), ("dataset", view.dataset)]),
        "",
        *shares("Which modality was a point of interest", view.modalities, view.cannot_tell),
        "",
        *_agreement(view),
        *_reliance(view),
        *_flagged(view),
        *more_rows(len(view.flagged), view.flagged_total),
    )
    terminal.note(
        "more: demure inspect RUN --user ID for one history, --item ID for one item, --modality NAME for one modality, "
        f"--segment KIND for parts ({', '.join(view.segment_kinds)}), --list users for all users, --export FILE for "
        "all verdicts"
    )


def _agreement(view: Overview) -> tuple[RenderableType, ...]:
    frame = view.explaining_pairs
    if frame.empty:
        return ()
    shown = table(["modalities", ">both", ">only first", ">only second", ">neither", "evidence"])
    for line in frame.to_dict("records"):
        cells = [percent(line[column]) for column in ("both", "only_first", "only_second", "neither")]
        row(shown, f"{line['first']}, {line['second']}", *cells, _agreement_words(line["correlation"]))
    legend = (
        "both: both were points of interest; evidence: whether what speaks for the one also speaks for the other "
        "(their rank correlation)"
    )
    return heading("Agreement of two modalities, over the choices whose item has both"), shown, aside(legend), ""


def _agreement_words(correlation: float) -> str:
    """Return a rank correlation in words, with the number."""
    if correlation != correlation:
        return "-"
    size = abs(correlation)
    words = "unrelated" if size < 0.1 else "agrees" if correlation > 0 else "opposed"
    strength = "" if size < 0.1 else "weakly " if size < 0.3 else "" if size < 0.6 else "strongly "
    return f"{strength}{words} ({correlation:+.2f})"


def _reliance(view: Overview) -> tuple[RenderableType, ...]:
    if len(view.cannot_tell) == len(view.modalities):
        return ()
    shown = table(["modality", ">users", ">share of users"])
    for line in view.reliance[~view.reliance["modality"].isin(view.cannot_tell)].to_dict("records"):
        row(shown, line["modality"], count(line["users"]), percent(line["share"]))
    legend = "none: causes other than content (popularity, habit, hidden taste) explain most of the user's choices"
    if view.short_histories:
        from demure.diagnosis.segments import TOO_SHORT
        from demure.diagnosis.verdict import MIN_CHOICES

        some = (
            f"{count(view.short_histories)} of these users have" if view.short_histories > 1 else "1 of these users has"
        )
        legend += f"; {some} fewer than {MIN_CHOICES} choices, and --list and --segment call them {TOO_SHORT}"
    return heading("Users by the modality that they rely on most"), shown, aside(legend), ""


def _flagged(view: Overview) -> tuple[RenderableType, ...]:
    if view.flagged.empty:
        return (aside(f"No item with at least {view.min_count} choices stands out below what is typical."),)
    title = (
        f"Items to check: a modality explains their choices worse than is typical ({count(len(view.flagged))} of "
        f"{count(view.flagged_total)}, with at least {view.min_count} choices)"
    )
    return heading(title), items_table(view.flagged), aside(ITEMS_LEGEND)
