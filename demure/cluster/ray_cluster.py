"""Connect to a Ray cluster, or start one on this machine."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from demure.compute.threads import usable_cores
from demure.errors import MachineError

ADDRESS = "RAY_ADDRESS"
_WHERE = "--on ray"
_TCP_SECONDS = 10.0
_CONNECT_SECONDS = 60.0
_OBJECT_STORE = 256 * 1024 * 1024  # parts and results are small: a block of users each


@contextmanager
def connection() -> Iterator[None]:
    """Connect to the cluster at ``RAY_ADDRESS``, or start one with all cores of this machine that ends with the block.

    Raises ``MachineError`` if there is no such cluster, or if it has another version of Ray or Python.
    """
    address = os.environ.get(ADDRESS, "").strip() or "local"
    options: dict[str, object] = {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # as a local run: Ray would let all other programs go first
        options = {"num_cpus": usable_cores(), "object_store_memory": _OBJECT_STORE, "include_dashboard": False}
    else:
        check_address(address)
    _start(address, options)
    import ray

    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise ``MachineError`` unless ``address`` is ``auto``, or HOST:PORT where something listens."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise MachineError(
            f"{ADDRESS} is {address!r}", where=_WHERE, remedy="set it to HOST:PORT of `ray start --head`, or to auto"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_TCP_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(getattr(error, "strerror", None) or error)) from error


def _start(address: str, options: dict[str, object]) -> None:
    """Call ``ray.init``, for a server that may not answer in a thread that may hang: Ray waits long for it."""
    import ray

    failures: list[BaseException] = []

    def init() -> None:
        try:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **options)
        except (Exception, SystemExit) as error:
            failures.append(error)

    if address == "local":
        init()  # in this thread: the processes of a local cluster end with the thread that starts them
    else:
        thread = threading.Thread(target=init, daemon=True)
        thread.start()
        thread.join(_CONNECT_SECONDS)
        if thread.is_alive():
            raise _unreachable(address, f"no answer within {_CONNECT_SECONDS:.0f} seconds")
    if failures:
        raise _failed(address, failures[0]) from failures[0]


def _failed(address: str, error: BaseException) -> MachineError:
    """Return the error of a ``ray.init`` that failed."""
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        return MachineError(
            f"the cluster at {address} has other versions ({text})"[:500],
            where=_WHERE,
            remedy="install the same Ray and the same Python here and there",
        )
    if address == "local":
        return MachineError(f"Ray does not start on this machine ({text})"[:500], where=_WHERE, remedy="see its logs")
    return _unreachable(address, text[:300] or type(error).__name__)


def _unreachable(address: str, reason: str) -> MachineError:
    return MachineError(
        f"no Ray cluster can be reached at {ADDRESS}={address} ({reason})",
        where=_WHERE,
        remedy=f"use `ray start --head` with the same RAY_AUTH_MODE, or unset {ADDRESS} to use this machine",
    )
