"""The tables of `demure inspect`: the overview, its parts, and lists. One user and one item: ``inspect_people``."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import rich.table
from rich.bar import Bar
from rich.text import Text

from demure.diagnosis.placebo import CANNOT_TELL, Placebo
from demure_cli.output.style import VERDICT_STYLES, aside, count, facts, heading, no_answer, number, percent, row, table
from demure_cli.output.terminal import safe, terminal

if TYPE_CHECKING:
    from demure.diagnosis.tables import Export, ItemView, Listing, ModalityView, Overview, Segments, UserView

ID: dict[str, object] = {"no_wrap": True, "max_width": 16}
TITLE: dict[str, object] = {"no_wrap": True, "ratio": 2, "min_width": 12}
_NUMBER = 8  # a share with its space
_BAR = 20
_ROOMY = 100
_KINDS = {
    "category": "categories of the items",
    "reliance": "what users rely on most",
    "history": "how many choices the user made",
    "popularity": "how often the item was chosen",
    "time": "time",
}


def show(result: Overview | UserView | ItemView | ModalityView | Segments | Listing | Export) -> None:
    """Print any answer of `demure inspect`."""
    from demure.diagnosis import tables
    from demure_cli.views.inspect_one import show_item, show_user

    if isinstance(result, tables.Overview):
        show_overview(result)
    elif isinstance(result, tables.UserView):
        show_user(result)
    elif isinstance(result, tables.ItemView):
        show_item(result)
    elif isinstance(result, tables.ModalityView):
        show_modality(result)
    elif isinstance(result, tables.Segments):
        show_segments(result)
    elif isinstance(result, tables.Listing):
        show_listing(result)
    else:
        terminal.result(facts([("written", result.export), ("rows", count(result.rows))]))


def show_overview(seen: Overview) -> None:
    judged = (
        f"{count(seen.interactions)} training interactions of {count(seen.users)} users with {count(seen.items)} items"
    )
    part = [("only", seen.segment)] if seen.segment else []
    terminal.result(
        *sentences(seen.summary),
        "",
        facts([("run", f"{seen.run} (recipe {seen.recipe})"), ("dataset", seen.dataset), *part, ("judged", judged)]),
        "",
        *shares("Which modality was a point of interest", seen.modalities, seen.cannot_tell),
        "",
        *_agreement(seen),
        *_reliance(seen),
        *_flagged(seen),
    )
    terminal.note(
        "one user's history: demure inspect RUN --user ID; one item: --item ID; one modality: --modality NAME; "
        "by parts: --segment category; everyone: --list users; every verdict: --export FILE"
    )


def sentences(words: Iterable[str]) -> list[Text]:
    """Sentences below each other, folded to the terminal."""
    return [Text(safe(sentence)) for sentence in words]


def shares(title: str, frame: Any, cannot_tell: Collection[str]) -> tuple[Any, ...]:
    """A table of verdicts per modality, with its heading and legend. A modality that explains nothing gets no share of
    points of interest, and is not called noise either."""
    above = "placebo" in frame.columns
    columns = ["modality", ">interactions", *(f">{word}" for word in VERDICT_STYLES)]
    shown = table([*columns, *([">above shuffled"] if above else [])])
    for line in frame.to_dict("records"):
        cells = [Text(percent(line[word]), style=style) for word, style in VERDICT_STYLES.items()]
        if line["modality"] in cannot_tell:
            cells[:2] = [no_answer(), Text("-", style="dim")]
        lies = [_above(line["placebo"], explains=line["modality"] not in cannot_tell)] if above else []
        row(shown, line["modality"], count(line["interactions"]), *cells, *lies)
    return heading(title), shown, aside(_SHARES + (_ABOVE if above else ""))


_SHARES = "poi: the share of the choices with the verdict that the modality was a point of interest"
_ABOVE = (
    "; above shuffled: how far the mean probability of that lies above the same diagnosis with the features shuffled "
    "among the items, with a 95 % interval"
)


def _above(placebo: dict[str, float] | None, *, explains: bool) -> str:
    if placebo is None:
        return "-"
    if not explains:
        return "nothing"
    excess, interval = Placebo(**placebo).above()
    return f"{excess} ({interval})"


def _agreement(seen: Overview) -> tuple[Any, ...]:
    frame = seen.explaining_pairs
    if frame.empty:
        return ()
    shown = table(["modalities", ">both", ">only first", ">only second", ">none of the two", ">correlation"])
    for line in frame.itertuples():
        told = [percent(share) for share in (line.both, line.only_first, line.only_second, line.neither)]
        row(shown, f"{line.first}, {line.second}", *told, _signed(line.correlation))
    words = "correlation: of the ranks of their evidence"
    return heading("Do the modalities agree, of the choices whose item has both"), shown, aside(words), ""


def _reliance(seen: Overview) -> tuple[Any, ...]:
    if len(seen.cannot_tell) == len(seen.modalities):
        return ()
    shown = table(["modality", ">users", ">share of users"])
    for line in seen.reliance[~seen.reliance["modality"].isin(seen.cannot_tell)].itertuples():
        row(shown, line.modality, count(line.users), percent(line.share))
    explained = "none: what is not content explains most of the user's choices (popularity, habit, hidden taste)"
    return heading("Users by what they rely on most"), shown, aside(explained), ""


def _flagged(seen: Overview) -> tuple[Any, ...]:
    if seen.flagged.empty:
        return (aside(f"No item with at least {seen.min_count} interactions stands out below what is typical."),)
    title = (
        f"Items to look at: a modality of theirs explains choices worse than is typical ({count(len(seen.flagged))} of "
        f"{count(seen.flagged_total)}, at least {seen.min_count} interactions)"
    )
    return heading(title), items_table(seen.flagged), aside(_STANDING)


_STANDING = (
    "evidence: mean, in nats, that the modality was a point of interest, next to what is typical; below: how many "
    "standard deviations of the items, after allowing for few choices; ?: could as well be typical. It may be the "
    "wrong picture or text, or only an unusual one: low evidence is no proof of a fault"
)


def items_table(frame: Any, cannot_tell: Collection[str] = ()) -> rich.table.Table:
    """Rows of ``standing``."""
    roomy = terminal.width >= _ROOMY
    columns: list[Any] = [("item", ID), ("title", TITLE), "modality", ">choices", ">evidence"]
    columns += [">typical"] if roomy else []
    shown = table([*columns, ">below", ">noise", *([">mean poi probability"] if roomy else [])])
    shown.expand = not roomy
    for line in frame.itertuples():
        below = Text(f"{line.below:+.1f}{'' if line.clearly else '?'}", style="yellow" if line.clearly else "dim")
        typical = [_signed(line.typical)] if roomy else []
        mean = [number(line.mean_probability, 2)] if roomy else []
        noise: object = percent(line.noise)
        if line.modality in cannot_tell:
            noise, mean, below = no_answer(), ["-"] * len(mean), Text("-", style="dim")
        told = [count(line.interactions), _signed(line.evidence), *typical, below, noise, *mean]
        row(shown, line.item_id, line.title or "-", line.modality, *told)
    return shown


def show_modality(seen: ModalityView) -> None:
    """One modality: how it fares, by parts of the data, and its items."""
    told = seen.shares
    n = sum(seen.histogram)
    choices = f"of {count(int(told['interactions']))} choices"
    known: list[tuple[str, object]] = [
        ("point of interest", f"{percent(told['poi'])} {choices}"),
        ("noise", percent(told["noise"])),
        ("missing", percent(told["missing"])),
        ("relied on most by", f"{count(seen.users)} of {count(seen.users_total)} users"),
    ]
    if not seen.explains:
        known = [("point of interest", no_answer()), ("missing", f"{percent(told['missing'])} {choices}")]
    summary = [*sentences(seen.summary), ""] if seen.summary else []
    terminal.result(*summary, facts([("modality", seen.modality), *known]), "")
    if not seen.explains:
        return
    sure = table([">probability", ">interactions", ""])
    for k, size in enumerate(seen.histogram):
        row(sure, f"{k / 10:.1f} to {(k + 1) / 10:.1f}", count(size), bar(size / max(seen.histogram), 1.0) if n else "")
    terminal.result(heading("How sure it is: probabilities of a point of interest"), sure, "")
    for kind, frame in seen.by.items():
        shown = table([(kind, {"overflow": "fold"}), ">interactions", ">point of interest", ""])
        for line in frame.itertuples():
            row(shown, line.segment, count(line.interactions), percent(line.poi), bar(line.poi, 1.0))
        terminal.result(heading(f"By {_KINDS[kind]}"), shown, "")
    terminal.result(heading(f"Its items ({count(len(seen.items))} of {count(seen.items_total)})"))
    terminal.result(items_table(seen.items), aside(_STANDING))


def show_segments(seen: Segments) -> None:
    """A row per part: how many, and the share of points of interest per modality, with a bar where there is room."""
    names = list(seen.table.columns[4:])
    room = terminal.width - 24 - 3 * _NUMBER - 10 * len(names)
    barred = room >= _BAR * len(names)
    columns: list[Any] = [(seen.kind, {"overflow": "fold", "min_width": 10}), ">users", ">items", ">interactions"]
    for name in names:
        columns += [f">{name}", *([""] if barred else [])]
    shown = table(columns)
    for line in seen.table.to_dict("records"):
        few = "?" if line["interactions"] < seen.few else ""
        cells: list[object] = [count(line[name]) for name in ("users", "items", "interactions")]
        for name, modality in zip(names, seen.modalities, strict=True):
            if modality in seen.cannot_tell:
                cells += ["-", *([""] if barred else [])]
                continue
            cells += [percent(line[name]) + few, *([bar(line[name], 1.0)] if barred else [])]
        row(shown, line["segment"], *cells)
    words = "per modality: the share of choices it was a point of interest for, where the item has it"
    few = (
        f"; ?: under {seen.few} interactions, which is little" if (seen.table["interactions"] < seen.few).any() else ""
    )
    silent = f"; -: {CANNOT_TELL}, the features explain no more than shuffled ones" if seen.cannot_tell else ""
    terminal.result(heading(f"By {_KINDS[seen.kind]}"), shown, aside(words + few + silent))
    terminal.note(f"one of them: demure inspect RUN --segment {seen.kind}=NAME")


def show_listing(seen: Listing) -> None:
    """All items or all users, those that were asked for."""
    left = "" if seen.matched == seen.total else f", {count(seen.matched)} fulfil the conditions"
    title = f"{count(seen.total)} {'items and modalities' if seen.what == 'items' else seen.what}{left}"
    shown = f"; {count(len(seen.rows))} shown" if len(seen.rows) < seen.matched else ""
    if seen.what == "items":
        terminal.result(heading(title + shown), items_table(seen.rows, seen.cannot_tell), aside(_STANDING))
        return
    reliance = list(seen.rows.columns[3:])  # of each modality, and of none
    left_out = [name for name, modality in zip(reliance, seen.modalities, strict=False) if modality in seen.cannot_tell]
    names = [name for name in reliance if name not in left_out]
    listed = table([("user", {"overflow": "fold"}), ">interactions", "relies on", *(f">{name}" for name in names)])
    for line in seen.rows.to_dict("records"):
        told = [percent(line[name]) for name in names]
        row(listed, line["user_id"], count(line["interactions"]), line["relies_on"], *told)
    terminal.result(heading(title + shown), listed, aside("shares of the user's choices; --user ID shows one history"))


def bar(share: float, most: float) -> Bar | Text:
    """A bar as long as its share; nothing where there is none."""
    return Text("") if math.isnan(share) else Bar(most, 0, share, width=_BAR)


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}"
