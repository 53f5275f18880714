"""New texts get the prompt that was chosen when the stored vectors were made."""

import json

import numpy as np
from support.small_sets import prepared_set
from support.tiny_models import bert_folder

from demure.data.dataset import Dataset
from demure.extraction.extract import extract
from demure.extraction.new_content import ModalityEncoder
from demure.features import store


def test_new_texts_get_the_recorded_prompt(tmp_path):
    model = bert_folder(tmp_path / "model", {"pooling_mode": "mean"})
    prompts = {"document": "story of ", "query": "star "}
    (model / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    folder = prepared_set(tmp_path / "dataset", {"item_id": ["a", "b"], "title": ["red cat", "blue ship"]})
    extract(folder, text=f"sentence:{model}", image=None, prompt="query")
    stored = store.load(folder, "text").vectors
    encoder = ModalityEncoder.open(Dataset.load(folder), "text", "cpu")
    np.testing.assert_allclose(encoder.encode_texts(["blue ship"]).vectors[0], stored[1], atol=2e-3)
    # The default prompt would give other vectors.
    extract(folder, text=f"sentence:{model}", image=None)
    assert np.abs(store.load(folder, "text").vectors[1] - stored[1]).max() > 0.01
