"""A training on a catalogue that counts as large."""

import pytest
from support.small_sets import QUICK

from demure.files import read_json
from demure.model import denoiser as module
from demure.training.run import train


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(module, "MAX_FULL_CATALOGUE", 10)


def test_a_run_on_a_large_catalogue_learns_has_no_offsets_and_is_the_same_again(large, timed, tmp_path):
    for name in ("one", "two"):
        report = train(timed, tmp_path / name, overrides=(*QUICK, "denoiser.candidates=25"), device="cpu")
    assert report.epochs == 3
    first, second = (tmp_path / name for name in ("one", "two"))
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert read_json(first / "run.json") == read_json(second / "run.json")
    lines = (first / "metrics.jsonl").read_text()
    assert "offsets" not in lines
