"""A small catalogue with texts and pictures, and a run on it."""

import pytest


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory):
    from support.small_catalogue import catalogue

    return catalogue(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="session")
def catalogue_run(catalogue, tmp_path_factory):
    from support.small_sets import QUICK

    from demure.training.run import train

    out = tmp_path_factory.mktemp("catalogue_runs") / "run"
    train(catalogue, out, overrides=QUICK, device="cpu")
    return out
