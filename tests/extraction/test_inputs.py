"""Every kind of bad picture and text is either read as stated or a listed problem; none is an exception."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from demure.errors import ExtractorError
from demure.extraction.decoding import UnusableInput, decode_image
from demure.extraction.images import image_inputs
from demure.extraction.inputs import text_inputs


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


RED = Image.new("RGB", (8, 6), (200, 20, 20))


def close(image, color, atol=6):
    return np.allclose(np.asarray(image, dtype=int), color, atol=atol)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_formats(kind):
    assert decode_image(encoded(RED, kind)).size == (8, 6)
    assert close(decode_image(encoded(RED, kind)), (200, 20, 20))


def test_cmyk_palette_and_grey():
    assert close(decode_image(encoded(RED.convert("CMYK"), "JPEG", quality=95)), (200, 20, 20))
    assert close(decode_image(encoded(RED.convert("P", palette=Image.Palette.ADAPTIVE))), (200, 20, 20))
    assert close(decode_image(encoded(Image.new("L", (4, 4), 77))), (77, 77, 77))
    assert close(decode_image(encoded(Image.new("1", (4, 4), 1))), (255, 255, 255))


def test_sixteen_bits_become_eight():
    levels = np.full((4, 4), 128 * 257, dtype=np.uint16)
    assert close(decode_image(encoded(Image.fromarray(levels))), (128, 128, 128), atol=1)
    assert close(decode_image(encoded(Image.fromarray(np.full((4, 4), 40, dtype=np.uint16)))), (0, 0, 0), atol=1)
    assert close(
        decode_image(encoded(Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)), "TIFF")), (128, 128, 128), 1
    )


def test_what_is_transparent_is_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert close(decode_image(encoded(clear)), (255, 255, 255))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert close(decode_image(encoded(half)), (127, 127, 127), atol=1)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 0, 0])
    assert close(decode_image(encoded(palette, transparency=0)), (255, 255, 255))


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert close(decode_image(data), (255, 0, 0))


def test_pictures_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    wide = Image.new("RGB", (8, 4), "black")
    wide.paste("white", (0, 0, 4, 4))
    upright = decode_image(encoded(wide, "JPEG", exif=exif.tobytes(), quality=95))
    assert upright.size == (4, 8)
    assert close(upright.crop((0, 0, 4, 3)), (255, 255, 255))


def bomb():
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<html>not inputs</html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:600], "truncated image"),
        (encoded(Image.effect_noise((64, 64), 50), "PNG")[:600], "image"),
        (bomb(), "too many pixels"),
    ],
)
def test_undecodable_files_have_a_reason(data, kind):
    with pytest.raises(UnusableInput) as problem:
        decode_image(data)
    assert kind in problem.value.kind


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(encoded(RED))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "red.png").write_bytes(encoded(RED))
    (root / "again.jpg").write_bytes(encoded(RED))
    (root / "wrong.png").write_bytes(encoded(RED, "JPEG"))
    (root / "empty.png").write_bytes(b"")
    (root / "cut.jpg").write_bytes(encoded(Image.effect_noise((64, 64), 50), "JPEG")[:600])
    (root / "sub").mkdir()
    return root


def test_which_item_has_which_picture(folder):
    problem_of = {
        "red.png": "",
        "again.jpg": "",
        "wrong.png": "",
        str(folder / "red.png"): "",
        None: "no image given",
        "": "no image given",
        float("nan"): "no image given",
        "https://example.org/a.png": "a URL, not a file",
        "data:image/png;base64,AAAA": "a URL, not a file",
        "../secret.png": "outside the images folder",
        "/etc/passwd": "outside the images folder",
        "link.png": "outside the images folder",
        "nowhere.png": "no such file",
        "x" * 5000: "cannot be read",
        "nul\0.png": "no such file",
        "sub": "not a file",
        "empty.png": "empty file",
    }
    inputs = image_inputs(pd.DataFrame({"image": list(problem_of)}), folder)
    assert len(inputs.keys) == 2  # red.png and its copy under another suffix are one; the JPEG is another
    assert inputs.index[:4].tolist() == [0, 0, 1, 0]
    assert inputs.load(1).size == (8, 6)
    problems = {item: kind for item, kind, _ in inputs.problems}
    assert [problems.get(item, "") for item in range(len(problem_of))] == list(problem_of.values())


def test_a_picture_that_turns_out_bad_names_its_file(folder):
    inputs = image_inputs(pd.DataFrame({"image": ["cut.jpg"]}), folder)
    with pytest.raises(UnusableInput) as problem:
        inputs.load(0)
    assert problem.value.value.startswith("cut.jpg: ")


def test_no_pictures_at_all(tmp_path):
    with pytest.raises(ExtractorError, match="the items have no images"):
        image_inputs(pd.DataFrame({"title": ["a"]}), tmp_path)
    with pytest.raises(ExtractorError, match="not there any more"):
        image_inputs(pd.DataFrame({"image": ["a"]}), tmp_path / "gone")


def test_texts_are_all_columns_in_their_order():
    items = pd.DataFrame(
        {
            "title": ["Heat ", "Heat", None, "  ", "x|y"],
            "genres": ["Action|Crime", "Action|Crime", "", float("nan"), None],
            "note": ["", None, "two\n lines", "", ""],
        }
    )
    inputs = text_inputs(items, ["title", "genres", "note"])
    assert [inputs.load(k) for k in range(len(inputs.keys))] == ["Heat\nAction, Crime", "two lines", "x|y"]
    assert inputs.index.tolist() == [0, 0, 1, -1, 2]
    assert inputs.problems == [(3, "empty text", "")]
    with pytest.raises(ExtractorError, match="the items have no text"):
        text_inputs(items, [])


def test_files_that_have_not_changed_are_not_read_again(folder, tmp_path, monkeypatch):
    (folder / "other.png").write_bytes(encoded(Image.new("RGB", (5, 5), "blue")))
    items = pd.DataFrame({"image": ["red.png", "again.jpg", "other.png", None, "nowhere.png", "link.png"]})
    first = image_inputs(items, folder, tmp_path / "cache.parquet")
    read = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or real(path))
    second = image_inputs(items, folder, tmp_path / "cache.parquet")
    assert read == []
    assert np.array_equal(first.keys, second.keys)
    assert first.index.tolist() == second.index.tolist()
    assert first.problems == second.problems
    (folder / "other.png").write_bytes(encoded(Image.new("RGB", (5, 5), "green")))
    third = image_inputs(items.iloc[::-1], folder, tmp_path / "cache.parquet")
    assert read == ["other.png"]
    assert third.index.tolist() == [-1, -1, -1, 0, 1, 1]
    assert not np.array_equal(third.keys[0], second.keys[1])
    (tmp_path / "cache.parquet").write_bytes(b"damaged")
    assert np.array_equal(image_inputs(items.iloc[::-1], folder, tmp_path / "cache.parquet").keys, third.keys)


def test_a_file_that_became_a_link_to_the_outside_is_found_out(folder, tmp_path):
    items = pd.DataFrame({"image": ["red.png"]})
    image_inputs(items, folder, tmp_path / "cache.parquet")
    (folder / "red.png").unlink()
    (folder / "red.png").symlink_to(tmp_path / "secret.png")
    assert image_inputs(items, folder, tmp_path / "cache.parquet").problems == [
        (0, "outside the images folder", "red.png")
    ]


def test_a_picture_that_changes_meanwhile_is_not_taken_for_the_old_one(folder):
    inputs = image_inputs(pd.DataFrame({"image": ["red.png"]}), folder)
    (folder / "red.png").write_bytes(encoded(Image.new("RGB", (8, 6), "blue")))
    with pytest.raises(UnusableInput, match="changed while it was being encoded"):
        inputs.load(0)
