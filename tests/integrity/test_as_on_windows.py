"""The whole way as on Windows: its locks, no exchange of folders, and no open file that can be renamed or deleted."""

import errno
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.as_on_windows import refuse_open_files, use_byte_ranges

from demure import files, leftovers
from demure.errors import FeatureError
from demure.features import store
from demure_cli.app import main


@pytest.fixture
def windows(monkeypatch, tmp_path):
    """Lock, and refuse what Windows refuses for files below ``tmp_path``."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files are listed by /proc")
    use_byte_ranges(partial(monkeypatch.setattr, raising=False))
    monkeypatch.setattr(files, "exchange", lambda first, second: False)
    refuse_open_files(monkeypatch, tmp_path)


@pytest.fixture
def shop(tmp_path):
    random = np.random.default_rng(0)
    folder = tmp_path / "a shop, Łódź"
    folder.mkdir()
    items = ["item_id,title,image"]
    for k in range(30):
        Image.fromarray(random.integers(0, 255, (12, 12, 3)).astype(np.uint8)).save(folder / f"{k}.png")
        items.append(f"i{k},{'red wool' if k % 2 else 'blue silk'} {k % 5},{k}.png")
    rows = ["user_id,item_id,timestamp"]
    for user in range(20):
        chosen = random.permutation(30)[:8]
        rows += [f"u{user},i{item},{1_600_000_000 + user * 100 + t}" for t, item in enumerate(chosen)]
    (folder / "items.csv").write_text("\n".join(items))
    (folder / "clicks.csv").write_text("\n".join(rows))
    return folder


def test_every_command_ends_and_replaces_its_result(windows, shop, capsys):
    data, run = str(shop / "data"), str(shop / "run")
    prepare = ["prepare", "--interactions", str(shop / "clicks.csv"), "--items", str(shop / "items.csv")]
    prepare += ["--images", str(shop), "--out", data]
    train = ["train", data, "--out", run, "--recipe"]
    commands = [
        prepare,
        ["extract", data, "--text", "tfidf", "--image", "color"],
        ["extract", data, "--text", "tfidf", "--image", "color", "--no-resume"],
        [*train, "item-knn"],
        [*train, "tiny", "--set", "training.epochs=1", "--overwrite"],
        [*prepare, "--overwrite"],
        ["eval", run, "--split", "valid", "--per-user", str(shop / "users.parquet")],
        ["recommend", run, "--all", "--out", str(shop / "lists.parquet")],
        ["recommend", run, "--all", "--out", str(shop / "lists.parquet")],
        ["inspect", run, "--export", str(shop / "verdicts.parquet")],
        ["report", run, "--out", str(shop / "report.html")],
    ]
    for arguments in commands:
        status = main([*arguments, "--quiet"])
        assert status == 0, (arguments[0], capsys.readouterr().err)
    assert not [name for name in os.listdir(shop) if name.endswith((".part", ".old", ".lock"))]


def test_all_splits_without_links_name_the_remedy(shop, capsys, monkeypatch):
    def refuse(path, target, target_is_directory=False):
        raise OSError(errno.EPERM, "A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    arguments = ["prepare", "--interactions", str(shop / "clicks.csv"), "--out", str(shop / "data"), "--split", "all"]
    assert main(arguments) == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "cannot link the features of the splits: A required privilege is not held by the client" in words
    assert "prepare one --split at a time" in words
    assert not (shop / "data").exists()


def test_a_part_without_locks_is_a_leftover_after_a_week(windows, tmp_path):
    old, young = tmp_path / ".x.abcdefgh.part", tmp_path / ".x.abcdefgi.part"
    for part in (old, young):
        part.write_text("")
    week = time.time() - 8 * 24 * 3600
    os.utime(old, (week, week))
    leftovers.sweep(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("name", ["con", "NUL", "aux.v2", "com1", "image."])
def test_names_that_windows_keeps_for_devices_are_no_modalities(name):
    with pytest.raises(FeatureError, match="Windows has no folder of that name"):
        store.check_name(name)


def test_modalities_that_differ_in_upper_case_alone_are_refused(tmp_path):
    store.check_spellings(tmp_path, ["image", "text", "Image2"])
    with pytest.raises(FeatureError, match="'cover' and 'Cover' would be one folder"):
        store.check_spellings(tmp_path, ["cover", "Cover"])
