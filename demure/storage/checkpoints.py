"""Upload an unfinished training from time to time, so that another machine can resume it."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from demure.errors import DemureError
from demure.progress import Listener, Notice

logger = logging.getLogger(__name__)

CHECKPOINTS = ("checkpoint.safetensors", "unfinished/checkpoint.safetensors")
"""Where a training in a folder has its checkpoint: in a new folder, and in one that it is to replace."""
MINUTES = 5.0


@contextlib.contextmanager
def uploading_checkpoints(folder: Path, upload: Callable[[], None], listener: Listener) -> Iterator[None]:
    """Call ``upload`` every ``MINUTES`` while the block runs, if the training in ``folder`` has a new checkpoint, and
    when an error or Ctrl-C ends it. A failure is one notice, and the training goes on."""
    before, stop, failures = [_state(folder)], threading.Event(), list[str]()

    def upload_if_new() -> None:
        state = _state(folder)
        if state is None or state == before[0]:
            return
        try:
            upload()
            before[0] = state
        except (DemureError, OSError) as error:
            logger.debug("checkpoint not uploaded: %s", error)
            if not failures:
                listener(Notice("checkpoint", 0, text=f"the checkpoint was not uploaded: {error}"))
            failures.append(str(error))

    def repeat() -> None:
        while not stop.wait(60 * MINUTES):
            upload_if_new()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    is_whole = False
    try:
        with _interrupted_by_sigterm():
            yield
        is_whole = True
    finally:
        stop.set()
        thread.join()
        if not is_whole:
            upload_if_new()


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which clusters send, end the block as Ctrl-C does, where it would end the process at once."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _state(folder: Path) -> tuple[int, int] | None:
    """Return what changes when there is another checkpoint; None where there is none."""
    for name in CHECKPOINTS:
        with contextlib.suppress(OSError):
            stat = (folder / name).stat()
            return stat.st_ino, stat.st_mtime_ns
    return None
