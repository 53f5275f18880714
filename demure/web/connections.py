"""The HTTP server of `demure ui`: uvicorn with a time limit for every connection."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 20.0
"""Time in which a client sends the head of a request; uvicorn itself would wait for ever."""
ANSWER_SECONDS = 120.0
"""Time in which an answer is made and taken."""
MOST_CONNECTIONS = 500
"""More get the status 503. A page of a browser opens six."""

# uvicorn and asyncio report what clients do wrong; `demure --verbose` shows it, otherwise nobody does.
for _name in ("uvicorn", "asyncio"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class TimedProtocol(H11Protocol):
    """One connection, closed when a request or its answer takes too long."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for a request."""
        super().connection_made(transport)
        self._limit(REQUEST_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Handle ``data``; a request that is complete has the time of an answer."""
        was_waiting = self._is_waiting()
        super().data_received(data)
        if was_waiting and not self._is_waiting():
            self._limit(ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have come already; first, the client must take the answer."""
        super().on_response_complete()
        is_taken = self.transport.get_write_buffer_size() == 0
        self._limit(REQUEST_SECONDS if is_taken and self._is_waiting() else ANSWER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _limit(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self.transport.abort)


def server_for(app: Any) -> uvicorn.Server:
    """Return a server of ``app``, an ASGI application, that prints nothing."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=TimedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=int(REQUEST_SECONDS),
            timeout_graceful_shutdown=1,
        )
    )
