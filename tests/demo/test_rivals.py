"""Planted sets in which content has rivals: the shares, the exact posterior, and what is withheld."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from demure.demo.planted import KINDS, PlantedOptions, plant
from demure.demo.rivals import RivalProcess, draw_links, draw_seconds, simulate_with_rival
from demure.diagnosis.calibration import auc, calibration_error
from demure.errors import DemureError
from demure.files import read_json

RIVALS = ("hidden", "trend", "habit", "junk")


@pytest.fixture(scope="module")
def sets():
    return {kind: plant(dataclasses.replace(KINDS[kind], users=400)) for kind in RIVALS}


def cause_table(planted):
    """``caused`` and ``posterior`` (N, M) in the order of the interactions."""
    shape = (len(planted.interactions), len(planted.options.modalities))
    return tuple(planted.truth[name].to_numpy().reshape(shape) for name in ("caused", "posterior"))


def two_interests(**rival):
    """One interest per modality, the same for all; items 0-1 by modality 0, items 1-2 by modality 1, item 3 by none."""
    return RivalProcess(
        popularity=np.full(4, 1 / 4),
        cluster=np.array([[0, 0, 1, 1], [1, 0, 0, 1]]),
        interests=[np.tile([True, False], (3000, 1))] * 2,
        present=np.ones((2, 4), bool),
        reliance=np.tile([0.4, 0.6], (3000, 1)),
        **rival,
    )


@pytest.mark.parametrize(
    ("kind", "neither", "ceiling"),
    # As in the sets that the project was measured on.
    [("hidden", 0.326, 0.994), ("trend", 0.416, 0.974), ("habit", 0.374, 0.998), ("junk", 0.499, 0.999)],
)
def test_shares_and_ceiling(sets, kind, neither, ceiling):
    caused, posterior = cause_table(sets[kind])
    # The share of a modality differs between users, hence the wider margin where it decides.
    assert (caused.sum(axis=1) == 0).mean() == pytest.approx(neither, abs=0.015 if kind in ("trend", "habit") else 0.04)
    assert auc(caused.ravel(), posterior.ravel()) == pytest.approx(ceiling, abs=0.003)


@pytest.mark.parametrize("kind", RIVALS)
def test_the_posterior_is_calibrated(sets, kind):
    caused, posterior = cause_table(sets[kind])
    assert posterior.min() >= 0
    assert posterior.sum(axis=1).max() <= 1 + 1e-5
    # Causes are drawn by the posterior: the sum of the differences has the variance p (1 - p), summed.
    error = np.sqrt((posterior * (1 - posterior)).sum(axis=0))
    assert (np.abs((caused - posterior).sum(axis=0)) <= 4 * error + 1e-9).all()
    assert calibration_error(caused.ravel(), posterior.ravel()) < 0.01


@pytest.mark.parametrize("kind", RIVALS)
def test_times_rise_within_a_year(sets, kind):
    interactions = sets[kind].interactions
    assert interactions.groupby("user_id").timestamp.diff().dropna().min() > 0
    assert interactions.timestamp.between(1_600_000_000, 1_600_000_000 + 365 * 86_400).all()
    assert not interactions.duplicated(["user_id", "item_id"]).any()


@pytest.mark.parametrize("kind", RIVALS)
def test_the_seed_decides(kind):
    options = dataclasses.replace(KINDS[kind], users=40, items=300)
    first, again, other = plant(options), plant(options), plant(dataclasses.replace(options, seed=1))
    pd.testing.assert_frame_equal(first.truth, again.truth)
    pd.testing.assert_frame_equal(first.interactions, again.interactions)
    assert all(np.array_equal(first.features[name], again.features[name]) for name in first.features)
    assert not first.interactions.equals(other.interactions)


def test_the_posterior_of_a_trend_by_hand():
    # All items are there from the start. Item 1: .5 * (.4 / 2 + .6 / 2) by content and .5 / 4 by the trend.
    simulation = simulate_with_rival(
        two_interests(p_rival=0.5, release=np.zeros(4)), np.ones(3000, int), np.random.default_rng(0)
    )
    expected = np.array([[0.1, 0], [0.1, 0.15], [0, 0.15], [0, 0]])
    expected /= (expected.sum(axis=1) + 0.125)[:, None]
    assert simulation.posterior == pytest.approx(expected[simulation.items])
    assert (simulation.caused.sum(axis=1) == 0).mean() == pytest.approx(0.5, abs=0.03)


def test_the_posterior_of_a_habit_by_hand():
    # Every item is linked to item 3, which is in no cluster of interest: no user takes it first, nor by content.
    links = np.array([[3], [3], [3], [0]])
    simulation = simulate_with_rival(
        two_interests(p_rival=0.5, links=links), np.full(3000, 2), np.random.default_rng(0)
    )
    first, second = simulation.step == 0, simulation.step == 1
    assert (simulation.items[first] != 3).all()
    assert simulation.posterior[first].sum(axis=1) == pytest.approx(1)
    assert (simulation.posterior[second].sum(axis=1) == 0).tolist() == (simulation.items[second] == 3).tolist()
    # After item 0: .5 by habit; of the content's .5 the part .4 / 2 * .5 is taken already: .5 / .9.
    after = simulation.items[second][simulation.items[first] == 0]
    assert (after == 3).mean() == pytest.approx(0.5 / 0.9, abs=0.05)


def test_items_of_a_trend_appear_and_fade():
    process = dataclasses.replace(two_interests(p_rival=1.0), release=np.array([-60.0, 0.0, 90.0, 200.0]))
    days = np.array([10, 100, 190])
    w = process.joint(np.arange(3), days * 86_400, np.full(3, -1))[2]
    assert (w > 0).tolist() == [[True, True, False, False], [True, True, True, False], [True, True, True, False]]
    assert w[1, 1] / w[1, 2] == pytest.approx(np.exp(-1))
    assert w.sum(axis=1) == pytest.approx(np.ones(3))


def test_the_text_encodes_the_release_date_and_the_image_does_not(sets):
    planted = sets["trend"]
    chosen = planted.interactions.groupby("item_id").timestamp.agg(["min", "size"])
    chosen = chosen[chosen["size"] >= 8]
    rows = chosen.index.str[1:].astype(int)
    turn = 2 * np.pi * (chosen["min"].to_numpy() - 1.6e9) / (365 * 86_400)
    explained = {}
    for name, matrix in planted.features.items():
        design = np.c_[np.ones(len(rows)), matrix[rows]]
        season = np.c_[np.sin(turn), np.cos(turn)]
        rest = season - design @ np.linalg.lstsq(design, season, rcond=None)[0]
        explained[name] = 1 - (rest**2).sum() / ((season - season.mean(axis=0)) ** 2).sum()
    assert explained["text"] > 0.8
    assert explained["image"] < explained["text"] - 0.3


def test_a_habit_leads_to_one_of_six():
    planted = plant(dataclasses.replace(KINDS["habit"], users=400, items=300))
    caused, _ = cause_table(planted)
    frame = planted.interactions.assign(neither=caused.sum(axis=1) == 0)
    frame["previous"] = frame.groupby("user_id").item_id.shift()
    assert not frame[frame.previous.isna()].neither.any()
    assert frame[frame.neither].groupby("previous").item_id.nunique().max() == 6


def test_the_hidden_modality_is_withheld(sets, tmp_path):
    planted = sets["hidden"]
    planted.write(tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").glob("*.npy")) == ["image.npy", "text.npy"]
    assert set(planted.truth.modality) == {"image", "text"}
    options = read_json(tmp_path / "set" / "planted.json")
    assert (options["rival"], options["modalities"]) == ("hidden", ["image", "text"])


def test_junk_deals_the_image_and_never_blames_it(sets):
    planted = sets["junk"]
    caused, posterior = cause_table(planted)
    assert not caused[:, 0].any()
    assert not posterior[:, 0].any()
    # Without the dealing, what the image caused (the choices that the text did not) lies near together.
    image = planted.features["image"] - planted.features["image"].mean(axis=0)
    rows = planted.interactions.item_id.str[1:].astype(int).to_numpy()
    users = planted.interactions.user_id.to_numpy()
    by_image = posterior[:, 1] < 0.1
    same = (users[1:] == users[:-1]) & by_image[1:] & by_image[:-1]
    products = (image[rows[1:]] * image[rows[:-1]]).sum(axis=1)[same]
    assert abs(products.mean()) < 0.1 * (image**2).sum(axis=1).mean()


def test_links_are_to_others_and_all_different():
    links = draw_links(9, np.random.default_rng(0))
    assert all(len({k, *row}) == 7 for k, row in enumerate(links.tolist()))


def test_who_has_nothing_left_to_go_by_chooses_without_cause():
    simulation = simulate_with_rival(two_interests(), np.full(3000, 4), np.random.default_rng(0))
    last = simulation.step == 3
    assert (simulation.items[last] == 3).all()
    assert not simulation.caused[last].any()
    assert not simulation.posterior[last].any()


def test_seconds_rise_within_the_length():
    lengths = np.array([1, 5, 3])
    seconds = draw_seconds(lengths, np.random.default_rng(0))
    for row, length in zip(seconds, lengths, strict=True):
        assert (np.diff(row[:length]) > 0).all()
        assert row[length - 1] < 365 * 86_400


def test_a_missing_modality_causes_nothing_beside_a_rival():
    planted = plant(
        PlantedOptions(users=100, items=300, clusters=6, length=(5, 9), missing=0.3, rival="trend", p_rival=0.3)
    )
    caused, posterior = cause_table(planted)
    rows = planted.interactions.item_id.str[1:].astype(int).to_numpy()
    for m, matrix in enumerate(planted.features.values()):
        lacking = (matrix == 0).all(axis=1)[rows]
        assert lacking.any()
        assert not caused[lacking, m].any()
        assert not posterior[lacking, m].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rival": "weather"}, "there are: hidden, trend, habit, junk"),
        ({"rival": "hidden", "p_rival": 0.3}, "set rival to trend or habit"),
        ({"p_rival": 0.3}, "set rival to trend or habit"),
        ({"rival": "trend", "p_rival": 1.5}, "give a share from 0 to 1"),
        ({"rival": "trend", "clusters": 0}, "needs clusters"),
        ({"rival": "habit", "p_none": 0.1}, "leave it at 0 where there is a rival"),
        ({"rival": "junk", "modalities": ("text",)}, "junk needs two or more"),
        ({"rival": "habit", "items": 6, "length": (1, 2)}, "more than six items"),
    ],
)
def test_impossible_rivals_are_refused(change, message):
    with pytest.raises(DemureError, match=message):
        PlantedOptions(**change)
