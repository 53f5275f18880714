"""A small version of the benchmark of `inspect --explain`: the word and the patch that mattered come first."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from demure_extractors.builtin import Tfidf
from support.small_sets import QUICK

from demure.diagnosis.attribution import explain_choice
from demure.model.variants import ChoiceVariants
from demure.runs.load import load_run
from demure.runs.new_content import ContentEncoder, EncodedContent

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "explain.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("explain_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def trained(benchmark, tmp_path_factory):
    """The marked items and a run on them, after six steps of training."""
    folder = tmp_path_factory.mktemp("marked")
    marked = benchmark.make(folder, users=150, items=120)
    benchmark.train(marked.dataset, folder / "run", overrides=QUICK, device="cpu")
    return marked, folder / "run"


@pytest.mark.parametrize(("nats", "rate"), [(3.0, 1.0), (-3.0, 0.0)])
def test_the_evidence_lies_where_it_comes_from(benchmark, trained, monkeypatch, nats, rate):
    """However well the model is trained: here the evidence is how much of the mark is left, or the contrary of it."""
    whole = (benchmark.PATCH / benchmark.SIDE) ** 2

    def encoded(shares):
        content = np.array(shares, np.float32)[:, None]
        return EncodedContent(content, content, np.ones(len(content), bool), [])

    def coloured(_, name, images, rows):  # the ground is grey
        return encoded([(np.ptp(np.asarray(image, np.float32), axis=2) > 30).mean() / whole for image in images])

    def with_theme(_, name, texts, rows):
        return encoded([not set(benchmark.THEMES).isdisjoint(text.split()) for text in texts])

    monkeypatch.setattr(ContentEncoder, "encode_images", coloured)
    monkeypatch.setattr(ContentEncoder, "encode_texts", with_theme)
    monkeypatch.setattr(ChoiceVariants, "ratios", lambda _, m, content, present: torch.exp(nats * content[:, 0]))
    assert benchmark.hit_rates(*trained, choices=8) == {"image": (rate, 8), "text": (rate, 8)}


def test_what_is_left_is_the_ratio_of_the_text_without_the_word(trained):
    """The user's history from the diagnosis, an encoder fitted again, and the model's projection, put together here."""
    run, frame = load_run(trained[1], "cpu"), pd.read_parquet(trained[1] / "diagnosis.parquet")
    user, item = frame[frame["modality"] == "text"].sort_values("evidence").iloc[-1][["user_id", "item_id"]]
    explained = explain_choice(trained[1], user, item, device="cpu").texts[0]
    encoder = Tfidf()
    encoder.fit(run.dataset.items["description"].tolist())
    words = [effect.word for effect in explained.words]
    texts = [" ".join(word for word in explained.text.split() if word != left_out) for left_out in ["", *words]]
    encoder_of_run = ContentEncoder(run, "cpu")
    code = list(run.dataset.item_ids).index(item)
    trend = encoder_of_run.encode_texts("text", [explained.text], np.array([code])).coordinates
    whole, present = encoder.encode(texts), np.ones(len(texts), bool)
    coordinates = encoder_of_run.projections["text"].apply(whole, present)
    coordinates += trend - coordinates[:1]  # what the item's features tell of the time of its choices
    names = list(run.manifest.modalities)
    own = {name: frame[(frame["user_id"] == user) & (frame["modality"] == name)] for name in names}
    chosen = own["text"]["item_id"].tolist()
    items = torch.tensor([list(run.dataset.item_ids).index(name) for name in chosen])
    weights = torch.tensor([own[name]["poi_probability"].tolist() for name in names]).T
    position = len(chosen) - 1 - chosen[::-1].index(item)
    variants = ChoiceVariants(run.recommender.denoiser, items, weights, position)
    ratios = variants.ratios(names.index("text"), torch.tensor(coordinates), torch.tensor(present).float())
    assert [effect.left for effect in explained.words] == pytest.approx((ratios[1:] / ratios[0]).tolist(), rel=1e-3)
    assert explained.words[-1].left - explained.words[0].left > 0.1


def test_a_trained_model_finds_the_word_and_the_patch(benchmark, trained):
    """Versions of torch draw other random numbers, with which the rates of pictures are from .67 to .80.

    By chance the strongest cell lies in the patch in a tenth of the choices, the strongest word is the right one in a
    thirteenth: 5 pictures or more would be hit in .004 of such tests, 7 words or more in .00001.
    """
    rates = benchmark.hit_rates(*trained, choices=12)
    assert {name: count for name, (_, count) in rates.items()} == {"image": 12, "text": 12}
    assert rates["text"][0] >= 7 / 12
    assert rates["image"][0] >= 5 / 12
