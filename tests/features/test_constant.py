"""Features that are alike for all items are found, reported and left out; features that differ are not."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_sets import prepared, raw_files

from demure.baselines.build import build_task
from demure.data.dataset import Dataset
from demure.errors import FeatureError
from demure.features import store
from demure.features.check import check_features
from demure.features.constant import constant_features, why_constant
from demure.training.inputs import build_latents
from demure_cli.app import main

N = 120


def normal(seed=0, size=6):
    return np.random.default_rng(seed).normal(size=(N, size)).astype(np.float32)


def but(vectors, rows, value):
    vectors = vectors.copy()
    vectors[rows] = value
    return vectors


ALIKE = {
    "one vector": np.full((N, 6), 0.5),
    "one vector but for noise": 3 + 1e-3 * normal(),
    "float16 of one vector": (7 + 2e-3 * normal()).astype(np.float16),
    "one item differs": but(np.ones((N, 6)), [5], 9.0),
    "a column of zeros": but(np.zeros((N, 6)), np.s_[:, 0], 2.0),
}
DIFFERENT = {
    "plain": normal(),
    "collapsed": 100 + normal(),
    "one column of many": but(np.ones((N, 6)), np.s_[:, 2], normal()[:, 2]),
    "a large offset in one column": but(normal(), np.s_[:, 0], 1e6),
    "two values": np.repeat([[0.0, 1.0], [1.0, 0.0]], N // 2, axis=0),
    "years": 1990 + 10 * normal(size=1),
    "rare": but(np.zeros((N, 6)), np.s_[:5], normal()[:5]),
}


@pytest.mark.parametrize("kind", [*ALIKE, *DIFFERENT])
def test_what_is_alike(kind):
    assert (why_constant({**ALIKE, **DIFFERENT}[kind].astype(np.float32)) is not None) == (kind in ALIKE)


@given(st.integers(0, 10**6), st.floats(0.01, 1e3), st.floats(-1e3, 1e3))
@settings(max_examples=30, deadline=None)
def test_a_scale_changes_nothing_and_noise_of_rounding_is_no_difference(seed, scale, offset):
    varied = normal(seed)
    assert why_constant(np.float32(scale) * varied) is None
    constant = np.full((N, 6), offset, dtype=np.float32)
    assert why_constant(constant + np.float32(1e-4 * offset) * varied) is not None


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    random = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}", t) for u in range(30) for t, i in enumerate(random.permutation(N)[:6])]
    features = {"text": normal(1), "image": np.ones((N, 4)), "nearly": 5 + 1e-4 * normal(2)}
    folder = tmp_path_factory.mktemp("constant")
    return prepared(raw_files(folder / "raw", rows, features, ("user_id", "item_id", "timestamp")), folder / "shop")


def test_check_and_training_agree(shop):
    data, reasons = Dataset.load(shop), constant_features(shop, store.names(shop))
    assert sorted(reasons) == ["image", "nearly"]
    for checked in check_features(shop):
        warnings = [warning for warning in checked.warnings if "`demure train` leaves it out" in warning]
        assert [warning.startswith(reasons[checked.name]) for warning in warnings] == [True] * (checked.name in reasons)
    assert list(build_latents(data, (), 8)) == list(build_latents(data, ("image", "text"), 8)) == ["text"]
    assert list(build_task(data, "vbpr", ()).content) == ["text"]
    for names in (("image",), ("image", "nearly")):
        with pytest.raises(FeatureError, match=r"no modality differs between items \(image: all items have the same"):
            build_latents(data, names, 8)


def test_train_reports_what_it_leaves_out(shop, tmp_path, capsys):
    values = ("baseline.epochs=1", "baseline.dim=4", "modalities=[image,text]")
    options = [part for value in values for part in ("--set", value)]
    assert main(["train", str(shop), "--out", str(tmp_path / "run"), "--recipe", "vbpr", *options]) == 0
    shown = capsys.readouterr()
    assert "left out: image, as all items have the same vector: it can be no reason" in " ".join(shown.err.split())
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["modalities"] == ["text"]
    assert manifest["constant"] == {"image": "all items have the same vector"}
