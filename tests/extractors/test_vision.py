"""transformers' real loading code for image models, on a tiny ViT."""

import json

import numpy as np
import pytest
from PIL import Image
from support.tiny_models import bert_folder, vit_folder

from demure.errors import ExtractorError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from demure_extractors.vision import Vision  # noqa: E402


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(3)]


def pixels(pictures):
    """At 32 x 32 the processor has nothing to resize: what remains is (x / 255 - .5) / .25."""
    array = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures]).transpose(0, 3, 1, 2)
    return torch.tensor((array / 255 - 0.5) / 0.25)


def test_the_pooled_output_is_taken_where_it_was_trained(tmp_path, pictures):
    folder = vit_folder(tmp_path / "vit")
    encoder = Vision(str(folder), None, "cpu")
    with torch.no_grad():
        expected = transformers.ViTModel.from_pretrained(folder).eval()(pixels(pictures)).pooler_output.numpy()
    got = encoder.encode([encoder.prepare(picture) for picture in pictures])
    assert got.shape == (3, encoder.dim) == (3, 16)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert encoder.identity()["output"] == "pooled output"
    assert encoder.identity()["preprocessing"]["image_mean"] == [0.5, 0.5, 0.5]
    json.dumps(encoder.identity())


def test_a_pooler_without_weights_is_not_used(tmp_path, pictures):
    folder = vit_folder(tmp_path / "vit", pooler=False)
    encoder = Vision(str(folder), None, "cpu")
    with torch.no_grad():
        model = transformers.ViTForImageClassification.from_pretrained(folder).eval()
        expected = model.vit(pixels(pictures)).last_hidden_state[:, 0].numpy()
    got = encoder.encode([encoder.prepare(picture) for picture in pictures])
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert encoder.identity()["output"] == "first token"


def test_no_preprocessing_no_features(tmp_path):
    with pytest.raises(ExtractorError, match=r"no preprocessor_config.json"):
        Vision(str(vit_folder(tmp_path / "vit", processor=False)), None, "cpu")


def test_a_text_model_is_refused(tmp_path):
    with pytest.raises(ExtractorError, match=r"no preprocessor_config.json"):
        Vision(str(bert_folder(tmp_path / "bert")), None, "cpu")


def test_dinov2_and_siglip_give_what_transformers_gives(tmp_path, pictures):
    from transformers import (
        Dinov2Config,
        Dinov2Model,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
        SiglipVisionConfig,
        SiglipVisionModel,
        ViTImageProcessor,
    )

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    siglip = SiglipConfig(
        vision_config={**shape, "intermediate_size": 32},
        text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 30},
    )
    both = SiglipModel(siglip)
    models = {
        "dinov2": (Dinov2Model(Dinov2Config(**shape, mlp_ratio=2)), ViTImageProcessor),
        "siglip": (both, SiglipImageProcessor),
        "siglip-vision": (SiglipVisionModel(SiglipVisionConfig(**shape, intermediate_size=32)), SiglipImageProcessor),
    }
    for name, (model, processor) in models.items():
        folder = tmp_path / name
        model.eval().save_pretrained(folder)
        size = {"height": 32, "width": 32}
        processor(size=size, image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(folder)
        encoder = Vision(str(folder), None, "cpu")
        vision = model.vision_model if name == "siglip" else model
        with torch.no_grad():
            expected = vision(pixel_values=pixels(pictures)).pooler_output.numpy()
        got = encoder.encode([encoder.prepare(picture) for picture in pictures])
        np.testing.assert_allclose(got, expected, atol=1e-5, err_msg=name)
        assert encoder.dim == 16
