"""URLs, their secrets, and local folders that stand for them."""

import pytest

from demure.storage import names
from demure.storage.cache import CachedFolder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/run", True),
        ("abfs://container@account.dfs.core.windows.net/run", True),
        ("file:///tmp/run", True),
        ("runs/demure", False),
        ("C:\\runs", False),
        ("C://runs", False),
        (None, False),
    ],
)
def test_a_url_has_a_scheme(text, expected):
    assert names.is_url(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no s3://key:secret@bucket/run here", "no s3://key@bucket/run here"),
        ("ftp://ann:p@ss/word@host/run", "ftp://ann@ss/word@host/run"),
        ("https://token@host/file", "https://host/file"),
        ("abfs://box@account.net/run", "abfs://box@account.net/run"),
        ("https://host/file.csv?sig=abc&x=1: refused", "https://host/file.csv: refused"),
        ("hdfs://ann@node:8020/run", "hdfs://ann@node:8020/run"),
        ("user@example.com, at 10:30", "user@example.com, at 10:30"),
    ],
)
def test_secrets_are_left_out(text, expected):
    assert names.redact(text) == expected


@pytest.mark.parametrize(
    ("url", "name"), [("s3://bucket/run/", "run"), ("s3://bucket/a/..", "folder"), ("s3://bucket/a\\..", "folder")]
)
def test_the_cache_keeps_to_its_folder(cache, url, name):
    assert CachedFolder.of(url).version("1-a").relative_to(cache / "folders").parts[1:] == ("1-a", name)


def test_a_local_folder_has_the_name_of_its_url(tmp_path):
    names.remember(tmp_path / "run", "s3://bucket/run")
    assert names.shown(f"wrote {tmp_path}/run/run.json") == "wrote s3://bucket/run/run.json"
    assert names.local_name("s3://bucket/run/a") == tmp_path / "run" / "a"
    assert names.local_name("s3://bucket/runner") is None
    assert names.url_of(tmp_path / "run") == "s3://bucket/run"
    with names.being_written("s3://bucket/new", tmp_path / "work"):
        assert names.unfinished("s3://bucket/new/data") == tmp_path / "work" / "data"
    assert names.unfinished("s3://bucket/new") is None
