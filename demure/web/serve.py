"""`demure ui`: serve the report's page from this machine, for runs that are too large for one file."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.progress import Listener, Progress, silent
from demure.report.overview import page_content
from demure.report.page import render_page
from demure.web.lookup import Lookup

_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


@dataclass(frozen=True)
class Site:
    """A server that listens at ``url``, for this machine alone if ``loopback``. It answers while ``serve`` runs."""

    run: str
    url: str
    loopback: bool
    server: ThreadingHTTPServer = field(repr=False)

    def serve(self) -> None:
        """Answer until interrupted; then free the port."""
        try:
            self.server.serve_forever()
        finally:
            self.server.server_close()


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
    server = _Server.bind(host, port)  # before reading, which takes a while
    try:
        listener(Progress("ui", 0, 2, {"now": "overview"}))
        content = page_content(reader, truth=truth, compare=compare, listener=listener)
        listener(Progress("ui", 1, 2, {"now": "index"}))
        lookup = Lookup(reader)
        lookup.warm()
        pictures = {
            str(item): f"/picture?id={quote(str(item), safe='')}"
            for item in content.overview.flagged["item_id"]
            if reader.has_picture(str(item))
        }
        server.answers = _answers(lookup, render_page(reader, content, {}, pictures))
    except BaseException:
        server.server_close()
        raise
    listener(Progress("ui", 2, 2))
    shown_host = f"[{host}]" if ":" in host else host
    return Site(str(run), f"http://{shown_host}:{server.server_port}/", _is_loopback(host), server)


Answer = tuple[str, bytes] | None  # media type and content, or nothing


def _answers(lookup: Lookup, html: str) -> dict[str, Callable[[dict[str, str]], Answer]]:
    """Return path -> function from a query to its answer."""

    def as_json(value: Any) -> Answer:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return "application/json", text.encode()

    def picture(query: dict[str, str]) -> Answer:
        content = lookup.picture(query.get("id", ""))
        return None if content is None else ("image/jpeg", content)

    content = html.encode()
    return {
        "/": lambda _: ("text/html; charset=utf-8", content),
        "/api/users": lambda query: as_json(lookup.users(query.get("wanted", ""), query.get("sort", "id"))),
        "/api/items": lambda query: as_json(lookup.items(query.get("wanted", ""), query.get("sort", "choices"))),
        "/api/user": lambda query: as_json(lookup.user(query.get("id", ""))),
        "/api/item": lambda query: as_json(lookup.item(query.get("id", ""))),
        "/api/recommended": lambda query: as_json(lookup.recommended(query.get("id", ""))),
        "/picture": picture,
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answers: dict[str, Callable[[dict[str, str]], Answer]]
    local_only = True

    @classmethod
    def bind(cls, host: str, port: int) -> _Server:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            kind = type("_Server", (cls,), {"address_family": family})
            server: _Server = kind((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DemureError(
                f"cannot listen ({reason})", where=f"{host}:{port}", remedy="choose another --port, or 0 for any"
            ) from error
        server.local_only = _is_loopback(host)
        return server


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        # DNS rebinding: a foreign page whose name points to this machine must not read a server that is for it alone.
        if self.server.local_only and not _is_loopback(_host(self.headers.get("Host", ""))):
            self._send(HTTPStatus.FORBIDDEN, ("text/plain", b"this server answers this machine alone"))
            return
        address = urlsplit(self.path)
        answer = self.server.answers.get(address.path)
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, ("text/plain", b"there is no such page"))
            return
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        content = answer(query)
        self._send(HTTPStatus.OK, content) if content else self._send(HTTPStatus.NO_CONTENT, ("text/plain", b""))

    do_HEAD = do_GET

    def _send(self, status: HTTPStatus, content: tuple[str, bytes]) -> None:
        kind, body = content
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **_HEADERS}.items():
            self.send_header(name, value)
        if kind.startswith("image/"):
            self.send_header("Cache-Control", "max-age=3600")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the library does not print."""


def _host(header: str) -> str:
    """Return the name in a Host header, without its port."""
    return urlsplit(f"//{header}").hostname or ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
