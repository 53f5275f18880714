"""A small dataset, made once."""

import pytest
from support.small_sets import dataset_folder


@pytest.fixture(scope="session")
def timed(tmp_path_factory):
    return dataset_folder(tmp_path_factory.mktemp("timed"))
