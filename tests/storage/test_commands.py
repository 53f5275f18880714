"""Commands with URLs in place of folders and files."""

import json
import shutil

import fsspec
import pandas as pd
import pytest
from safetensors.numpy import load_file
from support.manifests import rewrite
from support.remote import forget
from support.small_sets import QUICK

import demure
from demure.storage.folders import local_folder
from demure_cli.app import main

SETTINGS = [argument for setting in QUICK for argument in ("--set", setting)] + ["--device", "cpu"]


@pytest.fixture
def bucket(timed):
    """A URL with the raw files of ``timed`` at raw/."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    for name in ("interactions.csv", "items.csv"):
        fs.pipe_file(f"/bucket/raw/{name}", (timed.parent / "raw" / name).read_bytes())
    return "memory://bucket"


def call(capsys, *arguments, status=0):
    """The standard output of a command in a process that has just begun; its errors if it is to fail."""
    forget()
    capsys.readouterr()
    assert main([*map(str, arguments)]) == status
    captured = capsys.readouterr()
    assert "/cache/" not in captured.out + captured.err
    return captured.err if status else captured.out


def prepare(capsys, timed, bucket, *more, status=0):
    raw = [
        *("--interactions", f"{bucket}/raw/interactions.csv", "--items", f"{bucket}/raw/items.csv"),
        *("--features", f"image={timed.parent}/raw/image.npy", "--features", f"text={timed.parent}/raw/text.npy"),
    ]
    return call(capsys, "prepare", *raw, "--out", f"{bucket}/shop", *more, status=status)


def test_the_whole_way(capsys, bucket, timed, run):
    out = prepare(capsys, timed, bucket)
    assert "dataset  memory://bucket/shop" in " ".join(out.split()).replace("dataset ", "dataset  ")
    prepared = local_folder(f"{bucket}/shop")
    assert (prepared / "interactions.parquet").read_bytes() == (timed / "interactions.parquet").read_bytes()
    made_from = json.loads((prepared / "dataset.json").read_text())["created_by"]
    assert made_from["interactions"] == f"{bucket}/raw/interactions.csv"
    assert "already exists; choose another --out" in prepare(capsys, timed, bucket, status=2)
    prepare(capsys, timed, bucket, "--overwrite")

    trained = call(capsys, "train", f"{bucket}/shop", "--out", f"{bucket}/run", *SETTINGS)
    assert "memory://bucket/run" in trained
    manifest = json.loads((local_folder(f"{bucket}/run") / "run.json").read_text())
    assert manifest["dataset"]["path"] == f"{bucket}/shop"
    ours, theirs = (json.loads(call(capsys, "eval", name, "--json")) for name in (f"{bucket}/run", run))
    assert ours["run"] == f"{bucket}/run"
    assert ours["metrics"] == theirs["metrics"]

    call(capsys, "recommend", f"{bucket}/run", "--all", "--out", f"{bucket}/top.parquet")
    with fsspec.open(f"{bucket}/top.parquet") as file:
        assert pd.read_parquet(file)["rank"].min() == 1
    assert [name for name, file in fsspec.filesystem("memory").store.items() if b"/cache/" in file.getvalue()] == []
    call(capsys, "data", "export", f"{bucket}/shop", "--out", f"{bucket}/recbole", "--format", "recbole")
    assert list(local_folder(f"{bucket}/recbole").iterdir())


def test_pictures(capsys, bucket, catalogue, catalogue_run, tmp_path):
    fs = fsspec.filesystem("memory")
    fs.put(f"{catalogue.parent}/raw/", "/bucket/shop/", recursive=True)
    raw = f"{bucket}/shop"
    options = ["--interactions", f"{raw}/interactions.csv", "--items", f"{raw}/items.csv", "--out", f"{bucket}/data"]
    assert "image file not there" in call(capsys, "prepare", *options)
    call(capsys, "prepare", *options, "--images", f"{raw}/images", "--overwrite")
    call(capsys, "extract", f"{bucket}/data", "--image", "color")
    folder = local_folder(f"{bucket}/data")
    assert json.loads((folder / "dataset.json").read_text())["images_root"] == f"{raw}/images"
    ours, theirs = (load_file(path / "features/image/features.safetensors") for path in (folder, catalogue))
    assert (ours["vectors"] == theirs["vectors"]).all()
    run = shutil.copytree(catalogue_run, tmp_path / "run")
    rewrite(run / "run.json", lambda content: content["dataset"].update(path=f"{bucket}/data"))
    call(capsys, "data", "copy", run, f"{bucket}/run")
    call(capsys, "report", f"{bucket}/run", "--out", f"{bucket}/page.html")
    call(capsys, "export", f"{bucket}/run", "--out", f"{bucket}/export")
    assert b"data:image/" in fs.cat_file("/bucket/page.html")
    assert [name for name, file in fs.store.items() if b"/cache/" in file.getvalue()] == []


def test_from_python(bucket, timed):
    dataset = demure.prepare(
        f"{bucket}/raw/interactions.csv",
        f"{bucket}/shop",
        items=f"{bucket}/raw/items.csv",
        features={"image": timed.parent / "raw" / "image.npy"},
    )
    assert len(dataset.interactions) == len(demure.Dataset.load(timed).interactions)
    popular = demure.train(dataset, f"{bucket}/popular", recipe="popularity")
    random = demure.train(f"{bucket}/shop", f"{bucket}/knn", recipe="item-knn")
    assert len(demure.compare([popular, f"{bucket}/knn"]))
    assert random.manifest.dataset.path == f"{bucket}/shop"
    assert demure.Run.load(f"{bucket}/popular").dataset.n_users == dataset.n_users


def test_an_upload_that_fails_is_ended_by_the_same_command(capsys, bucket, timed, monkeypatch):
    prepare(capsys, timed, bucket)
    command = ["train", f"{bucket}/shop", "--out", f"{bucket}/run", "--recipe", "popularity"]
    with monkeypatch.context() as patch:
        patch.setattr(fsspec.filesystem("memory"), "put_file", lambda *_, **__: (_ for _ in ()).throw(OSError("gone")))
        assert "bucket/run: not uploaded: cannot be reached" in call(capsys, *command, status=2)
    assert json.loads(call(capsys, *command, "--json")) == {"out": f"{bucket}/run", "uploaded": True}
    call(capsys, "eval", f"{bucket}/run")
    assert "already exists" in call(capsys, *command, status=2)


def test_folders_are_copied_there_and_back(capsys, bucket, timed, tmp_path):
    copied = json.loads(call(capsys, "data", "copy", timed, f"{bucket}/copy", "--json"))
    assert copied["folder"] == f"{bucket}/copy"
    assert "already exists" in call(capsys, "data", "copy", timed, f"{bucket}/copy", status=2)
    call(capsys, "data", "copy", f"{bucket}/copy", tmp_path / "back")
    paths = [path for path in timed.rglob("*") if path.is_file() and path.suffix != ".lock"]
    files = {path.relative_to(timed): path.read_bytes() for path in paths}
    assert {path: (tmp_path / "back" / path).read_bytes() for path in files} == files
    assert "absent: is not a folder" in call(capsys, "data", "copy", tmp_path / "absent", f"{bucket}/x", status=2)


def test_what_is_not_there(capsys, bucket, run):
    assert "memory://bucket/run: holds no dataset and no run" in call(capsys, "eval", f"{bucket}/run", status=2)
    line = call(capsys, "eval", "nonsense://key:secret@bucket/run", status=2)
    assert "unknown scheme 'nonsense'" in line
    assert "secret" not in line
