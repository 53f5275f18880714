"""The log of a command: lines on standard error with ``--verbose``, JSON lines in a file with ``--log-json``.

The library logs by the standard ``logging`` below the logger ``demure``. Nothing is sent anywhere.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from demure import __version__
from demure.errors import MachineError
from demure.progress import Listener, Notice, Plan, Progress, ValidatedEpoch
from demure_cli.output.plain import plain

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}  # what every record has
logger = logging.getLogger("demure.terminal")  # what standard error shows anyway


class JsonLine(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, logger, process, message, and the fields of its ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        time_of = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time_of.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = json.dumps(plain(line), ensure_ascii=False, allow_nan=False)
        return text.encode(errors="backslashreplace").decode()  # a file name may hold lone surrogates


class _Stderr(logging.StreamHandler[Any]):
    """Prints on standard error as it is at that moment: bars replace it while they are drawn."""

    @property
    def stream(self) -> Any:
        """Standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None: ...


class _JsonFile(logging.FileHandler):
    """Ends the log, with one line by ``warn``, at a write that fails (a full disk); the command goes on."""

    def __init__(self, path: str, warn: Callable[[str], None]) -> None:
        super().__init__(path, encoding="utf-8")
        self._warn = warn

    def handleError(self, record: logging.LogRecord) -> None:
        """Remove this handler."""
        logging.getLogger().removeHandler(self)
        self._warn(f"note: the log cannot be written any more ({sys.exc_info()[1]})")


class LogOutputs:
    """The handlers that a command line adds to the root logger, until :meth:`end`."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """``warn`` prints a line on standard error."""
        self._warn = warn
        self._handlers: list[logging.Handler] = []
        self._file: str | None = None

    def to_stderr(self) -> None:
        """Print the records of level info and above on standard error."""
        if not any(isinstance(handler, _Stderr) for handler in self._handlers):
            handler = _Stderr()
            handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
            handler.addFilter(lambda record: record.name != logger.name)
            self._add(handler, logging.INFO)

    def to_file(self, path: str, arguments: Sequence[str]) -> None:
        """Append JSON lines to the file ``path``: all records of demure, and of others those of level info and above.

        The first line has the ``arguments`` of the command line.
        Raises ``MachineError`` if it cannot be written.
        """
        if path == self._file:
            return
        try:
            handler = _JsonFile(path, self._warn)
        except (OSError, ValueError) as error:
            problem = f"cannot be written ({getattr(error, 'strerror', None) or error})"
            raise MachineError(
                problem, where=f"--log-json {path!r}", remedy="give a file in a folder that exists"
            ) from error
        handler.setFormatter(JsonLine())
        self._file = path
        self._add(handler, logging.DEBUG)
        logging.getLogger("demure").setLevel(logging.DEBUG)
        _log_start(arguments)

    def record(self, level: int, text: str) -> None:
        """Log a line that standard error shows."""
        logger.log(level, "%s", text)

    def end(self, status: int, seconds: float) -> None:
        """Log the exit status of the command line; remove the handlers, and close the file."""
        extra = {"status": status, "seconds": round(seconds, 3)}
        logger.info("ended with status %d after %.1f s", status, seconds, extra=extra)
        for handler in self._handlers:
            logging.getLogger().removeHandler(handler)
            with contextlib.suppress(OSError):  # what is left in its buffer
                handler.close()
        if self._handlers:
            logging.getLogger().setLevel(logging.WARNING)
            logging.getLogger("demure").setLevel(logging.NOTSET)
        self._handlers, self._file = [], None

    def _add(self, handler: logging.Handler, level: int) -> None:
        handler.setLevel(level)
        self._handlers.append(handler)
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.INFO)


class LoggedProgress:
    """A listener that logs the begin and the end of every stage, validations and notices, and passes all reports on."""

    def __init__(self, listener: Listener) -> None:
        self._listener, self._stage, self._start = listener, "", 0.0
        self._last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self._listener(progress)
        if isinstance(progress, Notice):
            logger.warning("%s", progress.text, extra={"stage": progress.stage})
        elif isinstance(progress, Plan):
            if not progress.stages:
                return
            logger.info("plan: %s", ", ".join(progress.stages), extra={"stages": list(progress.stages)})
        elif isinstance(progress, ValidatedEpoch):
            logger.info(
                "validated epoch %d", progress.done, extra={"stage": progress.stage, "metrics": progress.fields}
            )
        else:
            if progress.stage != self._stage:
                self.end()
                self._stage, self._start = progress.stage, time.monotonic()
                logger.info("%s begins", progress.stage, extra={"stage": progress.stage, "total": progress.total})
            self._last = progress

    def end(self) -> None:
        """Log the end of the last stage."""
        if self._last is not None:
            seconds = round(time.monotonic() - self._start, 3)
            extra = {"stage": self._stage, "done": self._last.done, "seconds": seconds, "facts": self._last.fields}
            logger.info("%s ended after %.1f s", self._stage, seconds, extra=extra)
        self._last, self._stage = None, ""


def _log_start(arguments: Sequence[str]) -> None:
    extra = {
        "arguments": list(arguments),
        "demure": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        "folder": os.getcwd(),
    }
    logger.info("demure %s begins", " ".join(arguments), extra=extra)
