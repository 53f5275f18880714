"""Print the result of `demure images fetch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, facts, heading, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.preparation.fetch.fetch_images import FetchReport


def show(result: FetchReport) -> None:
    """Print how many images were downloaded, and why others were not."""
    complete = f"{count(result.fetched)} now ({result.bytes / 1e6:.1f} MB), {count(result.there)} before"
    terminal.result(facts([("downloaded", complete), ("requested", count(result.wanted)), ("images", result.out)]))
    if result.reasons:
        shown = table(["reason", ">images"])
        for reason, images in result.reasons.items():
            row(shown, reason, count(images))
        title = f"Not downloaded: {count(result.dead)} for good, {count(result.failed)} can be tried again"
        terminal.result("", heading(title), shown)
        terminal.result(aside(f"each of them: {result.report}"))
    terminal.notes(result.notes)
    if result.failed:
        terminal.note("the same command tries the failed ones again")
    terminal.note(f"next: demure prepare --images {result.out} ...")
