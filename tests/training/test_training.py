"""`train` end to end: what decides a run, what cannot, what is refused, and odd data that must go through."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from support.small_sets import QUICK, SMALL, dataset_folder, prepared, raw_files

from demure.data.dataset import Dataset
from demure.demo.planted import plant
from demure.errors import DatasetError, DemureError, FeatureError, RecipeError, RunError
from demure.files import read_json
from demure.runs.load import load_run
from demure.training.run import train

TABLES = ("diagnosis.parquet", "supports.parquet", "reliance.parquet")
TENSORS = ("model.safetensors", "projection.safetensors", "rival_models.safetensors")
MADE = (*TENSORS, "metrics.jsonl", "recipe.yaml", "interests.json", *TABLES)


def trained(dataset, out, *overrides, **options):
    return train(dataset, out, overrides=[*QUICK, *overrides], device="cpu", **options)


def files(run, names=MADE):
    return {name: (run / name).read_bytes() for name in names}


def test_the_seed_decides_every_byte(timed, run, tmp_path):
    trained(timed, tmp_path / "same")
    assert files(tmp_path / "same") == files(run)
    assert read_json(tmp_path / "same" / "run.json") == read_json(run / "run.json")
    trained(timed, tmp_path / "other", seed=1)
    assert files(tmp_path / "other")["model.safetensors"] != files(run)["model.safetensors"]


def test_the_report_and_the_folder_agree(timed, tmp_path):
    report = trained(timed, tmp_path / "run")
    manifest = read_json(tmp_path / "run" / "run.json")
    assert manifest["valid"] == report.valid
    assert set(report.valid) == {"recall@20", "ndcg@20"}
    assert manifest["modalities"] == report.modalities == ["image", "text"]
    assert manifest["dataset"]["identity"] == Dataset.load(timed).identity
    epochs = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs if "loss" in epoch] == list(range(1, report.epochs + 1))
    # From the rivals on: against them the likelihood is another.
    later = [epoch for epoch in epochs if "rivals" in epoch or "offsets" in epoch]
    best = max(later, key=lambda epoch: epoch["valid_log_likelihood"])
    assert report.best_epoch == manifest["best_epoch"] == best["epoch"]
    nearest = {"nearest_items.safetensors"} if "content_items" in manifest else set()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*MADE, *nearest, "run.json"}


def test_files_can_be_read_by_whoever_may(run):
    expected = (run / "run.json").stat().st_mode & 0o777
    assert {path.name: path.stat().st_mode & 0o777 for path in run.iterdir()} == dict.fromkeys(
        (path.name for path in run.iterdir()), expected
    )


def test_training_learns(tmp_path):
    """On a clear planted set the likelihood of what was held out rises, and the diagnosis finds the causes."""
    options = dataclasses.replace(SMALL, users=200, items=150, p_none=0.0, p_two=0.0, missing=0.0)
    dataset = dataset_folder(tmp_path, options)
    train(dataset, tmp_path / "run", overrides=["training.epochs=4", "training.offset_epochs=1"], device="cpu")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    values = [json.loads(line)["valid_log_likelihood"] for line in lines]
    assert max(values) > values[0] + 0.05
    truth = pd.read_csv(tmp_path / "raw" / "truth.csv").set_index(["user_id", "item_id", "modality"])["caused"]
    frame = pd.read_parquet(tmp_path / "run" / "diagnosis.parquet")
    caused = truth.loc[pd.MultiIndex.from_frame(frame[["user_id", "item_id", "modality"]])].to_numpy() == 1
    probability = frame["poi_probability"].to_numpy()
    auc = (probability[caused][:, None] > probability[~caused][None]).mean()
    assert auc > 0.85


def split_rows(tmp_path, change):
    """A dataset with the split given; ``change(frame)`` edits the rows of its raw file."""
    planted = plant(SMALL)
    planted.write(tmp_path / "raw")
    frame = planted.interactions
    place = frame.groupby("user_id").cumcount(ascending=False)
    frame["split"] = np.select([place == 0, place == 1], ["test", "valid"], "train")
    change(frame).to_csv(tmp_path / "raw" / "interactions.csv", index=False)
    return prepared(tmp_path / "raw", tmp_path / "dataset", split="given")


def test_nothing_of_the_test_split_reaches_a_run(tmp_path):
    """Other test items, or other users with any: weights, pool and diagnosis stay; other training rows change them."""

    def new_item(frame, user):
        history = set(frame.loc[frame["user_id"] == user, "item_id"])
        return next(f"i{k}" for k in range(49, -1, -1) if f"i{k}" not in history)

    def other_test_items(frame):
        test = frame["split"] == "test"
        frame.loc[test, "item_id"] = [new_item(frame, user) for user in frame.loc[test, "user_id"]]
        return frame.drop(frame[test].index[::3])

    def other_training_item(frame):
        frame.loc[0, "item_id"] = new_item(frame, frame["user_id"][0])
        return frame

    changes = {"same": lambda frame: frame, "test": other_test_items, "train": other_training_item}
    runs = {}
    for name, change in changes.items():
        (tmp_path / name).mkdir()
        dataset = split_rows(tmp_path / name, change)
        trained(dataset, tmp_path / name / "run")
        runs[name] = tmp_path / name / "run"
    identities = {name: read_json(run / "run.json")["dataset"]["identity"] for name, run in runs.items()}
    assert identities["test"]["interactions"] != identities["same"]["interactions"]
    assert files(runs["test"]) == files(runs["same"])
    assert files(runs["train"])["model.safetensors"] != files(runs["same"])["model.safetensors"]
    for key in ("pool", "walk", "valid", "best_epoch"):
        assert read_json(runs["test"] / "run.json")[key] == read_json(runs["same"] / "run.json")[key]


def test_without_timestamps_the_order_of_a_history_does_not_matter(untimed, tmp_path):
    assert not Dataset.load(untimed).has_time
    trained(untimed, tmp_path / "run")
    manifest = read_json(tmp_path / "run" / "run.json")
    assert manifest["ordered"] is False
    loaded = load_run(tmp_path / "run")
    history = loaded.dataset.histories("train").of(0)
    model = loaded.recommender
    straight, backward = (model.score(model.terms(items[None])) for items in (history, history[::-1].copy()))
    np.testing.assert_allclose(straight, backward, rtol=1e-4)


def taken(users, count, part="train", first=0):
    """``count`` items in a row for each of ``users``, u0 from i0, u1 from i1 and so on, of nine."""
    return [(f"u{u}", f"i{(u + first + k) % 9}", part) for u in users for k in range(count)]


ODD = {
    "one interaction each": taken(range(20), 1),
    "one user": taken([0], 6),
    "one interaction": taken([0], 1),
    "most with one": taken(range(20), 1) + taken(range(20, 26), 3),
    "one each and a validation": taken(range(20), 1) + taken(range(20), 1, "valid", first=1),
    "validation of strangers": taken(range(20), 3) + taken([20], 1, "valid"),
    "everything taken by everyone": taken(range(5), 9),
    "one item taken by everyone": [(f"u{u}", "i0", "train") for u in range(5)],
}


@pytest.mark.parametrize("rows", ODD.values(), ids=ODD)
def test_odd_data_goes_through(tmp_path, rows):
    random = np.random.default_rng(0)
    features = {"text": random.normal(size=(10, 6)), "image": random.normal(size=(10, 4))}
    features["image"][2:] = 0  # two items have it
    raw = raw_files(tmp_path / "raw", rows, features, ("user_id", "item_id", "split"))
    report = trained(prepared(raw, tmp_path / "dataset", split="given"), tmp_path / "run")
    frame = pd.read_parquet(tmp_path / "run" / "diagnosis.parquet")
    assert len(frame) == 2 * sum(part == "train" for _, _, part in rows)
    assert np.isfinite(frame[["poi_probability", "evidence"]].to_numpy()).all()
    reliance = pd.read_parquet(tmp_path / "run" / "reliance.parquet")
    np.testing.assert_allclose(reliance.groupby("user_id")["reliance"].sum(), 1, atol=1e-6)
    lengths = pd.Series([user for user, _, part in rows if part == "train"]).value_counts()
    if (lengths < 2).all():
        assert report.epochs == 0
    loaded = load_run(tmp_path / "run")
    best = loaded.recommend([str(user) for user in loaded.dataset.user_ids], 3)
    assert not {(user, item) for user, item, _ in rows} & set(zip(best["user_id"], best["item_id"], strict=True))
    assert np.isfinite(best["score"]).all()


def test_a_modality_of_one_item_is_refused(tmp_path):
    image = np.zeros((10, 4))
    image[3] = 1
    features = {"text": np.random.default_rng(0).normal(size=(10, 6)), "image": image}
    raw = raw_files(tmp_path / "raw", ODD["one user"], features, ("user_id", "item_id", "split"))
    dataset = prepared(raw, tmp_path / "dataset", split="given")
    with pytest.raises(FeatureError, match="1 of 10 items have 'image'"):
        trained(dataset, tmp_path / "run")
    assert trained(dataset, tmp_path / "run", "modalities=[text]").modalities == ["text"]


def test_modalities_that_are_not_named_do_not_count(timed, tmp_path):
    report = trained(timed, tmp_path / "run", "modalities=[text]")
    assert report.modalities == ["text"]
    assert set(pd.read_parquet(tmp_path / "run" / "diagnosis.parquet")["modality"]) == {"text"}
    assert set(pd.read_parquet(tmp_path / "run" / "reliance.parquet")["modality"]) == {"text", "none"}


def test_an_unknown_modality_is_refused_before_a_run_is_replaced(timed, tmp_path):
    trained(timed, tmp_path / "run")
    before = files(tmp_path / "run")
    with pytest.raises(RecipeError, match=r"no modality 'txt'; did you mean text\?"):
        trained(timed, tmp_path / "run", "modalities=[txt]", overwrite=True)
    with pytest.raises(DemureError, match="already exists"):
        trained(timed, tmp_path / "run")
    assert files(tmp_path / "run") == before
    trained(timed, tmp_path / "run", "training.epochs=1", overwrite=True)
    assert files(tmp_path / "run") != before


def test_a_folder_of_something_else_is_never_replaced(timed, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(RunError, match="is not a run folder"):
        trained(timed, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_what_cannot_be_trained_is_refused(timed, tmp_path):
    with pytest.raises(RecipeError, match="unknown model 'gru'"):
        trained(timed, tmp_path / "run", "model=gru")
    with pytest.raises(DatasetError):
        trained(tmp_path, tmp_path / "run")
    with pytest.raises(DemureError, match="cannot compute on 'warp'"):
        train(timed, tmp_path / "run", device="warp")
    raw = raw_files(tmp_path / "raw", ODD["one user"], {"text": np.eye(10)}, ("user_id", "item_id", "split"))
    (raw / "text.npy").unlink()
    with pytest.raises(FeatureError, match="has no features"):
        trained(prepared(raw, tmp_path / "bare", split="given"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", ["popularity", "ease-decayed"])
def test_a_baseline_is_a_run_without_a_diagnosis(timed, tmp_path, recipe):
    report = train(timed, tmp_path / "run", recipe=recipe, device="cpu")
    assert not report.diagnosed
    assert set(report.valid) == {"recall@20", "ndcg@20"}
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "recipe.yaml"}
    best = load_run(tmp_path / "run").recommend(["u0"], 5)
    assert best["because"].tolist() == ["history"] * 5
