"""`demure ui`: serve the report's page from this machine, for runs that are too large for one file."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import uvicorn

from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.progress import Listener, Progress, silent
from demure.report.overview import page_content
from demure.report.page import render_page, usual_noise
from demure.web.answers import build_app, is_loopback
from demure.web.connections import server_for
from demure.web.lookup import Lookup


@dataclass(frozen=True)
class Site:
    """A server that listens at ``url``, for this machine alone if ``loopback``. It answers while ``serve`` runs."""

    run: str
    url: str
    loopback: bool
    server: uvicorn.Server = field(repr=False)
    listening: socket.socket = field(repr=False)

    def serve(self) -> None:
        """Answer until interrupted or until ``stop``; then free the port."""
        try:
            self.server.run(sockets=[self.listening])
        finally:
            self.close()

    def stop(self) -> None:
        """Let ``serve``, which runs in another thread, return."""
        self.server.should_exit = True

    def close(self) -> None:
        """Free the port."""
        self.listening.close()


def site(
    run: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    truth: Path | str | None = None,
    compare: Sequence[Path | str] = (),
    listener: Listener = silent,
) -> Site:
    """Read a run and listen at ``host`` and ``port`` (0: any free port); ``truth`` and ``compare`` as for ``report``.

    Raises as ``DiagnosisReader.open`` and ``page_content``, and ``DemureError`` if the address is not available.
    """
    reader = DiagnosisReader.open(run)
    listening = _listen(host, port)  # before reading, which takes a while
    try:
        listener(Progress("ui", 0, 2, {"now": "overview"}))
        content = page_content(reader, truth=truth, compare=compare, listener=listener)
        listener(Progress("ui", 1, 2, {"now": "index"}))
        compared = {} if content.comparison is None else content.comparison.paths
        lookup = Lookup(
            reader,
            content.interests.profiles,
            content.work.findings,
            compared,
            interests=content.interests.details,
            usual_noise=usual_noise(content),
        )
        lookup.warm()
        pictures = {
            item: f"/picture?id={quote(item, safe='')}" for item in content.work.item_ids if reader.has_picture(item)
        }
        loopback = is_loopback(host)
        app = build_app(
            lookup,
            render_page(reader, content, {"interests": content.interests.details}, pictures),
            local_only=loopback,
        )
        server = server_for(app)
    except BaseException:
        listening.close()
        raise
    listener(Progress("ui", 2, 2))
    shown_host = f"[{host}]" if ":" in host else host
    return Site(str(run), f"http://{shown_host}:{listening.getsockname()[1]}/", loopback, server, listening)


def _listen(host: str, port: int) -> socket.socket:
    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if os.name != "nt":  # there it would let two processes listen at one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError, UnicodeError) as error:
        if listening is not None:
            listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise DemureError(
            f"cannot listen ({reason})", where=f"{host}:{port}", remedy="choose another --port, or 0 for any"
        ) from error
    return listening
