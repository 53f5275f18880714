"""Print: results go to standard output; progress, notes and errors go to standard error. No other module prints."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from demure.compute.launcher import is_first_process
from demure_cli.output.plain import plain

if TYPE_CHECKING:  # rich is slow to import, and `demure --help` does not need it
    from rich.console import Console, RenderableType

    from demure.progress import Listener

# Bidirectional overrides and isolates: a title with one of them could reverse the rest of a line.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CHATTY = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def safe(value: object, *, line: bool = True) -> str:
    """Return ``value`` as text without control characters, so that no id or title can control the terminal. ``line``:
    also replace line breaks and tabs."""
    kept = "" if line else "\n\t"
    return "".join(
        " " if (char not in kept and unicodedata.category(char) in ("Cc", "Zl", "Zp")) or char in _BIDI else char
        for char in str(value)
    )


class Terminal:
    """The output of a command line: its flags, and one method for each kind of output."""

    def __init__(self) -> None:
        self.quiet = self.verbose = False
        self.pictures: bool | None = None

    def reset(self) -> None:
        """Forget the flags of an earlier command line in the same process."""
        self.quiet = self.verbose = False
        self.pictures = None

    def configure(self, *, quiet: bool = False, verbose: bool = False) -> None:
        """Add flags. A command line calls this for flags before and after the subcommand; no call removes a flag."""
        self.quiet, self.verbose = self.quiet or quiet, self.verbose or verbose
        if not self.verbose:
            import warnings

            warnings.filterwarnings("ignore")
            for name, value in _CHATTY.items():
                os.environ.setdefault(name, value)
        else:
            import logging

            logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")

    @property
    def width(self) -> int:
        """Columns of standard output (80 where it is not a terminal and COLUMNS is not set)."""
        return self._console().width

    @property
    def shows_pictures(self) -> bool:
        """Whether to draw pictures on standard output: by the option ``pictures``, else if it is a terminal with enough
        colours and the characters for half blocks."""
        if self.pictures is not None:
            return self.pictures
        console = self._console()
        return console.is_terminal and console.color_system in ("256", "truecolor") and not console.options.ascii_only

    @property
    def follows(self) -> bool:
        """Whether this is one of several processes (torchrun, accelerate) and not the first, which prints for all."""
        return not is_first_process()

    def result(self, *parts: RenderableType) -> None:
        """Print the result on standard output."""
        if self.follows:
            return
        console = self._console()
        for part in parts:
            console.print(part, markup=False, highlight=False, emoji=False, soft_wrap=isinstance(part, str))

    def raw(self, text: str) -> None:
        """Print text on standard output without folding or changing it."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def json(self, value: Any) -> None:
        """Print exactly one JSON object on standard output; NaN becomes null."""
        if self.follows:
            return
        sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=2) + "\n")

    def note(self, text: str) -> None:
        """Print a note on standard error; ``--quiet`` hides it."""
        if not (self.quiet or self.follows):
            self._stderr(safe(text))

    def notes(self, texts: Iterable[str], prefix: str = "note: ") -> None:
        """Print several notes, each after ``prefix``."""
        for text in texts:
            self.note(prefix + text)

    def error(self, text: str) -> None:
        """Print in one line why there is no result."""
        self._stderr("demure: " + " ".join(safe(text).split()))

    def trace(self, error: BaseException) -> None:
        """Print the traceback of an unexpected error."""
        import traceback

        self._stderr(safe("".join(traceback.format_exception(error)), line=False).rstrip())

    @contextlib.contextmanager
    def progress(self) -> Iterator[Listener]:
        """Yield a listener for the progress of the library: bars on a terminal, lines elsewhere."""
        from demure.progress import silent

        if self.quiet or self.follows:
            yield silent
        elif sys.stderr.isatty():
            from demure_cli.output.progress import bars

            with bars(self._console(stderr=True)) as listener:
                yield listener
        else:
            from demure_cli.output.progress import Lines

            yield Lines(self._stderr)

    def _console(self, *, stderr: bool = False) -> Console:
        from rich.console import Console

        if self.pictures and not stderr:
            return Console(force_terminal=True, color_system="truecolor")
        return Console(stderr=stderr)

    def _stderr(self, text: str) -> None:
        # If standard error is closed, there is no place left for a message.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


terminal = Terminal()
