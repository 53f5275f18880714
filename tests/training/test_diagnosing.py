"""The three tables of a diagnosis: what is in them, how they hang together, and that the model says so."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from support.small_sets import QUICK

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.features import store
from demure.files import read_json
from demure.model.batch import HistoryBatch
from demure.model.denoiser import Denoiser
from demure.progress import silent
from demure.runs.load import load_run
from demure.training import diagnose as module
from demure.training.rivals import Rivals
from demure.training.run import train


@pytest.fixture(scope="module")
def tables(run):
    return {name: pd.read_parquet(run / f"{name}.parquet") for name in ("diagnosis", "supports", "reliance")}


@pytest.fixture(scope="module")
def loaded(run):
    return load_run(run)


def flat(loaded):
    """Rivals that were never fitted: each tells as much as the popularity."""
    return Rivals(loaded.dataset.histories("train"), loaded.dataset.n_items, 0)


def test_one_row_per_training_interaction_and_modality(tables, loaded):
    found, train_part = tables["diagnosis"], loaded.dataset.histories("train")
    assert found.columns.tolist() == [
        "user_id", "item_id", "modality", "poi_probability", "evidence", "verdict", "position",
    ]  # fmt: skip
    expected = [
        (user_id, loaded.dataset.item_ids[item], modality, position)
        for user, user_id in enumerate(loaded.dataset.user_ids)
        for position, item in enumerate(train_part.of(user))
        for modality in ("image", "text")
    ]
    rows = found[["user_id", "item_id", "modality", "position"]]
    assert list(rows.itertuples(index=False, name=None)) == expected


def test_verdicts_follow_the_probability_and_the_features(tables, loaded):
    found = tables["diagnosis"]
    index = {item: k for k, item in enumerate(loaded.dataset.item_ids)}
    present = {name: store.load(loaded.dataset.path, name).present for name in ("image", "text")}
    here = np.array([present[m][index[i]] for i, m in zip(found["item_id"], found["modality"], strict=True)])
    probability = found["poi_probability"].to_numpy()
    assert ((probability >= 0) & (probability <= 1)).all()
    poi = (probability >= 0.5) & (found["evidence"].to_numpy() > 0)
    expected = np.select([~here, poi], ["missing", "poi"], "noise")
    assert found["verdict"].tolist() == expected.tolist()
    assert (found.loc[~here, ["poi_probability", "evidence"]] == 0).all(axis=None)
    assert (found.loc[here, "poi_probability"] > 0).all()
    assert np.isfinite(found["evidence"]).all()
    assert found["verdict"].nunique() == 3
    higher = found[here].groupby("verdict")["evidence"].mean()
    assert higher["poi"] > higher["noise"]


@pytest.mark.parametrize("rivals", [True, False])
def test_the_tables_say_what_the_model_says(timed, tmp_path, monkeypatch, rivals):
    """One user at a time, straight from the denoiser; what items hear is not in the weights user by user."""
    known, real = [], module.diagnose

    def diagnose(denoiser, dataset, folder, listener, rivals, messages):
        known.append((denoiser, rivals))
        return real(denoiser, dataset, folder, listener, rivals, messages)

    monkeypatch.setattr("demure.training.run.diagnose", diagnose)
    asked = (*QUICK, "training.belief_passes=0", f"denoiser.rivals={str(rivals).lower()}")
    train(timed, tmp_path / "run", overrides=asked, device="cpu")
    diagnosis = pd.read_parquet(tmp_path / "run" / "diagnosis.parquet")
    ((denoiser, fitted),) = known
    dataset = Dataset.load(timed)
    views, train_part = denoiser.views(), dataset.histories("train")
    for user in (0, 7, 31):
        at = train_part.positions(np.array([user]))
        context = denoiser.make_batch(
            torch.as_tensor(train_part.items[at]), side_information=fitted.side_information(at)
        )
        with torch.no_grad():
            inferred = denoiser.infer(context, views)
        mine = diagnosis[diagnosis["user_id"] == dataset.user_ids[user]]
        np.testing.assert_allclose(mine["poi_probability"], inferred.r_BTM[0].ravel(), rtol=1e-3, atol=1e-6)
        here = (mine["verdict"] != "missing").to_numpy()
        evidence = inferred.ratio_BTM[0].ravel().log().numpy()
        np.testing.assert_allclose(mine["evidence"].to_numpy()[here], evidence[here], rtol=1e-3, atol=1e-4)


def test_a_choice_against_the_content_is_no_point_of_interest(loaded, tmp_path, monkeypatch):
    """However probable: where the density ratio is below 1, whoever relies on the modality chose for another reason."""
    denoiser, real = loaded.recommender.denoiser, Denoiser.by_content
    monkeypatch.setattr(Denoiser, "by_content", lambda self, *given: real(self, *given).clamp(max=0.9))
    module.diagnose(denoiser, loaded.dataset, tmp_path, silent, flat(loaded))
    found = pd.read_parquet(tmp_path / "diagnosis.parquet")
    assert (found["poi_probability"] >= 0.5).any()
    assert set(found["verdict"]) == {"noise", "missing"}


def test_shares_of_causes_by_hand():
    """Two choices, image and text, popularity and two rivals: half the first is image's and text's alike, a tenth of
    the second is left over, which is popularity's."""
    found = module.shares(
        ["image", "text"],
        np.array([[0.5, 0.5], [0.0, 0.0]]),
        np.array([[0.3, 0.1, 0.1], [0.1, 0.4, 0.4]]),
    )
    expected = {"image": 0.125, "text": 0.125, "popularity": 0.25, "transition": 0.25, "taste": 0.25}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("rivals", "names"), [(True, ["popularity", "transition", "taste"]), (False, ["popularity"])])
def test_run_json_has_the_shares_of_all_causes(timed, run, tmp_path, rivals, names):
    out = run
    if not rivals:
        out = tmp_path / "run"
        train(timed, out, overrides=[*QUICK, "denoiser.rivals=false"], device="cpu")
    manifest = read_json(out / "run.json")
    assert list(manifest["causes"]) == ["image", "text", *names]
    assert all(share >= 0 for share in manifest["causes"].values())
    assert sum(manifest["causes"].values()) == pytest.approx(1)
    reliance = pd.read_parquet(out / "reliance.parquet").pivot(index="user_id", columns="modality", values="reliance")
    weight = pd.read_parquet(out / "diagnosis.parquet").groupby("user_id").size()[reliance.index]
    for name in ("image", "text"):
        assert manifest["causes"][name] == pytest.approx(np.average(reliance[name], weights=weight), abs=1e-5)
    assert list(manifest["placebo"]) == ["image", "text"]


def test_supports_are_other_items_of_the_same_user(tables, loaded):
    found, train_part = tables["supports"], loaded.dataset.histories("train")
    assert found.columns.tolist() == [
        "user_id", "item_id", "position", "modality", "support_rank", "support_item_id", "weight",
    ]  # fmt: skip
    data = loaded.dataset
    history = {user_id: set(data.item_ids[train_part.of(user)]) for user, user_id in enumerate(data.user_ids)}
    assert len(found) > 500
    assert all(item in history[user] for user, item in zip(found["user_id"], found["support_item_id"], strict=True))
    assert (found["item_id"] != found["support_item_id"]).all()
    judged = tables["diagnosis"].set_index(["user_id", "item_id", "modality"])
    keys = pd.MultiIndex.from_frame(found[["user_id", "item_id", "modality"]])
    assert (judged.loc[keys, "position"].to_numpy() == found["position"].to_numpy()).all()
    assert (judged.loc[keys, "verdict"] != "missing").all()
    sources = pd.MultiIndex.from_frame(found[["user_id", "support_item_id", "modality"]])
    assert (judged.loc[sources, "verdict"] != "missing").all()
    groups = found.groupby(["user_id", "position", "modality"], sort=False)
    assert groups["support_rank"].apply(lambda ranks: ranks.tolist() == list(range(1, len(ranks) + 1))).all()
    assert groups["support_rank"].max().max() == 3
    assert not found.duplicated(["user_id", "position", "modality", "support_item_id"]).any()
    assert groups["weight"].apply(lambda weights: (np.diff(weights) <= 1e-7).all()).all()
    assert (found["weight"] > 0).all()
    assert (groups["weight"].sum() <= 1 + 1e-5).all()


def test_reliance_is_a_share_of_choices(tables, loaded):
    found = tables["reliance"]
    assert found.columns.tolist() == ["user_id", "modality", "reliance"]
    assert found["modality"].tolist() == ["image", "text", "none"] * loaded.dataset.n_users
    assert found["user_id"].drop_duplicates().tolist() == loaded.dataset.user_ids.tolist()
    assert found["reliance"].between(0, 1).all()
    np.testing.assert_allclose(found.groupby("user_id")["reliance"].sum(), 1, atol=1e-6)
    probability = tables["diagnosis"].groupby(["user_id", "modality"])["poi_probability"].mean().unstack()
    shares = found.pivot(index="user_id", columns="modality", values="reliance")
    lead = probability["image"] - probability["text"]
    agree = np.sign(lead) == np.sign(shares["image"] - shares["text"])
    assert agree[lead.abs() > 0.1].all()
    assert (lead.abs() > 0.1).sum() > 10


def test_parts_are_equal_and_as_few_as_can_be():
    lengths = [0, 1, 5, 6, 11, 23]
    them = Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.arange(46))
    parts = them.split_long(5)
    sizes = parts.lengths
    assert sizes.tolist() == [0, 1, 5, 3, 3, 3, 4, 4, 4, 5, 4, 5, 5]
    assert set(them.indptr) <= set(parts.indptr)


def test_a_long_history_is_judged_in_parts(run, loaded, tmp_path, monkeypatch, tables):
    """Each part as a history of its own, no interaction without a judgement, every row in its place."""
    monkeypatch.setattr(module, "_LONGEST", 4)
    denoiser, train_part = loaded.recommender.denoiser, loaded.dataset.histories("train")
    module.diagnose(denoiser, loaded.dataset, tmp_path, silent, flat(loaded))
    found = pd.read_parquet(tmp_path / "diagnosis.parquet")
    keys = ["user_id", "item_id", "modality", "position"]
    pd.testing.assert_frame_equal(found[keys], tables["diagnosis"][keys])
    assert (found.loc[found["verdict"] != "missing", "poi_probability"] > 0).all()
    user = int(np.argmax(train_part.lengths == 9))  # in parts of three
    expected = []
    with torch.no_grad():
        for part in np.split(train_part.of(user), 3):
            context = HistoryBatch.build(torch.as_tensor(part)[None], ordered=True)
            expected.append(denoiser.infer(context, denoiser.views()).r_BTM[0])
    mine = found[found["user_id"] == loaded.dataset.user_ids[user]]
    np.testing.assert_allclose(mine["poi_probability"], torch.cat(expected).ravel(), rtol=1e-3, atol=1e-6)
    supports = pd.read_parquet(tmp_path / "supports.parquet")
    places = found.drop_duplicates(["user_id", "item_id"]).set_index(["user_id", "item_id"])["position"]
    mine = supports[supports["user_id"] == loaded.dataset.user_ids[user]]
    there = places.loc[pd.MultiIndex.from_frame(mine[["user_id", "support_item_id"]])].to_numpy()
    assert (there // 3 == mine["position"] // 3).all()
    reliance = pd.read_parquet(tmp_path / "reliance.parquet")
    np.testing.assert_allclose(reliance.groupby("user_id")["reliance"].sum(), 1, atol=1e-6)


def test_progress_ends_at_its_total(loaded, tmp_path):
    told = []
    module.diagnose(loaded.recommender.denoiser, loaded.dataset, tmp_path, told.append, flat(loaded))
    assert told[-1].done == told[-1].total == loaded.dataset.n_users
    assert [one.done for one in told] == sorted({one.done for one in told})


@pytest.mark.parametrize("recipe", ["no-denoising", "content-only"])
def test_other_recipes_have_the_same_tables(timed, tmp_path, recipe):
    train(timed, tmp_path / "run", recipe=recipe, overrides=QUICK, device="cpu")
    found = pd.read_parquet(tmp_path / "run" / "diagnosis.parquet")
    assert len(found) == 2 * len(Dataset.load(timed).histories("train").items)
    supports = pd.read_parquet(tmp_path / "run" / "supports.parquet")
    assert (supports["item_id"] != supports["support_item_id"]).all()


def test_one_modality(timed, tmp_path):
    train(timed, tmp_path / "run", overrides=[*QUICK, "modalities=[image]"], device="cpu")
    reliance = pd.read_parquet(tmp_path / "run" / "reliance.parquet")
    assert reliance["modality"].tolist() == ["image", "none"] * 60
    np.testing.assert_allclose(reliance.groupby("user_id")["reliance"].sum(), 1, atol=1e-6)
    image = reliance.loc[reliance["modality"] == "image", "reliance"]
    admitted = json.loads((tmp_path / "run" / "run.json").read_text())["placebo"]["image"]["admitted"]
    # So few users may not be enough to tell its features from dealt ones; then nobody relies on them.
    assert image.between(0.01, 0.999).all() if admitted else (image == 0).all()
