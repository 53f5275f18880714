"""An export gives the scores of the run by other means; an impossible export is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch.torch_version import TorchVersion

from demure.data.histories import Histories
from demure.errors import DemureError, MachineError
from demure.runs.load import load_run
from demure.serving import export as module
from demure.serving.export import export
from demure.serving.onnx import FIRST_TORCH
from demure_cli.app import main

VECTORS = ("vbpr", "lightgcn", "freedom", "bm3", "sasrec", "mmmlp")
ALL = ("popularity", "ease-decayed", "item-knn", *VECTORS, "demure", "content")


def manifest(out):
    return json.loads((out / "export.json").read_text())


def whole(run):
    loaded = load_run(run)
    histories = loaded.dataset.histories("train", "valid", "test")
    return loaded, histories, loaded.scorer_of(histories)(np.arange(loaded.dataset.n_users))


@pytest.mark.parametrize("kind", ALL)
def test_both_kinds_of_arrays_are_the_same_and_checked(runs, tmp_path, kind):
    report = export(runs[kind], tmp_path / "one", format="safetensors")
    export(runs[kind], tmp_path / "many", format="npy")
    arrays = load_file(tmp_path / "one" / "arrays.safetensors")
    assert {file.stem for file in (tmp_path / "many").glob("*.npy")} == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(np.load(tmp_path / "many" / f"{name}.npy"), array)
    (check,) = report.checks
    assert check.difference < 1e-5
    assert check.same_top == 1
    assert check.users > 30
    assert manifest(tmp_path / "one")["checks"][0]["difference"] == check.difference
    ids = json.loads((tmp_path / "one" / "item_ids.json").read_text())
    assert ids == load_run(runs[kind]).dataset.item_ids.tolist()
    assert set(report.files) == {file.name for file in (tmp_path / "one").iterdir()}


@pytest.mark.parametrize("kind", VECTORS)
def test_vectors_score_as_the_run_does(runs, tmp_path, kind):
    export(runs[kind], tmp_path / "out")
    arrays = load_file(tmp_path / "out" / "arrays.safetensors")
    loaded, _, expected = whole(runs[kind])
    assert np.allclose(arrays["user_vectors"] @ arrays["item_vectors"].T, expected, atol=1e-4)
    assert json.loads((tmp_path / "out" / "user_ids.json").read_text()) == loaded.dataset.user_ids.tolist()


def test_a_closed_form_by_hand(runs, tmp_path):
    """One user's scores from the weights and the history, in a loop."""
    export(runs["ease-decayed"], tmp_path / "out")
    weights = load_file(tmp_path / "out" / "arrays.safetensors")["item_item"]
    decay = manifest(tmp_path / "out")["numbers"]["decay"]
    _, histories, expected = whole(runs["ease-decayed"])
    items = histories.of(3)
    scores = sum(weights[item] * (len(items) - place) ** -decay for place, item in enumerate(items))
    assert np.allclose(scores, expected[3], atol=1e-5)


def test_the_items_of_each_modality(runs, tmp_path):
    export(runs["demure"], tmp_path / "out")
    arrays = load_file(tmp_path / "out" / "arrays.safetensors")
    model = load_run(runs["demure"]).recommender
    for name in model.denoiser.modalities:
        present = arrays[f"{name}.present"] > 0
        assert 0 < present.sum() < len(present)
        assert (arrays[f"{name}.item_vectors"][~present] == 0).all()
        assert np.allclose(arrays[f"{name}.item_themes"].sum(1), 1, atol=1e-5)
    assert arrays["popularity"].sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(np.exp(model.log_popularity), arrays["popularity"], atol=1e-6)


def test_exported_arrays_and_the_torch_module_give_the_density_of_the_model(timed):
    """With and without order, with one step and three, with and without the linear model."""
    import torch

    from demure.data.dataset import Dataset
    from demure.model.item_item import build_item_item
    from demure.model.item_item_density import ItemItemParameters
    from demure.serving.item_item import item_item_arrays, score_item_item
    from demure.serving.onnx import DenseItemItem

    data = Dataset.load(timed)
    train = data.histories("train")
    items = np.concatenate(
        [train.padded(np.arange(20), 12), np.full((1, 12), -1)[:, : train.padded(np.arange(20), 12).shape[1]]]
    )
    for parameters in (
        ItemItemParameters(),
        ItemItemParameters(nearness=0.0, fading=0.0, shared=1.0),
        ItemItemParameters(further=0.5, linear=0.25),
        ItemItemParameters(further=2.0),
    ):
        model = build_item_item(train, train.count_items(data.n_items), parameters, 50)
        arrays = item_item_arrays(model)
        expected = np.log(model.density(items))
        assert np.allclose(score_item_item(arrays, parameters, items), expected, atol=1e-5), parameters
        dense = DenseItemItem(arrays, parameters)(torch.as_tensor(items)).detach().numpy()
        assert np.allclose(dense, expected, atol=1e-4), parameters


@pytest.mark.parametrize("kind", ["vbpr", "sasrec", "mmmlp", "content", pytest.param("demure", marks=pytest.mark.slow)])
def test_a_graph_scores_as_the_run_does(runs, tmp_path, kind):
    """In batches of a size of their own, from the file alone."""
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    if TorchVersion(torch.__version__) < FIRST_TORCH:
        pytest.skip(f"torch {torch.__version__} writes no graphs")
    runtime = pytest.importorskip("onnxruntime")
    report = export(runs[kind], tmp_path / "out", format="onnx")
    loaded, histories, expected = whole(runs[kind])
    assert {check.what for check in report.checks} == ({"scores", "content"} if loaded.recommender else {"scores"})
    session = runtime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    (graph_input,) = session.get_inputs()
    users = np.arange(loaded.dataset.n_users)
    if graph_input.name == "user":
        fed = users
    else:
        length = graph_input.shape[1]
        fed = np.full((len(users), length), -1)
        padded = histories.padded(users, length)
        fed[:, : padded.shape[1]] = padded
    for size in (1, 7, len(users)):
        (scores,) = session.run(["scores"], {graph_input.name: fed[:size]})
        assert np.allclose(scores, expected[:size], atol=1e-3 if loaded.recommender else 1e-4)
    vectors = sorted(file.name for file in (tmp_path / "out").glob("*item_vectors.npy"))
    names = loaded.recommender.denoiser.modalities if loaded.recommender else []
    assert vectors == (sorted(f"{name}.item_vectors.npy" for name in names) or ["item_vectors.npy"])
    if loaded.recommender is None:
        (vector,) = session.run(["vector"], {graph_input.name: fed[:3]})
        assert np.allclose(vector @ np.load(tmp_path / "out" / "item_vectors.npy").T, expected[:3], atol=1e-4)


def test_a_large_catalogue_has_its_content_in_the_graph_alone(runs, monkeypatch):
    from demure.serving import onnx

    loaded, histories, _ = whole(runs["demure"])
    assert onnx.DemureGraph(loaded.recommender, histories).outputs == ("content", "scores")
    monkeypatch.setattr(onnx, "MAX_DENSE_ITEMS", 10)
    graph = onnx.DemureGraph(loaded.recommender, histories)
    assert graph.outputs == ("content",)
    assert "channel `id`: above 10 items" in graph.lacks
    assert "before the last 8 interactions" in onnx.DemureGraph(loaded.recommender, histories, 8).lacks


@pytest.mark.parametrize("max_length", [6, 8, 1_024])
def test_an_export_is_held_to_the_run_with_as_much_of_the_histories(runs, tmp_path, monkeypatch, max_length):
    """Users with more interactions than the graph reads are among the checked ones; torch runs the graph, not ONNX."""
    import torch

    from demure.serving import onnx

    def run_in_torch(file, graph, histories, users_B):
        history = np.full((len(users_B), graph.length), -1)
        padded = histories.padded(users_B, graph.length)
        history[:, : padded.shape[1]] = padded
        with torch.no_grad():
            results = graph.eval()(torch.as_tensor(history))
        return {name: result.numpy() for name, result in zip(graph.outputs, results, strict=True)}

    build_graph = onnx.build_graph
    monkeypatch.setattr(onnx, "build_graph", lambda loaded, histories: build_graph(loaded, histories, max_length))
    monkeypatch.setattr(onnx, "write_onnx", lambda graph, file: file.write_bytes(b""))
    monkeypatch.setattr(onnx, "run_onnx", run_in_torch)
    longest = int(whole(runs["demure"])[1].lengths.max())
    report = export(runs["demure"], tmp_path / "out", format="onnx")
    assert {check.what for check in report.checks} == {"content", "scores"}
    cut = max_length < longest
    assert report.lacks == [f"a user's history before the last {max_length} interactions"] * cut
    if cut:  # the cut is what made the check fail
        monkeypatch.setattr(Histories, "last", lambda histories, longest: histories)
        with pytest.raises(DemureError, match="the exported scores differ from the run's"):
            export(runs["demure"], tmp_path / "again", format="onnx")


def test_an_index_is_written_and_its_recall_reported(runs, tmp_path):
    pytest.importorskip("usearch")
    report = export(runs["sasrec"], tmp_path / "out", ann=True, k=5)
    (index,) = report.indexes
    assert (index.file, index.k, index.items) == ("items.usearch", 5, 50)
    assert index.recall > 0.9
    both = export(runs["demure"], tmp_path / "both", ann=True, format="npy")
    names = load_run(runs["demure"]).recommender.denoiser.modalities
    assert sorted(index.name for index in both.indexes) == sorted(names)
    present = {name: int(np.load(tmp_path / "both" / f"{name}.present.npy").sum()) for name in names}
    assert {index.name: index.items for index in both.indexes} == present
    assert min(index.recall for index in both.indexes) > 0.9


def test_an_export_with_other_scores_is_not_written(runs, tmp_path, monkeypatch):
    sound = module.export_contents

    def off(loaded, histories):
        contents = sound(loaded, histories)
        scores = contents.scores
        contents.scores = lambda arrays, users_B: scores(arrays, users_B) * 1.01
        return contents

    monkeypatch.setattr(module, "export_contents", off)
    with pytest.raises(DemureError, match=r"differ from the run's by .* more than 0\.0001; nothing was written"):
        export(runs["vbpr"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vbpr", {"format": "safetensor"}, r"unknown format 'safetensor'; did you mean safetensors\?"),
        ("vbpr", {"format": "pickle"}, "unknown format 'pickle'; one of onnx, safetensors, npy"),
        ("vbpr", {"k": 0, "ann": True}, "--k: k is 0; give 1 or more"),
        ("item-knn", {"format": "onnx"}, "'item-knn' has no layers to make a graph of; use safetensors or npy"),
        ("popularity", {"ann": True}, "'popularity' has no vectors to search"),
    ],
)
def test_a_refused_export_leaves_nothing(runs, tmp_path, kind, options, message):
    with pytest.raises(DemureError, match=message):
        export(runs[kind], tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(runs, tmp_path, monkeypatch):
    import importlib.util

    sound = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "onnxruntime" else sound(name, *a)
    )
    with pytest.raises(MachineError, match=r"onnxruntime is not installed; pip install 'demure\[onnx\]'"):
        export(runs["vbpr"], tmp_path / "out", format="onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_torch_that_writes_no_graphs_is_named(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.7.1+cu126")
    with pytest.raises(MachineError, match=r"torch 2\.7\.1\+cu126 cannot write graphs; install torch 2\.8 or later"):
        export(runs["vbpr"], tmp_path / "out", format="onnx")
    assert list(tmp_path.iterdir()) == []


def test_only_an_export_is_replaced(runs, tmp_path):
    export(runs["vbpr"], tmp_path / "out")
    with pytest.raises(DemureError, match="already exists"):
        export(runs["vbpr"], tmp_path / "out", format="npy")
    export(runs["vbpr"], tmp_path / "out", format="npy", overwrite=True)
    assert not (tmp_path / "out" / "arrays.safetensors").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "mine" / "export.json").write_text("[]")
    with pytest.raises(DemureError, match="is not an export folder"):
        export(runs["vbpr"], tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_the_command(runs, tmp_path, capsys, monkeypatch):
    arguments = ["export", str(runs["demure"]), "--format", "npy"]
    assert main([*arguments, "--out", str(tmp_path / "json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "demure"
    for width in (80, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        assert main([*arguments, "--out", str(tmp_path / str(width))]) == 0
        shown = capsys.readouterr().out
        assert "does not contain" in shown
        assert max(map(len, shown.splitlines())) <= width
    for bad, message in (
        ([*arguments, "--out", str(tmp_path / "80")], "already exists"),
        (["export", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")], "is not a run folder"),
        (["export", str(runs["demure"]), "--out", str(tmp_path / "x"), "--format", "onxx"], "did you mean onnx?"),
    ):
        assert main(bad) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert message in error
    assert not (tmp_path / "x").exists()
