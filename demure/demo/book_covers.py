"""Draw covers of imaginary books with Pillow: nine styles, each a way to fill the page, in palettes that styles share.

A cover is drawn at twice its size and scaled down, which smooths the edges. Within a style the palette, the counts, the
places and the sizes are drawn anew for every cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 192, 256
_W, _H = 2 * WIDTH, 2 * HEIGHT

Colour = tuple[int, int, int]


def _palette(*codes: str) -> list[Colour]:
    return [(int(c[0:2], 16), int(c[2:4], 16), int(c[4:6], 16)) for c in codes]


# The background first, then from pale to strong.
EMBER = _palette("f4e3c8", "e9b872", "d9793d", "b23a2e", "5b1f2a")
DUSK = _palette("f6d9c2", "e8a598", "b5739d", "6a4c93", "2b2150")
SEA = _palette("e6f1ef", "a9d3d5", "5aa3b5", "276b8a", "12324b")
MOSS = _palette("f0ecd9", "c5cf9b", "8aa564", "4d7343", "22402f")
PRIMARY = _palette("f3ead6", "e8b62c", "d64530", "2a5b9c", "1f1d1d")
PAPER = _palette("f7f3ea", "d6cfc2", "9b958c", "4d4a48", "171616")
CANDY = _palette("fdeef0", "f7b7c5", "8fd3c7", "f6c667", "5a6acf")
NIGHT = _palette("0d1330", "27356b", "5a6fb0", "c9c3e6", "f7e7a6")
CLAY = _palette("efe0d0", "d3a588", "b5705a", "7d4a48", "3b2b33")


class Sheet:
    """A page to draw on, with coordinates from 0 to 1 across and 0 to 4/3 down, and its own random numbers."""

    def __init__(self, ground: Colour, random: np.random.Generator) -> None:
        self.image = Image.new("RGB", (_W, _H), ground)
        self.draw = ImageDraw.Draw(self.image)
        self.random = random

    def between(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def pick(self, colours: list[Colour]) -> Colour:
        return colours[int(self.random.integers(len(colours)))]

    def colour_at(self, x: float, y: float) -> Colour:
        red, green, blue = np.asarray(self.image)[int(_W * y), int(_W * x)].tolist()
        return red, green, blue

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.draw.ellipse([_W * (x - radius), _W * (y - radius), _W * (x + radius), _W * (y + radius)], fill=colour)

    def ring(self, x: float, y: float, radius: float, colour: Colour, width: float) -> None:
        box = [_W * (x - radius), _W * (y - radius), _W * (x + radius), _W * (y + radius)]
        self.draw.ellipse(box, outline=colour, width=max(1, round(_W * width)))

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.draw.rectangle([_W * x0, _W * y0, _W * x1, _W * y1], fill=colour)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([(_W * x, _W * y) for x, y in points], fill=colour)

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float) -> None:
        self.draw.line(
            [(_W * x, _W * y) for x, y in points], fill=colour, width=max(1, round(_W * width)), joint="curve"
        )

    def slice(self, x: float, y: float, radius: float, start: float, end: float, colour: Colour) -> None:
        box = [_W * (x - radius), _W * (y - radius), _W * (x + radius), _W * (y + radius)]
        self.draw.pieslice(box, start, end, fill=colour)

    def fade(self, top: Colour, bottom: Colour) -> None:
        ramp = np.linspace(0, 1, _H)[:, None] ** 0.9
        rows = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
        self.image.paste(Image.fromarray(np.repeat(rows[:, None], _W, axis=1).round().astype(np.uint8)))


def _ridges(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw misty mountain ridges, paler with distance, under a low sun."""
    sheet.fade(colours[0], colours[1])
    sheet.disc(sheet.between(0.2, 0.8), sheet.between(0.25, 0.5), sheet.between(0.07, 0.14), colours[0])
    layers = sheet.count(4, 6)
    for layer in range(layers):
        nearness = (layer + 1) / layers
        base = 0.5 + 0.75 * layer / layers
        phases = sheet.random.uniform(0, 2 * math.pi, 5)
        height = sheet.between(0.06, 0.14)
        xs = np.linspace(0, 1, 80)
        ys = base - height * sum(np.sin(xs * (3 + 4 * k) + p) / (k + 1) for k, p in enumerate(phases))
        sheet.shape(
            [(0, 1.4), *zip(xs.tolist(), ys.tolist(), strict=True), (1, 1.4)], _blend(colours[1], colours[4], nearness)
        )


def _bauhaus(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw quarter circles and discs on a coarse grid."""
    columns = sheet.count(3, 4)
    cell = 1 / columns
    for row in range(math.ceil(4 / 3 / cell)):
        for column in range(columns):
            x, y = column * cell, row * cell
            ground, figure = (colours[k] for k in sheet.random.permutation(5)[:2])
            sheet.box(x, y, x + cell, y + cell, ground)
            kind = sheet.count(0, 5)
            corner = sheet.count(0, 3)
            cx, cy = x + cell * (corner in (1, 2)), y + cell * (corner in (2, 3))
            if kind <= 2:
                sheet.slice(cx, cy, cell, 90 * corner, 90 * corner + 90, figure)
            elif kind == 3:
                sheet.disc(x + cell / 2, y + cell / 2, cell * 0.36, figure)
            elif kind == 4:
                sheet.shape([(x, y), (x + cell, y), (x, y + cell)], figure)


def _sunrise(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw rays from a sun on the horizon, over broad bands."""
    horizon, x = sheet.between(0.72, 0.95), sheet.between(0.3, 0.7)
    rays = 2 * sheet.count(9, 16)
    turn = sheet.between(0, 20)
    for k in range(rays):
        sheet.slice(x, horizon, 1.8, turn + 360 * k / rays, turn + 360 * (k + 1) / rays, colours[k % 2])
    for k, colour in enumerate([colours[2], colours[3]]):
        sheet.disc(x, horizon, (0.34 - 0.1 * k) * sheet.between(0.85, 1.15), colour)
    bands = sheet.count(3, 5)
    for k in range(bands):
        y = horizon + (4 / 3 - horizon) * k / bands
        sheet.box(0, y, 1, 4 / 3, _blend(colours[2], colours[4], (k + 1) / bands))


def _terrazzo(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw chips of stone strewn over a pale ground."""
    chips = sheet.count(80, 160)
    size = sheet.between(0.025, 0.055)
    for x, y in sheet.random.uniform((0, 0), (1, 4 / 3), (chips, 2)):
        corners = sheet.count(4, 6)
        angles = np.sort(sheet.random.uniform(0, 2 * math.pi, corners))
        radii = size * sheet.random.uniform(0.5, 1.5, corners)
        points = [(x + r * math.cos(a), y + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]
        sheet.shape(points, sheet.pick(colours[1:]))


def _rings(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw two sets of concentric rings that cross."""
    step = sheet.between(0.045, 0.065)
    for colour in (colours[4], colours[2]):
        x, y = sheet.between(0.1, 0.9), sheet.between(0.15, 1.2)
        for k in range(1, int(1.5 / step)):
            sheet.ring(x, y, k * step, colour, step * 0.38)
        sheet.disc(x, y, step * 0.5, colour)


def _stars(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw a night sky: a moon, a scatter of stars, a constellation, a dark horizon."""
    dark, pale = colours[4], colours[0]
    if sum(dark) > sum(pale):
        dark, pale = pale, dark
    sheet.fade(_blend(dark, (0, 0, 0), 0.25), _blend(dark, colours[2], 0.55))
    x, y, radius = sheet.between(0.2, 0.8), sheet.between(0.2, 0.5), sheet.between(0.08, 0.15)
    sky = sheet.colour_at(x, y)
    for star_x, star_y in sheet.random.uniform((0, 0), (1, 1.15), (sheet.count(90, 160), 2)):
        sheet.disc(star_x, star_y, sheet.between(0.0015, 0.005), _blend(dark, pale, sheet.between(0.5, 1.0)))
    sheet.disc(x, y, radius, pale)
    if sheet.count(0, 1):
        sheet.disc(x + radius * 0.45, y - radius * 0.2, radius * 0.9, sky)
    dots = [(sheet.between(0.1, 0.9), sheet.between(0.6, 1.0)) for _ in range(sheet.count(4, 7))]
    dots.sort()
    sheet.line(dots, _blend(dark, pale, 0.6), 0.004)
    for dot_x, dot_y in dots:
        sheet.disc(dot_x, dot_y, 0.011, pale)
    xs = np.linspace(0, 1, 60)
    ys = 1.2 + 0.04 * np.sin(xs * sheet.between(4, 9) + sheet.between(0, 6))
    sheet.shape([(0, 1.4), *zip(xs.tolist(), ys.tolist(), strict=True), (1, 1.4)], _blend(dark, (0, 0, 0), 0.6))


def _leaves(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw cut-out fronds, each a stem with pairs of leaves."""
    for colour in (colours[1], colours[2], colours[3], colours[4])[: sheet.count(3, 4)]:
        x, y = sheet.between(0.05, 0.95), sheet.between(1.0, 1.35)
        lean, length = sheet.between(-0.35, 0.35), sheet.between(0.8, 1.15)
        pairs = sheet.count(5, 8)
        stem = [(x + lean * t * t, y - length * t) for t in np.linspace(0, 1, 20)]
        sheet.line(stem, colour, 0.014)
        for k in range(pairs):
            t = (k + 1) / (pairs + 0.4)
            sx, sy = x + lean * t * t, y - length * t
            size = 0.26 * (1 - 0.55 * t)
            for side in (-1, 1):
                sheet.shape(_leaf(sx, sy, side * (0.9 + 0.2 * sheet.between(-1, 1)), size), colour)


def _weave(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw a tartan: translucent stripes crossing at right angles."""
    warp = np.zeros((_H, _W, 3)) + np.array(colours[0])
    for axis in (0, 1):
        position, length = 0.0, (_H, _W)[axis]
        rhythm = [
            (sheet.between(0.03, 0.16), sheet.pick(colours), sheet.count(0, 2) > 0) for _ in range(sheet.count(3, 5))
        ]
        k = 0
        while position < length:
            size, colour, shown = rhythm[k % len(rhythm)]
            start, end = int(position), int(position + size * _W)
            if shown:
                part = warp[start:end] if axis == 0 else warp[:, start:end]
                part[:] = 0.5 * part + 0.5 * np.array(colour)
            position, k = end, k + 1
    # Fine diagonal threads give the cloth its twill.
    threads = 6.0 * (((np.arange(_H)[:, None] + np.arange(_W)[None]) // 4) % 2 - 0.5)
    sheet.image.paste(Image.fromarray((warp + threads[..., None]).clip(0, 255).astype(np.uint8)))


def _scales(sheet: Sheet, colours: list[Colour]) -> None:
    """Draw overlapping fans in rows, the pattern of waves on cloth."""
    radius = 1 / sheet.count(5, 8)
    rows = math.ceil(4 / 3 / (radius / 2)) + 2
    for row in range(rows):
        for column in range(-1, math.ceil(1 / (2 * radius)) + 1):
            x, y = (2 * column + row % 2) * radius, row * radius / 2
            for k, colour in enumerate((colours[4], colours[0], colours[3], colours[0], colours[2])):
                sheet.disc(x, y, radius * (1 - 0.2 * k), colour)


Style = Callable[[Sheet, list[Colour]], None]

# Palettes are shared between styles, so that colour alone does not identify a style.
STYLES: dict[str, tuple[Style, list[list[Colour]]]] = {
    "ridges": (_ridges, [SEA, DUSK, MOSS]),
    "bauhaus": (_bauhaus, [PRIMARY, CANDY, EMBER]),
    "sunrise": (_sunrise, [EMBER, PRIMARY, CLAY]),
    "terrazzo": (_terrazzo, [CANDY, PAPER, CLAY]),
    "rings": (_rings, [PAPER, PRIMARY, DUSK]),
    "stars": (_stars, [NIGHT, DUSK, SEA]),
    "leaves": (_leaves, [MOSS, CLAY, CANDY]),
    "weave": (_weave, [MOSS, EMBER, DUSK]),
    "scales": (_scales, [SEA, NIGHT, PAPER]),
}


def draw_cover(style: str, random: np.random.Generator) -> Image.Image:
    """Draw a cover in one of ``STYLES``: RGB, ``WIDTH`` x ``HEIGHT`` pixels."""
    fill, palettes = STYLES[style]
    colours = [_jitter(colour, random) for colour in palettes[int(random.integers(len(palettes)))]]
    sheet = Sheet(colours[0], random)
    fill(sheet, colours)
    cover = sheet.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    return _photographed(cover, random)


def _photographed(cover: Image.Image, random: np.random.Generator) -> Image.Image:
    """Add light from one side, the fold of the spine and grain, as on a photographed book."""
    pixels = np.asarray(cover, dtype=np.float32)
    across = np.linspace(0, 1, WIDTH)
    spine = 1 - 0.22 * np.exp(-(((across - 0.035) / 0.012) ** 2)) + 0.05 * np.exp(-(((across - 0.06) / 0.015) ** 2))
    light = 1 + random.uniform(-0.06, 0.06) * (across - 0.5)
    grain = random.normal(0, 2.0, (HEIGHT, WIDTH, 1))
    shaded = pixels * (spine * light)[None, :, None] + grain
    return Image.fromarray(shaded.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.3))


def _leaf(x: float, y: float, angle: float, size: float) -> list[tuple[float, float]]:
    """Return the outline of a leaf that grows from (x, y); an angle of 0 points up, a positive one turns right."""
    along = np.linspace(0, 1, 12)
    half = 0.22 * size * np.sin(math.pi * along**0.8)
    outline = [*zip(along * size, half, strict=True), *zip(along[::-1] * size, -half[::-1], strict=True)]
    sin, cos = math.sin(angle), math.cos(angle)
    return [(x + a * sin + h * cos, y - a * cos + h * sin) for a, h in outline]


def _blend(first: Colour, second: Colour, share: float) -> Colour:
    r, g, b = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return r, g, b


def _jitter(colour: Colour, random: np.random.Generator) -> Colour:
    r, g, b = (int(np.clip(c + d, 0, 255)) for c, d in zip(colour, random.normal(0, 9, 3), strict=True))
    return r, g, b
