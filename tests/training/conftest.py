"""Small datasets and a finished run, made once."""

import pytest
from support.small_sets import QUICK, dataset_folder

from demure.training.run import train


@pytest.fixture(scope="session")
def timed(tmp_path_factory):
    """A dataset with timestamps, two modalities, a tenth of each missing."""
    return dataset_folder(tmp_path_factory.mktemp("timed"))


@pytest.fixture(scope="session")
def untimed(tmp_path_factory):
    """The same without timestamps, split at random."""
    return dataset_folder(tmp_path_factory.mktemp("untimed"), timed=False)


@pytest.fixture(scope="session")
def run(timed, tmp_path_factory):
    """A run on ``timed``."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train(timed, out, overrides=QUICK, device="cpu")
    return out
