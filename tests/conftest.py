"""Fixtures for every package. They import the library only when they are used: the guards run without it."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from support.processes import start_python  # noqa: F401  a fixture for every package

# One thread a process, set before NumPy and torch load: `make test` starts a process per core, and threads in excess of
# the cores spin at every small operator.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, so that a failure can be repeated; `--hypothesis-profile default` draws new ones.
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
    from support.small_sets import dataset_folder

    return dataset_folder(tmp_path_factory.mktemp("timed"))


@pytest.fixture(scope="session")
def untimed(tmp_path_factory):
    """The same without timestamps, split at random."""
    from support.small_sets import dataset_folder

    return dataset_folder(tmp_path_factory.mktemp("untimed"), timed=False)


@pytest.fixture(scope="session")
def run(timed, tmp_path_factory):
    """A run on ``timed``."""
    from support.small_sets import QUICK

    from demure.training.run import train

    out = tmp_path_factory.mktemp("runs") / "run"
    train(timed, out, overrides=QUICK, device="cpu")
    return out


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory):
    """A dataset whose items have texts and pictures."""
    from support.small_catalogue import catalogue

    return catalogue(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="session")
def catalogue_run(catalogue, tmp_path_factory):
    """A run on ``catalogue``."""
    from support.small_sets import QUICK

    from demure.training.run import train

    out = tmp_path_factory.mktemp("catalogue_runs") / "run"
    train(catalogue, out, overrides=QUICK, device="cpu")
    return out


@pytest.fixture(scope="session")
def informative_run(catalogue_run, tmp_path_factory):
    """A copy of ``catalogue_run`` that counts every modality as above its placebo."""
    import shutil

    from support.manifests import rewrite

    out = shutil.copytree(catalogue_run, tmp_path_factory.mktemp("informative_runs") / "run")

    def raise_all(content):
        for placebo in content["placebo"].values():
            placebo.update(low=0.1, excess=0.2, high=0.3, admitted=True)

    rewrite(out / "run.json", raise_all)
    return out


def pytest_collection_modifyitems(items):
    """Start with the folders whose tests take longest, so that the processes of `make test` end together."""
    long = ("training", "tuning", "tracking", "demo", "api")
    items.sort(key=lambda item: item.path.parent.name not in long)
