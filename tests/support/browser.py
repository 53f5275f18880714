"""Chromium for the tests of pages: found where a system keeps it, and required where `.ci/run` says so."""

from __future__ import annotations

import os
import shutil

import pytest

REQUIRED = os.environ.get("DEMURE_REQUIRE_CHROMIUM", "0") not in ("", "0")


def chromium_path() -> str:
    """The path of Chromium; without one the test is skipped, or fails where DEMURE_REQUIRE_CHROMIUM is 1."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is not None:
        return path
    if REQUIRED:
        pytest.fail("no Chromium here: apt-get install chromium, or DEMURE_REQUIRE_CHROMIUM=0 to skip these tests")
    pytest.skip("no Chromium here")
