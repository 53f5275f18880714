"""What is up to date is known without loading an encoder, and only what is."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from support.tiny_models import bert_folder

from demure.extraction import extract, request_key
from demure.extraction.extract import ExtractOptions, extract_items
from demure.features import store

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """(dataset folder, items, model folder): texts encoded by a sentence encoder."""
    folder = tmp_path_factory.mktemp("encoded")
    model = bert_folder(folder / "model")
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "title": ["one red shoe", "a blue hat", "two shoes"]})
    (folder / "d").mkdir()
    items.to_parquet(folder / "d" / "items.parquet")
    run(folder / "d", items, model)
    return folder / "d", items, folder / "model"


def run(folder, items, model, **options):
    [made] = extract_items(
        folder, items, ["title"], None, {"text": f"sentence:{model}"}, ExtractOptions("cpu", **options)
    ).modalities
    return made


@pytest.fixture
def loaded(monkeypatch):
    """The encoders that were loaded."""
    real, loaded = extract.load_encoder, []

    def load(spec, *others):
        loaded.append(str(spec))
        return real(spec, *others)

    monkeypatch.setattr(extract, "load_encoder", load)
    return loaded


def test_nothing_to_do_loads_no_encoder(encoded, loaded):
    made = run(*encoded)
    assert (made.kept, made.encoded, loaded) == ("up to date", 0, [])


def change_text(folder, items, model):
    items = items.assign(title=["one red shoe", "a blue hat", "three shoes"])
    return folder, items, model, {}


def touch_the_weights(folder, items, model):
    os.utime(model / "model.safetensors", ns=(1, 1))
    return folder, items, model, {}


def add_a_file(folder, items, model):
    (model / "added.json").write_text("{}")
    return folder, items, model, {}


def ask_for_16_bits(folder, items, model):
    return folder, items, model, {"precision": "bfloat16"}


def start_over(folder, items, model):
    return folder, items, model, {"resume": False}


def damage_the_vectors(folder, items, model):
    file = folder / "features" / "text" / "features.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    return folder, items, model, {}


def import_others(folder, items, model):
    record = (folder / "features" / "text" / "request.json").read_bytes()
    store.save(folder, store.Features("text", np.ones((3, 2)), np.ones(3, bool), {"encoder": "import"}))
    (folder / "features" / "text" / "request.json").write_bytes(record)
    return folder, items, model, {}


def put_other_weights_of_the_same_size_and_time(folder, items, model):
    file = model / "model.safetensors"
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return folder, items, model, {}


CHANGES = (
    change_text, touch_the_weights, put_other_weights_of_the_same_size_and_time, add_a_file,
    ask_for_16_bits, start_over, damage_the_vectors, import_others,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_any_change_loads_it(encoded, loaded, tmp_path, change):
    _, items, _ = encoded
    shutil.copytree(encoded[0].parent, tmp_path / "copy")
    run(tmp_path / "copy" / "d", items, tmp_path / "copy" / "model")
    loaded.clear()
    *arguments, options = change(tmp_path / "copy" / "d", items, tmp_path / "copy" / "model")
    run(*arguments, **options)
    assert len(loaded) == 1
    assert store.intact(tmp_path / "copy" / "d", "text")


def test_another_version_of_a_package_loads_it(encoded, loaded, monkeypatch):
    monkeypatch.setattr(request_key, "_version", lambda package: "0.1")
    assert run(*encoded).kept == "up to date"  # the vectors' own hash decides
    assert len(loaded) == 1


@pytest.mark.parametrize(
    "content", ["", "null", "[]", "{", '{"request": 1}', '{"folders": 3}', '{"request": null, "folders": [null]}']
)
def test_a_damaged_record_is_as_none(encoded, loaded, content):
    record = encoded[0] / "features" / "text" / "request.json"
    before = json.loads(record.read_text())
    text = content if "request" not in content else content.replace("1", f'"{before["request"]}"')
    record.write_text(text)
    assert run(*encoded).kept == "up to date"
    assert len(loaded) == 1
    assert json.loads(record.read_text())["key"] == before["key"]


def test_a_branch_of_the_hub_that_moved_on_is_noticed(tmp_path):
    snapshot = tmp_path / "models--owner--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "models--owner--model" / "refs").mkdir()
    reference = tmp_path / "models--owner--model" / "refs" / "main"
    reference.write_text("abc")
    before = request_key._state([snapshot])
    assert len(before) == 2
    reference.write_text("abcdef")
    assert request_key._state([snapshot]) != before


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_file_in_a_linked_folder_is_noticed_and_links_in_a_circle_end(tmp_path):
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "config.json").write_text("{}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "1_Pooling").symlink_to(tmp_path / "pooling")
    (tmp_path / "pooling" / "again").symlink_to(tmp_path / "model")
    before = request_key._state([tmp_path / "model"])
    assert len(before) == 1
    (tmp_path / "pooling" / "config.json").write_text("{ }")
    assert request_key._state([tmp_path / "model"]) != before


def test_the_same_name_in_another_place_is_another_model(encoded, loaded, tmp_path, monkeypatch):
    _, items, model = encoded
    for place in ("here", "there"):
        shutil.copytree(model, tmp_path / place / "model")
    (tmp_path / "d").mkdir()
    items.to_parquet(tmp_path / "d" / "items.parquet")
    for place, count in (("here", 1), ("here", 1), ("there", 2)):
        monkeypatch.chdir(tmp_path / place)
        run(tmp_path / "d", items, "model")
        assert len(loaded) == count
