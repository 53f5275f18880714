"""Fixtures for every package."""

from pathlib import Path

import pytest
from hypothesis import settings
from support.small_sets import QUICK, dataset_folder

# The same examples in every run: a build that fails, fails again for whoever looks into it. `--hypothesis-profile
# default` searches afresh.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data; a test that needs it is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA


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
    from demure.training.run import train

    out = tmp_path_factory.mktemp("runs") / "run"
    train(timed, out, overrides=QUICK, device="cpu")
    return out
