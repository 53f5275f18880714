"""Large JPEG files are decoded at a reduced size for encoders that say how much they read, and only they change."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from demure.extraction import extract
from demure.extraction.decoding import decode_image, possible_reduction
from demure.extraction.extract import ExtractOptions, extract_items
from demure.features import store

SMOOTH = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8))


def picture(width, height, kind="JPEG", **options):
    data = io.BytesIO()
    SMOOTH.resize((width, height), Image.Resampling.BICUBIC).save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    ("width", "height", "reduction"),
    [(63, 400, 1), (64, 400, 2), (127, 200, 2), (400, 128, 4), (256, 256, 8), (999, 999, 8)],
)
def test_two_pixels_stay_for_each_that_the_encoder_reads(width, height, reduction):
    data = picture(width, height)
    assert possible_reduction(io.BytesIO(data), 16) == reduction
    expected = (-(-width // reduction), -(-height // reduction))
    assert decode_image(data, reduction).size == expected


@pytest.mark.parametrize("data", [picture(400, 400, "PNG"), b"no image", picture(400, 400)[:20], b""])
def test_other_formats_and_damaged_files_are_not_reduced(data):
    assert possible_reduction(io.BytesIO(data), 16) == 1


def test_the_encoder_reads_nearly_the_same_pixels():
    data = picture(600, 450, quality=95)
    whole, reduced = (
        np.asarray(decode_image(data, factor).resize((64, 64), Image.Resampling.BICUBIC), dtype=float)
        for factor in (1, possible_reduction(io.BytesIO(data), 64))
    )
    assert np.abs(whole - reduced).mean() < 1  # of 255 levels


def test_a_turned_photograph_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(picture(400, 200, exif=exif), 2).size == (100, 200)


class Mean:
    """An image is its mean colour and its width."""

    dim, batch = 4, 2

    def __init__(self, **attributes):
        self.encoded = 0
        vars(self).update(attributes)

    def identity(self):
        return {}

    def prepare(self, image):
        return np.array([*np.asarray(image, dtype=np.float32).mean(axis=(0, 1)), image.width], dtype=np.float32)

    def encode(self, prepared):
        self.encoded += len(prepared)
        return np.stack(list(prepared))


def test_only_large_images_are_encoded_anew(tmp_path, monkeypatch):
    sizes = [(40, 40), (64, 80), (300, 200)]
    for k, size in enumerate(sizes):
        (tmp_path / f"{k}.jpg").write_bytes(picture(*size))
    names = [f"{k}.jpg" for k in range(len(sizes))]
    items = pd.DataFrame({"item_id": names, "image": names})
    items.to_parquet(tmp_path / "items.parquet")

    def widths(encoder):
        monkeypatch.setattr(extract, "load_encoder", lambda *_: encoder)
        extract_items(tmp_path, items, [], tmp_path, {"image": "clip:x"}, ExtractOptions("cpu"))
        made = store.load(tmp_path, "image")
        # The request alone does not tell two fakes apart.
        (tmp_path / "features" / "image" / "request.json").unlink()
        return made.vectors[:, 3].tolist(), encoder.encoded, made.provenance.get("decoded_at_reduced_size")

    assert widths(Mean()) == ([40, 64, 300], 3, None)
    assert widths(Mean(pixels_of_a_side=50)) == ([40, 64, 150], 1, 1)
    assert widths(Mean(pixels_of_a_side=50)) == ([40, 64, 150], 0, 1)
    assert widths(Mean(pixels_of_a_side=1000)) == ([40, 64, 300], 1, None)
