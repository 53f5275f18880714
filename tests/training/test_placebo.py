"""The placebo: permuted features are put back, and what features explain beyond it is theirs."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from support.small_models import small_denoiser, small_histories
from support.small_sets import SMALL, prepared

from demure.demo.planted import plant
from demure.files import read_json
from demure.training import placebo as module
from demure.training.placebo import permuted_features
from demure.training.run import train

CLEAR = dataclasses.replace(SMALL, users=200, items=100, length=(8, 14), p_none=0.1, missing=0.0)


def copied(denoiser):
    return {name: tensor.clone() for name, tensor in denoiser.state_dict().items()}


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_everything_is_as_it_was(fails):
    denoiser = small_denoiser()
    before = copied(denoiser)
    channel = denoiser.experts()[0]
    try:
        with permuted_features(channel, np.random.default_rng(0)):
            assert not torch.equal(channel.coordinates_ID, before["channels.m0.coordinates_ID"])
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    after = denoiser.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_items_that_have_the_modality_change_places_and_the_others_do_not():
    """Coordinates and offset of an item move together; messages are set to 0; the other modality stays."""
    denoiser = small_denoiser(missing=0.4)
    before = copied(denoiser)
    channel, other = denoiser.experts()
    present = channel.present_I > 0
    with permuted_features(channel, np.random.default_rng(0)):
        assert torch.equal(channel.present_I > 0, present)
        assert (channel.clusters.offset_IC == 0).all()
        was = torch.cat([before["channels.m0.coordinates_ID"], before["channels.m0.points.offset_ID"]], 1)[present]
        now = torch.cat([channel.coordinates_ID, channel.kernel.offset_ID], 1)[present]
        assert not torch.equal(now, was)
        assert sorted(map(tuple, now.tolist())) == sorted(map(tuple, was.tolist()))
        assert torch.equal(channel.coordinates_ID[~present], before["channels.m0.coordinates_ID"][~present])
        assert torch.equal(other.coordinates_ID, before["channels.m1.coordinates_ID"])


def test_the_seed_decides_the_permutation():
    denoiser, responsibilities = small_denoiser(), []
    for seed in (0, 0, 1):
        with permuted_features(denoiser.experts()[0], np.random.default_rng(seed)):
            context = denoiser.make_batch(small_histories([8]))
            responsibilities.append(denoiser.infer(context, denoiser.views()).r_BTM)
    assert torch.equal(responsibilities[0], responsibilities[1])
    assert not torch.equal(responsibilities[0], responsibilities[2])


def test_a_placebo_has_shares_of_its_own_and_leaves_the_model_as_it_was():
    """The shares that are given are used within, an excluded modality stays excluded, and all is restored."""
    denoiser = small_denoiser()
    denoiser.revoke_admission(1)
    before = copied(denoiser)
    shares = {key: torch.full_like(denoiser.get_parameter(key), 0.5) for key in module._SHARES}
    with module.placebo(denoiser, 0, np.random.default_rng(0), shares):
        assert denoiser.log_cause_prior_K[0] == 0.5
        assert denoiser.two_causes_logit == 0.5
        assert denoiser.admitted_K().tolist() == [1.0] * denoiser.n_rivals + [1.0, 0.0]
    after = denoiser.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_interval_by_hand():
    """Two permutations, users of weights 1 and 3: means 2 and 4 by user, 3.5 in all; 2.75 and 4.25 by permutation."""
    mean, low, high = module._interval(np.array([[1.0, 10 / 3], [3.0, 14 / 3]]), np.array([1.0, 3.0]))
    variance = (1 / 16 * 1.5**2 + 9 / 16 * 0.5**2) + (2 * 0.75**2) / 2
    assert mean == pytest.approx(3.5)
    assert (low, high) == pytest.approx((3.5 - 1.96 * variance**0.5, 3.5 + 1.96 * variance**0.5))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run on planted choices by the image, beside a text that is noise: (run folder, run.json)."""
    folder = tmp_path_factory.mktemp("placebo")
    planted = plant(dataclasses.replace(CLEAR, modalities=("image",), p_two=0.0))
    noise = np.random.default_rng(5).normal(size=(CLEAR.items, 12)).astype(np.float32)
    dataclasses.replace(planted, features={**planted.features, "text": noise}).write(folder / "raw")
    dataset = prepared(folder / "raw", folder / "dataset")
    asked = (
        "training.epochs=4",
        "training.popularity_only_epochs=2",
        "training.offset_epochs=1",
        "training.epoch_steps=6",
    )
    train(dataset, folder / "run", overrides=asked, device="cpu")
    return folder / "run", read_json(folder / "run" / "run.json")


def test_the_cause_explains_more_than_its_placebo(measured):
    _, manifest = measured
    image = manifest["placebo"]["image"]
    assert image["admitted"]
    assert image["deals"] == module.PERMUTATIONS
    assert 0 < image["gain_low"] < image["gain"]
    assert 0 < image["low"] < image["excess"] < image["high"]
    assert manifest["causes"]["image"] > 0.3
    # The image causes nine choices in ten; with the shares of the true features its placebo had .7 of them.
    assert image["mean_probability"] < 0.3


def test_noise_explains_nothing(measured):
    _, manifest = measured
    text = manifest["placebo"]["text"]
    assert not text["admitted"] or text["mean_probability"] <= 0.05
    assert manifest["causes"]["text"] < 0.05


def test_what_is_not_admitted_has_no_point_of_interest(measured):
    run, manifest = measured
    frame = pd.read_parquet(run / "diagnosis.parquet")
    for name, placebo in manifest["placebo"].items():
        mine = frame[frame["modality"] == name]
        if not placebo["admitted"]:
            assert (placebo["deals"], placebo["mean_probability"], placebo["excess"]) == (0, 0.0, 0.0)
            assert (mine["verdict"] == "noise").all()
            assert mine["poi_probability"].max() < 1e-6
        else:
            assert (mine["verdict"] == "poi").any()


def test_the_excess_is_over_the_mean_probability_with_permuted_features(measured):
    run, manifest = measured
    image = manifest["placebo"]["image"]
    frame = pd.read_parquet(run / "diagnosis.parquet")
    real = frame.loc[frame["modality"] == "image", "poi_probability"].mean()
    assert image["mean_probability"] + image["excess"] == pytest.approx(real, abs=0.02)
