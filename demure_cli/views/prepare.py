"""Print the result of `demure prepare`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, facts, heading, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.leaks import show_leaks
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from demure.preparation.prepare import PreparedReport


def show(result: PreparedReport) -> None:
    """Print the dataset, what each step removed, the problems of the input, and the leakage of the split."""
    n = result.counts
    parts = ", ".join(f"{count(n[part])} {part}" for part in ("train", "valid", "test") if part in n)
    cold = f" ({count(n['cold_items'])} of them never chosen)" if n["cold_items"] else ""
    made = f"{count(n['users'])} users made {count(n['interactions'])} choices among {count(n['items'])} items{cold}."
    terminal.result(
        *sentences([made]),
        "",
        facts(
            [
                *([("choices", parts)] if parts else []),
                ("format", result.format),
                *(("features", f"{name} from {path}") for name, path in result.feature_files.items()),
                ("dataset" if result.written else "would write", result.dataset),
            ]
        ),
    )
    _show_steps(result)
    _show_problems(result)
    show_leaks(result.splits)
    terminal.notes(result.notes)
    if not result.written:
        terminal.note("a dry run: nothing was written")
    elif len(result.folders) > 1:
        terminal.note("next, in each: " + ", ".join(f"demure extract {path}" for path in result.folders.values()))
    else:
        terminal.note(f"next: demure extract {result.dataset}")


def _show_steps(result: PreparedReport) -> None:
    if len(result.steps) < 2:
        return
    shown = table([("step", {"overflow": "fold"}), ">- rows", ">- users", ">- items", ">rows", ">users", ">items"])
    for step in result.steps:
        removed = (step.removed, step.users_removed, step.items_removed)
        left = (count(step.rows), count(step.users), count(step.items))
        row(shown, step.step, *(count(number) if number else "-" for number in removed), *left)
    terminal.result("", heading("Each step: how much it removed (-), and how much was left"), shown)


def _show_problems(result: PreparedReport) -> None:
    if not result.problems:
        return
    shown = table(["problem", "action", ">count", ("first", {"overflow": "fold"})])
    for problem in result.problems.values():
        first = problem.first[0] if problem.first else None
        example = "" if first is None else f"{first.file} row {first.row}: {first.value}"
        row(shown, problem.kind, problem.action, count(problem.count), example)
    terminal.result("", heading("Problems in the input"), shown)
    if result.written:
        terminal.result(aside(f"more of them: {next(iter(result.folders.values())) / 'problems.csv'}"))
