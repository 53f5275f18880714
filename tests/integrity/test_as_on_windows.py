"""The whole way as on Windows: no locks, no exchange of folders, and no open file that can be renamed or deleted."""

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demure import files, leftovers, locks
from demure.errors import FeatureError
from demure.features import store
from demure_cli.app import main

CALLS = ("rename", "replace", "unlink", "rmdir")


def open_files():
    """Return the real paths of all files that this process has open or mapped into memory."""
    paths = set()
    for entry in os.listdir("/proc/self/fd"):
        try:
            paths.add(os.readlink(f"/proc/self/fd/{entry}"))
        except OSError:  # closed meanwhile
            continue
    for line in Path("/proc/self/maps").read_text().splitlines():
        paths.add(line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else "")
    return paths


@pytest.fixture
def windows(monkeypatch, tmp_path):
    """Refuse what Windows refuses, for files below ``tmp_path``."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files are listed by /proc")
    for module in (locks, leftovers):
        monkeypatch.setattr(module, "fcntl", None)
    monkeypatch.setattr(files, "exchange", lambda first, second: False)

    def refuse(call):
        def checked(*paths, **options):
            if options.get("dir_fd") is None:
                used = open_files()
                for path in map(os.path.realpath, paths):
                    inside = [name for name in used if name == path or name.startswith(path + os.sep)]
                    if inside and path.startswith(str(tmp_path)):
                        raise PermissionError(errno.EACCES, f"is in use: {inside}", path)
            return call(*paths, **options)

        return checked

    for name in CALLS:
        monkeypatch.setattr(os, name, refuse(getattr(os, name)))


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
