"""Decode image files in processes beside this one, within a time limit, so that no file hangs or crashes a command.

For single images, on every system. ``demure.extraction.workers`` decodes batches for an encoder, with forked processes
and shared memory.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.errors import MachineError
from demure.images.time_limit import OUT_OF_TIME
from demure.images.unusable import UnusableInput

if TYPE_CHECKING:
    from PIL import Image

SECONDS = 20.0  # the usual time limit for one image
TOO_LONG = "takes too long"
# The process counts its own computing time, so that a busy machine costs no image; where it cannot (Windows), and where
# a disk does not answer, this process counts the seconds on the clock.
_PATIENCE = 10 if OUT_OF_TIME is not None else 1
_START_SECONDS = 60.0  # until a process is ready, on a busy machine
_TRIES = 2  # of an image whose process died, for example because the machine was short of memory
# The process finds modules where this one does; -P keeps the working folder out, from which anybody's code would run.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from demure.images.decoder_process import main; main()"
)


class _DecoderDied(Exception):
    """The process ended before it had replied; ``late``: because its time was up."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late


class _Decoder:
    """One process."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that Ctrl-C ends this process first, which then ends that one
            )
        except OSError as error:
            raise _cannot_start(error) from error
        try:
            self._exchange(b"", _START_SECONDS)  # it replies once when it is ready
        except _DecoderDied as error:
            raise _cannot_start(f"status {self._process.poll()}") from error

    def ask(self, request: dict[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Return the reply and its pixels. Raises ``_DecoderDied``, and then the process has ended."""
        message = json.dumps({**request, "seconds": seconds}).encode() + b"\n" + data
        return self._exchange(message, seconds * _PATIENCE)

    def _exchange(self, message: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Write ``message`` and return the next reply; kill the process if that takes ``seconds``."""
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            self._process.kill()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            reply, pixels = self._transfer(message)
        except (OSError, ValueError) as error:  # the process has died in the middle
            self.kill()
            raise _DecoderDied(late=is_late.is_set() or self._process.returncode == OUT_OF_TIME) from error
        except BaseException:  # Ctrl-C in the middle of a reply, so the next one would not fit its request
            self.kill()
            raise
        finally:
            timer.cancel()
        if is_late.is_set():
            self.kill()
            raise _DecoderDied(late=True)
        return reply, pixels

    def _transfer(self, message: bytes) -> tuple[dict[str, Any], bytes]:
        """Write ``message`` and return the next reply. Raises ``ValueError`` or ``OSError`` if there is none."""
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None and replies is not None  # noqa: PT018
        requests.write(message)
        requests.flush()
        reply = json.loads(replies.readline())
        width, height = reply.get("size", (0, 0))
        pixels = replies.read(3 * width * height)
        if len(pixels) < 3 * width * height:
            raise ValueError("the pixels end too early")
        return reply, pixels

    @property
    def is_alive(self) -> bool:
        """Whether the process can decode more images."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError, ValueError):
                assert pipe is not None
                pipe.close()


class ImageDecoders:
    """Up to ``count`` processes, which start when they are needed; any number of threads may use them."""

    def __init__(self, count: int = 4) -> None:
        self._free: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        self._started: set[_Decoder] = set()
        self._n_closed = 0
        for _ in range(count):
            self._free.put(None)

    def check(self, data: bytes, seconds: float = SECONDS) -> str:
        """Decode the whole of an image file and return Pillow's name of its format. Raises ``UnusableInput``."""
        reply, _ = self._ask({"bytes": len(data)}, data, seconds)
        return str(reply["format"])

    def thumbnail(self, path: Path, width: int, height: int, seconds: float = SECONDS) -> Image.Image:
        """Return an image upright and in RGB, scaled to fit ``width`` x ``height`` pixels. Raises ``UnusableInput``."""
        from PIL import Image

        reply, pixels = self._ask({"path": os.fspath(path), "fit": [width, height]}, b"", seconds)
        return Image.frombytes("RGB", tuple(reply["size"]), pixels)

    def close(self) -> None:
        """End the processes; the images that wait or are being decoded are given up. Later images get new processes."""
        self._n_closed += 1
        for decoder in list(self._started):
            decoder.kill()

    def _ask(self, request: dict[str, Any], data: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        n_closed = self._n_closed
        for _ in range(_TRIES):
            decoder = self._free.get()
            try:
                if self._n_closed != n_closed:
                    raise UnusableInput("not decoded", "interrupted")
                if decoder is None or not decoder.is_alive:
                    decoder = _Decoder()
                    self._started = {other for other in self._started if other.is_alive} | {decoder}
                reply, pixels = decoder.ask(request, data, seconds)
            except _DecoderDied as death:
                if death.late:
                    raise UnusableInput(TOO_LONG, f"more than {seconds:g} s") from None
            else:
                if "problem" in reply:
                    raise UnusableInput(*reply["problem"])
                return reply, pixels
            finally:
                self._free.put(decoder)
        raise UnusableInput("the decoder crashed")


@functools.cache
def shared_decoders() -> ImageDecoders:
    """Return the decoders that all of this process share; they end with it."""
    return ImageDecoders()


def _cannot_start(reason: object) -> MachineError:
    return MachineError(f"cannot start a process that decodes images ({reason})", remedy="close other programs")
