"""The tables of `demure inspect`."""

from __future__ import annotations

import datetime
import math
from typing import TYPE_CHECKING, Any

import rich.table
from rich.text import Text

from demure_cli.looks import VERDICT_STYLES, aside, count, facts, heading, number, percent, row, table, verdict
from demure_cli.terminal import safe, terminal

if TYPE_CHECKING:
    from demure.diagnosis.tables import Export, ItemView, Overview, UserView

_FEW = 5
_CELL = 13  # a verdict with its probability, and the space around it
_WIDE = 72  # what an id, a title and, beside them, the items that spoke need at least
_ID: dict[str, object] = {"no_wrap": True, "max_width": 16}
_TITLE: dict[str, object] = {"no_wrap": True, "ratio": 2, "min_width": 12}


def show(result: Overview | UserView | ItemView | Export) -> None:
    """Print any answer of `demure inspect`."""
    from demure.diagnosis.tables import ItemView, Overview, UserView

    if isinstance(result, Overview):
        show_overview(result)
    elif isinstance(result, UserView):
        show_user(result)
    elif isinstance(result, ItemView):
        show_item(result)
    else:
        terminal.result(facts([("written", result.export), ("rows", count(result.rows))]))


def show_overview(seen: Overview) -> None:
    judged = (
        f"{count(seen.interactions)} training interactions of {count(seen.users)} users with {count(seen.items)} items"
    )
    terminal.result(
        facts([("run", f"{seen.run} (recipe {seen.recipe})"), ("dataset", seen.dataset), ("judged", judged)]),
        "",
        *_shares("Which modality was a point of interest", seen.modalities),
        "",
        *_reliance(seen),
        "",
        *_flagged(seen),
    )
    terminal.note("one user's history: demure inspect RUN --user ID; one item: --item ID; every verdict: --export FILE")


def _shares(title: str, frame: Any) -> tuple[Text, rich.table.Table, Text]:
    shown = table(["modality", ">interactions", *(f">{word}" for word in VERDICT_STYLES), ">mean probability"])
    for line in frame.itertuples():
        shares = [Text(percent(getattr(line, word)), style=style) for word, style in VERDICT_STYLES.items()]
        row(shown, line.modality, count(line.interactions), *shares, number(line.mean_probability, 2))
    return (
        heading(title),
        shown,
        aside("mean probability: of having been a point of interest, where the modality is there"),
    )


def _reliance(seen: Overview) -> tuple[Text, rich.table.Table, Text]:
    shown = table(["modality", ">users", ">share", ">mean reliance"])
    for line in seen.reliance.itertuples():
        row(shown, line.modality, count(line.users), percent(line.share), percent(line.mean_reliance))
    explained = "none: no modality explains the choice (popularity, habit, taste shared with other users)"
    return heading("Users by what they rely on most"), shown, aside(explained)


def _flagged(seen: Overview) -> tuple[Text | rich.table.Table, ...]:
    if seen.flagged.empty:
        return (aside(f"No item with at least {seen.min_count} interactions has a modality flagged as noise."),)
    title = f"Items whose modality is most often noise (at least {seen.min_count} interactions)"
    shown = table([("item", _ID), ("title", _TITLE), "modality", ">interactions", ">noise", ">mean probability"])
    shown.expand = terminal.width <= 100
    for line in seen.flagged.itertuples():
        noise = Text(percent(line.noise), style=VERDICT_STYLES["noise"])
        told = (count(line.interactions), noise, number(line.mean_probability, 2))
        row(shown, line.item_id, line.title or "-", line.modality, *told)
    return heading(title), shown


def show_user(seen: UserView) -> None:
    relies = ", ".join(f"{name} {percent(share)}" for name, share in seen.reliance.items())
    history = f"{count(len(seen.history))} training interactions, oldest first"
    terminal.result(
        facts([("user", seen.user_id), ("history", history), ("relies on", relies)]),
        "",
        heading("Each choice, what it was for, and which other choices speak for that"),
        user_table(seen, terminal.width),
        aside("the number: how probable it is that the modality was a point of interest"),
    )
    if len(seen.history) < _FEW:
        terminal.note(f"only {len(seen.history)} interactions: these probabilities rest on little")


def user_table(seen: UserView, width: int, caused: set[tuple[str, str]] | None = None) -> rich.table.Table:
    """A user's history. What spoke for a point of interest stands in a column of its own where ``width`` allows, and
    below the title where it does not. ``caused``: (item, modality) pairs known to be true, which get a star."""
    dated = any(not math.isnan(line["time"]) for line in seen.history) and width >= 100
    room = width - 5 - _CELL * len(seen.modalities) - (12 if dated else 0)
    beside = room >= _WIDE
    columns: list[Any] = [">#", *([("date", {"no_wrap": True})] if dated else []), ("item", _ID), ("title", _TITLE)]
    columns += [(name, {"no_wrap": True, "min_width": 10}) for name in seen.modalities]
    columns += [("what spoke for it", {"ratio": 3, "no_wrap": True})] if beside else []
    shown = table(columns)
    shown.expand = True
    for line in seen.history:
        spoke, title = _spoke(line["verdicts"]), Text(safe(line["title"]) or "-")
        cells: list[object] = [line["position"] + 1, *([_date(line["time"])] if dated else []), line["item_id"]]
        cells += [title if beside or not spoke else Text("\n").join([title, spoke])]
        for name in seen.modalities:
            star = " *" if caused and (line["item_id"], name) in caused else ""
            cells.append(_cell(line["verdicts"].get(name)) + Text(star))
        cells += [spoke] if beside else []
        row(shown, *cells)
    return shown


def _spoke(verdicts: dict[str, dict[str, Any]]) -> Text:
    lines = []
    for modality, judged in verdicts.items():
        if judged["verdict"] == "poi" and judged["supports"]:
            others = ", ".join(support["title"] or support["item_id"] for support in judged["supports"])
            lines.append(safe(f"{modality}: {others}"))
    return Text("\n".join(lines), style="dim")


def show_item(seen: ItemView, *, at_most: int = 40) -> None:
    """Print the first ``at_most`` of those who chose it; JSON has them all."""
    judged = len(seen.chosen_by)
    chosen = f"{count(judged)} times in training"
    modalities = list(seen.modalities["modality"])
    shown = table([("user", _ID), *modalities])
    for line in seen.chosen_by[:at_most]:
        row(shown, line["user_id"], *(_cell(line["verdicts"].get(name)) for name in modalities))
    terminal.result(
        facts([("item", seen.item_id), ("title", seen.title or "-"), ("chosen", chosen)]),
        "",
        *_shares("What it was chosen for", seen.modalities),
        "",
        heading("Who chose it for what, surest first"),
        shown,
    )
    if judged > at_most:
        terminal.result(aside(f"{count(judged - at_most)} more: --json has them all"))
    if judged < _FEW:
        terminal.note(f"only {judged} interactions: these shares rest on little")


def _cell(judged: dict[str, Any] | None) -> Text:
    return Text("-", style="dim") if judged is None else verdict(judged["verdict"], judged["poi_probability"])


def _date(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):  # a clock of the user's own: no calendar fits it
        return f"{seconds:g}"
