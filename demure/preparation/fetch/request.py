"""Request one image, and say in a few words why it cannot be had."""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from demure.preparation.fetch.addresses import AddressRules, PrivateAddress

if TYPE_CHECKING:
    import httpx2

    from demure.preparation.fetch.fetch_images import FetchOptions

MAX_REDIRECTS = 5
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # HTTP statuses after which another try may help
_WHOLE = 20  # timeouts that one image may take in all, however steadily its bytes arrive
_LONGEST_WAIT = 120.0  # seconds that a server may demand with Retry-After
_REFUSED = "leads to a private address, see --allow-private"


class DownloadError(Exception):
    """Why an image cannot be had.

    ``final``: another try would not help; ``refused``: it would with other options; ``wait``: seconds that the server
    demands before another try; ``unreachable``: the host did not answer at all.
    """

    def __init__(
        self, reason: str, *, final: bool, refused: bool = False, wait: float = 0.0, unreachable: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason, self.final, self.refused, self.wait, self.unreachable = reason, final, refused, wait, unreachable


def parse_url(url: str) -> httpx2.URL:
    """Return the URL of an items file. Raises ``DownloadError`` for one that cannot be requested."""
    import httpx2

    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise DownloadError(f"not a valid URL: {error}", final=True) from error


async def get_image(client: httpx2.AsyncClient, url: str, rules: AddressRules, options: FetchOptions) -> bytes:
    """Return the body of a good response. Raises ``DownloadError``, whatever the server does."""
    import httpx2

    try:
        async with asyncio.timeout(_WHOLE * options.timeout):
            return await _follow(client, parse_url(url), rules, options)
    except DownloadError:
        raise
    except PrivateAddress as error:
        raise DownloadError(f"{_REFUSED}: {error}", final=True, refused=True) from error
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise DownloadError("leads to no http or https URL", final=True) from error
    except (TimeoutError, httpx2.TimeoutException) as error:
        unreachable = isinstance(error, httpx2.ConnectTimeout)
        raise DownloadError("timed out", final=False, unreachable=unreachable) from error
    except (httpx2.RequestError, OSError) as error:
        unreachable = isinstance(error, httpx2.ConnectError)
        reason = "no connection" if unreachable else "connection lost"
        raise DownloadError(f"{reason}: {error}", final=False, unreachable=unreachable) from error
    except Exception as error:  # an odd URL or answer must not end the download of all the other images
        raise DownloadError(f"cannot be requested: {type(error).__name__}: {error}", final=False) from error


async def _follow(client: httpx2.AsyncClient, url: httpx2.URL, rules: AddressRules, options: FetchOptions) -> bytes:
    """Return the body of the response at the end of the redirects."""
    request = client.build_request("GET", url)
    for _ in range(MAX_REDIRECTS + 1):
        if request.url.scheme not in ("http", "https"):
            raise DownloadError("leads to no http or https URL", final=True)
        rules.check(request.url, request.url.host)
        request.extensions = {**request.extensions, "trace": rules.tracer(request.url)}
        response = await client.send(request, stream=True)
        try:
            if response.next_request is None:
                return await _read(response, options)
            request = response.next_request
        finally:
            await response.aclose()
    raise DownloadError("too many redirects", final=True)


async def _read(response: httpx2.Response, options: FetchOptions) -> bytes:
    if response.status_code != 200:
        is_temporary = response.status_code in _TEMPORARY
        wait = _retry_after(response.headers.get("Retry-After")) if is_temporary else 0.0
        raise DownloadError(f"HTTP {response.status_code}", final=not is_temporary, wait=wait)
    max_bytes = int(options.max_megabytes * 1e6)
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > max_bytes:
            raise DownloadError(f"larger than {options.max_megabytes:g} MB", final=True)
        parts.append(part)
    return b"".join(parts)


def _retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After demands, by number or date."""
    if value is None:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return 0.0
    return min(max(0.0, seconds), _LONGEST_WAIT)  # in this order, 0 for NaN
