"""What `demure prepare` and `demure data` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.looks import aside, count, facts, heading, percent, row, table
from demure_cli.terminal import terminal

if TYPE_CHECKING:
    from demure.data.leaks import Leaks
    from demure.data.prepare import PreparedReport


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
