"""transformers' real loading code for audio models, on a tiny CLAP and a tiny wav2vec 2.0."""

import json
import pickle

import numpy as np
import pytest
from support.media_files import RATE, tone, write_sound
from support.tiny_models import clap_folder, vit_folder, waveform_folder

from demure.errors import ExtractorError
from demure.media.sound import SoundFile

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("av")
from demure_extractors.audio import SECONDS, Audio  # noqa: E402


class Samples:
    """A sound in memory, cut into parts of the length that the encoder reads, from its start."""

    def __init__(self, samples):
        self.samples = samples

    def excerpts(self, rate, seconds, most):
        assert rate == RATE
        length = round(rate * seconds)
        return [self.samples[k * length : (k + 1) * length] for k in range(most) if len(self.samples) > k * length]


def encode(encoder, *sounds):
    return encoder.encode([encoder.prepare(Samples(sound)) for sound in sounds])


def test_clap_agrees_with_the_pipeline_of_transformers(tmp_path):
    """Probabilities of labels by the library's own pipeline, and by our vectors and the model's text tower."""
    folder = clap_folder(tmp_path / "clap")
    sound = write_sound(tmp_path / "a.wav", tone(1.0, 200, 3000))
    labels = ["the cat", "fast red ship", "love story"]
    model = transformers.ClapModel.from_pretrained(folder).eval()
    pipeline = transformers.pipeline(
        "zero-shot-audio-classification",
        model=model,
        feature_extractor=transformers.AutoFeatureExtractor.from_pretrained(folder),
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
    )
    answers = pipeline(tone(1.0, 200, 3000), candidate_labels=labels, hypothesis_template="{}")
    expected = {answer["label"]: answer["score"] for answer in answers}

    encoder = Audio(str(folder), None, "cpu")
    [vector] = encoder.encode([encoder.prepare(SoundFile(sound, "a"))])
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(labels, return_tensors="pt", padding=True)
    with torch.no_grad():
        texts = model.get_text_features(**tokens).pooler_output
    logits = model.logit_scale_a.exp() * torch.nn.functional.normalize(texts, dim=1) @ torch.from_numpy(vector)
    assert dict(zip(labels, logits.softmax(0).tolist(), strict=True)) == pytest.approx(expected, abs=1e-5)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
def test_a_waveform_model_is_the_mean_over_time_of_its_states(tmp_path, kind):
    folder = waveform_folder(tmp_path / "model", kind)
    samples = tone(1.3, 200, 3000)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    with torch.no_grad():
        model = getattr(transformers, f"{kind}Model").from_pretrained(folder).eval()
        inputs = extractor(samples, sampling_rate=RATE, return_tensors="pt")
        expected = model(**inputs).last_hidden_state.mean(1).numpy()
    encoder = Audio(str(folder), None, "cpu")
    np.testing.assert_allclose(encode(encoder, samples), expected, atol=1e-5)
    assert encoder.dim == 16
    assert encoder.identity()["output"] == "mean over time"
    assert encoder.identity()["excerpts"] == {"seconds": SECONDS, "most": 3, "pooling": "mean"}


@pytest.mark.parametrize("make", [clap_folder, waveform_folder, lambda folder: clap_folder(folder, fusion=True)])
def test_a_vector_depends_on_no_other_sound_and_averages_its_excerpts(tmp_path, make):
    encoder = Audio(str(make(tmp_path / "model")), None, "cpu")
    length = round(encoder.seconds * RATE)
    long = tone(2 * encoder.seconds, 300, 2000)
    sounds = [long, tone(0.4, 500), tone(0.4, 900), tone(0.02), long[:length], long[length:]]
    together = encode(encoder, *sounds)
    assert together.shape == (6, encoder.dim)
    assert together.dtype == np.float32
    alone = np.concatenate([encode(encoder, sound) for sound in reversed(sounds)])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together[0], together[4:].mean(0), atol=1e-5)
    assert np.abs(together[1] - together[2]).max() > 1e-4
    np.testing.assert_array_equal(encode(encoder, *sounds), together)
    json.dumps(encoder.identity())


def test_worker_processes_get_no_copy_of_the_model(tmp_path):
    encoder = Audio(str(clap_folder(tmp_path / "clap")), None, "cpu")
    copy = pickle.loads(pickle.dumps(encoder))
    assert not hasattr(copy, "model")
    sound = Samples(tone(0.5))
    np.testing.assert_array_equal(copy.prepare(sound), encoder.prepare(sound))


def test_models_that_are_not_of_audio_are_refused(tmp_path):
    with pytest.raises(ExtractorError, match=r"no preprocessor_config.json"):
        Audio(str(waveform_folder(tmp_path / "bare", extractor=False)), None, "cpu")
    other = waveform_folder(tmp_path / "other")
    transformers.WhisperFeatureExtractor().save_pretrained(other)
    with pytest.raises(ExtractorError, match="its feature extractor is WhisperFeatureExtractor; use CLAP"):
        Audio(str(other), None, "cpu")
    with pytest.raises((ExtractorError, ValueError)):
        Audio(str(vit_folder(tmp_path / "vit")), None, "cpu")


def test_weights_that_the_files_lack_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = waveform_folder(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["wav2vec2.encoder.layer_norm.bias"]
    weights.pop("wav2vec2.masked_spec_embed")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExtractorError, match="1 weights of the model are not in its files"):
        Audio(str(folder), None, "cpu")
