"""Print results of rich without the control characters that ids, titles and names may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment

from demure_cli.output.characters import JOINED_SPACE, safe

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


@dataclass(frozen=True)
class _Cleaned:
    part: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.part, options):
            text = safe(segment.text, line=False).replace(JOINED_SPACE, " ")
            yield segment if segment.control else Segment(text, segment.style)


def cleaned(part: RenderableType) -> RenderableType:
    """Return what prints as ``part`` does, with a space in place of each control character in its text.

    The views clean cells before rich measures them; this holds for what a view forgets.
    """
    return safe(part, line=False) if isinstance(part, str) else _Cleaned(part)
