"""The only place that prints: results go to standard output; progress, notes and errors to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from demure.compute.launcher import leads
from demure_cli.output.plain import plain

if TYPE_CHECKING:  # rich costs start-up time, and `demure --help` draws itself through Typer
    from rich.console import Console, RenderableType

    from demure.progress import Listener

# Bidirectional overrides and isolates: a title that holds one could reverse the rest of a line.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CHATTY = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def safe(value: object, *, line: bool = True) -> str:
    """``value`` as text without control characters, so that no id or title can steer the terminal."""
    kept = "" if line else "\n\t"
    return "".join(
        " " if (char not in kept and unicodedata.category(char) in ("Cc", "Zl", "Zp")) or char in _BIDI else char
        for char in str(value)
    )


class Terminal:
    """Where a command's words go. ``configure`` is called once per command line (and again by subcommands)."""

    def __init__(self) -> None:
        self.quiet = self.verbose = False
        self.pictures: bool | None = None

    def reset(self) -> None:
        """Forget the flags of an earlier command line in the same process."""
        self.quiet = self.verbose = False
        self.pictures = None

    def configure(self, *, quiet: bool = False, verbose: bool = False) -> None:
        """Add flags; they may come before or after the subcommand, and never cancel each other."""
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
        """Columns of standard output (80 where it is not a terminal and COLUMNS does not say)."""
        return self._console().width

    @property
    def shows_pictures(self) -> bool:
        """Whether to draw pictures on standard output: as ``pictures`` says, or where it is a terminal with colours
        enough and the letters for half blocks."""
        if self.pictures is not None:
            return self.pictures
        console = self._console()
        return console.is_terminal and console.color_system in ("256", "truecolor") and not console.options.ascii_only

    @property
    def follows(self) -> bool:
        """Whether this is one of several processes (torchrun, accelerate) and not the first, who speaks for all."""
        return not leads()

    def result(self, *parts: RenderableType) -> None:
        """Print what the user asked for, on standard output."""
        if self.follows:
            return
        console = self._console()
        for part in parts:
            console.print(part, markup=False, highlight=False, emoji=False, soft_wrap=isinstance(part, str))

    def raw(self, text: str) -> None:
        """Print a file's text on standard output, unfolded and unchanged."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def json(self, value: Any) -> None:
        """Print exactly one JSON object on standard output; NaN becomes null."""
        if self.follows:
            return
        sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=2) + "\n")

    def note(self, text: str) -> None:
        """Say something by the way, on standard error; ``--quiet`` hides it."""
        if not (self.quiet or self.follows):
            self._stderr(safe(text))

    def error(self, text: str) -> None:
        """Say in one plain line why there is no result."""
        self._stderr("demure: " + " ".join(safe(text).split()))

    def trace(self, error: BaseException) -> None:
        """Show where an unexpected error came from."""
        import traceback

        self._stderr(safe("".join(traceback.format_exception(error)), line=False).rstrip())

    @contextlib.contextmanager
    def progress(self) -> Iterator[Listener]:
        """A listener for the library's progress: bars on a terminal, now and then a line elsewhere."""
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

        forced = self.pictures and not stderr
        return Console(stderr=stderr, **({"force_terminal": True, "color_system": "truecolor"} if forced else {}))

    def _stderr(self, text: str) -> None:
        # Nobody is left to tell when standard error is closed.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


terminal = Terminal()
