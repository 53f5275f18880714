"""`demure inspect --user` and `--item`: one history and one item, with pictures where the terminal can show them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich.table
from rich.text import Text

from demure.diagnosis.placebo import WHY_NOT
from demure_cli.output.style import aside, count, facts, heading, no_answer, number, percent, row, table, verdict
from demure_cli.output.terminal import safe, terminal
from demure_cli.views.inspect import ID, TITLE, shares

if TYPE_CHECKING:
    from demure.diagnosis.tables import ItemView, UserView

_PICTURE = (10, 14)  # columns, and half rows
_CELL = 13  # a verdict with its probability, and the space around it
_WORDS = 24  # columns that a modality needs for a verdict with its reasons
_WHO = 24
_DATED = 100
_SHOWN = 40
_LEGEND = "the number: the probability of the word before it; ?: between .35 and .65, could be either"
_BECAUSE = (
    "because of: what carries the item's score; and most of all: the past choice that alone speaks loudest for it"
)


def show_user(seen: UserView) -> None:
    """What a user relies on, the history choice by choice, and what would come next."""
    n = seen.interactions
    shown = f"{count(n)} training interactions, oldest first"
    shown += f"; {count(len(seen.history))} shown" if len(seen.history) < n else ""
    terminal.result(
        facts([("user", seen.user_id), ("history", shown), ("relies on", relies(seen)), *_drifted(seen)]),
        "",
        heading("Each choice, what it was for, and which other choices speak for that"),
        user_table(seen, terminal.width, pictures=terminal.shows_pictures),
        aside(_LEGEND),
    )
    if seen.recommended:
        made_of = [Text(seen.made_of)] if seen.made_of else []
        terminal.result("", heading("What would come next"), *made_of, _recommended(seen.recommended))
        terminal.result(aside(_BECAUSE))
    for words in seen.notes:
        terminal.note(words)


def relies(seen: UserView) -> str:
    """``image 60 % (41-77 %), text ...``: the interval is what so many choices can say of a taste."""
    told = []
    for name, share in seen.reliance.items():
        if name in seen.cannot_tell:
            continue
        low, high = seen.reliance_interval.get(name, (0.0, 1.0))
        told.append(f"{name} {percent(share)} ({100 * low:.0f}-{100 * high:.0f} %)")
    silent = "".join(f"; {safe(name)}: {WHY_NOT}" for name in seen.cannot_tell)
    return ", ".join(told) + " of the choices" + silent


def _drifted(seen: UserView) -> list[tuple[str, str]]:
    from demure.diagnosis.user import date

    if seen.drift is None:
        return []
    change = seen.drift
    when = date(change.time)
    return [
        (
            "drift",
            f"{change.modality}: from a mean probability of {change.before:.2f} to {change.after:.2f} since choice "
            f"{change.position + 1} ({when}); permutation test, p {change.p_value:.3f}",
        )
    ]


def user_table(
    seen: UserView, width: int, caused: set[tuple[str, str]] | None = None, *, pictures: bool = False
) -> rich.table.Table:
    """A user's history: per modality the verdict and, below it, what speaks for it or the lack of that; below the title
    where ``width`` does not allow so many columns. ``caused``: (item, modality) pairs known to be true, which get a
    star."""
    spent = 4 + (_PICTURE[0] + 1 if pictures else 0) + _WHO
    beside = width - spent >= (_WORDS + 1) * len(seen.modalities)
    columns: list[Any] = [">#", *([("", {"width": _PICTURE[0], "no_wrap": True})] if pictures else [])]
    columns += [("choice", {"ratio": 3, "min_width": 14, "overflow": "fold"})]
    wide: dict[str, object] = {"ratio": 4, "overflow": "fold"} if beside else {"no_wrap": True, "min_width": _CELL - 3}
    shown = table([*columns, *((name, wide) for name in seen.modalities)])
    shown.expand = True
    shown.leading = 1
    below = [] if beside else [name for name in seen.modalities if name not in seen.cannot_tell]
    for line in seen.history:
        cells: list[object] = [line["position"] + 1, *([picture(line.get("picture"))] if pictures else [])]
        cells.append(_choice(line, below))
        for name in seen.modalities:
            star = " *" if caused and (line["item_id"], name) in caused else ""
            judged = line["verdicts"].get(name)
            explains = name not in seen.cannot_tell
            words = f"\n{_why(judged)}" if beside and explains and _why(judged) else ""
            cells.append(Text.assemble(cell(judged, explains=explains), star, (words, "dim")))
        row(shown, *cells)
    return shown


def _choice(line: Mapping[str, Any], explained: list[str]) -> Text:
    """Title, id and date, and the reasons of the modalities ``explained``."""
    from demure.diagnosis.user import date

    parts = [Text(safe(line["title"] or line["item_id"]))]
    small = [line["item_id"] if line["title"] else "", date(line["time"])]
    if any(small):
        parts.append(Text(safe(" · ".join(part for part in small if part)), style="dim"))
    for name in explained:
        words = _why(line["verdicts"].get(name))
        if words:
            parts.append(Text(f"{safe(name)}: {words}", style="dim"))
    return Text("\n").join(parts)


def _why(judged: Mapping[str, Any] | None) -> str:
    """What speaks for a verdict; nothing where the item lacks the modality, for the word says it already."""
    return "" if judged is None or judged["verdict"] == "missing" else safe(judged.get("why", ""))


def _recommended(found: list[dict[str, Any]]) -> rich.table.Table:
    shown = table([">#", ("item", ID), ("title", TITLE), "because of", ("and most of all", TITLE), ">score"])
    shown.expand = True
    for line in found:
        past = line["past_title"] or line["past_item_id"] or "-"
        told = (line["item_id"], line["title"] or "-", line["because"], past, number(line["score"], 2))
        row(shown, line["rank"], *told)
    return shown


def show_item(seen: ItemView) -> None:
    """What an item was chosen for, where it stands, what to compare it with, and who chose it."""
    who = table([("user", ID), *(["date"] if _dated(seen) else []), ">choices", *seen.modalities["modality"]])
    for line in seen.chosen_by[:_SHOWN]:
        row(who, line["user_id"], *_dates(seen, line), count(line["choices"]), *_cells(line, seen))
    chosen = f"{count(seen.interactions)} times in training"
    if terminal.shows_pictures and seen.picture:
        terminal.result(picture(seen.picture))
    terminal.result(
        facts([("item", seen.item_id), ("title", seen.title or "-"), ("chosen", chosen)]),
        "",
        *shares("What it was chosen for", seen.modalities, seen.cannot_tell),
        "",
        heading("Where that stands among the other items"),
        *(Text(safe(line["says"])) for line in seen.standing),
        "",
    )
    for modality, found in seen.compare.items():
        other = table([("item", ID), ("title", TITLE), ">likeness", ">evidence", ">choices"])
        for line in found:
            told = (f"{line['likeness']:.2f}", f"{line['evidence']:+.2f}", count(line["interactions"]))
            row(other, line["item_id"], line["title"] or "-", *told)
        terminal.result(
            heading(f"To compare with: like it otherwise, and their {modality} does better than is typical"),
            other,
            aside("likeness: mean cosine in the other modalities"),
            "",
        )
    terminal.result(heading("Who chose it for what, surest first"), who)
    if len(seen.chosen_by) > _SHOWN:
        terminal.result(aside(f"{count(len(seen.chosen_by) - _SHOWN)} more: --json has them all"))
    for words in seen.notes:
        terminal.note(words)


def _dated(seen: ItemView) -> bool:
    from demure.diagnosis.user import date

    return any(date(line["time"]) for line in seen.chosen_by)


def _dates(seen: ItemView, line: Mapping[str, Any]) -> list[str]:
    from demure.diagnosis.user import date

    return [date(line["time"])] if _dated(seen) else []


def _cells(line: Mapping[str, Any], seen: ItemView) -> list[Text]:
    return [
        cell(line["verdicts"].get(name), explains=name not in seen.cannot_tell) for name in seen.modalities["modality"]
    ]


def cell(judged: Mapping[str, Any] | None, *, explains: bool = True) -> Text:
    """A verdict with its probability; none where the features of the modality explain nothing."""
    if judged is None:
        return Text("-", style="dim")
    if not explains and judged["verdict"] != "missing":
        return no_answer()
    return verdict(judged["verdict"], judged["poi_probability"], unsure=judged.get("undecided", False))


def picture(path: str | None) -> Any:
    """A thumbnail of half blocks, as high as its shape asks for; nothing for a picture that cannot be read."""
    from rich_pixels import Pixels

    from demure.report.thumbnails import small

    image = None if path is None else small(Path(path), *_PICTURE)
    return Text("") if image is None else Pixels.from_image(image)
