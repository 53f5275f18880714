"""Image files that are made to do harm."""

from __future__ import annotations

import struct


def postscript() -> bytes:
    """Return a PostScript file, for which Pillow starts Ghostscript unless it is forbidden to."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"


def slow_jpeg(scans: int = 60, side: int = 4000) -> bytes:
    """Return a small JPEG of ``side`` x ``side`` pixels whose empty progressive ``scans`` take long to decode."""

    def segment(marker: int, data: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data

    def bits(text: str) -> bytes:
        text += "1" * (-len(text) % 8)
        return bytes(int(text[k : k + 8], 2) for k in range(0, len(text), 8)).replace(b"\xff", b"\xff\0")

    blocks = ((side + 7) // 8) ** 2
    runs, left = "", blocks
    while left > 0:  # runs of blocks without anything
        run = min(left, 32767)
        runs += "0" + format(run - 16384, "014b") if left >= 16384 else "10" * run
        left -= run if left >= 16384 else left
    head = (
        b"\xff\xd8"
        + segment(0xDB, b"\0" + b"\x01" * 64)
        + segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
        + segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\x00")
        + segment(0xC4, b"\x10" + bytes([1, 1] + [0] * 14) + b"\xe0\x00")
        + segment(0xDA, bytes([1, 1, 0x00, 0, 0, 0x00]))
        + bits("0" * blocks)
    )
    return head + (segment(0xDA, bytes([1, 1, 0x00, 1, 63, 0x00])) + bits(runs)) * scans + b"\xff\xd9"
