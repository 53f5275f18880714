"""A table of broken inputs, through the command line: one line and exit 2, or a stated repair with its count."""

import gzip
import json
import lzma
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support.data_by_hand import csv_of, write

from demure.data.dataset import Dataset
from demure.preparation.prepare import PrepareOptions, prepare
from demure_cli.app import main

GOOD = csv_of([("u", "a", 1600000000), ("u", "b", 1600000100), ("v", "a", 1600000200), ("v", "c", 1600000300)])
PARQUET = pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": [1]}).to_parquet()
BOMB = gzip.compress(b"user_id,item_id,timestamp\n" + b"u,a,1600000000\n" * 22_000_000, 9)
HALF = pa.compress(GOOD.encode(), codec="zstd", asbytes=True)[:-5]

REFUSED = {
    # name: (content of x.csv, further options, part of the one line)
    "nothing in it": (b"", "", "x.csv: is empty"),
    "blank lines": (b" \n\r\n\n", "", "x.csv: is empty"),
    "a header alone": (b"user_id,item_id,timestamp\n", "", "has no rows, only a header"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "", "is empty"),
    "cut off gzip": (gzip.compress(GOOD.encode() * 20)[:-9], "", "cannot be unzipped"),
    "gzip of nothing": (b"\x1f\x8b rubbish", "", "cannot be unzipped"),
    "cut off zstd": (HALF, "", "cannot be unzipped"),
    "damaged gzip": (gzip.compress(GOOD.encode() * 99)[:40] + b"x" * 50, "", "cannot be unzipped"),
    "zip bomb": (BOMB, "", "grows more than 250-fold when unpacked"),
    "zip archive": (b"PK\x03\x04\x14\0\0\0", "", "is not a text file"),
    "7z archive": (b"7z\xbc\xaf\x27\x1c", "", "is not a text file but a 7z archive; unpack it"),
    "cut off xz": (lzma.compress(GOOD.encode() * 99)[:-9], "", "cannot be unzipped"),
    "cut off Parquet": (PARQUET[:-20], "", "cannot be read as Parquet"),
    "Parquet with a damaged page": (PARQUET[:4] + b"\xff" * 60 + PARQUET[64:], "", "cannot be read as Parquet"),
    "Parquet without rows": (
        pd.DataFrame({"user_id": [], "item_id": []}).to_parquet(), "--split ratio", "has no rows"
    ),
    "CSV called Parquet": (GOOD.encode(), "--format parquet", "is not a Parquet file"),
    "an empty column with a name like another": (b"user_id,item_id,user_id\nu,a,\n", "", "has two columns 'user_id'"),
    "a web page": (b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "", "has no column user_id"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "", "has no column user_id"),
    "no header": (b"u,a,1600000000\nu,b,1600000100\n", "", "--columns user=1,item=2"),
    "columns of other names": (b"who,what,when\nu,a,1\n", "", "has no column user_id (there are: 'who', 'what'"),
    "the same column twice": (b"user_id,item_id,item_id\nu,a,b\n", "", "has two columns 'item_id'"),
    "a row too long": (GOOD.encode() + b"u,a,1,2\n", "", "x.csv:6: has 4 columns, not 3"),
    "a row too short": (GOOD.encode() + b"u,a\n", "", "x.csv:6: has 2 columns, not 3"),
    "an open quote": (GOOD.encode() + b'u,"a,1600000000\nw,b,1600000000\n', "", "x.csv"),
    "NUL at the start": (b"user_id\0item_id", "", "is not a text file"),
    "NUL far down": (GOOD.encode() * 1 + b"u,\0,1600000000\n", "", "x.csv"),
    "UTF-16 without its mark": (GOOD.encode("utf-16-le"), "", "is not a text file"),
    "not the encoding that was named": (GOOD.encode() + b"\xff\xfe,a,1\n", "--encoding utf-8", "is not utf-8"),
    "an encoding that is none": (GOOD.encode(), "--encoding klingon", "unknown encoding 'klingon'"),
    "a line beyond all measure": (b"user_id,item_id\nu," + b"a" * (1 << 25), "--split ratio", "x.csv"),
    "no time that can be read": (csv_of([("u", "a", "yesterday")]).encode(), "", "no timestamp in column 'timestamp'"),
    "no time at all": (b"user_id,item_id\nu,a\n", "", "has no timestamps, which --split leave-one-out needs"),
    "one moment for all": (csv_of([("u", "a", 7), ("u", "b", 7)]).encode(), "--split time", "nothing is left to train"),
    "only bad rows": (csv_of([("", "a", 1), ("u", "", 1)]).encode(), "", "no usable row is left (empty user id: 1"),
    "a JSON array": (b'[["u", 1]]', "", "holds an array"),
    "a broken JSON line": (b'{"user_id": 1, "item_id": 2}\n{"user_id":\n', "", "x.csv:2: is not one JSON object"),
    "JSON without the item": (b'{"user_id": 1}\n', "", "has no column item_id"),
    "a rating threshold without ratings": (GOOD.encode(), "--min-rating 4", "has no ratings"),
    "a core that nobody is in": (GOOD.encode(), "--k-core 9", "no interaction is in the 9-core"),
    "columns that are not there": (GOOD.encode(), "--columns user=visitor", "has no column 'visitor'"),
    "a role that is none": (GOOD.encode(), "--columns usr=user_id", "unknown role 'usr'; did you mean user?"),
    "columns without names": (GOOD.encode(), "--columns user", "'user' is not ROLE=NAME"),
    "a ratio that is none": (GOOD.encode(), "--ratio 80/20", "'80/20' is not A/B/C"),
    "a ratio beyond 100": (GOOD.encode(), "--split ratio --ratio 80/20/10", "is not three parts of 100"),
    "a date that is none": (GOOD.encode(), "--since sometime", "'sometime' is not a date"),
    "tuples that are none": (GOOD.encode(), "--format cornac", "its first line is"),
}  # fmt: skip


def one_line(capsys):
    shown = capsys.readouterr().err
    assert shown.startswith("demure: "), shown
    assert shown.count("\n") == 1, shown
    assert "Traceback" not in shown
    return shown


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, capsys, name):
    content, options, message = REFUSED[name]
    path = write(tmp_path, "x.csv", content)
    before = path.read_bytes()
    arguments = ["--quiet", "prepare", "--interactions", path, "--out", tmp_path / "out", *options.split()]
    assert main(list(map(str, arguments))) == 2
    assert message in one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    assert path.read_bytes() == before


T = 1600000000
REPAIRED = {
    # name: (content of x.csv, kind, action, count, users that are left)
    "milliseconds among seconds": (
        csv_of([("u", "a", T), ("u", "b", 1000 * T), ("v", "a", T)]), "timestamp in milliseconds, most are seconds",
        "read as milliseconds", 1, 2,
    ),
    "seconds among milliseconds": (
        csv_of([("u", "a", 1000 * T), ("u", "b", T), ("v", "a", 1000 * T)]),
        "timestamp in seconds, most are milliseconds", "read as seconds", 1, 2,
    ),
    "a negative time": (csv_of([("u", "a", T), ("v", "a", -1)]), "timestamp before 1970", "dropped", 1, 1),
    "the far future": (
        csv_of([("u", "a", T), ("u", "b", T), ("v", "a", 9 * T)]), "timestamp after 2100", "dropped", 1, 1
    ),
    "infinite times": (csv_of([("u", "a", T), ("v", "a", "inf")]), "bad timestamp", "dropped", 1, 1),
    "NaN for a time": (csv_of([("u", "a", T), ("v", "a", "nan")]), "bad timestamp", "dropped", 1, 1),
    "infinite ratings": (
        csv_of([("u", "a", T, 5), ("v", "a", T, "-inf")], "user,item,time,rating"), "bad rating",
        "kept without rating", 1, 2
    ),
    "a rating of words": (
        "user;item;time;rating\nu;a;1;5\nv;a;1;good\n", "bad rating", "kept without rating", 1, 2
    ),
    "no user": (csv_of([("u", "a", T), (" ", "a", T)]), "empty user id", "dropped", 1, 1),
    "the same again": (
        csv_of([("u", "a", T), ("u", "a", T)]), "same user and item again, kept the latest", "dropped", 1, 1
    ),
    "mixed dates": (csv_of([("u", "a", T), ("v", "a", "2020-13-41")]), "bad timestamp", "dropped", 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", REPAIRED)
def test_repaired(tmp_path, capsys, name):
    content, kind, action, count, users = REPAIRED[name]
    path = write(tmp_path, "x.csv", content)
    assert main(["prepare", "--interactions", str(path), "--out", str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["problems"][kind]["action"], report["problems"][kind]["count"]) == (action, count)
    assert report["counts"]["users"] == users
    assert f",{action}" in (tmp_path / "out" / "problems.csv").read_text()
    times = Dataset.load(tmp_path / "out").histories("train", "valid", "test").times
    assert ((times == T) | (times == 1)).all()


ODD = [
    'say "hi"',
    "a,b",
    " lead",
    "007",
    "7",
    "שלום",
    "\u202eflip",
    "🧦🧦",
    "e\u0301",
    "é",
    "NA",
    "-",
    "a\tb",
    "x" * 5000,
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_odd_ids_stay_what_they_are(tmp_path, capsys, kind):
    odd = ODD if kind == "csv" else [*ODD, "two\nlines", "cr\rlf\r\n"]
    frame = pd.DataFrame({"user_id": odd, "item_id": odd[::-1], "timestamp": range(len(odd))})
    content = {
        "csv": lambda: frame.to_csv(index=False).encode(),
        "jsonl": lambda: frame.to_json(orient="records", lines=True, force_ascii=True).encode(),
        "parquet": frame.to_parquet,
    }[kind]()
    path = write(tmp_path, f"x.{kind}", content)
    assert main(["--quiet", "prepare", "--interactions", str(path), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "\u202e" not in shown
    dataset = Dataset.load(tmp_path / "out")
    assert list(dataset.user_ids) == odd
    assert list(dataset.item_ids) == odd[::-1]


WITH_ITEMS = {
    "other ids": ("item_id,title\nzz,Z\n", None, "no item of the interactions is in items.csv"),
    "no ids": ("title,genres\nZ,x\n", None, "items.csv: has no column item_id"),
    "empty ids": ('item_id,title\n"",Z\n', None, "column 'item_id' is empty"),
    "features of other rows": ("item_id\na\nb\nc\n", np.ones((2, 3)), "has 2 rows, "),
    "features of one dimension": ("item_id\na\nb\nc\n", np.ones(3), "has shape (3,)"),
    "features of nothing": ("item_id\na\nb\nc\n", np.zeros((3, 2)), "all 3 rows are zero or not finite"),
    "features of words": ("item_id\na\nb\nc\n", np.array([["x"]] * 3), "not a matrix of numbers"),
    "features that are pickles": ("item_id\na\nb\nc\n", np.array([[{}]] * 3), "cannot be read"),
}


@pytest.mark.parametrize("name", WITH_ITEMS)
def test_items_and_features_refused(tmp_path, capsys, name):
    items, matrix, message = WITH_ITEMS[name]
    path, items_path = write(tmp_path, "x.csv", GOOD), write(tmp_path, "items.csv", items)
    arguments = ["--quiet", "prepare", "--interactions", path, "--items", items_path, "--out", tmp_path / "out"]
    if matrix is not None:
        np.save(tmp_path / "f.npy", matrix, allow_pickle=True)
        arguments += ["--features", f"image={tmp_path / 'f.npy'}"]
    assert main(list(map(str, arguments))) == 2
    assert message in one_line(capsys)
    assert not list(tmp_path.glob("*out*"))


def test_an_items_file_with_the_same_id_twice_is_repaired_with_its_count(tmp_path, capsys):
    path, items = write(tmp_path, "x.csv", GOOD), write(tmp_path, "i.csv", "item_id,title\na,A\na,B\nb,B\nc,C\n,D\n")
    arguments = ["prepare", "--interactions", path, "--items", items, "--out", tmp_path / "out", "--json"]
    assert main(list(map(str, arguments))) == 0
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert problems["item twice in the items file"] == {
        "count": 1, "action": "kept the first", "first": [{"file": "i.csv", "row": 3, "value": "a"}]
    }  # fmt: skip
    assert problems["item without id in the items file"]["count"] == 1


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("fifo", "is not a regular file (a pipe or a device)"),
        ("folder", "is a folder, not a file"),
        ("nowhere", "no such file"),
        ("dangling", "no such file"),
        ("/dev/zero", "is not a regular file (a pipe or a device)"),
        ("x.csv/y", "cannot be read (Not a directory)"),
    ],
)
def test_places_that_cannot_be_read(tmp_path, capsys, place, message):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    write(tmp_path, "x.csv", GOOD)
    for option in ("--interactions", "--items"):
        options = {"--interactions": tmp_path / "x.csv", option: tmp_path / place, "--out": tmp_path / "out"}
        assert main(["--quiet", "prepare", *(str(word) for pair in options.items() for word in pair)]) == 2
        assert message in one_line(capsys)
        assert not (tmp_path / "out").exists()


def test_no_permission(tmp_path, capsys, monkeypatch):
    path = write(tmp_path, "x.csv", GOOD)
    opened = open

    def refuse(file, *args, **kwargs):
        if Path(str(file)) == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root, whom no mode keeps out
    assert main(["--quiet", "prepare", "--interactions", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "x.csv: cannot be read (Permission denied); check its permissions" in one_line(capsys)


def run(folder, *options, **limits):
    command = [sys.executable, "-m", "demure_cli", "-q", "prepare", "--interactions", "x.csv", "--out", "out", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **limits)


def test_a_full_disk(tmp_path):
    lines = [(f"u{k % 997}", f"i{k * 7919 % 10007}", T + k) for k in range(40_000)]
    write(tmp_path, "x.csv", csv_of(lines))
    process = run(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)))
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 2, message
    assert message.count("\n") == 1
    assert "out: cannot write: " in message
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_killed_run_leaves_the_last_good_dataset(tmp_path):
    write(tmp_path, "x.csv", GOOD)
    prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "out"))
    before = Dataset.load(tmp_path / "out").identity
    lines = [(f"u{k % 4999}", f"i{k * 7919 % 10007}", T + k) for k in range(400_000)]
    write(tmp_path, "x.csv", csv_of(lines))
    process = run(tmp_path, "--overwrite")
    while not list(tmp_path.glob(".out.*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert Dataset.load(tmp_path / "out").identity == before
    prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "out", overwrite=True))
    assert Dataset.load(tmp_path / "out").n_users == 4999
