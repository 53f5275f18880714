"""A folder at a URL: read and written as versions, whole or not at all."""

import json
import os
import shutil
import threading
import time

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile
from support.remote import FIRST, SECOND, content, forget, get, other_machine, put, write_file

from demure.errors import DemureError, StorageError
from demure.storage import fetch, upload
from demure.storage.fetch import fetch_version
from demure.storage.files import file_to_write, local_file
from demure.storage.folders import Use, local_folder, work_folder
from demure.storage.location import Location
from demure.storage.version import Version, copied, newest


def test_a_folder_is_read_as_it_was_written(url, monkeypatch, tmp_path):
    put(url, FIRST)
    assert get(url) == FIRST
    put(url, SECOND)
    other_machine(monkeypatch, tmp_path)
    assert get(url) == SECOND
    assert get(f"{url}/features") == {"text/features.json": "1"}


def test_nothing_is_uploaded_where_nothing_changed(url):
    put(url, FIRST)
    put(url, FIRST, Use.CHANGE)
    assert newest(Location.open(url)).number == 1


@pytest.mark.parametrize("use", [Use.MAKE, Use.RESUME])
def test_an_existing_folder_is_refused_before_the_work(url, use):
    put(url, FIRST)
    with pytest.raises(DemureError, match=r"shop: already exists; choose another --out"):
        put(url, SECOND, use, overwrite=False)
    assert get(url) == FIRST


def test_a_reader_gets_the_old_version_until_the_list_is_there(url, monkeypatch, tmp_path):
    put(url, FIRST)
    put_list, readings = upload._put_list, []

    def put_list_later(location, version):
        cache = os.environ["DEMURE_CACHE"]
        os.environ["DEMURE_CACHE"] = str(tmp_path / "reader")
        readings.append(content(fetch_version(location, newest(location), lambda _: None)))
        os.environ["DEMURE_CACHE"] = cache
        put_list(location, version)

    monkeypatch.setattr(upload, "_put_list", put_list_later)
    put(url, SECOND)
    assert readings == [FIRST]
    assert get(url) == SECOND


def test_a_reader_in_the_middle_gets_one_version_whole(url, monkeypatch, tmp_path):
    """Between two files of a reader, a writer makes two versions and deletes all earlier ones."""
    monkeypatch.setattr(upload, "_GRACE", -1.0)
    put(url, FIRST)
    forget()
    monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "reader"))
    accept, done = fetch._accept, []

    def write_in_between(location, file, fetching):
        accept(location, file, fetching)
        if not done:
            done.append(1)
            monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "writer"))
            put(url, {name: text + "2" for name, text in SECOND.items()})
            put(url, {name: text + "3" for name, text in SECOND.items()})
            monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "reader"))

    monkeypatch.setattr(fetch, "_accept", write_in_between)
    monkeypatch.setattr(fetch, "_AHEAD", 1)
    read = content(local_folder(url))
    assert read in (FIRST, {name: text + "3" for name, text in SECOND.items()})


def test_an_interrupted_upload_changes_nothing_and_is_continued(url, monkeypatch):
    put(url, FIRST)
    fs = fsspec.core.url_to_fs(url)[0]
    put_file, sent = fs.put_file, []

    def fail_at_the_second(local, path, **options):
        if len(sent) == 1:
            raise KeyboardInterrupt
        sent.append(path)
        return put_file(local, path, **options)

    monkeypatch.setattr(upload, "_AT_A_TIME", 1)
    monkeypatch.setattr(fs, "put_file", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        put(url, SECOND)
    assert get(url) == FIRST
    monkeypatch.setattr(fs, "put_file", lambda local, path, **_: sent.append(path) or put_file(local, path))
    put(url, SECOND)
    assert get(url) == SECOND
    assert len(sent) == len(set(sent)) == 2


def test_the_later_of_two_writers_is_refused(url, monkeypatch, tmp_path):
    put(url, FIRST)
    put_files, cache = upload._put_files, os.environ["DEMURE_CACHE"]

    def write_in_between(*arguments):
        put_files(*arguments)
        monkeypatch.setattr(upload, "_put_files", put_files)
        monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "other"))
        put(url, SECOND)
        monkeypatch.setenv("DEMURE_CACHE", cache)

    monkeypatch.setattr(upload, "_put_files", write_in_between)
    with pytest.raises(StorageError, match="was changed by another process while"):
        put(url, {"extra": "x"}, Use.CHANGE)
    assert get(url) == SECOND


def test_two_writers_of_one_number_do_not_both_win(url):
    location = Location.open(url)
    upload._put_list(location, Version(1, {}))
    upload._put_list(location, Version(1, {}))  # its own, of which the answer was lost
    with pytest.raises(StorageError, match="changed by another process"):
        upload._put_list(location, Version(1, {}, {"a": "b"}))


def test_one_process_of_a_machine_writes_at_a_time(url):
    failures = []

    def second():
        try:
            put(url, SECOND)
        except DemureError as error:
            failures.append(str(error))

    with work_folder(url, Use.MAKE) as work:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        work.path.mkdir()
        (work.path / "run.json").write_text("1")
    assert "shop: is being written by process" in failures[0]
    assert get(url) == {"run.json": "1"}


def test_several_processes_of_torchrun_do_not_write(url, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(StorageError, match="cannot be written by several processes"):
        put(url, FIRST)


def test_a_list_that_is_cut_off_does_not_count(url):
    put(url, FIRST)
    location = Location.open(url)
    data = location.read("demure-000001.json")
    location.fs.pipe_file(location.path("demure-000002.json"), data[: len(data) // 2])
    location.fs.pipe_file(location.path("demure-000003.json"), data.replace(b"1000", b"1001"))
    assert get(url) == FIRST
    location.fs.pipe_file(location.path("demure-000004.json"), _with_format(data, 2))
    with pytest.raises(StorageError, match="has format version 2, not 1; read it with the demure that made it"):
        get(url)


def _with_format(data, number):
    from demure.integrity import sealed

    return json.dumps(sealed({**json.loads(data), "format_version": number})).encode()


def test_a_changed_file_of_the_same_size_is_noticed(url, monkeypatch, tmp_path):
    put(url, FIRST)
    location = Location.open(url)
    name = next(file.key for file in newest(location).files.values() if file.size == 1000)
    location.fs.pipe_file(location.path(name), b"x" * 1000)
    assert get(url) == FIRST  # the cache has the right one
    other_machine(monkeypatch, tmp_path)
    with pytest.raises(StorageError, match=r"items\.parquet: was changed after it was made"):
        get(url)
    location.fs.rm_file(location.path(name))
    with pytest.raises(StorageError, match="lacks a file that it lists"):
        get(url)


def test_requests_are_repeated(url, monkeypatch):
    put(url, FIRST)
    fs = fsspec.core.url_to_fs(url)[0]
    listing, failures = fs.ls, [ConnectionResetError("reset"), TimeoutError()]

    def ls(*arguments, **options):
        if failures:
            raise failures.pop()
        return listing(*arguments, **options)

    monkeypatch.setattr(fs, "ls", ls)
    assert get(url) == FIRST
    failures[:] = [ConnectionResetError("reset by s3://key:secret@peer/x")] * 3
    with pytest.raises(
        StorageError, match=r"cannot be reached \(ConnectionResetError: reset by s3://key@peer/x\); check"
    ):
        get(url)
    failures[:] = [PermissionError("Access Denied")]
    with pytest.raises(StorageError, match=r"access is refused \(Access Denied\); give the credentials"):
        get(url)
    assert failures == []


def test_a_folder_that_another_program_copied(url, tmp_path, monkeypatch):
    location = Location.open(url)
    for name, text in FIRST.items():
        location.make_parent(name)
        location.fs.pipe_file(location.path(name), text.encode())
    assert get(url) == FIRST
    location.fs.pipe_file(location.path("items.parquet"), b"c" * 1000)
    assert get(url) == {**FIRST, "items.parquet": "c" * 1000}
    put(url, {"extra": "x"}, Use.CHANGE)
    assert get(url) == {**FIRST, "items.parquet": "c" * 1000, "extra": "x"}
    assert copied(location).files == {}  # in its place is a list
    location.make_parent("a/b")
    location.fs.pipe_file(location.path("a/b"), b"1")
    if url.startswith("memory"):  # an object for a folder
        location.fs.store[location.path("a")] = MemoryFile(location.fs, location.path("a"), b"")
        if location.path("a/b") not in location.fs.find(location.path("a")):  # fsspec before 2026.7
            del location.fs.store[location.path("a")]
    assert set(copied(location).files) == {"a/b"}
    other_machine(monkeypatch, tmp_path)
    assert get(url)["extra"] == "x"


def test_what_is_neither_dataset_nor_run(url):
    with pytest.raises(StorageError, match="shop: holds no dataset and no run; name the URL"):
        get(url)


def test_links_stay_links(url, monkeypatch, tmp_path):
    with work_folder(url, Use.MAKE) as work:
        for name in ("time/dataset.json", "ratio/dataset.json", "features/text/a"):
            (work.path / name).parent.mkdir(parents=True)
            (work.path / name).write_text(name)
        for name in ("time", "ratio"):
            (work.path / name / "features").symlink_to("../features", target_is_directory=True)
    other_machine(monkeypatch, tmp_path)
    folder = local_folder(f"{url}/time")
    assert os.readlink(folder / "features") == "../features"
    assert (folder / "features" / "text" / "a").read_text() == "features/text/a"
    with work_folder(f"{url}/time", Use.CHANGE) as work:
        (work.path / "features" / "text" / "b").write_text("new")
    forget()
    assert (local_folder(f"{url}/ratio") / "features" / "text" / "b").read_text() == "new"


def test_files_of_earlier_versions_are_deleted_after_a_day(tmp_path):
    url = f"file://{tmp_path}/remote/shop"
    remote = tmp_path / "remote" / "shop"
    for k in range(3):
        put(url, {"dataset.json": str(k), "same": "s"})
        for path in remote.rglob("*"):
            os.utime(path, (time.time() - 3 * 24 * 3600,) * 2)
    assert sorted(path.name for path in remote.glob("*.json")) == ["demure-000002.json", "demure-000003.json"]
    assert sorted(path.read_text() for path in remote.rglob("*") if path.name in ("dataset.json", "same")) == list(
        "12s"
    )
    put(url, {"dataset.json": "3"})
    shutil.rmtree(tmp_path / "cache")
    assert get(url) == {"dataset.json": "3", "same": "s"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://x/y", "nonsense://x/y: unknown scheme 'nonsense'; use s3://"),
        ("oss://key:secret@bucket/run", "oss://key@bucket/run: the package for oss:// is not installed; install it"),
    ],
)
def test_schemes_that_cannot_be_used(url, message):
    with pytest.raises(StorageError) as failure:
        local_folder(url)
    assert str(failure.value).startswith(message)


def test_single_files(url, calls, tmp_path):
    file = f"{url}/raw/items.csv"
    with file_to_write(file) as path:
        path.write_text("item_id\ni1\n")
    assert local_file(file).read_text() == "item_id\ni1\n"
    assert local_file(file).name == "items.csv"
    forget()
    with file_to_write(f"{url}/raw/part-1.csv") as path:
        path.write_text("item_id\ni2\n")
    assert content(local_file(f"{url}/raw")) == {"items.csv": "item_id\ni1\n", "part-1.csv": "item_id\ni2\n"}
    with pytest.raises(StorageError, match=r"absent\.csv: does not exist"):
        local_file(f"{url}/raw/absent.csv")
    half = file_to_write(f"{url}/raw/half.csv")
    half.__enter__().write_text("half")
    assert not half.__exit__(KeyError, KeyError(), None)
    assert set(content(local_file(f"{url}/raw"))) == {"items.csv", "part-1.csv"}
    assert local_file(tmp_path) == tmp_path


def test_large_and_empty_files(url, monkeypatch, tmp_path):
    files, progress = {"run.json": "x" * 3_000_000, "empty": ""}, []
    with work_folder(url, Use.MAKE, listener=progress.append) as work:
        work.path.mkdir()
        for name, text in files.items():
            (work.path / name).write_text(text)
    other_machine(monkeypatch, tmp_path)
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    folder = local_folder(url, progress.append)
    assert content(folder) == files
    stages = {(report.stage.split()[0], report.done, report.total) for report in progress}
    assert {("uploading", 3, 3), ("fetching", 3, 3)} <= stages


def test_a_bucket_that_is_missing_is_named(url, monkeypatch):
    fs = fsspec.core.url_to_fs(url)[0]
    monkeypatch.setattr(fs, "put_file", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError("no such bucket")))
    with pytest.raises(StorageError, match=r"cannot be written \(no such bucket\); make the bucket first"):
        put(url, FIRST)
    with pytest.raises(StorageError, match=r"does not exist \(no such bucket\)"):
        write_file(f"{url}/a.csv")
