"""A small version of the benchmark of `inspect --explain`: the word and the patch that mattered come first."""

import importlib.util
from pathlib import Path

import pytest
from support.small_sets import QUICK

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "explain.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("explain_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # its dataclasses look for it there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_word_and_the_patch_that_mattered_come_first(benchmark, tmp_path):
    marked = benchmark.make(tmp_path, users=150, items=120)
    benchmark.train(marked.dataset, tmp_path / "run", overrides=QUICK, device="cpu")
    rates = benchmark.hit_rates(marked, tmp_path / "run", choices=12)
    assert {name: count for name, (_, count) in rates.items()} == {"image": 12, "text": 12}
    assert rates["text"][0] >= 0.8
    assert rates["image"][0] >= 0.8
