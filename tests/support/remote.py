"""Folders at URLs for tests: a cache of their own, and this process as if it had just begun."""

import contextlib
from pathlib import Path

from demure.storage import cache, names
from demure.storage.files import file_to_write
from demure.storage.folders import Use, local_folder, work_folder

FIRST = {"dataset.json": "{}", "items.parquet": "a" * 1000, "features/text/features.json": "1"}
SECOND = {"dataset.json": "{ }", "items.parquet": "b" * 1000, "features/text/features.json": "1"}


def forget():
    """Let go of all that this process has fetched, as its end would."""
    cache._held.close()
    cache._held = contextlib.ExitStack()
    cache._reading.clear()
    names._urls.clear()
    names._partial.clear()
    names._written.clear()


def other_machine(monkeypatch, tmp_path):
    """Go on as on another machine, with an empty cache."""
    forget()
    monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "other"))


def put(url, files, use=Use.MAKE, **options):
    """Write ``files``, name -> text, as the next version of the folder at ``url``."""
    with work_folder(url, use, **{"overwrite": True, **options}) as work:
        for name, text in files.items():
            path = work.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(text)


def put_and_fail(url, files, error, use=Use.MAKE, **options):
    """Write files into the next version of a folder, and raise ``error`` before it is whole."""
    with work_folder(url, use, **options) as work:
        for name, text in files.items():
            (work.path / name).parent.mkdir(parents=True, exist_ok=True)
            (work.path / name).write_text(text)
        raise error


def get(url):
    """The files of a folder as a process that has just begun reads them: name -> text."""
    forget()
    return content(local_folder(url))


def content(folder):
    """The files of a local folder: name -> text."""
    return {
        str(path.relative_to(folder)): path.read_text() for path in sorted(Path(folder).rglob("*")) if path.is_file()
    }


def write_file(url):
    with file_to_write(url) as path:
        path.write_text("1")
