"""What the system refused is not taken for damage: no message advises to begin again because a disk was full."""

import errno
import os
import shutil
import sqlite3

import optuna
import pytest

from demure.data.manifest import read_manifest
from demure.errors import DatasetError, DemureError, FeatureError, RunError
from demure.features import store
from demure.files import TRY_AGAIN, read_json, remedy_of
from demure.integrity import CheckedFolder
from demure.tuning.study import open_study, storage_error

GO_ON = "check space and permissions; the same command then goes on"


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("database or disk is full", GO_ON),
        ("attempt to write a readonly database", GO_ON),
        ("unable to open database file", GO_ON),
        ("disk I/O error", GO_ON),
        ("database is locked", "wait for the other process, then try again"),
        ("database disk image is malformed", "begin again with --overwrite"),
        ("file is not a database", "begin again with --overwrite"),
    ],
)
def test_a_study_is_begun_again_only_where_its_file_is_damaged(tmp_path, monkeypatch, reason, remedy):
    def fail(**options):
        raise optuna.exceptions.StorageInternalError("An exception is raised during the commit.") from (
            sqlite3.OperationalError(reason)
        )

    monkeypatch.setattr(optuna, "create_study", fail)
    with pytest.raises(DemureError) as caught:
        open_study(tmp_path / "study", {"format_version": 1, "pruning": False}, warm_up=0, overwrite=False)
    assert caught.value.remedy == remedy
    assert reason in str(caught.value)
    assert "\n" not in str(storage_error(tmp_path, ValueError("")))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE, errno.ENOSPC])
def test_what_cannot_be_read_may_be_whole(timed, tmp_path, monkeypatch, number):
    error = OSError(number, os.strerror(number))
    assert remedy_of(error, "train it again") == TRY_AGAIN
    assert remedy_of(OSError("Couldn't deserialize thrift"), "train it again") == "train it again"
    dataset = shutil.copytree(timed, tmp_path / "dataset")

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("demure.integrity.sha256_file", fail)
        files = CheckedFolder(dataset, {"items.parquet": "hash"}, RunError, "train the run again")
        with pytest.raises(RunError, match=TRY_AGAIN):
            files.file("items.parquet")
    monkeypatch.setattr("pathlib.Path.read_text", fail)
    for read, kind in (
        (lambda: read_json(dataset / "dataset.json"), DemureError),
        (lambda: read_manifest(dataset), DatasetError),
        (lambda: store.read_manifest(dataset, "text"), FeatureError),
    ):
        with pytest.raises(kind, match=TRY_AGAIN):
            read()
