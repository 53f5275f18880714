"""What a failure of a store means, in one line, and what its descriptions of files hold."""

import errno
from datetime import UTC, datetime

import fsspec
import pytest

from demure.storage.location import Location, explained, mark, modified


class EndpointConnectionError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left"), "there is no space left ([Errno 28] No space left); make room, then"),
        (FileNotFoundError("no bucket"), "does not exist (no bucket); check the name; make the bucket first"),
        (PermissionError("Forbidden"), "access is refused (Forbidden); give the credentials"),
        (RuntimeError("Unable to locate credentials"), "access is refused (Unable to locate credentials); give"),
        (
            OSError("Unable to load libjvm: dlopen"),
            "the Hadoop client cannot be loaded (Unable to load libjvm",
        ),
        (EndpointConnectionError("https://k:s@x/y"), "cannot be reached (EndpointConnectionError: https://x/y); check"),
        (ValueError("bad bucket"), "cannot be used (ValueError: bad bucket); check the URL"),
        (TimeoutError(), "cannot be reached (TimeoutError: TimeoutError); check the network, then try again"),
    ],
)
def test_failures(error, line):
    assert str(explained(error, "s3://b/x")).startswith(f"s3://b/x: {line}")


def test_when_a_file_was_written():
    moment = datetime(2026, 11, 27, tzinfo=UTC)
    for entry in ({"LastModified": moment}, {"mtime": moment.timestamp()}, {"updated": "2026-11-27T00:00:00Z"}):
        assert modified({"size": 1, **entry}) == moment.timestamp()
        assert mark({"size": 1, **entry}) != mark({"size": 1})
    assert modified({"updated": "yesterday"}) is None


def test_a_place_that_cannot_be_opened(monkeypatch):
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url: (_ for _ in ()).throw(OSError(f"no route to {url}")))
    with pytest.raises(ValueError, match=r"ftp://ann@host/x: cannot be reached .*no route to ftp://ann@host/x"):
        Location.open("ftp://ann:secret@host/x/")


def test_the_folder_above(tmp_path):
    location = Location.open("memory://bucket/a/b")
    above, name = location.parent()
    assert (above.url, above.root, name) == ("memory://bucket/a", "/bucket/a", "b")
    assert Location.open("memory://bucket").parent() is None
    assert Location.open(f"file://{tmp_path}/absent").files() == {}
    assert Location.open(f"file://{tmp_path}/absent").entries() == {}
