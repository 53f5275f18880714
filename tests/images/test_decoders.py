"""Decoding in other processes: the same answers as in this one, and no file can hang, crash or run anything."""

import io
import os
import signal
import struct
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.hostile_images import postscript, slow_jpeg

from demure.extraction.decoding import decode_image
from demure.images.decoders import TOO_LONG, ImageDecoders
from demure.images.unusable import UnusableInput
from demure.report.thumbnails import Thumbnailer, thumbnails

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


@pytest.fixture(scope="module")
def decoders():
    decoders = ImageDecoders(2)
    yield decoders
    decoders.close()


def encoded(kind, size=(24, 16)):
    data = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(data, kind)
    return data.getvalue()


WHOLE = {kind: encoded(kind) for kind in FORMATS}


def kind_of_problem(call, *arguments):
    try:
        call(*arguments)
    except UnusableInput as problem:
        return problem.kind
    return None


@pytest.mark.parametrize("kind", FORMATS)
def test_whole_images(decoders, tmp_path, kind):
    assert decoders.check(WHOLE[kind]) == kind
    (tmp_path / "a").write_bytes(WHOLE[kind])
    small = decoders.thumbnail(tmp_path / "a", 12, 12)
    assert (small.mode, small.size) == ("RGB", (12, 8))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 2000), st.binary(max_size=12), st.booleans())
def test_damaged_files_are_what_they_are_in_this_process(decoders, kind, position, patch, cut):
    data = bytearray(WHOLE[kind])
    position %= len(data)
    data[position : position + len(patch)] = patch
    data = bytes(data[:position] if cut else data)
    assert kind_of_problem(decoders.check, data) == kind_of_problem(decode_image, data)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(decoders, data):
    assert kind_of_problem(decoders.check, data) == kind_of_problem(decode_image, data)


def test_files_that_are_not_there(decoders, tmp_path):
    for path in (tmp_path / "gone.png", tmp_path, tmp_path / ("x" * 300)):
        assert kind_of_problem(decoders.thumbnail, path, 9, 9) == "cannot be read"


def test_an_image_that_takes_too_long_costs_its_limit_and_nothing_else(decoders, tmp_path):
    data = slow_jpeg(1000)  # about a second on a fast machine
    (tmp_path / "slow.jpg").write_bytes(data)
    assert kind_of_problem(decoders.check, data, 0.1) == TOO_LONG
    assert kind_of_problem(decoders.thumbnail, tmp_path / "slow.jpg", 9, 9, 0.1) == TOO_LONG
    assert decoders.check(WHOLE["PNG"]) == "PNG"


def test_a_process_that_dies_is_replaced(decoders):
    assert decoders.check(WHOLE["PNG"]) == "PNG"
    for decoder in decoders._started:
        os.kill(decoder._process.pid, signal.SIGKILL)  # as a machine that is short of memory does
    assert decoders.check(WHOLE["JPEG"]) == "JPEG"


def test_closing_gives_up_what_is_being_decoded():
    decoders = ImageDecoders(1)
    problems = []
    wait = threading.Thread(target=lambda: problems.append(kind_of_problem(decoders.check, slow_jpeg(4000), 60.0)))
    wait.start()
    while not decoders._started:
        time.sleep(0.01)
    decoders.close()
    wait.join(20)
    assert problems == ["not decoded"]
    assert decoders.check(WHOLE["PNG"]) == "PNG"
    decoders.close()


def test_many_slow_pictures_cannot_hold_a_page_up(tmp_path, monkeypatch):
    asked = []

    class Slow:
        def thumbnail(self, path, width, height, seconds):
            asked.append(seconds)
            raise UnusableInput(TOO_LONG)

    monkeypatch.setattr("demure.report.thumbnails.shared_decoders", Slow)
    thumbnailer = Thumbnailer()
    assert thumbnails([tmp_path / f"{k}.jpg" for k in range(100)], 10**6, thumbnailer=thumbnailer) == [""] * 100
    assert thumbnailer.n_unreadable == len(asked) == 100  # none is tried a second time
    assert sum(asked) < 60
    assert min(asked) == 0.25


def test_no_program_is_started_for_any_file(decoders, tmp_path, monkeypatch):
    """Pillow starts Ghostscript for PostScript. A stand-in for it leaves a trace; so would any other program."""
    for name in ("gs", "gswin64c", "gswin32c", "djpeg"):
        (tmp_path / name).write_text(f'#!/bin/sh\ntouch "{tmp_path}/started"\necho 10.0\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fresh = ImageDecoders(1)  # its process has the stand-ins in its PATH
    (tmp_path / "x.png").write_bytes(postscript())
    assert kind_of_problem(fresh.check, postscript()) == "not an image"
    assert kind_of_problem(fresh.thumbnail, tmp_path / "x.png", 9, 9) == "not an image"
    fresh.close()
    assert not (tmp_path / "started").exists()


def test_too_many_pixels_are_not_decoded(decoders):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + b"\0\0\0\0"
    assert kind_of_problem(decoders.check, data) in {"too many pixels", "not an image"}
