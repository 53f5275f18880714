"""The `demure` command. Imports nothing heavy: what a command needs, it imports when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from demure import __version__
from demure.errors import DemureError, MachineError
from demure_cli.command import Interrupted, Quiet, Verbose, flag
from demure_cli.commands.compare import compare
from demure_cli.commands.data import data
from demure_cli.commands.demo import demo
from demure_cli.commands.eval import eval_
from demure_cli.commands.export import export
from demure_cli.commands.extract import extract
from demure_cli.commands.extractors import extractors
from demure_cli.commands.features import features
from demure_cli.commands.images import images
from demure_cli.commands.inspect import inspect
from demure_cli.commands.prepare import prepare
from demure_cli.commands.recipes import recipes
from demure_cli.commands.recommend import recommend
from demure_cli.commands.report import report
from demure_cli.commands.train import train
from demure_cli.commands.tune import tune
from demure_cli.commands.ui import ui
from demure_cli.output.terminal import terminal

# click's exceptions, by way of Typer, which carries its own copy of click in some versions and not in others.
_UsageError: Any = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="demure",
    help="Which modality of an item was the point of interest of each choice, and which was noise.",
    epilog="First time here? `demure demo` shows the whole way on a small catalogue, offline, in two minutes.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        terminal.raw(f"demure {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[
        bool, flag("--version", help="Print the version and end.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Which modality of an item was the point of interest of each choice, and which was noise."""
    terminal.configure(quiet=quiet, verbose=verbose)
    if context.invoked_subcommand is None:
        terminal.raw(context.get_help())


_WAY, _MORE = "From raw files to verdicts and recommendations", "More"
_COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("prepare", prepare, _WAY),
    ("extract", extract, _WAY),
    ("train", train, _WAY),
    ("tune", tune, _WAY),
    ("eval", eval_, _WAY),
    ("compare", compare, _WAY),
    ("inspect", inspect, _WAY),
    ("recommend", recommend, _WAY),
    ("report", report, _WAY),
    ("ui", ui, _WAY),
    ("export", export, _WAY),
    ("demo", demo, _MORE),
    ("extractors", extractors, _MORE),
)
for _name, _function, _panel in _COMMANDS:
    app.command(_name, rich_help_panel=_panel)(_function)
app.add_typer(data, name="data", rich_help_panel=_MORE)
app.add_typer(features, name="features", rich_help_panel=_MORE)
app.add_typer(images, name="images", rich_help_panel=_MORE)
app.add_typer(recipes, name="recipes", rich_help_panel=_MORE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit status.

    0 success, 2 what the user can mend (one line on standard error), 130 Ctrl-C, 141 nobody reads the output any more,
    1 an error that is ours.
    """
    terminal.reset()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a title must not end a command on a terminal that lacks its letters
            stream.reconfigure(errors="replace")
    try:
        status = app(args=arguments, prog_name="demure", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except DemureError as error:
        if not terminal.follows or terminal.verbose or isinstance(error, MachineError):
            terminal.error(str(error))
        return 2
    except _UsageError as error:
        terminal.error(_usage(error))
        return 2
    except Interrupted as stop:
        if not terminal.follows:
            terminal.error(f"interrupted; {stop}")
        return 130
    except (KeyboardInterrupt, typer.Abort):
        terminal.error("interrupted")
        return 130
    except BrokenPipeError:
        return _unread()
    except SystemExit as end:  # rich's way to say that nobody reads on; also how shell completion ends
        return _unread() if end.code == 1 else int(end.code or 0)
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        return _unforeseen(error, 2, f"{place}{error.strerror or error}")
    except MemoryError as error:
        return _unforeseen(error, 2, "out of memory; close other programs, or use a machine with more")
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, known without importing torch
            return _unforeseen(error, 2, "the device is out of memory; use --device cpu, or a smaller recipe")
        return _unforeseen(
            error, 1, f"{type(error).__name__}: {error}; this is a bug: please report it, with --verbose"
        )


def _usage(error: Any) -> str:
    message = error.format_message().strip().rstrip(".")
    context = error.ctx
    return message if context is None else f"{message}; see `{context.command_path} --help`"


def _unread() -> int:
    # The interpreter flushes standard output once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141


def _unforeseen(error: BaseException, status: int, line: str) -> int:
    if terminal.verbose:
        terminal.trace(error)
    terminal.error(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
