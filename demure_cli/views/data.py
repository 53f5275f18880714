"""Print the results of `demure data show`, `export` and `copy`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.leaks import show_leaks
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from demure.data.describe.describe import Description, Lengths
    from demure.data.export import DatasetExport
    from demure.storage.copying import CopiedFolder

_MAX_SUSPECTS = 8
_MONTHS = 24  # a longer time span is shown by year
_MAX_BAR = 50


def show_description(result: Description) -> None:
    """Print counts, distributions, content, leakage, look-alike items and suspicious users."""
    n = result.counts
    from demure.preparation.reading.times import EARLIEST

    span = "no timestamps" if result.span is None else f"{_day(result.span[0])} to {_day(result.span[1])}"
    if result.span is not None and result.span[1] < EARLIEST:
        span = f"an order without dates, {result.span[0]:g} to {result.span[1]:g}"
    parts = ", ".join(f"{count(n[part])} {part}" for part in ("train", "valid", "test"))
    pairs = [
        ("choices", parts),
        ("items", f"{count(n['items'])}, {count(n['cold_items'])} of them never chosen"),
        ("density", f"{100 * result.density:.3g} %"),
        ("time", span),
    ]
    if result.sessions is not None:
        sessions = result.sessions
        numbers = f"{count(sessions.sessions)}, {sessions.per_user:.1f} per user, median length"
        single = f"{percent(sessions.single_share)} have one choice"
        pairs.append(("sessions", f"{numbers} {sessions.median_length:.0f}; {single}"))
    made = f"{count(n['users'])} users made {count(n['interactions'])} choices among {count(n['items'])} items."
    terminal.result(*sentences([made]), "", facts([*pairs, ("dataset", result.dataset)]))
    for title, lengths in (("Users by choices", result.histories), ("Items by choices", result.popularity)):
        bins = [(_between(part.least, part.most), part.count) for part in lengths.bins]
        terminal.result("", heading(title), _bars(bins), aside(_quantiles(lengths)))
    if len(result.months) > 1:
        terminal.result("", heading("Choices over time"), _bars(list(_by_year(result.months).items())))
    _show_coverage(result)
    if result.leaks is not None:
        show_leaks({"this split": result.leaks})
    _show_lookalikes(result)
    _show_suspects(result)


def _show_coverage(result: Description) -> None:
    from demure.data.describe.coverage import NOTHING

    coverage = result.coverage
    if not coverage.present:
        terminal.result("", "The items have no content: no text, no images, no features.")
        return
    shown = table(["content", ">items with it", ">share", ">share of choices"])
    for kind, items in coverage.present.items():
        row(shown, kind, count(items), percent(items / coverage.items), percent(coverage.taken[kind]))
        for column, filled in coverage.columns.items() if kind == "text" else ():
            row(shown, f"  {column}", count(filled), percent(filled / coverage.items), "")
    terminal.result("", heading("Content of the items"), shown)
    complete = coverage.lacking.get(NOTHING, 0)
    have = f"{count(complete)} of {count(coverage.items)} items ({percent(complete / coverage.items)}) have all of it"
    lacking = table(["lacking", ">items", ">share"])
    for kinds, items in coverage.lacking.items():
        if kinds != NOTHING:
            row(lacking, kinds.replace(" + ", " and "), count(items), percent(items / coverage.items))
    rest: list[RenderableType] = ["", lacking] if lacking.row_count else []
    terminal.result("", *sentences([have + ("; of the others:" if rest else ".")]), *rest)


def _show_lookalikes(result: Description) -> None:
    lookalikes = result.lookalikes
    if lookalikes.groups:
        shown = table(["same", ">items", ("examples", {"overflow": "fold"})])
        for label, items in lookalikes.items.items():
            kind, _, nearly = label.partition(", ")
            groups = [group for group in lookalikes.groups if group.kind == kind and group.equal == (not nearly)]
            row(shown, label, count(items), "; ".join(" = ".join(group.item_ids[:4]) for group in groups[:3]))
        terminal.result("", heading("Items that look like another item"), shown)
    terminal.notes(lookalikes.notes)


def _show_suspects(result: Description) -> None:
    if result.suspects:
        shown = table(["user", ">choices", ("reason", {"overflow": "fold"})])
        for suspect in result.suspects[:_MAX_SUSPECTS]:
            row(shown, suspect.user_id, count(suspect.interactions), ", ".join(suspect.reasons))
        terminal.result("", heading(f"Suspicious users, perhaps not people: {count(len(result.suspects))}"), shown)


def _bars(rows: list[tuple[str, int]]) -> Table:
    """Return a bar chart: a label, its count, and a bar."""
    from rich.bar import Bar

    shown = table([("", {"justify": "right", "no_wrap": True}), ">", ("", {"ratio": 1})])
    shown.show_header = False
    largest = max((size for _, size in rows), default=1) or 1
    for label, size in rows:
        shown.add_row(label, count(size), Bar(largest, 0, size, width=min(_MAX_BAR, max(10, terminal.width - 30))))
    return shown


def _between(least: int, most: int) -> str:
    return count(least) if least == most else f"{count(least)} to {count(most)}"


def _quantiles(lengths: Lengths) -> str:
    middle = f"median {lengths.median:.0f}, mean {number(lengths.mean, 1)}, 99th percentile {lengths.p99:.0f}"
    uneven = f"the top 1 % have {percent(lengths.top_share)} of all choices; Gini {number(lengths.gini, 2)}"
    return f"{middle}, maximum {count(lengths.longest)}; {uneven}"


def _by_year(months: dict[str, int]) -> dict[str, int]:
    """Return counts by month for up to two years, else by year."""
    if len(months) <= _MONTHS:
        return months
    years: dict[str, int] = {}
    for month, size in months.items():
        years[month[:4]] = years.get(month[:4], 0) + size
    return years


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def show_export(result: DatasetExport) -> None:
    """Print the files, and how to read them."""
    terminal.result(
        facts(
            [
                ("choices", count(result.interactions)),
                ("format", result.format),
                ("files", ", ".join(result.files)),
                ("folder", result.folder),
            ]
        )
    )
    terminal.note(f"to read it: {result.read}")


def show_copy(result: CopiedFolder) -> None:
    """Print the folder and its size."""
    size = f"{result.bytes / 1e6:,.1f} MB"
    terminal.result(facts([("files", count(result.files)), ("size", size), ("folder", result.folder)]))
