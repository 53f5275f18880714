"""A file of a dataset, of features or of a run that is not as it was made is refused, with one line."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from support.manifests import rewrite

from demure import integrity
from demure.data.dataset import Dataset
from demure.data.describe.describe import describe
from demure.diagnosis import tables
from demure.diagnosis.history import diagnose_histories
from demure.errors import DatasetError, DemureError, FeatureError, RunError
from demure.features import store
from demure.features.check import check_features
from demure.files import sha256_file
from demure.integrity import CheckedFolder
from demure.report.build import report
from demure.runs.evaluate import evaluate_runs
from demure.runs.folder import FILES, WEIGHTS
from demure.runs.load import load_run
from demure.runs.manifest import read_manifest
from demure.runs.new_content import ContentEncoder
from demure.runs.recommend import recommend
from demure.training.run import train

DAMAGES = {
    "one bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :],
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "a byte more": lambda data: data + b"\n",
    "a byte less": lambda data: data[:-1],
}
TABLES = ("interactions.parquet", "users.parquet", "items.parquet")


@pytest.fixture
def moved(timed, run, tmp_path):
    """Copies of a dataset and of its run, whose run.json was edited by hand to name the copy."""
    shutil.copytree(timed, tmp_path / "dataset")
    shutil.copytree(run, tmp_path / "run")
    rewrite(
        tmp_path / "run" / "run.json",
        lambda content: content["dataset"].update(path=str(tmp_path / "dataset")),
        sealed=True,
    )
    return tmp_path


def read_everything(folder):
    """Every file of the run and of its dataset, each by one of its readers."""
    path, dataset, history = folder / "run", folder / "dataset", folder / "history.csv"
    history.write_text("user_id,item_id,timestamp\nnew,i1,1600000000\n")
    yield lambda: Dataset.load(dataset)
    yield lambda: describe(dataset)
    yield lambda: check_features(dataset)
    yield lambda: tables.overview(path)
    yield lambda: tables.user_view(path, "u3")
    yield lambda: tables.export(path, folder / "noise.parquet")
    yield lambda: evaluate_runs([path], by=["reliance"], device="cpu")
    yield lambda: report(path, folder / "page.html")
    yield lambda: diagnose_histories(path, history, device="cpu")
    yield lambda: ContentEncoder(load_run(path)).projections
    yield lambda: tables.interests(path)


def test_a_folder_that_was_moved_is_read(moved):
    load_run(moved / "run")
    assert tables.overview(moved / "run").dataset == str(moved / "dataset")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [f"dataset/{name}" for name in TABLES] + [f"run/{name}" for name in FILES])
def test_a_changed_file_is_refused_by_each_of_its_readers(moved, name, damage):
    file = moved / name
    if not file.is_file():
        pytest.skip("this run has no such file")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    files = CheckedFolder(file.parent, {file.name: "hash as it was made"}, RunError, "train the run again")
    with pytest.raises(RunError, match="was changed after it was made; train the run again"):
        files.file(file.name)
    refused = 0
    for read in read_everything(moved) if damage in ("one bit", "truncated") else ():
        try:
            read()
        except DemureError as error:
            refused += 1
            assert f"{file.name}: was changed after it was made" in str(error)  # noqa: PT017
    assert refused or damage not in ("one bit", "truncated")


def test_vectors_without_their_manifest_are_refused(timed, tmp_path):
    dataset = shutil.copytree(timed, tmp_path / "dataset")
    (dataset / "features" / "text" / "features.json").unlink()
    with pytest.raises(FeatureError, match=r"text: has vectors but no features\.json; delete the folder"):
        store.names(dataset)


def deal(arrays):
    return {**arrays, "vectors": arrays["vectors"][::-1].copy()}


def with_nan(arrays):
    return {**arrays, "vectors": np.full_like(arrays["vectors"], np.nan)}


@pytest.mark.parametrize("change", [deal, with_nan])
def test_changed_features_are_refused_by_each_of_their_readers(timed, tmp_path, change):
    dataset = shutil.copytree(timed, tmp_path / "dataset")
    file = dataset / "features" / "text" / "features.safetensors"
    save_file(change(load_file(file)), file)
    for read in (check_features, describe, lambda path: train(path, tmp_path / "run", device="cpu")):
        with pytest.raises(FeatureError, match=r"features\.safetensors: was changed after it was made; extract or"):
            read(dataset)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_nan, "not finite"),
        (lambda arrays: {**arrays, "vectors": np.where(np.eye(50, 12) > 0, np.inf, arrays["vectors"])}, "not finite"),
        (lambda arrays: {**arrays, "vectors": arrays["vectors"][0]}, "has shape"),
        (lambda arrays: {**arrays, "vectors": arrays["vectors"][..., None]}, "has shape"),
        (lambda arrays: {**arrays, "vectors": arrays["vectors"][:, :0]}, "has shape"),
        (lambda arrays: {**arrays, "vectors": arrays["vectors"].astype(np.int64)}, "type int64"),
        (lambda arrays: {**arrays, "present": arrays["present"] * 2}, "items should have a vector"),
        (lambda arrays: {**arrays, "present": arrays["present"][:-1]}, "has shape"),
        (lambda arrays: {"vectors": arrays["vectors"]}, "no tensor 'present'"),
    ],
)
def test_features_of_another_form_are_refused_even_if_the_hash_fits(timed, tmp_path, change, words):
    dataset = shutil.copytree(timed, tmp_path / "dataset")
    folder = dataset / "features" / "text"
    file = folder / "features.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in change(load_file(file)).items()}, file)
    rewrite(folder / "features.json", lambda content: content.update(features_sha256=sha256_file(file)))
    with pytest.raises(FeatureError, match=words):
        store.load(dataset, "text")
    with pytest.raises(FeatureError, match=words):
        check_features(dataset, ["text"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: {k: v * np.nan if v.dtype.kind == "f" else v for k, v in tensors.items()}, "not finite"),
        (lambda tensors: dict(list(tensors.items())[1:]), "other weights"),
        (lambda tensors: {**tensors, "more": np.zeros(1, np.float32)}, "other weights"),
        (lambda tensors: {k: v[:1] if v.ndim == 2 else v for k, v in tensors.items()}, "other weights"),
        (lambda tensors: {}, "other weights"),
    ],
)  # fmt: skip
def test_weights_of_another_form_are_refused_in_a_run_without_hashes(moved, change, words):
    file = moved / "run" / WEIGHTS
    rewrite(moved / "run" / "run.json", lambda content: content.pop("files"))
    load_run(moved / "run")
    save_file({name: np.ascontiguousarray(array) for name, array in change(load_file(file)).items()}, file)
    with pytest.raises(RunError, match=words):
        recommend(moved / "run", moved / "best.parquet", users=["u3"], device="cpu")
    assert not (moved / "best.parquet").exists()


@pytest.mark.parametrize(
    ("column", "value"),
    [("poi_probability", 7.0), ("poi_probability", np.nan), ("evidence", np.inf), ("item_id", 3), ("user_id", None)],
)
def test_a_diagnosis_of_another_form_is_refused_in_a_run_without_hashes(moved, column, value):
    run = moved / "run"
    rewrite(run / "run.json", lambda content: content.pop("files"))
    frame = pd.read_parquet(run / "diagnosis.parquet")
    frame[column] = value
    frame.to_parquet(run / "diagnosis.parquet")
    for read in (tables.overview, lambda path: tables.export(path, moved / "noise.parquet")):
        with pytest.raises(RunError, match=f"diagnosis.parquet: cannot be read .column {column}"):
            read(run)


def test_a_run_of_an_early_version_is_read(moved):
    rewrite(moved / "run" / "run.json", lambda content: content.pop("files"))
    assert read_manifest(moved / "run").files is None
    load_run(moved / "run")
    tables.overview(moved / "run")


def test_a_file_that_was_added_is_refused(tmp_path):
    (tmp_path / "b").write_text("b")
    with pytest.raises(DatasetError, match="was added after the folder was made"):
        CheckedFolder(tmp_path, {"a": "hash"}, DatasetError, "prepare it again").file("b")
    assert not CheckedFolder(tmp_path, {"a": "hash"}, DatasetError, "").has("b")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=1, max_size=64), place=st.integers(0, 63), bit=st.integers(0, 7), large=st.booleans())
def test_no_change_is_missed_that_keeps_size_and_time(tmp_path, monkeypatch, content, place, bit, large):
    """Also where the hash is kept: the times of a file are put back, its ctime cannot be."""
    monkeypatch.setattr(integrity, "_SMALL", 0 if large else 1 << 20)
    monkeypatch.setattr(integrity, "_SETTLED", -1e9)
    file = tmp_path / "file"
    file.write_bytes(content)
    os.utime(file, ns=(1, 1))
    before = integrity.hash_of(file)
    assert before == integrity.hash_of(file) == sha256_file(file)
    changed = bytearray(content)
    changed[place % len(content)] ^= 1 << bit
    ctime = file.stat().st_ctime_ns
    while file.stat().st_ctime_ns == ctime:  # the clock of file times is coarse
        file.write_bytes(changed)
        os.utime(file, ns=(1, 1))
    assert integrity.hash_of(file) == sha256_file(file) != before


def test_the_hash_of_a_large_file_is_kept_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, "_SMALL", 0)
    monkeypatch.setattr(integrity, "_SETTLED", -1e9)
    file = tmp_path / "file"
    file.write_bytes(b"large")
    digest = integrity.hash_of(file)
    integrity._checked.clear()
    monkeypatch.setattr(integrity, "sha256_file", lambda path: pytest.fail("it was hashed again"))
    assert integrity.hash_of(file) == digest
    integrity._checked.clear()
    monkeypatch.undo()
    assert integrity.hash_of(file) == digest  # a small file is hashed, whatever is kept


def test_a_file_that_has_just_been_written_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, "_SMALL", 0)
    (tmp_path / "file").write_bytes(b"new")
    integrity.hash_of(tmp_path / "file")
    assert not (tmp_path / ".checked.json").exists()
