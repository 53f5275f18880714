"""URLs of folders, and the local folders that stand for them while a process runs.

Imports nothing heavy: the terminal asks here for every line that it prints.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:\ is a drive
_PASSWORD = re.compile(r"([A-Za-z0-9+.-]+://)([^/\s:@]*):[^/\s]*@")
_TOKEN = re.compile(r"(https?://)[^/\s]*@")
_QUERY = re.compile(r"([A-Za-z0-9+.-]+://[^\s?]*)\?[^\s;,)'\"]*?(?=:?(?:[\s;,)'\"]|$))")
_urls: dict[str, str] = {}  # local folder -> its URL, without secrets
_partial: set[str] = set()
_written: dict[str, str] = {}  # URL -> the local folder that becomes its next version


def is_url(value: object) -> bool:
    """Return whether ``value`` is a text such as ``s3://bucket/run``."""
    return isinstance(value, str) and _SCHEME.match(value) is not None


def redact(text: str) -> str:
    """Return a text in which URLs have neither password, token nor query."""
    return _QUERY.sub(r"\1", _TOKEN.sub(r"\1", _PASSWORD.sub(r"\1\2@", text)))


def remember(local: Path, url: str, *, partial: bool = False) -> None:
    """Let the local folder or file have the name ``url`` in messages and manifests.

    ``partial``: the folder lacks files of the URL, so that :func:`local_name` does not return it.
    """
    for path in dict.fromkeys((os.path.realpath(local), os.path.abspath(local))):
        _urls[path] = url
        (_partial.add if partial else _partial.discard)(path)


def is_partial(local: str) -> bool:
    """Return whether a local folder lacks files of its URL."""
    return local in _partial


def remembered() -> Mapping[str, str]:
    """Return local folder -> URL, for another process."""
    return dict(_urls)


@contextmanager
def being_written(url: str, local: Path) -> Iterator[None]:
    """Let readers in this process open the unfinished folder ``local`` under its ``url`` while the block runs."""
    remember(local, url)
    _written[url] = os.path.abspath(local)
    try:
        yield
    finally:
        _written.pop(url, None)


def unfinished(url: str) -> Path | None:
    """Return the local folder of a URL that this process is writing, or of one below it."""
    for root, local in _written.items():
        if url == root or url.startswith(root + "/"):
            return Path(local + url.removeprefix(root))
    return None


def local_name(url: str) -> Path | None:
    """Return the local folder that stands for a URL, or for one below it, since this process opened it."""
    for local, root in reversed(_urls.items()):
        if local not in _partial and (url == root or url.startswith(root + "/")):
            return Path(local + url.removeprefix(root))
    return None


def url_of(local: Path) -> str | None:
    """Return the URL of a local folder that stands for one; None for any other."""
    return _urls.get(os.path.abspath(local))


def is_remembered(path: Path) -> bool:
    """Return whether a path lies in a local folder that stands for a URL."""
    return any(str(path).startswith(local + os.sep) for local in _urls)


def shown(text: str) -> str:
    """Return a text with URLs in place of the local folders that stand for them."""
    for local in sorted(_urls, key=len, reverse=True):  # a file before its folder
        text = text.replace(local, _urls[local])
    return text
