"""Many images from many hosts at once, and from none of them more than it can bear."""

from __future__ import annotations

import asyncio
import io
import time
from collections import deque
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import demure
from demure.errors import DemureError
from demure.files import atomic_file
from demure.prepare.fetch.log import stem

if TYPE_CHECKING:
    import httpx2

    from demure.prepare.fetch.images import FetchOptions

Done = Callable[[str, str | None, int, str, bool], None]
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_GIVE_UP = 3  # images of a host that does not answer at all, before the rest of them is left for another run
_WHOLE = 20  # timeouts that one image may take as a whole, however steadily it drips
_LONGEST_WAIT = 120.0  # what a server may ask for with Retry-After, seconds


class _NotHad(Exception):
    """Why an image was not had; ``wait``: what the server asks for before another try, seconds."""

    def __init__(self, reason: str, *, final: bool, wait: float = 0.0, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final, self.wait, self.unreachable = reason, final, wait, unreachable


class _Host:
    """Its images still to fetch, when it may be asked next, and how many in a row it did not answer for."""

    def __init__(self) -> None:
        self.urls: deque[str] = deque()
        self.next = 0.0
        self.silent = 0

    async def turn(self, rate: float) -> None:
        """Wait until the host may be asked again."""
        now = time.monotonic()
        at = max(now, self.next)
        self.next = at + 1 / rate
        await asyncio.sleep(at - now)


def download(urls: dict[str, str], options: FetchOptions, done: Done) -> None:
    """Fetch each of ``urls`` (URL -> the item that names its file) into ``options.out``.

    ``done(url, file, bytes, reason, final)`` is called once for each: ``file`` is None where it was not had. Raises
    ``DemureError`` if nothing can be written.
    """
    try:
        asyncio.run(_download(urls, options, done))
    except* DemureError as group:  # a full disk, which the tasks meet one after the other
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def _download(urls: dict[str, str], options: FetchOptions, done: Done) -> None:
    import httpx2

    hosts: dict[str, _Host] = {}
    for url in urls:
        hosts.setdefault(httpx2.URL(url).netloc.decode(), _Host()).urls.append(url)
    room = asyncio.Semaphore(options.parallel)
    async with (
        httpx2.AsyncClient(
            follow_redirects=True,
            max_redirects=5,
            timeout=options.timeout,
            limits=httpx2.Limits(max_connections=options.parallel),
            headers={"User-Agent": f"demure/{demure.__version__} (images of a dataset)", "Accept": "image/*"},
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        for host in hosts.values():
            for _ in range(min(options.per_host, len(host.urls))):
                group.create_task(_serve(host, client, urls, room, options, done))


async def _serve(
    host: _Host,
    client: httpx2.AsyncClient,
    urls: dict[str, str],
    room: asyncio.Semaphore,
    options: FetchOptions,
    done: Done,
) -> None:
    while host.urls:
        url = host.urls.popleft()
        if host.silent >= _GIVE_UP:
            done(url, None, 0, "host does not answer", False)
            continue
        try:
            file, size = await _tried(host, client, url, urls[url], room, options)
        except _NotHad as error:
            host.silent = host.silent + 1 if error.unreachable else 0
            done(url, None, 0, error.reason, error.final)
        else:
            host.silent = 0
            done(url, file, size, "", True)


async def _tried(
    host: _Host, client: httpx2.AsyncClient, url: str, item: str, room: asyncio.Semaphore, options: FetchOptions
) -> tuple[str, int]:
    """The image's file and size, after as many tries as it takes; raises ``_NotHad``."""
    for attempt in range(1, options.tries + 1):
        await host.turn(options.rate)
        try:
            async with room:
                data = await _get(client, url, options)
            return _keep(data, options.out, item), len(data)
        except _NotHad as error:
            if error.final or attempt == options.tries:
                raise
            wait = max(error.wait, options.pause * 2 ** (attempt - 1))
            if error.wait:  # the host asks for quiet: that goes for all of its images
                host.next = max(host.next, time.monotonic() + wait)
            await asyncio.sleep(wait)
    raise AssertionError


async def _get(client: httpx2.AsyncClient, url: str, options: FetchOptions) -> bytes:
    """The body of a good answer; raises ``_NotHad``."""
    import httpx2

    most = int(options.max_megabytes * 1e6)
    try:
        async with asyncio.timeout(_WHOLE * options.timeout), client.stream("GET", url) as answer:
            if answer.status_code != 200:
                again = answer.status_code in _AGAIN
                wait = _asked_wait(answer.headers.get("Retry-After")) if again else 0.0
                raise _NotHad(f"HTTP {answer.status_code}", final=not again, wait=wait)
            parts, size = [], 0
            async for part in answer.aiter_bytes():
                size += len(part)
                if size > most:
                    raise _NotHad(f"larger than {options.max_megabytes:g} MB", final=True)
                parts.append(part)
            return b"".join(parts)
    except httpx2.TooManyRedirects as error:
        raise _NotHad("too many redirects", final=True) from error
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise _NotHad("leads to no http or https URL", final=True) from error
    except (TimeoutError, httpx2.TimeoutException) as error:
        unreachable = isinstance(error, httpx2.ConnectTimeout)
        raise _NotHad("timed out", final=False, unreachable=unreachable) from error
    except (httpx2.RequestError, OSError) as error:
        unreachable = isinstance(error, httpx2.ConnectError)
        reason = "no connection" if unreachable else "connection lost"
        raise _NotHad(f"{reason}: {error}", final=False, unreachable=unreachable) from error


def _asked_wait(value: str | None) -> float:
    """Seconds that a Retry-After asks for, by number or date."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _keep(data: bytes, folder: Path, item: str) -> str:
    """Write an image whole; return its name. Raises ``_NotHad`` for what is no image, or is cut off."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            suffix = SUFFIXES.get(image.format or "")
            image.load()
    except Image.UnidentifiedImageError as error:
        raise _NotHad(f"not an image: starts with {data[:12]!r}", final=True) from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise _NotHad(f"damaged image: {error}", final=True) from error
    if suffix is None:
        raise _NotHad(f"an image of a kind that is not read: {image.format}", final=True)
    with atomic_file(folder / (stem(item) + suffix)) as part:
        part.write_bytes(data)
    return stem(item) + suffix
