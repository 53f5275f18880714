"""Download many images from many hosts at once, with a limit on the load of each host."""

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
from demure.preparation.fetch.log import image_stem

if TYPE_CHECKING:
    import httpx2

    from demure.preparation.fetch.fetch_images import FetchOptions

Done = Callable[[str, str | None, int, str, bool], None]
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses after which another try may help
_GIVE_UP = 3  # images of a host that does not answer at all, before its other images are left for the next run
_WHOLE = 20  # timeouts that one image may take in all, however steadily its bytes arrive
_LONGEST_WAIT = 120.0  # seconds that a server may demand with Retry-After


class _DownloadError(Exception):
    """Why an image cannot be had.

    ``final``: another try would not help; ``wait``: seconds that the server demands before another try;
    ``unreachable``: the host did not answer at all.
    """

    def __init__(self, reason: str, *, final: bool, wait: float = 0.0, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final, self.wait, self.unreachable = reason, final, wait, unreachable


class _Host:
    """The images still to fetch from a host, the time of its next request, and its unanswered requests in a row."""

    def __init__(self) -> None:
        self.urls: deque[str] = deque()
        self.next_request = 0.0
        self.unanswered = 0

    async def wait_for_turn(self, rate: float) -> None:
        """Wait until another request to the host is allowed, at ``rate`` per second."""
        now = time.monotonic()
        start = max(now, self.next_request)
        self.next_request = start + 1 / rate
        await asyncio.sleep(start - now)


def download(urls: dict[str, str], options: FetchOptions, done: Done) -> None:
    """Fetch each of ``urls`` (URL -> the item that names its file) into ``options.out``.

    ``done(url, file, bytes, reason, final)`` is called once for each; ``file`` is None where there is no image. Raises
    ``DemureError`` if nothing can be written.
    """
    try:
        asyncio.run(_download(urls, options, done))
    except* DemureError as group:  # a full disk, which every task meets
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


async def _download(urls: dict[str, str], options: FetchOptions, done: Done) -> None:
    import httpx2

    hosts: dict[str, _Host] = {}
    for url in urls:
        hosts.setdefault(httpx2.URL(url).netloc.decode(), _Host()).urls.append(url)
    limit = asyncio.Semaphore(options.parallel)
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
                group.create_task(_fetch_from_host(host, client, urls, limit, options, done))


async def _fetch_from_host(
    host: _Host,
    client: httpx2.AsyncClient,
    urls: dict[str, str],
    limit: asyncio.Semaphore,
    options: FetchOptions,
    done: Done,
) -> None:
    while host.urls:
        url = host.urls.popleft()
        if host.unanswered >= _GIVE_UP:
            done(url, None, 0, "host does not answer", False)
            continue
        try:
            file, size = await _fetch(host, client, url, urls[url], limit, options)
        except _DownloadError as error:
            host.unanswered = host.unanswered + 1 if error.unreachable else 0
            done(url, None, 0, error.reason, error.final)
        else:
            host.unanswered = 0
            done(url, file, size, "", True)


async def _fetch(
    host: _Host, client: httpx2.AsyncClient, url: str, item: str, limit: asyncio.Semaphore, options: FetchOptions
) -> tuple[str, int]:
    """Return the image's file and size, after as many tries as it takes and ``options`` allow."""
    for attempt in range(1, options.tries + 1):
        await host.wait_for_turn(options.rate)
        try:
            async with limit:
                data = await _get(client, url, options)
            return _write_image(data, options.out, item), len(data)
        except _DownloadError as error:
            if error.final or attempt == options.tries:
                raise
            wait = max(error.wait, options.pause * 2 ** (attempt - 1))
            if error.wait:  # the server demands a pause: for all of its images
                host.next_request = max(host.next_request, time.monotonic() + wait)
            await asyncio.sleep(wait)
    raise AssertionError


async def _get(client: httpx2.AsyncClient, url: str, options: FetchOptions) -> bytes:
    """Return the body of a good response. Raises ``_DownloadError``."""
    import httpx2

    max_bytes = int(options.max_megabytes * 1e6)
    try:
        async with asyncio.timeout(_WHOLE * options.timeout), client.stream("GET", url) as response:
            if response.status_code != 200:
                is_temporary = response.status_code in _TEMPORARY
                wait = _retry_after(response.headers.get("Retry-After")) if is_temporary else 0.0
                raise _DownloadError(f"HTTP {response.status_code}", final=not is_temporary, wait=wait)
            parts, size = [], 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > max_bytes:
                    raise _DownloadError(f"larger than {options.max_megabytes:g} MB", final=True)
                parts.append(part)
            return b"".join(parts)
    except httpx2.TooManyRedirects as error:
        raise _DownloadError("too many redirects", final=True) from error
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise _DownloadError("leads to no http or https URL", final=True) from error
    except (TimeoutError, httpx2.TimeoutException) as error:
        unreachable = isinstance(error, httpx2.ConnectTimeout)
        raise _DownloadError("timed out", final=False, unreachable=unreachable) from error
    except (httpx2.RequestError, OSError) as error:
        unreachable = isinstance(error, httpx2.ConnectError)
        reason = "no connection" if unreachable else "connection lost"
        raise _DownloadError(f"{reason}: {error}", final=False, unreachable=unreachable) from error


def _retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After demands, by number or date."""
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


def _write_image(data: bytes, folder: Path, item: str) -> str:
    """Write an image whole; return its name. Raises ``_DownloadError`` if ``data`` is not a complete image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            suffix = SUFFIXES.get(image.format or "")
            image.load()
    except UnidentifiedImageError as error:
        raise _DownloadError(f"not an image: starts with {data[:12]!r}", final=True) from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise _DownloadError(f"damaged image: {error}", final=True) from error
    if suffix is None:
        raise _DownloadError(f"an image of a format that is not read: {image.format}", final=True)
    with atomic_file(folder / (image_stem(item) + suffix)) as part:
        part.write_bytes(data)
    return image_stem(item) + suffix
