"""Print: results go to standard output; progress, notes and errors go to standard error. No other module prints."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from demure.compute.launcher import is_first_process
from demure.errors import MachineError
from demure.storage.names import redact, shown
from demure_cli.output.characters import escape_controls, safe
from demure_cli.output.plain import plain
from demure_cli.output.surroundings import Forgiving, readable_width

if TYPE_CHECKING:  # rich is slow to import, and `demure --help` does not need it
    from rich.console import Console, RenderableType

    from demure.progress import Listener
    from demure_cli.output.logs import LogOutputs

_INFO, _ERROR = 20, 40  # the levels of the module logging, which is imported only where there is a log
_CHATTY = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Name standard output in the error of a write that fails; a reader that has gone is not an error."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise MachineError(problem, where="standard output", remedy="make room, or write somewhere else") from error


class Terminal:
    """The output of a command line: its flags, and one method for each kind of output."""

    def __init__(self) -> None:
        self.quiet = self.verbose = False
        self.pictures: bool | None = None
        self.all_rows = self.long = False
        self._held: list[RenderableType] | None = None
        self._held_notes: list[str] = []
        self._logs: LogOutputs | None = None
        self._arguments: Sequence[str] = ()

    def reset(self, arguments: Sequence[str] = ()) -> None:
        """Forget the flags of an earlier command line in the same process; ``arguments`` are those of this one."""
        self._arguments = [redact(argument) for argument in arguments]
        self.quiet = self.verbose = False
        self.pictures = None
        self.all_rows = self.long = False
        self._held, self._held_notes = None, []

    def configure(self, *, quiet: bool = False, verbose: bool = False, log_json: str | None = None) -> None:
        """Add flags. A command line calls this for flags before and after the subcommand; no call removes a flag.

        Raises ``MachineError`` if the file ``log_json`` cannot be written.
        """
        self.quiet, self.verbose = self.quiet or quiet, self.verbose or verbose
        if not self.verbose:
            import warnings

            warnings.filterwarnings("ignore")
            for name, value in _CHATTY.items():
                os.environ.setdefault(name, value)
        else:
            self._log_outputs().to_stderr()
        if log_json is not None:
            self._log_outputs().to_file(log_json, self._arguments)

    def end_log(self, status: int, seconds: float) -> None:
        """Log the exit status of the command line, and close the log."""
        if self._logs is not None:
            self._logs.end(status, seconds)
            self._logs = None

    def _log_outputs(self) -> LogOutputs:
        from demure_cli.output.logs import LogOutputs

        if self._logs is None:
            self._logs = LogOutputs(self._stderr)
        return self._logs

    @property
    def width(self) -> int:
        """Columns of standard output (80 where it is not a terminal and COLUMNS is not set)."""
        return self._console().width

    @property
    def shows_pictures(self) -> bool:
        """Whether to draw pictures on standard output: by the option ``pictures``, else if it is a terminal with enough
        colours and the characters for half blocks, and NO_COLOR is not set (a picture would be grey blocks)."""
        if self.pictures is not None:
            return self.pictures
        console = self._console()
        colours = console.color_system in ("256", "truecolor") and not console.no_color
        return console.is_terminal and colours and not console.options.ascii_only

    def view(self, *, pictures: bool | None = None, top: int | None = None, long: bool = False) -> None:
        """Set how much a view shows: pictures or not, all rows of its result (with ``top``, they were chosen), and with
        ``long`` all rows with all their details."""
        self.pictures, self.long, self.all_rows = pictures, long, long or top is not None

    @property
    def follows(self) -> bool:
        """Whether this is one of several processes (torchrun, accelerate) and not the first, which prints for all."""
        return not is_first_process()

    def result(self, *parts: RenderableType) -> None:
        """Print the result on standard output."""
        if self.follows:
            return
        if self._held is not None:
            self._held += parts
            return
        with _writing():
            _print(self._console(), parts)

    @contextlib.contextmanager
    def paged(self) -> Iterator[None]:
        """Show the results of the context in a pager if they are longer than the terminal.

        The pager is PAGER, or less where there is one. No pager with ``--quiet``, and where standard output or input is
        not a terminal. Notes follow after the pager.
        """
        if self.quiet or self.follows or not (sys.stdout.isatty() and sys.stdin.isatty()):
            yield
            return
        self._held, self._held_notes = [], []
        try:
            yield
        finally:
            parts, notes, self._held, self._held_notes = self._held, self._held_notes, None, []
            console = self._console()
            with console.capture() as capture:
                _print(console, parts)
            text = capture.get()
            if text.count("\n") < console.size.height:
                self.result(*parts)
            else:
                os.environ.setdefault("LESS", "-RFX")  # colours as they are; what is on the screen stays there
                with _writing(), console.pager(styles=True):
                    _print(console, parts)
            for note in notes:
                self.note(note)

    def raw(self, text: str) -> None:
        """Print text on standard output without folding it."""
        with _writing():
            sys.stdout.write(safe(text if text.endswith("\n") else text + "\n", line=False))

    def flush(self) -> None:
        """Hand over what was printed. Raises ``MachineError`` if it cannot be written."""
        with _writing():
            sys.stdout.flush()

    def json(self, value: Any) -> None:
        """Print exactly one JSON object on standard output; NaN becomes null, and control characters are escaped."""
        if self.follows:
            return
        text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=2)
        with _writing():
            sys.stdout.write(escape_controls(shown(text)) + "\n")

    def note(self, text: str) -> None:
        """Print a note on standard error; ``--quiet`` hides it."""
        if self._held is not None:
            self._held_notes.append(text)
            return
        self._record(_INFO, text)
        if not (self.quiet or self.follows):
            self._stderr(safe(text))

    def notes(self, texts: Iterable[str], prefix: str = "note: ") -> None:
        """Print several notes, each after ``prefix``."""
        for text in texts:
            self.note(prefix + text)

    def error(self, text: str) -> None:
        """Print in one line why there is no result."""
        text = redact(shown(text))
        self._record(_ERROR, text)
        self._stderr("demure: " + " ".join(safe(text).split()))

    def trace(self, error: BaseException) -> None:
        """Print the traceback of an unexpected error."""
        import traceback

        self._stderr(redact("".join(traceback.format_exception(error)).rstrip()))

    @contextlib.contextmanager
    def progress(self) -> Iterator[Listener]:
        """Yield a listener for the progress of the library: bars on a terminal, lines elsewhere; the log has it too."""
        with self._shown_progress() as listener:
            if self._logs is None:
                yield listener
                return
            from demure_cli.output.logs import LoggedProgress

            logged = LoggedProgress(listener)
            try:
                yield logged
            finally:
                logged.end()

    @contextlib.contextmanager
    def _shown_progress(self) -> Iterator[Listener]:
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
            return Console(force_terminal=True, color_system="truecolor", no_color=False)
        # If standard error is closed, there is no place left for progress: the work goes on without.
        console = Console(file=cast(IO[str], Forgiving(sys.stderr))) if stderr else Console()
        console.width = readable_width(console.width)
        return console

    def _record(self, level: int, text: str) -> None:
        """Write to the file of the log what standard error shows."""
        if self._logs is not None:
            self._logs.record(level, text)

    def _stderr(self, text: str) -> None:
        stream = Forgiving(sys.stderr)
        stream.write(safe(text, line=False) + "\n")
        stream.flush()


def _print(console: Console, parts: Iterable[RenderableType]) -> None:
    from demure_cli.output.clean import cleaned

    for part in parts:
        plain_text = isinstance(part, str)
        console.print(cleaned(part), markup=False, highlight=False, emoji=False, soft_wrap=plain_text)


terminal = Terminal()
