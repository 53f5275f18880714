"""No request and no client stops the server, makes it print, or holds a connection for ever."""

import contextlib
import http.client
import socket
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.runs_by_hand import small_run

from demure.web import connections
from demure.web.serve import site


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    opened = site(small_run(tmp_path_factory.mktemp("served")), port=0)
    thread = threading.Thread(target=opened.serve, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "REQUEST_SECONDS", 2.0)
        thread.start()
        yield opened
        opened.stop()
        thread.join(10)


@pytest.fixture
def port(opened):
    return opened.listening.getsockname()[1]


def send(port, data):
    """Send bytes; return what comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        try:
            client.sendall(data)
            if b"\r\n\r\n" not in data:
                client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionError:
            return b""


def status(port, data):
    """Return the status of the answer to a request; None for a connection that is closed without one."""
    answer = send(port, data)
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def request(target, host=b"127.0.0.1", *headers):
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: " + host, b"Connection: close", *headers, b"", b""])


def is_alive(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/api/user?id=ann")
    answer = connection.getresponse()
    connection.close()
    return answer.status == 200


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (request("/api/items?sort=below²".encode()), 400),
        (request(b"/api/items?sort=below%C2%B2"), 200),
        (request(b"/api/users?sort=relies%C2%B2"), 200),
        (request(b"/api/users?sort=%00&wanted=%FF%FE"), 200),
        (request(b"/api/user?id=%ED%A0%80"), 200),
        (request(b"/picture?id=%00"), 204),
        (request(b"/api/items", b"[::1"), 403),
        (request(b"/api/items", b"]["), 403),
        (request(b"/api/items", b"[::1]:8000"), 200),
        (request(b"/api/items", b"127.0.0.1:port"), 200),
        (request(b"http://["), 404),
        (request(b"//[/api/items"), 404),
        (request(b"/api/users/"), 404),
        (request(b"*"), 404),
        (request(b"/" + b"a" * 100_000), "any"),
        (request(b"/", b"127.0.0.1", b"X: " + b"a" * 100_000), "any"),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 405),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"\r\n\r\n\r\n", 400),
        (b"", None),
    ],
    ids=lambda value: value[:40].decode("ascii", "replace") if isinstance(value, bytes) else str(value),
)
def test_odd_requests_have_a_plain_answer(port, capfd, data, expected):
    answer = status(port, data)
    assert answer == expected or (expected == "any" and answer in (200, 400, 404, None))
    assert is_alive(port)
    assert capfd.readouterr() == ("", "")


PARTS = st.sampled_from(
    [b"/api/users?sort=", b"/api/item?id=", b"/picture?id=", b"http://[", b"%", b"\r\n", b"/", b"["]
)
BYTES = st.lists(st.one_of(PARTS, st.binary(max_size=12)), max_size=6).map(b"".join)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BYTES, BYTES, BYTES)
@example(b"/", b"127.0.0.1", b"Sec-Fetch-Site: \xff\xfe")
def test_any_bytes_get_a_status_or_nothing(port, capfd, target, host, header):
    answer = status(port, request(target, host, header))
    assert answer is None or answer in (200, 204, 400, 403, 404, 405)
    assert capfd.readouterr() == ("", "")


def test_clients_that_hang_up_are_no_event(port, capfd):
    whole = request(b"/")
    for cut in (0, 1, 20, len(whole) - 1, len(whole)):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
            client.sendall(whole[:cut])
    assert is_alive(port)
    assert capfd.readouterr() == ("", "")


ANSWERED = request(b"/api/user?id=ann").replace(b"close", b"keep-alive")


@pytest.mark.parametrize("start", [b"", b"GET", request(b"/")[:-2], ANSWERED + b"GET"], ids=repr)
def test_half_a_request_does_not_hold_a_connection(port, monkeypatch, start):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.05)
    clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(20)]
    for client in clients:
        client.sendall(start)
    assert is_alive(port)
    for client in clients:
        with client:
            try:
                while client.recv(65536):  # ends when the server closes the connection
                    pass
            except ConnectionResetError:
                pass


def test_an_answer_that_nobody_takes_does_not_hold_a_connection(opened, port, monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 30.0)
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.05)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with client:
        client.connect(("127.0.0.1", port))
        client.sendall(request(b"/"))
        with contextlib.suppress(ConnectionResetError):  # it may be over already
            assert client.recv(1)
        pause = threading.Event()
        while opened.server.server_state.connections:  # the timeout of the test is the limit
            pause.wait(0.005)
    assert is_alive(port)
