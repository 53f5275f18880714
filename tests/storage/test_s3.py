"""The same on a server with the protocol of S3: moto's, on this machine."""

import fsspec
import pytest
from support.remote import get, put

from demure.errors import StorageError
from demure.storage import upload
from demure.storage.location import Location
from demure.storage.version import Version, newest
from demure_cli.app import main

pytestmark = pytest.mark.s3
FIRST = {"run.json": "1", "model.safetensors": "a" * 20_000_000, "features/text/a b+ü.json": "1"}
SECOND = {**FIRST, "run.json": "2"}


@pytest.fixture(scope="module")
def server():
    """The address of a server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """The URL of an empty bucket."""
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    if fs.exists("shop"):
        fs.rm("shop", recursive=True)
    fs.mkdir("shop")
    return "s3://shop"


def test_a_folder_is_read_as_it_was_written(bucket, monkeypatch, tmp_path):
    put(f"{bucket}/run", FIRST)
    put(f"{bucket}/run", SECOND)
    monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "other"))
    assert get(f"{bucket}/run") == SECOND
    location = Location.open(f"{bucket}/run")
    assert newest(location).number == 2
    assert len(location.files("demure-files")) == 4


def test_the_store_lets_one_of_two_writers_win(bucket):
    location = Location.open(f"{bucket}/run")
    upload._put_list(location, Version(1, {}))
    upload._put_list(location, Version(1, {}))
    with pytest.raises(StorageError, match="changed by another process"):
        upload._put_list(location, Version(1, {}, {"a": "b"}))


def test_a_bucket_that_is_not_there(bucket):
    with pytest.raises(StorageError, match="s3://absent/run: holds no dataset and no run"):
        get("s3://absent/run")
    with pytest.raises(StorageError, match=r"cannot be written .*; make the bucket first"):
        put("s3://absent/run", FIRST)


def test_no_credentials(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match=r"access is refused .*; give the credentials that its provider reads"):
        get(f"{bucket}/run")


def test_a_copy_of_another_program(bucket, timed):
    Location.open(bucket).fs.put(f"{timed}/", f"{bucket}/data/", recursive=True)
    assert main(["train", f"{bucket}/data", "--out", f"{bucket}/run", "--recipe", "popularity"]) == 0
    assert main(["eval", f"{bucket}/run"]) == 0
