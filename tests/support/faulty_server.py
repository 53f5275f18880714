"""A server of images on this machine, with every fault that shops' image hosts have."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from PIL import Image
from support.hostile_images import postscript, slow_jpeg


def picture(kind: str = "PNG", size: int = 4) -> bytes:
    data = io.BytesIO()
    Image.effect_noise((size, size), 50).convert("RGB").save(data, kind)
    return data.getvalue()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the test."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked[self.path] += 1
            server.times.append(time.monotonic())
        getattr(self, self.path.split("/")[1].partition(".")[0], self.missing)(server.asked[self.path])

    def answer(self, data: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def missing(self, _: int) -> None:
        self.answer(b"gone", 404)

    def good(self, _: int) -> None:
        self.answer(picture())

    def jpeg(self, _: int) -> None:
        self.answer(picture("JPEG"), Content_Type="text/plain")

    def page(self, _: int) -> None:
        self.answer(b"<html>not found</html>")

    def empty(self, _: int) -> None:
        self.answer(b"")

    def cut(self, _: int) -> None:
        self.answer(picture(size=64)[:600])

    def flaky(self, times: int) -> None:
        self.answer(picture() if times > 2 else b"", 200 if times > 2 else 500)

    def broken(self, _: int) -> None:
        self.answer(b"", 502)

    def busy(self, times: int) -> None:
        if times > 1:
            self.good(times)
        else:
            self.answer(b"", 429, Retry_After="1")

    def short(self, times: int) -> None:
        if times > 1:
            self.good(times)
        else:
            self.answer(picture()[:20], length=500)
            self.close_connection = True

    def hang(self, _: int) -> None:
        self.server.stopped.wait(30)

    def drip(self, _: int) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.stopped.wait(0.05):
            self.wfile.write(b"x")

    def huge(self, _: int) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(400):
            self.wfile.write(b"x" * 10_000)

    def moved(self, _: int) -> None:
        self.answer(b"", 302, Location="/good/elsewhere.png")

    def round(self, _: int) -> None:
        self.answer(b"", 302, Location=self.path)

    def port(self, _: int) -> None:
        """Redirect to another port of this machine: /port/NUMBER."""
        self.answer(b"", 302, Location=f"http://127.0.0.1:{self.path.split('/')[2]}/good/1")

    def to(self, _: int) -> None:
        """Redirect to a quoted address: /to/ADDRESS."""
        self.answer(b"", 302, Location=unquote(self.path.split("/")[2]))

    def postscript(self, _: int) -> None:
        self.answer(postscript(), Content_Type="image/png")

    def endless(self, _: int) -> None:
        self.answer(slow_jpeg(2000), Content_Type="image/jpeg")

    def away(self, _: int) -> None:
        self.answer(b"", 302, Location="file:///etc/passwd")

    def slow(self, _: int) -> None:
        with self.server.lock:
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        time.sleep(0.2)
        with self.server.lock:  # before the answer, after which the client may ask again
            self.server.open -= 1
        self.answer(picture())


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
