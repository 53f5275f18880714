"""Draw small pictures in the terminal, as half blocks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

PICTURE_WIDTH, _HALF_ROWS = 10, 14  # columns; a row of text holds two rows of a picture


def picture(path: str | None) -> RenderableType:
    """Return a thumbnail of the picture at ``path``; an empty text for no picture or one that cannot be read."""
    from rich_pixels import Pixels

    from demure.report.thumbnails import small

    image = None if path is None else small(Path(path), PICTURE_WIDTH, _HALF_ROWS)
    return Text("") if image is None else Pixels.from_image(image)
