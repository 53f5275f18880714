"""What `demure prepare` and `demure data` print."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from rich.table import Table

    from demure.data.describe.describe import Description, Lengths
    from demure.data.export import Exported
    from demure.data.leakage import Leaks
    from demure.prepare.fetch.images import Fetched
    from demure.prepare.prepare import PreparedReport

_SHOWN = 8


def show_prepared(result: PreparedReport) -> None:
    """What was made (or would be), what each step took away, what is wrong with the input, and what the split leaks."""
    n = result.counts
    parts = ", ".join(f"{count(n[part])} {part}" for part in ("train", "valid", "test") if part in n)
    cold = f" ({count(n['cold_items'])} of them without interactions)" if n["cold_items"] else ""
    terminal.result(
        facts(
            [
                ("dataset" if result.written else "would be", result.dataset),
                ("format", result.format),
                ("users", count(n["users"])),
                ("items", count(n["items"]) + cold),
                ("interactions", count(n["interactions"]) + (f": {parts}" if parts else "")),
                *(("features", f"{name} from {path}") for name, path in result.feature_files.items()),
            ]
        )
    )
    if len(result.steps) > 1:
        shown = table([("step", {"overflow": "fold"}), ">- rows", ">- users", ">- items", ">rows", ">users", ">items"])
        for step in result.steps:
            gone = (step.removed, step.users_removed, step.items_removed)
            left = (count(step.rows), count(step.users), count(step.items))
            row(shown, step.step, *(count(one) if one else "-" for one in gone), *left)
        terminal.result("", heading("From the file to the dataset: what each step removed, and what it left"), shown)
    if result.problems:
        shown = table(["problem", "what was done", ">count", ("first", {"overflow": "fold"})])
        for problem in result.problems.values():
            first = problem.first[0] if problem.first else None
            example = "" if first is None else f"{first.file} row {first.row}: {first.value}"
            row(shown, problem.kind, problem.action, count(problem.count), example)
        terminal.result("", heading("Problems in the input"), shown)
        if result.written:
            terminal.result(aside(f"more of them: {next(iter(result.folders.values())) / 'problems.csv'}"))
    _show_leaks(result.splits)
    for words in result.notes:
        terminal.note(f"note: {words}")
    if not result.written:
        terminal.note("a dry run: nothing was written")
    elif len(result.folders) > 1:
        terminal.note("next, in each: " + ", ".join(f"demure extract {path}" for path in result.folders.values()))
    else:
        terminal.note(f"next: demure extract {result.dataset}")


def _show_leaks(splits: dict[str, Leaks]) -> None:
    """Per split a line: what of train could not have been known at the time of what is held out."""
    columns = ["split", ">train", ">valid", ">test", ">late", ">own", ">twice", ">new users", ">new items"]
    shown = table([(columns[0], {"no_wrap": True}), *columns[1:]])
    for name, leaks in splits.items():
        known = leaks.train + leaks.valid
        sizes = (count(n) for n in (leaks.train, leaks.valid, leaks.test))
        shares = ("-" if n is None else percent(n / known) for n in (leaks.after_cut, leaks.after_own))
        others = (count(n) for n in (leaks.repeated, leaks.users_without_train, leaks.items_without_train))
        row(shown, name, *sizes, *shares, *others)
    terminal.result("", heading("The split, and what it leaks"), shown)
    terminal.result(
        aside(
            "late: share of what is learned from that is later than the first held-out interaction of anyone; own: "
            "of the same user. twice: pairs of user and item on both sides. new: held out, and never in train."
        )
    )
    dated = [f"{name} {count(leaks.items_from_later)}" for name, leaks in splits.items() if leaks.items_from_later]
    if dated:
        terminal.result(aside(f"items in train that their own date puts after the cut: {', '.join(dated)}"))


def show_described(result: Description) -> None:
    """A dataset at a glance: the facts, two distributions, what content there is, and what deserves a second look."""
    n = result.counts
    span = "no timestamps" if result.span is None else f"{_day(result.span[0])} to {_day(result.span[1])}"
    parts = ", ".join(f"{count(n[part])} {part}" for part in ("train", "valid", "test"))
    pairs = [
        ("dataset", result.dataset),
        ("users", count(n["users"])),
        ("items", f"{count(n['items'])}, {count(n['cold_items'])} of them without interactions"),
        ("interactions", f"{count(n['interactions'])}: {parts}"),
        ("density", f"{100 * result.density:.3g} %"),
        ("time", span),
    ]
    if result.sessions is not None:
        seen = result.sessions
        words = f"{count(seen.sessions)}, {seen.per_user:.1f} per user, {seen.median_length:.0f} long by the median"
        pairs.append(("sessions", f"{words}; {percent(seen.single_share)} of one choice"))
    terminal.result(facts(pairs))
    for words, them in (("users by choices", result.histories), ("items by choices", result.popularity)):
        terminal.result("", heading(words.capitalize()), _bars(them), aside(_quantiles(them)))
    if len(result.months) > 1:
        months = _years(result.months)
        terminal.result("", heading("Choices in time"), _bar_table([(name, held) for name, held in months.items()]))
    _show_coverage(result)
    if result.leaks is not None:
        _show_leaks({"this one": result.leaks})
    _show_second_looks(result)


def _show_coverage(result: Description) -> None:
    covered = result.coverage
    if not covered.present:
        terminal.result("", "The items have no content: no text, no images, no features.")
        return
    shown = table(["content", ">items with it", ">share", ">share of choices"])
    for kind, held in covered.present.items():
        row(shown, kind, count(held), percent(held / covered.items), percent(covered.taken[kind]))
        for name, given in covered.columns.items() if kind == "text" else ():
            row(shown, f"  {name}", count(given), percent(given / covered.items), "")
    terminal.result("", heading("What the items have"), shown)
    lacking = table(["lacking together", ">items", ">share"])
    for kinds, held in covered.lacking.items():
        row(lacking, kinds, count(held), percent(held / covered.items))
    terminal.result("", lacking)


def _show_second_looks(result: Description) -> None:
    alike = result.lookalikes
    if alike.groups:
        shown = table(["alike by", ">items", ("for example", {"overflow": "fold"})])
        for kind, held in alike.items.items():
            name, _, nearly = kind.partition(", ")
            groups = [group for group in alike.groups if group.kind == name and group.equal == (not nearly)]
            examples = "; ".join(" = ".join(group.item_ids[:4]) for group in groups[:3])
            row(shown, kind, count(held), examples)
        terminal.result("", heading("Items that look like another"), shown)
    if result.suspects:
        shown = table(["user", ">choices", ("hardly a person, for", {"overflow": "fold"})])
        for suspect in result.suspects[:_SHOWN]:
            row(shown, suspect.user_id, count(suspect.interactions), ", ".join(suspect.reasons))
        terminal.result("", heading(f"Suspicious users: {count(len(result.suspects))}"), shown)
    for words in alike.notes:
        terminal.note(f"note: {words}")


def _bars(them: Lengths) -> Table:
    return _bar_table([(_between(one.least, one.most), one.count) for one in them.bins])


def _bar_table(rows: list[tuple[str, int]]) -> Table:
    from rich.bar import Bar

    shown = table([("", {"justify": "right", "no_wrap": True}), ">", ("", {"ratio": 1})])
    shown.show_header = False
    most = max((held for _, held in rows), default=1) or 1
    for name, held in rows:
        shown.add_row(name, count(held), Bar(most, 0, held, width=min(50, max(10, terminal.width - 30))))
    return shown


def _between(least: int, most: int) -> str:
    return count(least) if least == most else f"{count(least)} to {count(most)}"


def _quantiles(them: Lengths) -> str:
    middle = f"median {them.median:.0f}, mean {number(them.mean, 1)}, 99th percentile {them.p99:.0f}"
    uneven = f"the busiest hundredth has {percent(them.top_share)}; Gini {number(them.gini, 2)}"
    return f"{middle}, most {count(them.longest)}; {uneven}"


def _years(months: dict[str, int]) -> dict[str, int]:
    """By month for up to two years, else by year."""
    if len(months) <= 24:
        return months
    years: dict[str, int] = {}
    for month, held in months.items():
        years[month[:4]] = years.get(month[:4], 0) + held
    return years


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def show_exported(result: Exported) -> None:
    """What was written, and how to read it."""
    terminal.result(
        facts(
            [
                ("written", result.folder),
                ("format", result.format),
                ("interactions", count(result.interactions)),
                ("files", ", ".join(result.files)),
            ]
        )
    )
    terminal.note(f"to read it: {result.read}")


def show_fetched(result: Fetched) -> None:
    """What was downloaded, what was not and why."""
    had = f"{count(result.fetched)} now ({result.bytes / 1e6:.1f} MB), {count(result.there)} before"
    terminal.result(facts([("images", result.out), ("asked for", count(result.wanted)), ("had", had)]))
    if result.reasons:
        shown = table(["not had, for", ">images"])
        for reason, held in result.reasons.items():
            row(shown, reason, count(held))
        terminal.result("", heading(f"{count(result.dead)} dead, {count(result.failed)} may come another time"), shown)
        terminal.result(aside(f"each of them: {result.report}"))
    for words in result.notes:
        terminal.note(f"note: {words}")
    if result.failed:
        terminal.note("the same command asks again for those that may come")
    terminal.note(f"next: demure prepare --images {result.out} ...")
