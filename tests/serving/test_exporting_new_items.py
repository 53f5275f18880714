"""An export with products that came after the training scores them as `demure recommend --items` does."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from torch.torch_version import TorchVersion

from demure.errors import DemureError
from demure.features import store
from demure.model.item_item_density import ItemItemParameters
from demure.runs.load import load_run
from demure.runs.new_items import with_new_items
from demure.serving.export import export
from demure.serving.item_item import score_item_item
from demure.serving.onnx import FIRST_TORCH, DemureGraph
from demure_cli.app import main

NEW = ["new1", "new2", "new3"]


@pytest.fixture(scope="module")
def items(timed, tmp_path_factory):
    """The arguments of three new items, with the vectors of three others; one lacks its text."""
    folder = tmp_path_factory.mktemp("items")
    pd.DataFrame({"item_id": NEW}).to_csv(folder / "new.csv", index=False)
    features = {name: store.load(timed, name) for name in ("image", "text")}
    rows = np.flatnonzero(features["image"].present & features["text"].present)[:3]
    files = {}
    for name, stored in features.items():
        vectors = stored.vectors[rows].copy()
        vectors[2] = np.nan if name == "text" else vectors[2]
        np.save(folder / f"{name}.npy", vectors)
        files[name] = folder / f"{name}.npy"
    return {"items": folder / "new.csv", "features": files}


def extended_run(path, items):
    loaded = with_new_items(load_run(path), items["items"], features=items["features"]).loaded
    histories = loaded.dataset.histories("train", "valid", "test")
    return loaded, histories, loaded.scorer_of(histories)(np.arange(loaded.dataset.n_users))


def best_of(loaded, histories, scores, user, k):
    scores = scores[user].copy()
    scores[histories.of(user)] = -np.inf
    return [loaded.item_ids[item] for item in np.argsort(-scores, kind="stable")[:k]]


def test_arrays_hold_the_new_items_after_the_others(runs, items, tmp_path):
    report = export(runs["demure"], tmp_path / "out", **items)
    loaded, histories, _ = extended_run(runs["demure"], items)
    manifest = json.loads((tmp_path / "out" / "export.json").read_text())
    ids = json.loads((tmp_path / "out" / "item_ids.json").read_text())
    assert ids == [*loaded.dataset.item_ids, *NEW]
    assert report.new_items == manifest["new_items"] == len(NEW)
    assert any("1 of 3 new items lack it" in note for note in report.notes)
    assert any("rank" in sentence and "3 new items" in sentence for sentence in report.lacks)
    arrays = load_file(tmp_path / "out" / "arrays.safetensors")
    for name in loaded.manifest.modalities:
        vectors, present = arrays[f"{name}.item_vectors"], arrays[f"{name}.present"]
        assert len(vectors) == len(present) == len(ids)
        assert present[-3:].tolist() == [1, 1, 0 if name == "text" else 1]
        assert not np.allclose(vectors[-3], vectors[-2])
    expected = loaded.recommender.collaborative(histories.padded(np.arange(9))) + loaded.recommender.log_popularity
    walk = ItemItemParameters(**manifest["numbers"]["walk"])
    assert np.allclose(score_item_item(arrays, walk, histories.padded(np.arange(9))), expected, atol=1e-5)


def test_the_module_of_the_graph_scores_new_items_as_the_run_does(runs, items):
    loaded, histories, expected = extended_run(runs["demure"], items)
    graph = DemureGraph(loaded.recommender, histories)
    history = np.full((loaded.dataset.n_users, graph.length), -1)
    padded = histories.padded(np.arange(len(history)), graph.length)
    history[:, : padded.shape[1]] = padded
    with torch.no_grad():
        _, scores = graph.eval()(torch.as_tensor(history))
    assert scores.shape[1] == loaded.dataset.n_items + 3
    assert np.allclose(scores.numpy(), expected, atol=1e-3)
    assert np.ptp(expected[:, -3:], axis=1).max() > 0  # the new items differ for a user


@pytest.mark.slow
def test_a_graph_ranks_new_items_as_recommend_does(runs, items, tmp_path):
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    if TorchVersion(torch.__version__) < FIRST_TORCH:
        pytest.skip(f"torch {torch.__version__} writes no graphs")
    runtime = pytest.importorskip("onnxruntime")
    export(runs["demure"], tmp_path / "out", format="onnx", **items)
    loaded, histories, expected = extended_run(runs["demure"], items)
    session = runtime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    length = session.get_inputs()[0].shape[1]
    history = np.full((loaded.dataset.n_users, length), -1)
    padded = histories.padded(np.arange(len(history)), length)
    history[:, : padded.shape[1]] = padded
    (scores,) = session.run(["scores"], {"history": history})
    assert np.allclose(scores, expected, atol=1e-3)
    users = [str(user) for user in loaded.dataset.user_ids[:5]]
    lists = loaded.recommend(users, 10)
    for code, user in enumerate(users):
        listed = lists.loc[lists["user_id"] == user, "score"]
        best = [
            int(np.flatnonzero(loaded.item_ids == item)[0]) for item in best_of(loaded, histories, scores, code, 10)
        ]
        assert np.allclose(expected[code][best], listed, atol=1e-3)


def test_what_cannot_be_exported_leaves_nothing(runs, items, tmp_path, capsys):
    with pytest.raises(DemureError, match="was made by vbpr, which cannot take new content"):
        export(runs["vbpr"], tmp_path / "out", **items)
    pd.DataFrame({"item_id": ["i0"]}).to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(DemureError, match="holds no new item"):
        export(runs["demure"], tmp_path / "out", items=tmp_path / "old.csv")
    run, out = str(runs["demure"]), str(tmp_path / "out")
    assert main(["export", run, "--out", out, "--images", str(tmp_path)]) == 2
    assert "--images: is about the items of --items; give --items FILE, too" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["old.csv"]


def test_the_command_takes_the_options_of_recommend(runs, items, tmp_path, capsys, monkeypatch):
    features = [text for name, file in items["features"].items() for text in ("--features", f"{name}={file}")]
    arguments = ["export", str(runs["demure"]), "--items", str(items["items"]), *features, "--format", "npy"]
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "3, the last in item_ids.json" in captured.out
    assert "text: 1 of 3 new items lack it" in captured.err
    assert max(map(len, captured.out.splitlines())) <= 80
