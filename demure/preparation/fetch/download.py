"""Download many images from many hosts at once, with a limit on the load of each host."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import demure
from demure.errors import DemureError
from demure.files import atomic_file
from demure.images.decoders import shared_decoders
from demure.images.unusable import UnusableInput
from demure.preparation.fetch.addresses import AddressRules
from demure.preparation.fetch.log import SUFFIXES
from demure.preparation.fetch.request import DownloadError, get_image, parse_url

if TYPE_CHECKING:
    import httpx2

    from demure.preparation.fetch.fetch_images import FetchOptions

Done = Callable[[str, str | None, int, str, bool], None]
_GIVE_UP = 3  # images of a host that does not answer at all, before its other images are left for the next run


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


def download(urls: dict[str, str], options: FetchOptions, done: Done) -> set[tuple[str, int]]:
    """Fetch each of ``urls`` (URL -> the name of its file, without suffix) into ``options.out``.

    ``done(url, file, bytes, reason, final)`` is called once for each; ``file`` is None where there is no image. Returns
    host and port of the private addresses that the URLs name. Raises ``DemureError`` if nothing can be written.
    """
    parsed: dict[str, httpx2.URL] = {}
    for url in urls:
        try:
            parsed[url] = parse_url(url)
        except DownloadError as problem:
            done(url, None, 0, problem.reason, problem.final)
    rules = AddressRules(parsed.values(), allow_private=options.allow_private)
    hosts: dict[str, _Host] = {}
    for url, address in parsed.items():
        hosts.setdefault(address.netloc.decode("ascii"), _Host()).urls.append(url)
    try:
        asyncio.run(_Download(urls, rules, options, done).run(list(hosts.values())))
    except* DemureError as group:  # a full disk, which every task meets
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return rules.named


class _Download:
    """The download of ``stems`` (URL -> the name of its file, without suffix)."""

    def __init__(self, stems: dict[str, str], rules: AddressRules, options: FetchOptions, done: Done) -> None:
        self.stems, self.rules, self.options, self.done = stems, rules, options, done
        self.limit = asyncio.Semaphore(options.parallel)
        self.decoders = shared_decoders()

    async def run(self, hosts: list[_Host]) -> None:
        """Fetch the images of all hosts."""
        import httpx2

        options = self.options
        headers = {"User-Agent": f"demure/{demure.__version__} (images of a dataset)", "Accept": "image/*"}
        limits = httpx2.Limits(max_connections=options.parallel)
        try:
            async with (
                httpx2.AsyncClient(timeout=options.timeout, limits=limits, headers=headers) as client,
                asyncio.TaskGroup() as group,
            ):
                for host in hosts:
                    for _ in range(min(options.per_host, len(host.urls))):
                        group.create_task(self._fetch_from_host(host, client))
        except BaseException:
            self.decoders.close()  # else Ctrl-C would wait for threads that wait for an image to be decoded
            raise

    async def _fetch_from_host(self, host: _Host, client: httpx2.AsyncClient) -> None:
        while host.urls:
            url = host.urls.popleft()
            if host.unanswered >= _GIVE_UP:
                self.done(url, None, 0, "host does not answer", False)
                continue
            try:
                file, size = await self._fetch(host, client, url)
            except DownloadError as error:
                host.unanswered = host.unanswered + 1 if error.unreachable else 0
                self.done(url, None, 0, error.reason, error.final and not error.refused)
            else:
                host.unanswered = 0
                self.done(url, file, size, "", True)

    async def _fetch(self, host: _Host, client: httpx2.AsyncClient, url: str) -> tuple[str, int]:
        """Return the image's file and size, after as many tries as it takes and the options allow."""
        options = self.options
        for attempt in range(1, options.tries + 1):
            await host.wait_for_turn(options.rate)
            try:
                async with self.limit:
                    data = await get_image(client, url, self.rules, options)
                return await self._write(data, self.stems[url]), len(data)
            except DownloadError as error:
                if error.final or attempt == options.tries:
                    raise
                wait = max(error.wait, options.pause * 2 ** (attempt - 1))
                if error.wait:  # the server demands a pause: for all of its images
                    host.next_request = max(host.next_request, time.monotonic() + wait)
                await asyncio.sleep(wait)
        raise AssertionError

    async def _write(self, data: bytes, stem: str) -> str:
        """Write an image whole; return its name. Raises ``DownloadError`` if ``data`` is not a complete image."""
        try:
            format = await asyncio.to_thread(self.decoders.check, data)
        except UnusableInput as problem:
            kind = "damaged image" if problem.kind == "truncated image" else problem.kind
            raise DownloadError(f"{kind}: {problem.value}", final=True) from problem
        if format not in SUFFIXES:
            raise DownloadError(f"an image of a format that is not read: {format}", final=True)
        name = stem + SUFFIXES[format]
        with atomic_file(self.options.out / name, sweeps=False) as part:
            part.write_bytes(data)
        return name
