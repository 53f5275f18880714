import dataclasses

import numpy as np
import pandas as pd
import pytest

from demure.demo.affinity import draw_interests, smooth_affinity, zipf_popularity
from demure.demo.planted import KINDS, PlantedOptions, plant
from demure.diagnosis.calibration import auc, calibration_error
from demure.errors import DemureError
from demure.files import read_json

SMALL = PlantedOptions(users=150, items=300, length=(5, 12), clusters=6)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_whole_and_its_ceiling_high(kind):
    options = dataclasses.replace(KINDS[kind], users=200, items=500)
    planted = plant(options)
    truth, interactions = planted.truth, planted.interactions
    assert not interactions.duplicated(["user_id", "item_id"]).any()
    assert len(truth) == len(interactions) * len(options.modalities)
    assert interactions.groupby("user_id").size().between(*options.length).all()
    assert {name: matrix.shape for name, matrix in planted.features.items()} == dict.fromkeys(
        options.modalities, (500, options.dimensions)
    )
    assert auc(truth["caused"].to_numpy(), truth["posterior"].to_numpy()) > 0.95
    assert calibration_error(truth["caused"].to_numpy(), truth["posterior"].to_numpy()) < 0.01


@pytest.mark.parametrize("options", [SMALL, dataclasses.replace(SMALL, clusters=0)])
def test_the_seed_decides(options):
    first, again, other = plant(options), plant(options), plant(dataclasses.replace(options, seed=1))
    pd.testing.assert_frame_equal(first.truth, again.truth)
    assert np.array_equal(first.features["text"], again.features["text"])
    assert not first.interactions.equals(other.interactions)


def test_missing_rows_are_zero_and_cause_nothing():
    planted = plant(dataclasses.replace(SMALL, missing=0.3))
    for name, matrix in planted.features.items():
        lacking = {f"i{k}" for k in np.flatnonzero((matrix == 0).all(axis=1))}
        assert 50 < len(lacking) < 130
        rows = planted.truth[(planted.truth.modality == name) & planted.truth.item_id.isin(lacking)]
        assert (rows.caused == 0).all()
        assert (rows.posterior == 0).all()


def test_features_separate_clusters():
    """Items that a modality caused are more similar in its own features than items that the other caused."""
    planted = plant(dataclasses.replace(SMALL, interests=(1, 1)))
    truth = planted.truth[planted.truth.caused == 1]
    vectors = planted.features["image"] - planted.features["image"].mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearness = {}
    for modality, group in truth.groupby("modality"):
        rows = [g.item_id.str[1:].astype(int).to_numpy() for _, g in group.groupby("user_id") if len(g) > 1]
        nearness[modality] = np.mean([(vectors[r] @ vectors[r].T)[np.triu_indices(len(r), 1)].mean() for r in rows])
    assert nearness["image"] > nearness["text"] + 0.3


def test_users_planted_over_given_features():
    random = np.random.default_rng(0)
    features = {"audio": random.standard_normal((80, 5)), "text": random.standard_normal((80, 7))}
    features["audio"][:20] = 0
    planted = plant(PlantedOptions(users=60, length=(4, 6), clusters=0), features)
    assert planted.options.items == 80
    assert planted.options.modalities == ("audio", "text")
    assert np.array_equal(planted.features["text"], features["text"].astype(np.float32))
    audio = planted.truth[planted.truth.modality == "audio"]
    assert not audio[audio.item_id.isin([f"i{k}" for k in range(20)])].caused.any()
    assert audio.caused.any()


def test_nats_is_the_information_of_an_interest():
    random = np.random.default_rng(0)
    latent, present = random.standard_normal((400, 6)), np.ones((1, 400), bool)
    popularity = zipf_popularity(400, 0.8, random)
    information = []
    for nats in (1.0, 2.0):
        affinity = smooth_affinity([latent], present, popularity, random, users=200, interests=(1, 1), nats=nats)
        ratio = affinity(np.arange(200))[0]
        assert ratio @ popularity == pytest.approx(np.ones(200))
        information.append((ratio * np.log(ratio) @ popularity).mean())
    assert information == pytest.approx([1.0, 2.0], rel=0.15)


def test_interests_stay_within_their_span():
    counts = draw_interests(500, 7, (2, 4), np.random.default_rng(0)).sum(axis=1)
    assert sorted(set(counts)) == [2, 3, 4]


def test_the_folder_holds_the_planted_set(tmp_path):
    planted = plant(dataclasses.replace(SMALL, users=20))
    planted.write(tmp_path / "set")
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == [
        "image.npy",
        "interactions.csv",
        "items.csv",
        "planted.json",
        "text.npy",
        "truth.csv",
    ]
    options = read_json(tmp_path / "set" / "planted.json")
    assert (options["users"], options["interactions"]) == (20, len(planted.interactions))
    assert pd.read_csv(tmp_path / "set" / "truth.csv").columns.tolist() == planted.truth.columns.tolist()
    with pytest.raises(DemureError, match="already exists"):
        planted.write(tmp_path / "set")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p_none": 1.2}, "p_none is 1.2; give a share from 0 to 1"),
        ({"p_none": 0.6, "p_two": 0.6}, "p_none \\+ p_two is 1.2"),
        ({"length": (5, 900)}, "there are 300 items, each chosen once"),
        ({"interests": (1, 9)}, "add clusters"),
        ({"modalities": ("text",), "p_two": 0.1}, "two causes need two modalities"),
        ({"alpha": 0}, "alpha is 0; give a value above 0"),
        ({"missing": 1.0}, "leave some items"),
    ],
)
def test_impossible_options_are_refused(change, message):
    with pytest.raises(DemureError, match=message):
        dataclasses.replace(SMALL, **change)


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(DemureError, match="a row for each item"):
        plant(PlantedOptions(clusters=0), {"a": np.ones((3, 2)), "b": np.ones((4, 2))})
    with pytest.raises(DemureError, match="set clusters to 0"):
        plant(PlantedOptions(), {"a": np.ones((300, 2))})
