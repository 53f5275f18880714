"""open_clip's real loading code, on a tiny checkpoint."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny_models import CLIP, CLIP_IMAGES, clip_folder

from demure.errors import ExtractorError

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")
from demure_extractors.clip import ClipImage, ClipText  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return clip_folder(tmp_path_factory.mktemp("clip") / "a folder: tiny@home")


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 255, (40 + k, 50, 3), dtype=np.uint8)) for k in range(3)]


def test_images_go_through_the_models_own_preprocessing(folder, pictures):
    encoder = ClipImage(str(folder), None, "cpu")
    model = open_clip.create_model(f"local-dir:{folder}")
    model.eval()
    expected = []
    for picture in pictures:
        small = picture.resize((32, 32), Image.Resampling.BILINEAR)
        pixels = (np.asarray(small, dtype=np.float32) / 255 - CLIP_IMAGES["mean"]) / CLIP_IMAGES["std"]
        with torch.no_grad():
            out = model.encode_image(torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32))[0].numpy()
        expected.append(out / np.linalg.norm(out))
    got = encoder.encode([encoder.prepare(picture) for picture in pictures])
    assert got.dtype == np.float32
    assert got.shape == (3, 16) == (3, encoder.dim)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    stated = encoder.identity()
    assert stated["preprocessing"]["mean"] == [0.4, 0.5, 0.6]
    assert stated["preprocessing"]["resize_mode"] == "squash"
    assert "assumed" not in stated
    json.dumps(stated)


def test_texts_go_through_the_text_tower(folder):
    encoder = ClipText(str(folder), None, "cpu")
    texts = ["a cat", "a very long story " * 50, "a cat"]
    model = open_clip.create_model(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.eval().encode_text(tokens), dim=1).numpy()
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)
    assert encoder.identity()["preprocessing"] == "cut at 16 tokens"


def test_a_model_that_does_not_say_how_to_preprocess_is_refused(tmp_path):
    with pytest.raises(ExtractorError, match="does not say how images are preprocessed"):
        ClipImage(str(clip_folder(tmp_path / "silent", preprocess=None)), None, "cpu")
    partly = ClipImage(
        str(clip_folder(tmp_path / "partly", {"mean": [0.5] * 3, "std": [0.5] * 3})), None, "cpu"
    ).identity()
    assert partly["assumed"] == [
        "interpolation bicubic (open_clip's default)",
        "resize_mode shortest (open_clip's default)",
    ]


def test_pickled_or_absent_weights_are_refused(tmp_path):
    folder = clip_folder(tmp_path / "model")
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ExtractorError, match=r"only pickled ones \(open_clip_pytorch_model.bin\)"):
        ClipImage(str(folder), None, "cpu")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ExtractorError, match=r"no open_clip_config.json"):
        ClipImage(str(tmp_path), None, "cpu")


@pytest.fixture
def tiny_tag(tmp_path, monkeypatch):
    """An architecture and a tag that open_clip lists, with weights in the hub's cache."""
    from huggingface_hub import constants
    from open_clip import factory, pretrained

    cache = tmp_path / "cache"
    snapshot = cache / "models--tiny--clip" / "snapshots" / "c0ffee"
    clip_folder(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny-1", json.loads(json.dumps(CLIP)))
    tags = {"cats": pretrained._pcfg(hf_hub="tiny/clip/"), "pickled": pretrained._pcfg(url="https://example.org/w.pt")}
    tags["quick"] = pretrained._pcfg(hf_hub="tiny/clip/", quick_gelu=True)
    monkeypatch.setitem(pretrained._PRETRAINED, "Tiny-1", tags)
    return snapshot


def test_architecture_and_tag_load_from_the_cache(tiny_tag, pictures):
    encoder = ClipImage("Tiny-1/cats", None, "cpu")
    stated = encoder.identity()
    assert (stated["model"], stated["revision"], stated["tag"]) == ("tiny/clip", "c0ffee", "cats")
    assert stated["preprocessing"]["resize_mode"] == "shortest"
    assert stated["preprocessing"]["interpolation"] == "bicubic"
    prepared = [encoder.prepare(picture) for picture in pictures]
    plain = encoder.encode(prepared)
    assert np.isfinite(plain).all()
    # The tag says which activation its weights were trained with; open_clip itself only warns.
    assert not np.allclose(ClipImage("Tiny-1/quick", None, "cpu").encode(prepared), plain)
    assert ClipText("Tiny-1/cats", None, "cpu").encode(["a cat"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("Tiny-1/cast", "has no pretrained tag 'cast'; write clip:Tiny-1/TAG; did you mean 'cats'"),
        ("Tiny-1", "no pretrained tag is given"),
        ("Tiny-1/pickled", "published only as a pickle"),
    ],
)
def test_tags_that_cannot_be_had(tiny_tag, model, says):
    with pytest.raises(ExtractorError, match=says):
        ClipImage(model, None, "cpu")
