"""Print the address of `demure ui`, and serve until Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.web.serve import Site


def show(result: Site) -> None:
    """Print the address, with a warning where other machines can read the pages, and serve."""
    terminal.result(result.url)
    if not result.loopback:
        terminal.note("anyone who can reach this machine can read the pages; without --host only you can")
    terminal.note("press Ctrl-C to stop")
    result.serve()
