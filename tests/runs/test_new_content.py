"""New content gets the vectors and coordinates that training would have given it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from support.manifests import rewrite
from support.small_catalogue import picture

from demure.errors import FeatureError, RunError
from demure.extraction.images import image_inputs
from demure.features import store
from demure.runs.load import load_run
from demure.runs.new_content import ContentEncoder


@pytest.fixture(scope="module")
def loaded(catalogue_run):
    return load_run(catalogue_run)


@pytest.fixture(scope="module")
def encoder(loaded):
    return ContentEncoder(loaded)


def test_the_catalogue_encoded_again_is_the_catalogue(loaded, encoder):
    rows = np.arange(loaded.dataset.n_items)
    content = encoder.encode_items(loaded.dataset.items, loaded.dataset.images_root, of_items=rows)
    assert list(content) == ["attributes", "image", "text"]
    for name, expert in zip(content, loaded.recommender.denoiser.experts(), strict=True):
        stored = store.load(loaded.dataset.path, name)
        np.testing.assert_array_equal(content[name].present, stored.present)
        np.testing.assert_allclose(content[name].vectors, stored.vectors, atol=1e-6)
        np.testing.assert_allclose(content[name].coordinates, expert.coordinates_ID.numpy(), atol=1e-5)
    ids = list(loaded.dataset.item_ids)
    assert [(ids[k], kind) for k, kind, _ in content["text"].problems] == [("i3", "empty text")]
    assert [(ids[k], kind) for k, kind, _ in content["image"].problems] == [("i4", "no image given")]


def test_single_texts_and_pictures_are_encoded_as_in_a_table(loaded, encoder):
    row = loaded.dataset.items.iloc[[0]].reset_index(drop=True)
    content = encoder.encode_items(row, loaded.dataset.images_root)
    text = encoder.encode_texts("text", [row["title"][0], "unheard of"])
    np.testing.assert_array_equal(text.vectors[0], content["text"].vectors[0])
    assert text.present.tolist() == [True, False]
    assert [problem.kind for problem in text.problems] == ["the encoder knows nothing in it"]
    image = encoder.encode_images("image", [image_inputs(row, loaded.dataset.images_root).load(0), picture(2, 99)])
    np.testing.assert_array_equal(image.vectors[0], content["image"].vectors[0])
    assert np.abs(image.coordinates[1] - image.coordinates[0]).max() > 0.01


def test_a_column_that_is_absent_counts_as_empty(encoder):
    content = encoder.encode_items(pd.DataFrame({"item_id": ["new"]}))
    assert not any(part.present.any() for part in content.values())
    assert all(part.problems for part in content.values())


def test_a_run_without_stored_projections_computes_them_again(encoder, catalogue_run, tmp_path):
    run = shutil.copytree(catalogue_run, tmp_path / "run")
    (run / "projection.safetensors").unlink()
    rewrite(run / "run.json", lambda content: content["files"].pop("projection.safetensors"))
    older = ContentEncoder(load_run(run))
    for name in encoder.modalities:
        new, stored = older.projections[name], encoder.projections[name]
        np.testing.assert_allclose(new.axes.axes, stored.axes.axes, atol=1e-9)
        np.testing.assert_allclose(new.scale.centre, stored.scale.centre)


def test_a_variant_of_an_item_loses_the_same_time_trend(catalogue_run):
    """A trend that training took from item 7 alone is taken from its variants, and from nothing else."""
    loaded = load_run(catalogue_run)
    expert = loaded.recommender.denoiser.experts()[loaded.manifest.modalities.index("image")]
    trend = np.linspace(0.5, -0.3, expert.coordinates_ID.shape[1], dtype=np.float32)
    expert.coordinates_ID[7] -= torch.as_tensor(trend)
    encoder = ContentEncoder(loaded)
    vectors, present = encoder.stored("image").vectors[[12, 12]], np.ones(2, bool)
    variant = encoder.project("image", vectors, present, of_items=np.array([7, 20]))
    without = encoder.project("image", vectors, present)
    np.testing.assert_allclose(without.coordinates - variant.coordinates, [trend, 0 * trend], atol=1e-5)


def test_features_that_were_made_anew_are_refused(catalogue, catalogue_run, tmp_path):
    dataset = shutil.copytree(catalogue, tmp_path / "dataset")
    run = shutil.copytree(catalogue_run, tmp_path / "run")
    rewrite(run / "run.json", lambda content: content["dataset"].update(path=str(dataset)))
    features = store.load(dataset, "image")
    moved = store.Features("image", features.vectors[::-1].copy(), features.present, features.provenance)
    store.save(dataset, moved)
    with pytest.raises(RunError, match="other features 'image'"):
        ContentEncoder(load_run(run))
    # Recorded as if the training had seen them: the encoder does not give these vectors.
    digest = json.loads((dataset / "features" / "image" / "features.json").read_text())["features_sha256"]
    rewrite(run / "run.json", lambda content: content["features"]["image"].update(features_sha256=digest))
    with pytest.raises(FeatureError, match=r"gives item .* another vector"):
        ContentEncoder(load_run(run)).encoder("image")


def test_an_unknown_modality_and_imported_features_are_refused(run, encoder):
    with pytest.raises(RunError, match="has no modality 'audio'"):
        encoder.encoder("audio")
    imported = ContentEncoder(load_run(run))
    with pytest.raises(FeatureError, match="imported as vectors"):
        imported.encoder("image")
    content = imported.encode_items(pd.DataFrame({"item_id": ["new"]}))
    assert [part.problems[0].kind for part in content.values()] == ["no vector given"] * 2
    with pytest.raises(FeatureError, match="have 3 numbers"):
        imported.project("image", np.ones((1, 3), np.float32), np.ones(1, bool))
