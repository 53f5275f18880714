import fsspec
import pyarrow.fs
import pytest
from fsspec.implementations.arrow import ArrowFSWrapper
from support.remote import forget

from demure.storage import location


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no waiting between attempts."""
    monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(location, "DELAYS", [0.0, 0.0])
    forget()
    yield tmp_path / "cache"
    forget()


class LocalByArrow(ArrowFSWrapper):
    """A file system of Arrow, which opens hdfs://, too, on this machine."""

    protocol = "arrow"

    def __init__(self, **options):
        super().__init__(pyarrow.fs.LocalFileSystem(), **options)

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("arrow://")


fsspec.register_implementation("arrow", LocalByArrow)


@pytest.fixture(params=["memory", "file", "arrow"])
def url(request, tmp_path):
    """A URL where nothing is, on fsspec's memory and local file systems, and on one of Arrow's."""
    if request.param == "arrow":
        return f"arrow://{tmp_path}/remote/shop"
    if request.param == "file":
        return f"file://{tmp_path}/remote/shop"
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]
    return "memory://remote/shop"


@pytest.fixture
def calls(monkeypatch):
    """The paths that are asked for, by request, on the memory file system: list of (request, path)."""
    recorded = []
    fs = fsspec.filesystem("memory")
    for name in ("cat_file", "put_file", "ls", "pipe_file"):
        original = getattr(fs, name)

        def spy(*arguments, _name=name, _original=original, **options):
            recorded.append((_name, str(arguments[-1 if _name == "put_file" else 0])))
            return _original(*arguments, **options)

        monkeypatch.setattr(fs, name, spy)
    return recorded
