"""open_clip's real loading code, on a tiny checkpoint."""

import json

import numpy as np
import pytest
from PIL import Image
from support.tiny_models import CLIP, CLIP_IMAGES, clip_folder

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


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
def test_pixels_are_scaled_on_the_device_to_the_last_bit_as_by_the_library(tmp_path, pictures, mode):
    encoder = ClipImage(str(clip_folder(tmp_path / mode, {**CLIP_IMAGES, "resize_mode": mode})), None, "cpu")
    prepared = [encoder.prepare(picture) for picture in pictures]
    assert {pixels.dtype for pixels in prepared} == {torch.uint8}
    whole = torch.stack([encoder.transform(picture) for picture in pictures])
    with torch.inference_mode():
        expected = encoder.model.encode_image(whole, normalize=True).numpy()
    np.testing.assert_array_equal(encoder.encode(np.stack([np.asarray(pixels) for pixels in prepared])), expected)
    np.testing.assert_array_equal(encoder.encode(whole.numpy()), expected)
    assert encoder.pixels_of_a_side == 32


def test_texts_go_through_the_text_tower(folder):
    encoder = ClipText(str(folder), None, "cpu")
    texts = ["a cat", "a very long story " * 50, "a cat"]
    model = open_clip.create_model(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(model.eval().encode_text(tokens), dim=1).numpy()
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)
    assert encoder.identity()["preprocessing"] == "cut at 16 tokens"


def test_a_model_without_stated_preprocessing_is_refused(tmp_path):
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
    # The tag states which activation its weights were trained with; open_clip itself only warns.
    assert not np.allclose(ClipImage("Tiny-1/quick", None, "cpu").encode(prepared), plain)
    assert ClipText("Tiny-1/cats", None, "cpu").encode(["a cat"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("Tiny-1/cast", "has no pretrained tag 'cast'; write clip:Tiny-1/TAG; did you mean 'cats'"),
        ("Tiny-1", "no pretrained tag is given"),
        ("Tiny-1/pickled", "published only as a pickle"),
    ],
)
def test_tags_that_cannot_be_had(tiny_tag, model, message):
    with pytest.raises(ExtractorError, match=message):
        ClipImage(model, None, "cpu")


def test_siglip_and_mobileclip_as_open_clip_publishes_them(tmp_path, pictures):
    """Towers of timm, a tokenizer of transformers beside the weights, sigmoid loss, pixels that are not normalised."""
    from safetensors.torch import save_file
    from support.tiny_models import bert_folder

    vision = {"image_size": 32, "timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "map"}
    text = {**CLIP["text_cfg"], "hf_tokenizer_name": "none", "pool_type": "last", "no_causal_mask": True}
    shape = {
        "embed_dim": 16,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {**vision, "timm_proj": "none"},
    }
    shape |= {"text_cfg": {**text, "vocab_size": 60}, "embed_dim": 64}
    folder = bert_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.manual_seed(0)
    timm = pytest.importorskip("timm")
    if "test_vit" not in timm.list_models():
        pytest.skip("this timm has no test_vit")
    from open_clip.model import CustomTextCLIP

    model = CustomTextCLIP(**json.loads(json.dumps({k: v for k, v in shape.items() if k != "custom_text"}))).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    stated = {"mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": stated}))
    encoder = ClipImage(str(folder), None, "cpu")
    small = [np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float32) for picture in pictures]
    pixels = torch.tensor(np.stack(small).transpose(0, 3, 1, 2) / 255)
    with torch.no_grad():
        expected = model.encode_image(pixels, normalize=True).numpy()
    got = encoder.encode([encoder.prepare(picture) for picture in pictures])
    np.testing.assert_allclose(got, expected, atol=1e-5)
    texts = ClipText(str(folder), None, "cpu")
    made = texts.encode(["a cat sat", "the dog"])
    assert made.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
