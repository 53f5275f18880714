"""Print the result of `demure report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, facts
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.report.build import Report


def show(result: Report) -> None:
    """Print the file and what it holds."""
    users = count(result.users)
    if result.users < result.users_total:
        users += f" of {count(result.users_total)}, evenly spaced in the order of ids"
    size = f"{result.bytes / 1e6:.1f} MB"
    terminal.result(
        facts([("users", users), ("pictures", count(result.pictures)), ("size", size), ("page", result.report)])
    )
    if result.pictures_unreadable:
        problem = "cannot be decoded, or take too long"
        terminal.note(f"{count(result.pictures_unreadable)} pictures {problem}: they are left out of the page")
    terminal.note("open it in a browser; it needs no network")
