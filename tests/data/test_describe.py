"""The statistics of `demure data show`, by hand."""

import numpy as np
import pytest
from PIL import Image
from support.data_by_hand import csv_of, write

from demure.data.dataset import Dataset
from demure.data.describe.describe import Bin, describe, summarize_lengths
from demure.data.describe.sessions import find_suspects, measure_sessions
from demure.data.histories import Histories
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features

T = 1_600_000_000


def histories(*times):
    """Users with interactions at these times."""
    return Histories(
        np.cumsum([0, *map(len, times)]), np.arange(sum(map(len, times))), np.concatenate(times).astype(float)
    )


def test_lengths_by_hand():
    stats = summarize_lengths(np.array([0, 1, 1, 2, 6]))
    assert (stats.median, stats.mean, stats.longest) == (1, 2, 6)
    assert stats.bins == [Bin(0, 0, 1), Bin(1, 1, 2), Bin(2, 3, 1), Bin(4, 7, 1)]
    assert stats.top_share == 0.6
    pairs = sum(abs(a - b) for a in (0, 1, 1, 2, 6) for b in (0, 1, 1, 2, 6))
    assert stats.gini == pytest.approx(pairs / (2 * 25 * 2))
    assert summarize_lengths(np.array([3, 3, 3])).gini == pytest.approx(0)


def test_sessions_by_hand():
    stats = measure_sessions(histories([0, 60, 4000, 4001, 4002], [4003], []), 30)
    assert (stats.sessions, stats.per_user, stats.longest) == (3, 1.5, 3)
    assert stats.median_length == 2
    assert stats.single_share == pytest.approx(1 / 3)
    assert measure_sessions(histories([0, 60, 4000, 4001, 4002], [4003]), 1000).sessions == 2


def test_suspects_and_persons():
    rng = np.random.default_rng(0)
    people = [np.sort(rng.integers(0, 10_000_000, rng.integers(5, 60))) for _ in range(200)]
    burst = np.concatenate([[0], 10_000 + np.arange(100) / 2])
    clock = np.arange(80) * 3600.0
    heavy = np.sort(rng.integers(0, 10_000_000, 4000))
    suspects = find_suspects(histories(*people, burst, clock, heavy), np.arange(203).astype(str), 1_000_000)
    assert {suspect.user_id: suspect.reasons for suspect in suspects} == {
        "202": ["many times more than others"], "200": ["100 within 60 seconds"], "201": ["as regular as a clock"]
    }  # fmt: skip
    assert [suspect.interactions for suspect in suspects] == [4000, 101, 80]
    assert find_suspects(histories(*people), np.arange(200).astype(str), 1_000_000) == []
    # A hundred interactions within a minute, but of two users, are not a burst of either.
    two = [np.sort(rng.random(60)) * 30 + begin for begin in (0, 30)]
    assert find_suspects(histories(*two), np.array(["a", "b"]), 10**6) == []


@pytest.fixture
def shop(tmp_path):
    """Six items: a and b are equal, c has nearly their text, d has no content, e and f have one picture."""
    words = "a red woollen hat for cold winter days with a long soft scarf and warm gloves in the same colour"
    items = f"item_id,title,image\na,{words},a.png\nb,{words.upper()},b.png\nc,{words} today,\n"
    items += "d,,\ne,Lamp,e.png\nf,Chair,f.png\n"
    for name, colour in {"a": "red", "b": "blue", "e": "green", "f": "green"}.items():
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    lines = [("u", item, T + 40 * 86400 * k) for k, item in enumerate("abcdef")] + [("v", "a", T)]
    path, items_path = write(tmp_path, "x.csv", csv_of(lines)), write(tmp_path, "items.csv", items)
    np.save(tmp_path / "sound.npy", np.array([[1, 0], [0, 1], [0, 0], [0, 0], [2, 0], [1, 1]], np.float32))
    features = {"sound": tmp_path / "sound.npy"}
    return prepare_with_features(PrepareOptions(path, tmp_path / "out", items=items_path, features=features)).dataset


def test_a_small_shop(shop):
    description = describe(shop)
    assert description.counts["interactions"] == 7
    assert description.density == 7 / 12
    assert description.span == (T, T + 200 * 86400)
    assert sum(description.months.values()) == 7
    assert list(description.months)[:2] == ["2020-09", "2020-10"]
    assert description.coverage.present == {"text": 5, "image": 4, "features/sound": 4}
    assert description.coverage.lacking == {
        "nothing": 4,
        "image + features/sound": 1,
        "text + image + features/sound": 1,
    }
    assert description.coverage.taken["text"] == 6 / 7
    groups = {(group.kind, group.equal): group.item_ids for group in description.lookalikes.groups}
    assert groups == {
        ("text", True): ["a", "b"], ("text", False): ["a", "c"], ("image", True): ["e", "f"],
        ("features/sound", False): ["a", "e"],
    }  # fmt: skip
    assert description.lookalikes.items == {"text": 2, "text, nearly": 2, "image": 2, "features/sound, nearly": 2}
    assert description.leaks is not None
    assert description.leaks == Dataset.load(shop).manifest.leaks


def test_too_many_to_compare_is_noted(shop, monkeypatch):
    monkeypatch.setattr("demure.data.describe.lookalikes.MOST_COMPARED", 2)
    lookalikes = describe(shop).lookalikes
    assert set(lookalikes.items) == {"text", "image"}
    assert len(lookalikes.notes) == 2


def test_without_times_and_content(tmp_path):
    path = write(tmp_path, "x.csv", "user_id,item_id\nu,a\nu,b\n")
    out = prepare_with_features(PrepareOptions(path, tmp_path / "out", split="ratio")).dataset
    description = describe(out)
    assert (description.span, description.sessions, description.months) == (None, None, {})
    assert (description.coverage.present, description.lookalikes.groups) == ({}, [])
