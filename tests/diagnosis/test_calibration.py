import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demure.demo.planted import PlantedOptions, plant
from demure.diagnosis.calibration import KEY, auc, calibration_error, log_loss, score_diagnosis
from demure.errors import DataError

TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score_diagnosis.py"


@pytest.fixture(scope="module")
def truth():
    return plant(PlantedOptions(users=80, items=200, length=(5, 9), clusters=6, alpha=1.0)).truth


@pytest.fixture
def diagnosis(truth):
    """Half right: the posterior in noise, for nine of ten pairs, some of them missing."""
    random = np.random.default_rng(5)
    frame = truth[KEY].sample(frac=0.9, random_state=0)
    noisy = 0.5 * truth.loc[frame.index, "posterior"] + 0.5 * random.random(len(frame))
    verdict = np.where(noisy > 0.4, "poi", "noise")
    verdict[random.random(len(frame)) < 0.05] = "missing"
    return frame.assign(poi_probability=noisy.round(2), evidence=noisy - 0.5, verdict=verdict)


def test_auc_by_hand():
    # Of 2 x 2 pairs: .9 beats both, .4 ties one and loses to none: (2 + 1.5) / 4.
    assert auc(np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.4, 0.1])) == 3.5 / 4
    assert math.isnan(auc(np.array([1, 1]), np.array([0.1, 0.2])))


def test_calibration_and_loss_by_hand():
    # One bin holds .72 and .78 with one caused: |1/2 - .75|; the other holds .1, not caused.
    caused, probability = np.array([1, 0, 0]), np.array([0.72, 0.78, 0.1])
    assert calibration_error(caused, probability) == pytest.approx((2 * 0.25 + 0.1) / 3)
    assert log_loss(caused, probability) == pytest.approx(-(math.log(0.72) + math.log(0.22) + math.log(0.9)) / 3)
    assert calibration_error(np.array([1]), np.array([1.0])) == 0


def test_the_truth_itself_reaches_the_ceiling(truth):
    own = truth.assign(poi_probability=truth.posterior, evidence=truth.posterior, verdict="poi")
    score = score_diagnosis(truth, own.drop(columns=["caused", "posterior"]))
    assert score.auc == score.ceiling > 0.9
    assert score.noise_precision is None
    assert score.noise_recall == 0


@pytest.mark.skipif(not TOOL.is_file(), reason="../shared/tools is not here")
def test_agrees_with_the_acceptance_tool(truth, diagnosis, tmp_path):
    truth.to_csv(tmp_path / "truth.csv", index=False)
    diagnosis.to_parquet(tmp_path / "noise.parquet")
    command = [sys.executable, str(TOOL), str(tmp_path / "truth.csv"), str(tmp_path / "noise.parquet"), "--json"]
    expected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    ours = vars(score_diagnosis(truth, diagnosis))
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert ours[key] == pytest.approx(value, abs=1e-12), key


def test_pairs_left_out_are_counted(truth, diagnosis):
    score = score_diagnosis(truth, diagnosis)
    assert score.pairs == (diagnosis.verdict != "missing").sum() < score.of == len(truth)


def test_what_is_no_diagnosis_is_refused(truth, diagnosis):
    with pytest.raises(DataError, match="is listed twice"):
        score_diagnosis(truth, pd.concat([diagnosis, diagnosis.head(1)]))
    for bad in (1.5, -0.1, math.nan):
        spoiled = diagnosis.assign(verdict="poi", poi_probability=bad)
        with pytest.raises(DataError, match="not always within"):
            score_diagnosis(truth, spoiled)
    with pytest.raises(DataError, match="shares no pair"):
        score_diagnosis(truth, diagnosis.assign(user_id="not " + diagnosis.user_id))
