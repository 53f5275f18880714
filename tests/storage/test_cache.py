"""The folder of this machine: fetched versions, unfinished work and its checkpoints."""

import os
import shutil
import signal
import threading
import time

import fsspec
import pytest
from support.remote import FIRST, SECOND, content, forget, get, other_machine, put, put_and_fail, write_file

from demure.errors import DemureError, MachineError, StorageError
from demure.progress import Notice
from demure.storage import checkpoints, fetch, upload
from demure.storage.elsewhere import FetchedFolders
from demure.storage.files import local_file
from demure.storage.folders import Use, local_folder, work_folder
from demure.storage.location import Location
from demure.storage.version import newest


def test_what_is_in_the_cache_is_not_fetched_again(url, calls, monkeypatch, tmp_path):
    if not url.startswith("memory"):
        pytest.skip("the calls are those of the memory file system")
    put(url, FIRST)
    put(url, SECOND)
    sent = [path for name, path in calls if name == "put_file"]
    assert len(sent) == len(set(sent)) == 5  # the third file is the same
    calls.clear()
    get(url)
    assert [name for name, _ in calls] == ["ls", "cat_file"]
    cache = os.environ["DEMURE_CACHE"]
    other_machine(monkeypatch, tmp_path)
    assert get(url) == SECOND
    monkeypatch.setenv("DEMURE_CACHE", cache)
    put(url, FIRST)
    other_machine(monkeypatch, tmp_path)
    calls.clear()
    assert get(url) == FIRST
    assert sum("demure-files" in path for _, path in calls) == 2


def test_the_same_command_ends_the_upload_of_an_earlier_call(url, monkeypatch):
    notices = []
    fs = fsspec.core.url_to_fs(url)[0]
    with monkeypatch.context() as patch:
        patch.setattr(fs, "put_file", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("reset")))
        with pytest.raises(
            StorageError, match=r"not uploaded: cannot be reached .*reset.*; check the network, then try again, and run"
        ):
            put(url, FIRST, Use.RESUME, command="train", overwrite=False)
    with work_folder(url, Use.RESUME, command="train", listener=lambda note: notices.append(note)) as work:
        assert work.uploaded
    assert get(url) == FIRST
    assert any("has ended" in getattr(note, "text", "") for note in notices)


def test_another_command_goes_on_after_an_upload_that_was_ended(url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(upload, "_put_list", lambda *_: (_ for _ in ()).throw(StorageError("gone")))
        with pytest.raises(StorageError):
            put(url, FIRST, Use.RESUME, command="train --seed 1", overwrite=False)
    put(url, SECOND, Use.RESUME, command="train --seed 2")
    assert get(url) == SECOND
    assert newest(Location.open(url)).number == 2


def test_work_that_was_interrupted_is_continued(url):
    with pytest.raises(KeyboardInterrupt):
        put_and_fail(url, {"checkpoint.safetensors": "half"}, KeyboardInterrupt(), Use.RESUME)
    with work_folder(url, Use.RESUME, resume=True) as work:
        assert content(work.path) == {"checkpoint.safetensors": "half"}
        (work.path / "checkpoint.safetensors").rename(work.path / "run.json")
    assert get(url) == {"run.json": "half"}


def test_work_of_another_machine_is_not_taken_for_nothing(url):
    with (
        pytest.raises(StorageError, match="was made on another machine; set DEMURE_CACHE"),
        work_folder(url, Use.RESUME),
    ):
        pass
    with work_folder(url, Use.MAKE):
        pass  # a dry run


def test_unfinished_shards_outlive_a_change_by_others(url, monkeypatch, tmp_path):
    put(url, FIRST)
    with pytest.raises(KeyboardInterrupt):
        put_and_fail(url, {"features/.work-text/shard": "s"}, KeyboardInterrupt(), Use.CHANGE)
    cache = os.environ["DEMURE_CACHE"]
    other_machine(monkeypatch, tmp_path)
    put(url, SECOND)
    monkeypatch.setenv("DEMURE_CACHE", cache)
    with work_folder(url, Use.CHANGE) as work:
        assert content(work.path) == {**SECOND, "features/.work-text/shard": "s"}
    assert get(url) == SECOND  # what is of this machine alone is not uploaded


def test_a_failure_leaves_nothing(url, cache):
    with pytest.raises(DemureError):
        put_and_fail(url, {"half": "x"}, DemureError("no"))
    with pytest.raises(DemureError):
        put_and_fail(url, {}, DemureError("no"), Use.RESUME)
    assert [path.name for path in cache.glob("work/*/*")] == ["url.txt"]
    with pytest.raises(StorageError, match="shop: is not a dataset folder; make one with `demure prepare`"):
        put(url, FIRST, Use.CHANGE)


def test_what_this_process_writes_it_can_read(url):
    with work_folder(url, Use.MAKE) as work:
        (work.path / "data").mkdir(parents=True)
        (work.path / "data" / "dataset.json").write_text("{}")
        assert local_folder(f"{url}/data") == work.path / "data"
    assert get(f"{url}/data") == {"dataset.json": "{}"}


def test_a_fetch_goes_on_where_it_ended(url, monkeypatch, tmp_path):
    put(url, FIRST)
    other_machine(monkeypatch, tmp_path)
    monkeypatch.setattr(fetch, "_BLOCK", 100)
    monkeypatch.setattr(fetch, "_AHEAD", 1)
    read, blocks = Location.read, []

    def fail_after(limit):
        def request(location, name, *bounds):
            if len(blocks) == limit:
                raise StorageError("cannot be reached")
            blocks.append((name, *bounds)) if bounds else None
            return read(location, name, *bounds)

        return request

    monkeypatch.setattr(Location, "read", fail_after(6))
    with pytest.raises(StorageError):
        get(url)
    monkeypatch.setattr(Location, "read", fail_after(10**6))
    assert get(url) == FIRST
    assert len(blocks) == len(set(blocks)) == 10


def test_what_a_killed_fetch_left_is_checked(url, cache, monkeypatch):
    put(url, FIRST)
    forget()
    location = Location.open(url)
    version = newest(location)
    (home,) = cache.glob("folders/*")
    shutil.rmtree(home / version.id)
    fetching = home / "fetching"
    fetching.mkdir()
    (fetching / "of-another-version.whole").write_text("x")
    file = version.files["items.parquet"]
    (fetching / file.id).write_text("a" * 2000)  # longer than the file
    (home / "000009-x.part").mkdir()
    assert get(url) == FIRST
    assert not fetching.exists()
    forget()
    shutil.rmtree(home / version.id)
    fetching.mkdir()
    (fetching / file.id).write_text("a" * 1000)  # whole, but not yet accepted
    assert get(url) == FIRST


def test_another_machine_fetches_the_same_version(url, cache):
    put(url, FIRST)
    write_file(f"{url}/raw.csv")
    write_file(f"{url}/raw/1.csv")
    folder, file, files = local_folder(url), local_file(f"{url}/raw.csv"), local_file(f"{url}/raw")
    fetched = FetchedFolders.of_this_process()
    put(url, SECOND)
    forget()
    shutil.rmtree(cache)
    fetched.fetch()
    assert content(folder) == FIRST
    assert file.read_text() == "1"
    assert content(files) == {"1.csv": "1"}
    forget()
    assert FetchedFolders.of_this_process() == FetchedFolders()
    FetchedFolders().fetch()


def test_versions_that_nobody_reads_are_deleted(url, cache, monkeypatch, tmp_path):
    put(url, FIRST)
    first = local_folder(url)
    monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "other"))
    put(url, SECOND)
    monkeypatch.setenv("DEMURE_CACHE", str(cache))
    assert content(local_folder(url)) == SECOND
    assert content(first) == FIRST  # this process has opened it
    forget()
    put(url, {**SECOND, "more": "1"})
    assert not first.exists()


def test_the_cache_keeps_to_its_limit(url, cache, monkeypatch):
    put(url, FIRST)
    put(f"{url}2", {"run.json": "x" * 500})
    forget()
    monkeypatch.setenv("DEMURE_CACHE_GB", "2e-6")
    put(f"{url}3", {"run.json": "y"})
    assert {path.read_text().strip()[-5:] for path in cache.glob("folders/*/url.txt")} == {"/shop", "shop2", "shop3"}
    assert sorted(path.name for path in cache.glob("folders/*/*-*/*") if path.is_dir()) == ["shop2", "shop3"]
    monkeypatch.setenv("DEMURE_CACHE_GB", "much")
    with pytest.raises(MachineError, match="DEMURE_CACHE_GB: is 'much'; set it to a number of gigabytes"):
        put(f"{url}4", FIRST)


def test_a_cache_that_cannot_be_written(url, cache, monkeypatch):
    put(url, FIRST)
    forget()
    shutil.rmtree(cache)
    cache.write_text("")
    with pytest.raises(MachineError, match=r"cannot write: .*; make room, or set DEMURE_CACHE to another folder"):
        local_folder(url)


def test_a_training_is_resumed_on_another_machine(url, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoints, "MINUTES", 1 / 6000)
    location, notices = Location.open(url), []

    def wait_for(number):
        deadline = time.monotonic() + 10
        while (version := newest(location)) is None or version.number < number:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def train(files, number, **options):
        with work_folder(url, Use.RESUME, listener=notices.append, **options) as work:
            work.path.mkdir(exist_ok=True)
            for k in (1, 2):
                (work.path / "part").write_text(f"{files} {k}")
                (work.path / "part").rename(work.path / "checkpoint.safetensors")
                wait_for(number + k)
            if threading.current_thread() is not threading.main_thread():
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    with pytest.raises(KeyboardInterrupt):
        train("first", 0)
    assert get(url) == {"checkpoint.safetensors": "first 2"}
    assert len(location.files("demure-files")) == 1  # earlier checkpoints do not pile up
    other_machine(monkeypatch, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train("second", 2, resume=True)
    put(url, {"run.json": "{}"}, Use.RESUME, resume=True)
    assert get(url) == {"checkpoint.safetensors": "second 2", "run.json": "{}"}
    assert [notice for notice in notices if isinstance(notice, Notice)] == []


def test_a_finished_run_stays_while_another_is_trained(url, monkeypatch):
    put(url, {"run.json": "{}", "model.safetensors": "1"}, Use.RESUME)
    with pytest.raises(KeyboardInterrupt):
        put_and_fail(url, {"unfinished/checkpoint.safetensors": "c"}, KeyboardInterrupt(), Use.RESUME, overwrite=True)
    assert get(url) == {"run.json": "{}", "model.safetensors": "1", "unfinished/checkpoint.safetensors": "c"}
    files = {"run.json": "{ }", "unfinished/checkpoint.safetensors": "d"}  # a run that takes its place
    with pytest.raises(KeyboardInterrupt):
        put_and_fail(url, files, KeyboardInterrupt(), Use.RESUME, overwrite=True)
    assert get(url)["run.json"] == "{}"


def test_a_checkpoint_that_cannot_be_uploaded_does_not_end_the_training(url, monkeypatch):
    monkeypatch.setattr(checkpoints, "MINUTES", 1 / 6000)
    monkeypatch.setattr(upload, "_put_list", lambda *_: (_ for _ in ()).throw(StorageError("cannot be reached")))
    notices = []
    files = {"checkpoint.safetensors": "1"}
    with pytest.raises(KeyError):
        put_and_fail(url, files, KeyError(), Use.RESUME, listener=notices.append)
    texts = [notice.text for notice in notices if isinstance(notice, Notice)]
    assert texts == ["the checkpoint was not uploaded: cannot be reached"]
