"""Killed at any point, out of space, in several processes: the files are those of an uninterrupted run."""

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from demure.errors import DemureError
from demure.extraction import encoding, extract
from demure.extraction.extract import ExtractOptions, extract_items
from demure.extraction.protocol import EncoderFamily, EncoderSpec
from demure.extraction.shards import ShardFolder, delete_shards
from demure.features import rows, store

SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
import pandas as pd
from demure.extraction import encoding
from demure.extraction import extract
from demure.extraction.protocol import EncoderFamily, EncoderSpec

encoding.SHARD_SIZE = 16
extract.resolve_encoder = lambda name, kind: (EncoderSpec(name), EncoderFamily(name, "", "", built_in=True))

class Slow:
    dim, batch = 3, 4
    def identity(self):
        return {}
    def prepare(self, image):
        return np.asarray(image, dtype=np.float32).mean(axis=(0, 1))
    def encode(self, inputs):
        time.sleep(0.01)
        if isinstance(inputs[0], str):
            return np.array([[len(text), text.count("1"), 1] for text in inputs], dtype=np.float32)
        return np.array(inputs)

extract.load_encoder = lambda *_: Slow()
folder, root = Path(sys.argv[1]), Path(sys.argv[2])
items = pd.read_parquet(folder / "items.parquet")
for made in extract.extract_items(folder, items, ["title"], root, {"text": "slow", "image": "slow"}).modalities:
    print(made.name, made.encoded, made.resumed)
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    dots = np.random.default_rng(0).integers(0, 255, (150, 9, 9, 3), dtype=np.uint8)
    for k, pixels in enumerate(dots):
        Image.fromarray(pixels).save(root / f"{k}.png")
    (root / "7.png").write_bytes(b"damaged")
    return root


def dataset(folder, n=150):
    folder.mkdir()
    titles = [f"{'long ' * (k % 7)}title {k}" for k in range(n)]
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(n)], "title": titles})
    items["image"] = [f"{k}.png" for k in range(n)]
    items.to_parquet(folder / "items.parquet")
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(tmp_path, folder, pictures):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    return [sys.executable, str(script), str(folder), str(pictures)]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_killed_again_and_again_at_random(tmp_path, pictures):
    whole, cut = dataset(tmp_path / "whole"), dataset(tmp_path / "cut")
    subprocess.run(command(tmp_path, whole, pictures), check=True, capture_output=True, env=ENVIRONMENT)
    draw = random.Random(0)
    kills = 0
    for _ in range(60):
        process = subprocess.Popen(
            command(tmp_path, cut, pictures), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        began = time.monotonic()
        while process.poll() is None and not (cut / "features").exists() and time.monotonic() - began < 60:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.25) if kills else 0.1)
        process.send_signal(signal.SIGKILL)
        out, error = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, error
        kills += 1
        if kills >= 6:
            done = subprocess.run(command(tmp_path, cut, pictures), check=True, capture_output=True, env=ENVIRONMENT)
            out = done.stdout.decode()
            break
    assert kills >= 3
    assert "image" in out
    assert files(cut) == files(whole)


def test_killed_processes_leave_no_process_behind(tmp_path, pictures):
    cut = dataset(tmp_path / "cut")
    process = subprocess.Popen(command(tmp_path, cut, pictures), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    children = []
    began = time.monotonic()
    while not children and process.poll() is None and time.monotonic() - began < 60:
        time.sleep(0.02)
        try:
            with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
                children = [int(pid) for pid in file.read().split()]
        except OSError:
            pytest.skip("this system does not list the children of a process")
    process.kill()
    process.wait()
    assert children
    began = time.monotonic()
    while any(running(child) for child in children) and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert not any(running(child) for child in children)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Numbers:
    dim, batch = 2, 4

    def identity(self):
        return {}

    def encode(self, texts):
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


@pytest.fixture
def numbers(monkeypatch):
    monkeypatch.setattr("demure.extraction.extract.load_encoder", lambda *_: Numbers())
    monkeypatch.setattr(encoding, "SHARD_SIZE", 16)


def run(folder):
    items = pd.read_parquet(folder / "items.parquet")
    return extract_items(folder, items, ["title"], None, {"text": "sentence:x"}).modalities[0]


@pytest.mark.parametrize("when", ["a shard", "the features"])
def test_a_full_disk_costs_nothing_that_was_done(tmp_path, numbers, monkeypatch, when):
    whole, full = dataset(tmp_path / "whole"), dataset(tmp_path / "full")
    run(whole)
    shards = []

    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if when == "a shard":
            import safetensors.numpy

            real = safetensors.numpy.save_file

            def save_file(*arguments, **options):
                shards.append(1)
                return real(*arguments, **options) if len(shards) < 4 else no_space()

            patch.setattr(safetensors.numpy, "save_file", save_file)
        else:
            patch.setattr(rows.os, "fsync", no_space)
        with pytest.raises(DemureError, match=r"cannot write: .*No space left on device"):
            run(full)
    assert store.names(full) == []
    made = run(full)
    assert (made.encoded, made.resumed) == ((102, 48) if when == "a shard" else (0, 150))
    assert files(full) == files(whole)


def test_two_processes_share_the_shards_and_make_one_manifest(tmp_path, pictures):
    """As torchrun starts them; the second run is without one of them."""
    whole, shared = dataset(tmp_path / "whole"), dataset(tmp_path / "shared")
    subprocess.run(command(tmp_path, whole, pictures), check=True, capture_output=True, env=ENVIRONMENT)
    processes = [
        subprocess.Popen(
            command(tmp_path, shared, pictures),
            stdout=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    printed = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    # An image that is damaged counts as encoded by whoever found that out.
    for place in (1, 4):
        assert int(printed[0][place]) + int(printed[1][place]) == 150
    assert files(shared) == files(whole)


def test_what_a_dead_process_held_is_taken_over(tmp_path, pictures):
    whole, shared = dataset(tmp_path / "whole"), dataset(tmp_path / "shared")
    subprocess.run(command(tmp_path, whole, pictures), check=True, capture_output=True, env=ENVIRONMENT)
    ranks = [{**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)} for rank in range(2)]
    first, second = (
        subprocess.Popen(command(tmp_path, shared, pictures), stdout=subprocess.PIPE, text=True, env=environment)
        for environment in ranks
    )
    began = time.monotonic()
    while not list(shared.glob("features/.work-text/shard-*.safetensors")) and time.monotonic() - began < 60:
        time.sleep(0.005)
    second.kill()
    assert first.wait(timeout=60) == 0
    second.wait()
    first.stdout.close()
    second.stdout.close()
    assert files(shared) == files(whole)


def test_a_process_that_finds_nothing_does_not_wait_for_another(tmp_path):
    """All images are damaged, and two processes find out together."""
    root = tmp_path / "images"
    root.mkdir()
    for k in range(150):
        (root / f"{k}.png").write_bytes(b"damaged %d" % k)
    shared = dataset(tmp_path / "shared")
    script = command(tmp_path, shared, root)
    processes = [
        subprocess.Popen(
            script,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert all("no item has a usable image" in error for error in errors)
    assert any("150 times: not an image" in error for error in errors)
    assert store.names(shared) == ["text"]


def test_images_that_took_too_long_are_tried_again_with_more_time_alone(tmp_path, monkeypatch):
    busy = tmp_path / "busy"
    busy.touch()

    class Unhurried:
        dim, batch = 3, 4

        def identity(self):
            return {}

        def prepare(self, image):
            while image.width == 9 and busy.exists():
                time.sleep(0.05)
            return np.asarray(image, dtype=np.float32).mean(axis=(0, 1))

        def encode(self, inputs):
            return np.array(inputs)

    family = EncoderFamily("unhurried", "", "", image=f"{__name__}:none", built_in=True)
    monkeypatch.setattr(extract, "resolve_encoder", lambda name, kind: (EncoderSpec(name), family))
    monkeypatch.setattr(extract, "load_encoder", lambda *_: Unhurried())
    for name, width in (("a", 5), ("b", 9), ("c", 6)):
        Image.new("RGB", (width, 5), "red").save(tmp_path / f"{name}.png")
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "image": ["a.png", "b.png", "c.png"]})
    items.to_parquet(tmp_path / "items.parquet")
    for seconds, encoded, missing in ((1.0, 3, 1), (1.0, 0, 1), (0.5, 0, 1), (15.0, 1, 0), (20.0, 0, 0)):
        options = ExtractOptions(workers=1, image_seconds=seconds)
        [made] = extract_items(tmp_path, items, [], tmp_path, {"image": "unhurried"}, options).modalities
        assert (made.encoded, made.missing) == (encoded, missing), seconds
        busy.unlink(missing_ok=True)


def test_a_process_that_comes_when_all_is_done_makes_no_shard_again(tmp_path):
    """Another process ends, and deletes the shards, after this one has claimed the last of them."""
    folder = ShardFolder(tmp_path, "image", "a" * 64, "b" * 64, resume=True)
    with folder.lock("000000") as held:
        assert held
        assert folder.lacks(0)
        delete_shards(tmp_path, "image")
        assert not folder.lacks(0)
    assert list((tmp_path / "features").iterdir()) == []
