"""What `demure data show` finds, by hand."""

import numpy as np
import pytest
from PIL import Image
from support.data_by_hand import csv_of, write

from demure.data.dataset import Dataset
from demure.data.describe.describe import Bin, describe, lengths
from demure.data.describe.sessions import sessions, suspects
from demure.data.histories import Histories
from demure.prepare.prepare import PrepareOptions
from demure.prepare.with_features import prepare_with_features

T = 1_600_000_000


def histories(*times):
    """Users with choices at these times."""
    return Histories(
        np.cumsum([0, *map(len, times)]), np.arange(sum(map(len, times))), np.concatenate(times).astype(float)
    )


def test_lengths_by_hand():
    found = lengths(np.array([0, 1, 1, 2, 6]))
    assert (found.median, found.mean, found.longest) == (1, 2, 6)
    assert found.bins == [Bin(0, 0, 1), Bin(1, 1, 2), Bin(2, 3, 1), Bin(4, 7, 1)]
    assert found.top_share == 0.6
    pairs = sum(abs(a - b) for a in (0, 1, 1, 2, 6) for b in (0, 1, 1, 2, 6))
    assert found.gini == pytest.approx(pairs / (2 * 25 * 2))
    assert lengths(np.array([3, 3, 3])).gini == pytest.approx(0)


def test_sessions_by_hand():
    found = sessions(histories([0, 60, 4000, 4001, 4002], [4003], []), 30)
    assert (found.sessions, found.per_user, found.longest) == (3, 1.5, 3)
    assert found.median_length == 2
    assert found.single_share == pytest.approx(1 / 3)
    assert sessions(histories([0, 60, 4000, 4001, 4002], [4003]), 1000).sessions == 2


def test_suspects_and_people():
    rng = np.random.default_rng(0)
    people = [np.sort(rng.integers(0, 10_000_000, rng.integers(5, 60))) for _ in range(200)]
    burst = np.concatenate([[0], 10_000 + np.arange(100) / 2])
    clock = np.arange(80) * 3600.0
    heavy = np.sort(rng.integers(0, 10_000_000, 4000))
    found = suspects(histories(*people, burst, clock, heavy), np.arange(203).astype(str), 1_000_000)
    assert {one.user_id: one.reasons for one in found} == {
        "202": ["many times more than others"], "200": ["100 within 60 seconds"], "201": ["as regular as a clock"]
    }  # fmt: skip
    assert [one.interactions for one in found] == [4000, 101, 80]
    assert suspects(histories(*people), np.arange(200).astype(str), 1_000_000) == []
    # A hundred within a minute that are of two users are nobody's burst.
    two = [np.sort(rng.random(60)) * 30 + begin for begin in (0, 30)]
    assert suspects(histories(*two), np.array(["a", "b"]), 10**6) == []


@pytest.fixture
def shop(tmp_path):
    """Six items: a and b equal, c nearly their text; d bare; e and f with one picture."""
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
    found = describe(shop)
    assert found.counts["interactions"] == 7
    assert found.density == 7 / 12
    assert found.span == (T, T + 200 * 86400)
    assert sum(found.months.values()) == 7
    assert list(found.months)[:2] == ["2020-09", "2020-10"]
    assert found.coverage.present == {"text": 5, "image": 4, "features/sound": 4}
    assert found.coverage.lacking == {"nothing": 4, "image + features/sound": 1, "text + image + features/sound": 1}
    assert found.coverage.taken["text"] == 6 / 7
    groups = {(one.kind, one.equal): one.item_ids for one in found.lookalikes.groups}
    assert groups == {
        ("text", True): ["a", "b"], ("text", False): ["a", "c"], ("image", True): ["e", "f"],
        ("features/sound", False): ["a", "e"],
    }  # fmt: skip
    assert found.lookalikes.items == {"text": 2, "text, nearly": 2, "image": 2, "features/sound, nearly": 2}
    assert found.leaks is not None
    assert found.leaks.to_dict() == Dataset.load(shop).manifest["leaks"]


def test_too_many_to_compare_is_said(shop, monkeypatch):
    monkeypatch.setattr("demure.data.describe.lookalikes.MOST_COMPARED", 2)
    found = describe(shop).lookalikes
    assert set(found.items) == {"text", "image"}
    assert len(found.notes) == 2


def test_without_times_and_content(tmp_path):
    path = write(tmp_path, "x.csv", "user_id,item_id\nu,a\nu,b\n")
    out = prepare_with_features(PrepareOptions(path, tmp_path / "out", split="ratio")).dataset
    found = describe(out)
    assert (found.span, found.sessions, found.months) == (None, None, {})
    assert (found.coverage.present, found.lookalikes.groups) == ({}, [])
