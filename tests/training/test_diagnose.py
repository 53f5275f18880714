"""The three tables of a diagnosis: their contents, their relations, and that they hold what the model infers."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from support.small_sets import QUICK

from demure.data.dataset import Dataset
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
    """Rivals that were never fitted: each predicts as much as the popularity."""
    return Rivals(loaded.dataset.histories("train"), loaded.dataset.n_items, 0)


def test_one_row_per_training_interaction_and_modality(tables, loaded):
    frame, train_part = tables["diagnosis"], loaded.dataset.histories("train")
    assert frame.columns.tolist() == [
        "user_id", "item_id", "modality", "poi_probability", "evidence", "verdict", "position",
        "interest",
    ]  # fmt: skip
    expected = [
        (user_id, loaded.dataset.item_ids[item], modality, position)
        for user, user_id in enumerate(loaded.dataset.user_ids)
        for position, item in enumerate(train_part.of(user))
        for modality in ("image", "text")
    ]
    rows = frame[["user_id", "item_id", "modality", "position"]]
    assert list(rows.itertuples(index=False, name=None)) == expected


def is_admitted(frame, run):
    """Whether the modality of each row may be a cause in ``run``: of the others the probability is 0."""
    return frame["modality"].map(lambda name: run.manifest.placebo[name]["admitted"]).to_numpy()


def test_verdicts_follow_the_probability_and_the_features(tables, loaded):
    frame = tables["diagnosis"]
    index = {item: k for k, item in enumerate(loaded.dataset.item_ids)}
    has = {name: store.load(loaded.dataset.path, name).present for name in ("image", "text")}
    present = np.array([has[m][index[i]] for i, m in zip(frame["item_id"], frame["modality"], strict=True)])
    probability = frame["poi_probability"].to_numpy()
    assert ((probability >= 0) & (probability <= 1)).all()
    poi = (probability >= 0.5) & (frame["evidence"].to_numpy() > 0)
    expected = np.select([~present, poi], ["missing", "poi"], "noise")
    assert frame["verdict"].tolist() == expected.tolist()
    assert (frame.loc[~present, ["poi_probability", "evidence"]] == 0).all(axis=None)
    admitted = is_admitted(frame, loaded)
    assert (frame.loc[present & admitted, "poi_probability"] > 0).all()
    assert (frame.loc[present & ~admitted, "poi_probability"] < 1e-6).all()
    assert np.isfinite(frame["evidence"]).all()
    assert frame["verdict"].nunique() == 3
    higher = frame[present].groupby("verdict")["evidence"].mean()
    assert higher["poi"] > higher["noise"]


@pytest.mark.parametrize("rivals", [True, False])
def test_the_tables_hold_what_the_model_infers(timed, tmp_path, monkeypatch, rivals):
    """One user at a time, straight from the denoiser; without messages, which the weights hold summed over users."""
    calls, real = [], module.diagnose

    def diagnose(denoiser, dataset, folder, listener, rivals, messages):
        calls.append((denoiser, rivals))
        return real(denoiser, dataset, folder, listener, rivals, messages)

    monkeypatch.setattr("demure.training.run.diagnose", diagnose)
    asked = (*QUICK, "training.belief_passes=0", f"denoiser.rivals={str(rivals).lower()}")
    train(timed, tmp_path / "run", overrides=asked, device="cpu")
    diagnosis = pd.read_parquet(tmp_path / "run" / "diagnosis.parquet")
    ((denoiser, fitted),) = calls
    dataset = Dataset.load(timed)
    views, train_part = denoiser.views(), dataset.histories("train")
    for user in (0, 7, 31):
        positions = train_part.interaction_indices(np.array([user]))
        context = denoiser.make_batch(
            torch.as_tensor(train_part.items[positions]), side_information=fitted.side_information(positions)
        )
        with torch.no_grad():
            inferred = denoiser.infer(context, views)
        own = diagnosis[diagnosis["user_id"] == dataset.user_ids[user]]
        np.testing.assert_allclose(own["poi_probability"], inferred.r_BTM[0].ravel(), rtol=1e-3, atol=1e-6)
        present = (own["verdict"] != "missing").to_numpy()
        evidence = inferred.ratio_BTM[0].ravel().log().numpy()
        np.testing.assert_allclose(own["evidence"].to_numpy()[present], evidence[present], rtol=1e-3, atol=1e-4)


def test_a_choice_against_the_content_is_no_point_of_interest(loaded, tmp_path, monkeypatch):
    """However probable: where the density ratio is below 1, whoever relies on the modality chose for another reason."""
    denoiser, real = loaded.recommender.denoiser, Denoiser.content_only_ratio
    monkeypatch.setattr(Denoiser, "content_only_ratio", lambda self, *arguments: real(self, *arguments).clamp(max=0.9))
    module.diagnose(denoiser, loaded.dataset, tmp_path, silent, flat(loaded))
    frame = pd.read_parquet(tmp_path / "diagnosis.parquet")
    assert (frame["poi_probability"] >= 0.5).any()
    assert set(frame["verdict"]) == {"noise", "missing"}


def test_shares_of_causes_by_hand():
    """Two choices, image and text, popularity and two rivals: half the first is image's and text's alike, a tenth of
    the second is left over, which is popularity's."""
    shares = module.mean_shares(
        ["image", "text"],
        np.array([[0.5, 0.5], [0.0, 0.0]]),
        np.array([[0.3, 0.1, 0.1], [0.1, 0.4, 0.4]]),
    )
    expected = {"image": 0.125, "text": 0.125, "popularity": 0.25, "transition": 0.25, "taste": 0.25}
    assert shares == pytest.approx(expected)


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
    frame, train_part = tables["supports"], loaded.dataset.histories("train")
    assert frame.columns.tolist() == [
        "user_id", "item_id", "position", "modality", "support_rank", "support_item_id", "weight",
    ]  # fmt: skip
    data = loaded.dataset
    history = {user_id: set(data.item_ids[train_part.of(user)]) for user, user_id in enumerate(data.user_ids)}
    assert len(frame) > 500
    assert all(item in history[user] for user, item in zip(frame["user_id"], frame["support_item_id"], strict=True))
    assert (frame["item_id"] != frame["support_item_id"]).all()
    diagnosis = tables["diagnosis"].set_index(["user_id", "item_id", "modality"])
    keys = pd.MultiIndex.from_frame(frame[["user_id", "item_id", "modality"]])
    assert (diagnosis.loc[keys, "position"].to_numpy() == frame["position"].to_numpy()).all()
    assert (diagnosis.loc[keys, "verdict"] != "missing").all()
    sources = pd.MultiIndex.from_frame(frame[["user_id", "support_item_id", "modality"]])
    assert (diagnosis.loc[sources, "verdict"] != "missing").all()
    groups = frame.groupby(["user_id", "position", "modality"], sort=False)
    assert groups["support_rank"].apply(lambda ranks: ranks.tolist() == list(range(1, len(ranks) + 1))).all()
    assert groups["support_rank"].max().max() == 3
    assert not frame.duplicated(["user_id", "position", "modality", "support_item_id"]).any()
    assert groups["weight"].apply(lambda weights: (np.diff(weights) <= 1e-7).all()).all()
    assert (frame["weight"] > 0).all()
    assert (groups["weight"].sum() <= 1 + 1e-5).all()


def test_reliance_is_a_share_of_choices(tables, loaded):
    frame = tables["reliance"]
    assert frame.columns.tolist() == ["user_id", "modality", "reliance"]
    assert frame["modality"].tolist() == ["image", "text", "none"] * loaded.dataset.n_users
    assert frame["user_id"].drop_duplicates().tolist() == loaded.dataset.user_ids.tolist()
    assert frame["reliance"].between(0, 1).all()
    np.testing.assert_allclose(frame.groupby("user_id")["reliance"].sum(), 1, atol=1e-6)
    probability = tables["diagnosis"].groupby(["user_id", "modality"])["poi_probability"].mean().unstack()
    shares = frame.pivot(index="user_id", columns="modality", values="reliance")
    lead = probability["image"] - probability["text"]
    agree = np.sign(lead) == np.sign(shares["image"] - shares["text"])
    assert agree[lead.abs() > 0.1].all()
    assert (lead.abs() > 0.1).sum() > 10


def test_a_long_history_is_diagnosed_in_parts(loaded, tmp_path, tables):
    """Each part as a history of its own, no interaction without a verdict, every row in its place."""
    denoiser, train_part = loaded.recommender.denoiser, loaded.dataset.histories("train")
    module.diagnose(denoiser, loaded.dataset, tmp_path, silent, flat(loaded), longest=4)
    frame = pd.read_parquet(tmp_path / "diagnosis.parquet")
    keys = ["user_id", "item_id", "modality", "position"]
    pd.testing.assert_frame_equal(frame[keys], tables["diagnosis"][keys])
    assert (frame.loc[(frame["verdict"] != "missing") & is_admitted(frame, loaded), "poi_probability"] > 0).all()
    user = int(np.argmax(train_part.lengths == 9))  # in parts of three
    expected = []
    with torch.no_grad():
        for part in np.split(train_part.of(user), 3):
            context = HistoryBatch.build(torch.as_tensor(part)[None], ordered=True)
            expected.append(denoiser.infer(context, denoiser.views()).r_BTM[0])
    own = frame[frame["user_id"] == loaded.dataset.user_ids[user]]
    np.testing.assert_allclose(own["poi_probability"], torch.cat(expected).ravel(), rtol=1e-3, atol=1e-6)
    supports = pd.read_parquet(tmp_path / "supports.parquet")
    places = frame.drop_duplicates(["user_id", "item_id"]).set_index(["user_id", "item_id"])["position"]
    own = supports[supports["user_id"] == loaded.dataset.user_ids[user]]
    positions_in_history = places.loc[pd.MultiIndex.from_frame(own[["user_id", "support_item_id"]])].to_numpy()
    assert (positions_in_history // 3 == own["position"] // 3).all()
    reliance = pd.read_parquet(tmp_path / "reliance.parquet")
    np.testing.assert_allclose(reliance.groupby("user_id")["reliance"].sum(), 1, atol=1e-6)


def test_progress_ends_at_its_total(loaded, tmp_path):
    reports = []
    module.diagnose(loaded.recommender.denoiser, loaded.dataset, tmp_path, reports.append, flat(loaded))
    assert reports[-1].done == reports[-1].total == loaded.dataset.n_users
    assert [report.done for report in reports] == sorted({report.done for report in reports})


@pytest.mark.parametrize("recipe", ["no-denoising", "content-only"])
def test_other_recipes_have_the_same_tables(timed, tmp_path, recipe):
    train(timed, tmp_path / "run", recipe=recipe, overrides=QUICK, device="cpu")
    frame = pd.read_parquet(tmp_path / "run" / "diagnosis.parquet")
    assert len(frame) == 2 * len(Dataset.load(timed).histories("train").items)
    supports = pd.read_parquet(tmp_path / "run" / "supports.parquet")
    assert (supports["item_id"] != supports["support_item_id"]).all()


def test_one_modality(timed, tmp_path):
    train(timed, tmp_path / "run", overrides=[*QUICK, "modalities=[image]"], device="cpu")
    reliance = pd.read_parquet(tmp_path / "run" / "reliance.parquet")
    assert reliance["modality"].tolist() == ["image", "none"] * 60
    np.testing.assert_allclose(reliance.groupby("user_id")["reliance"].sum(), 1, atol=1e-6)
    image = reliance.loc[reliance["modality"] == "image", "reliance"]
    admitted = json.loads((tmp_path / "run" / "run.json").read_text())["placebo"]["image"]["admitted"]
    # So few users may not be enough to tell its features from permuted ones; then nobody relies on them.
    assert image.between(0.01, 0.999).all() if admitted else (image == 0).all()
