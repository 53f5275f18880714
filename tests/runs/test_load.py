"""A run read back: the same scores, new items only, and never on other data."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from support.manifests import rewrite
from support.small_sets import QUICK, SMALL, dataset_folder

from demure.data.dataset import Dataset
from demure.errors import DatasetError, DemureError, RunError
from demure.evaluation.ranking import evaluate
from demure.files import read_json, sha256_file, write_json
from demure.model.denoiser import Denoiser
from demure.runs.evaluate import evaluate_runs
from demure.runs.load import load_run
from demure.runs.manifest import read_manifest
from demure.runs.recommend import recommend
from demure.training.diagnose import diagnose
from demure.training.run import train


@pytest.fixture(scope="module")
def loaded(run):
    return load_run(run)


def test_a_run_read_back_scores_as_it_did(timed, tmp_path, monkeypatch):
    """The validation metrics of training, again from the files; and the very model."""
    kept = []

    def keep(denoiser, *arguments):
        kept.append(denoiser)
        return diagnose(denoiser, *arguments)

    monkeypatch.setattr("demure.training.run.diagnose", keep)
    report = train(timed, tmp_path / "run", overrides=QUICK, device="cpu")
    again = load_run(tmp_path / "run")
    state = again.recommender.denoiser.state_dict()
    assert kept[0].state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in kept[0].state_dict().items())
    data = again.dataset
    means = evaluate(
        again.scorer("valid"), data.histories("valid"), data.histories("train"), (20,), data.n_items
    ).means()  # fmt: skip
    assert {name: means[name] for name in report.valid} == pytest.approx(report.valid, abs=1e-6)


@pytest.mark.parametrize("recipe", ["default", "item-knn"])
def test_recommending_block_by_block_reads_the_histories_once(run, timed, tmp_path, monkeypatch, recipe):
    if recipe != "default":
        run = tmp_path / "run"
        train(timed, run, recipe=recipe, device="cpu")
    loaded, read, splits, scorers = load_run(run), Dataset.histories, [], []
    score = loaded.scorer_of
    monkeypatch.setattr(loaded, "scorer_of", lambda histories: scorers.append(histories) or score(histories))
    users = [str(user) for user in loaded.dataset.user_ids]
    together = loaded.recommend(users, 3)
    monkeypatch.setattr(Dataset, "histories", lambda *arguments: splits.append(arguments[1:]) or read(*arguments))
    blocks = [loaded.recommend([user], 3) for user in users[:4]]
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), together.iloc[:12])
    assert splits == []
    loaded.recommend(users[:1], 3, before="valid")
    assert splits == [("train",)]
    assert len(scorers) == (0 if recipe == "default" else 2)


def test_scores_do_not_depend_on_company(loaded):
    users = np.arange(loaded.dataset.n_users)
    for split in ("valid", "test"):
        score = loaded.scorer(split)
        together = score(users)
        assert together.shape == (60, loaded.dataset.n_items)
        np.testing.assert_allclose(score(users[::-1]).flip(0), together, rtol=1e-4)
        np.testing.assert_allclose(score(users[7:8])[0], together[7], rtol=1e-4)
    assert not np.allclose(loaded.scorer("valid")(users), loaded.scorer("test")(users))


def test_recommended_items_are_new_and_best_first(loaded):
    data = loaded.dataset
    best = loaded.recommend(["u3", "u0"], 10)
    assert best.columns.tolist() == ["user_id", "rank", "item_id", "score", "because", "interest"]
    assert best["user_id"].tolist() == ["u3"] * 10 + ["u0"] * 10
    assert best["rank"].tolist() == [*range(1, 11)] * 2
    assert set(best["because"]) <= {"image", "text", "history"}
    everything = data.histories("train", "valid", "test")
    scores = loaded.scorer_of(everything)
    for user_id, rows in best.groupby("user_id"):
        user = data.user_ids.tolist().index(user_id)
        had = everything.of(user)
        mine = scores(np.array([user]))[0]
        mine[had] = -np.inf
        assert rows["item_id"].tolist() == data.item_ids[np.argsort(-mine, kind="stable")[:10]].tolist()
        assert (np.diff(rows["score"]) <= 0).all()
    many = loaded.recommend(["u0"], 1000)
    assert len(many) == data.n_items - len(everything.of(data.user_ids.tolist().index("u0")))


def test_an_unknown_user_has_nearest_names(loaded):
    with pytest.raises(RunError, match=r"no user 'u600'.*nearest: u"):
        loaded.recommend(["u0", "u600"])


def test_recommendations_in_a_file(run, loaded, tmp_path):
    report = recommend(run, tmp_path / "best.parquet", users=["u4", "u1", "u4"], k=5, device="cpu")
    frame = pd.read_parquet(tmp_path / "best.parquet")
    assert (report.users, report.rows) == (2, 10)
    pd.testing.assert_frame_equal(frame, loaded.recommend(["u4", "u1"], 5), check_dtype=False)
    with pytest.raises(DemureError, match=r"\.parquet"):
        recommend(run, tmp_path / "best.csv", device="cpu")


def test_a_run_refuses_another_dataset(timed, run, tmp_path):
    copy = tmp_path / "dataset"
    shutil.copytree(timed, copy)
    shutil.copytree(run, tmp_path / "run")
    manifest = read_json(tmp_path / "run" / "run.json")
    manifest["dataset"]["path"] = str(copy)
    write_json(tmp_path / "run" / "run.json", manifest)
    load_run(tmp_path / "run")
    shutil.rmtree(copy)
    with pytest.raises(DatasetError, match="is not a dataset folder"):
        load_run(tmp_path / "run")
    other = dataset_folder(tmp_path / "other", dataclasses.replace(SMALL, seed=5))
    shutil.copytree(other, copy)
    with pytest.raises(DatasetError, match=r"is not the dataset that .* was made from \(interactions"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize("key", ["pool", "walk", "content_items"])
def test_parameters_of_another_version_are_refused(run, tmp_path, key):
    shutil.copytree(run, tmp_path / "run")
    dataclasses.replace(read_manifest(run), **{key: {"sharpness": 1.0}}).write(tmp_path / "run")
    with pytest.raises(RunError, match=r"has parameters of another version of demure \(.*'sharpness'.*\)"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "run.json").unlink(), "no run.json"),
        (lambda run: (run / "model.safetensors").unlink(), "cannot be read"),
        (lambda run: (run / "model.safetensors").write_bytes(b"12345678"), "was changed after it was made"),
        (lambda run: (run / "run.json").write_text("{"), "cannot be read as JSON"),
        (lambda run: (run / "run.json").write_text(json.dumps({"format_version": 99})), "another format version"),
        (lambda run: (run / "recipe.yaml").write_text("themes: 3"), "was changed after it was made"),
    ],
)
def test_a_damaged_run_is_refused(run, tmp_path, damage, words):
    shutil.copytree(run, tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(DemureError, match=words):
        load_run(tmp_path / "run")


@pytest.mark.parametrize("tensors", [None, {"m0.items": torch.zeros(1, 1, dtype=torch.int32)}])
def test_damaged_nearest_items_are_refused(run, tmp_path, tensors):
    """A run whose list follows similar content needs them; what is absent or lacks a modality is named."""
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "nearest_items.safetensors"
    file.unlink(missing_ok=True)
    if tensors is not None:
        save_file(tensors, file)
    rewrite(tmp_path / "run" / "run.json", lambda manifest: manifest.update(content_items={"share": 0.2}, files=None))
    with pytest.raises(RunError, match="cannot be read" if tensors is None else "does not hold 'm0.cosine'"):
        load_run(tmp_path / "run")


def test_evaluated_on_the_split(run, loaded, tmp_path):
    """Means by hand for the test split: every user has one test item, ranked among what is new to the user."""
    data = loaded.dataset
    evaluated = evaluate_runs([run], ks=(10,), per_user=tmp_path / "users.parquet", device="cpu").runs[0]
    past, relevant = data.histories("train", "valid"), data.histories("test")
    hits = []
    for user in range(data.n_users):
        scores = loaded.scorer("test")(np.array([user]))[0]
        scores[past.of(user)] = -np.inf
        hits.append(relevant.of(user)[0] in np.argsort(-scores, kind="stable")[:10])
    assert evaluated.users == 60
    assert evaluated.metrics["recall@10"] == pytest.approx(np.mean(hits))
    rows = pd.read_parquet(tmp_path / "users.parquet")
    assert rows["recall@10"].tolist() == [float(hit) for hit in hits]


def test_no_model_is_made_where_the_recipe_is_a_baseline(timed, tmp_path, monkeypatch):
    train(timed, tmp_path / "run", recipe="item-knn", device="cpu")
    monkeypatch.setattr(Denoiser, "__init__", None)
    loaded = load_run(tmp_path / "run")
    assert loaded.recommender is None
    assert loaded.scorer("test")(np.array([0, 1])).shape == (2, loaded.dataset.n_items)


def test_recommended_items_name_their_interest(run, tmp_path):
    """The interest is the item's most probable cluster in the modality that contributes most."""
    loaded = load_run(run)
    best = loaded.recommend([str(user) for user in loaded.dataset.user_ids], 10)
    assert best.loc[best["because"] == "history", "interest"].eq("").all()
    stored = json.loads((run / "interests.json").read_text())
    denoiser = loaded.recommender.denoiser
    code = {item: k for k, item in enumerate(loaded.dataset.item_ids)}
    named = best[best["because"] != "history"]
    assert len(named)
    for line in named.head(20).itertuples():
        expert = denoiser.experts()[denoiser.modalities.index(line.because)]
        cluster = int(expert.memberships_of(torch.tensor([code[line.item_id]]))[0].argmax())
        assert line.interest == stored[line.because][cluster]["name"]
    older = shutil.copytree(run, tmp_path / "older")
    (older / "interests.json").unlink()
    rewrite(older / "run.json", lambda content: content["files"].pop("interests.json"))
    assert load_run(older).recommend(["u0"], 5)["interest"].eq("").all()
    damaged = shutil.copytree(run, tmp_path / "damaged")
    (damaged / "interests.json").write_text('{"image": [{}]}')
    digest = sha256_file(damaged / "interests.json")
    rewrite(damaged / "run.json", lambda content: content["files"].update({"interests.json": digest}))
    with pytest.raises(RunError, match=r"interests\.json"):
        load_run(damaged).recommend(["u0"], 5)
