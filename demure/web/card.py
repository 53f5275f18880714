"""One user or item as a picture to share: a PNG with its pictures, verdicts and interests.

Letters: Pillow's own font has the English alphabet. A text with other letters is drawn with a font of this machine that
has all of them (DejaVu, Noto, Arial, ...); without one, accents are dropped, other letters become "?", and a title of
which less than half would be left is replaced by the id.
"""

from __future__ import annotations

import functools
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from demure.report.thumbnails import small

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

WIDTH, HEIGHT = 1200, 630
_MARGIN = 48
_TILE = 220  # height of a picture in the row at the bottom
_SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "arial.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc"),
    *("msgothic.ttc", "AppleGothic.ttf"),
)
_INK, _SOFT, _LINE, _ACCENT, _PAGE, _GREY = "#1b2330", "#5a6474", "#dde1e7", "#1f5fbf", "#ffffff", "#e6e9ee"
BADGES = {"poi": ("#0b5c3c", "#d6f1e4"), "noise": ("#7a3f00", "#fde6c8"), "missing": ("#4b5360", "#e6e9ee")}
"""Ink and background of a verdict, as in the page."""


@dataclass(frozen=True)
class Badge:
    """A ``text`` in the colours of a ``verdict``."""

    text: str
    verdict: str


@dataclass(frozen=True)
class Tile:
    """A picture (a file, or None) with a ``title`` and the verdicts on it."""

    picture: Path | None
    title: str
    badges: list[Badge] = field(default_factory=list)


@dataclass(frozen=True)
class Card:
    """What a card shows. ``bar``: parts of a whole with their label, per cent and colour; ``lines``: badges with a
    sentence each; ``picture``: a file at the left, ``tiles``: a row at the bottom."""

    heading: str
    small_print: str
    name: str
    sentences: list[str] = field(default_factory=list)
    bar: list[tuple[str, int, str]] = field(default_factory=list)
    lines: list[tuple[Badge, str]] = field(default_factory=list)
    picture: Path | None = None
    tiles: list[Tile] = field(default_factory=list)


def draw_card(card: Card) -> bytes:
    """Return the card as a PNG of 1200 x 630 pixels."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), _PAGE)
    pen = ImageDraw.Draw(image)
    left = _MARGIN
    if card.picture is not None and _paste(image, card.picture, (left, _MARGIN, 340, HEIGHT - 2 * _MARGIN)):
        left += 340 + 40
    width = WIDTH - _MARGIN - left
    _text(pen, (WIDTH - _MARGIN - 92, _MARGIN + 10), "demure", 26, 110, _ACCENT)
    y = _paragraph(pen, (left, _MARGIN - 6), _legible(card.heading, card.name), 44, width - 120, 2)
    y = _paragraph(pen, (left, y + 4), card.small_print, 24, width, 1, _SOFT) + 12
    for sentence in card.sentences:
        y = _paragraph(pen, (left, y), sentence, 28, width, 3) + 10
    if card.bar:
        y = _bar(pen, (left, y + 4), card.bar, width) + 14
    for badge, sentence in card.lines:
        _badge(pen, (left, y), badge, 26, width)
        y = _paragraph(pen, (left, y + 44), sentence, 22, width, 2, _SOFT) + 14
    if card.tiles:
        _tiles(image, pen, card.tiles, int(y))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _tiles(image: Image.Image, pen: ImageDraw.ImageDraw, tiles: Sequence[Tile], top: int) -> None:
    count = 5
    step = (WIDTH - 2 * _MARGIN + 16) // count
    most_badges = max(len(tile.badges) for tile in tiles[:count])
    room = HEIGHT - _MARGIN // 2 - top - 34 - 32 * most_badges
    height = max(60, min(_TILE, room))
    for k, tile in enumerate(tiles[:count]):
        x = _MARGIN + k * step
        if tile.picture is None or not _paste(image, tile.picture, (x, top, step - 16, height)):
            pen.rounded_rectangle((x, top, x + height * 2 // 3, top + height), 6, fill=_GREY)
        _paragraph(pen, (x, top + height + 4), tile.title, 20, step - 20, 1)
        for row, badge in enumerate(tile.badges):
            _badge(pen, (x, top + height + 34 + 32 * row), badge, 18, step - 20)


def _paste(image: Image.Image, path: Path, box: tuple[int, int, int, int]) -> bool:
    """Draw the picture at the left and top of ``box`` (x, y, width, height); return whether it could be read."""
    x, y, width, height = box
    picture = small(path, width, height)
    if picture is None:
        return False
    scale = min(width / picture.width, height / picture.height)
    if scale > 1:
        picture = picture.resize((max(1, int(picture.width * scale)), max(1, int(picture.height * scale))))
    image.paste(picture, (x, y))
    return True


def _bar(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], parts: Sequence[tuple[str, int, str]], width: float
) -> float:
    x, y = place
    total = max(sum(percent for _, percent, _ in parts), 1)
    start = x
    for _, percent, colour in parts:
        stop = start + width * percent / total
        pen.rectangle((start, y, stop, y + 22), fill=colour)
        start = stop
    for label, percent, colour in parts:
        text = f"{label} {percent} %"
        if x + 30 + _font(text, 22).getlength(text) > place[0] + width:
            break
        pen.ellipse((x, y + 38, x + 16, y + 54), fill=colour)
        x = _text(pen, (x + 24, y + 32), text, 22, width, _INK) + 26
    return y + 64


def _badge(pen: ImageDraw.ImageDraw, place: tuple[float, float], badge: Badge, size: int, width: float) -> float:
    """Draw a badge; return where it ends."""
    ink, background = BADGES[badge.verdict]
    x, y = place
    text = _shortened(_legible(badge.text), size, width - 20)
    stop = x + _font(text, size).getlength(text) + 20
    pen.rounded_rectangle((x, y, stop, y + size * 1.45), 6, fill=background)
    _text(pen, (x + 10, y + size * 0.12), text, size, width, ink)
    return stop


def _paragraph(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    size: int,
    width: float,
    most: int,
    colour: str = _INK,
) -> float:
    """Draw a text in at most so many lines; return where the next one begins."""
    x, y = place
    for line in _wrapped(_legible(text), size, width, most):
        _text(pen, (x, y), line, size, width, colour)
        y += size * 1.3
    return y


def _wrapped(text: str, size: int, width: float, most: int) -> list[str]:
    lines, rest = [""], text.replace(" %", "\u00a0%").split(" ")
    while rest:
        line = f"{lines[-1]} {rest[0]}".strip()
        if not lines[-1] or _font(line, size).getlength(line) <= width:
            lines[-1] = line
        elif len(lines) == most:
            lines[-1] += f" {' '.join(rest)}"
            break
        else:
            lines.append(rest[0])
        rest = rest[1:]
    return [_shortened(line.replace("\u00a0", " "), size, width) for line in lines if line]


def _shortened(line: str, size: int, width: float) -> str:
    if _font(line, size).getlength(line) <= width:
        return line
    while line and _font(f"{line}...", size).getlength(f"{line}...") > width:
        line = line[:-1]
    return f"{line.rstrip()}..."


def _text(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], line: str, size: int, width: float, colour: str
) -> float:
    """Draw one line; return where it ends."""
    line = _shortened(line, size, width)
    font = _font(line, size)
    pen.text(place, line, fill=colour, font=font)
    return place[0] + font.getlength(line)


def _legible(text: str, fallback: str = "") -> str:
    """Return ``text`` if a font has its letters; else what is left of it, or the ``fallback``."""
    text = " ".join(text.replace("\u00a0", " ").split())
    if any(not _absent(name, text) for name in ("", *_SYSTEM_FONTS)):
        return text
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    absent = _absent("", plain)
    kept = "".join("?" if letter in absent else letter for letter in plain)
    if fallback and 2 * kept.count("?") > len(kept):
        return _legible(fallback)
    return kept


def _font(text: str, size: int) -> Font:
    """Return a font that has all letters of the text, else Pillow's own."""
    name = next((name for name in ("", *_SYSTEM_FONTS) if not _absent(name, text)), "")
    font = _open(name, size)
    assert font is not None  # a font that is not here has no letters
    return font


@functools.lru_cache(maxsize=64)
def _open(name: str, size: int) -> Font | None:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _absent(name: str, text: str) -> frozenset[str]:
    """Return the letters of a text that a font draws as it draws a character that nobody has; all of a font that is
    not on this machine."""
    font = _open(name, 24)
    if font is None:
        return frozenset(text) or frozenset("?")
    nothing = bytes(font.getmask("\U0010fffe"))
    return frozenset(letter for letter in set(text) if not letter.isspace() and bytes(font.getmask(letter)) == nothing)
