"""Draw small pictures in the terminal, as half blocks."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from demure.report.thumbnails import Thumbnailer

PICTURE_WIDTH, _HALF_ROWS = 10, 14  # columns; a row of text holds two rows of a picture


def picture(path: str | None) -> RenderableType:
    """Return a thumbnail of the picture at ``path``: no text without a picture, and a word for an unreadable one."""
    from rich_pixels import Pixels

    if path is None:
        return Text("")
    image = _thumbnailer().make(Path(path), PICTURE_WIDTH, _HALF_ROWS)
    return Text("unreadable", style="dim") if image is None else Pixels.from_image(image)


@functools.cache
def _thumbnailer() -> Thumbnailer:
    from demure.report.thumbnails import Thumbnailer

    return Thumbnailer()
