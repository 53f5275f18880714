"""Fixtures for every package."""

from pathlib import Path

import pytest
from hypothesis import settings

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
