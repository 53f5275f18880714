"""The `demure` command. Commands import the library when they run, so that `demure --help` starts fast."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from demure import __version__
from demure.compute.threads import prepare_threads
from demure.errors import DemureError, MachineError
from demure_cli.command import Command, Interrupted
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
from demure_cli.commands.selftest import selftest
from demure_cli.commands.train import train
from demure_cli.commands.tune import tune
from demure_cli.commands.ui import ui
from demure_cli.commands.whatif import whatif
from demure_cli.commands.worklist import worklist
from demure_cli.options import LogJson, Quiet, Verbose, flag
from demure_cli.output.surroundings import correct_sizes, open_streams, release_streams
from demure_cli.output.terminal import terminal

# The usage error of click, by way of Typer: some versions of Typer carry their own copy of click.
_UsageError: Any = typer.BadParameter.__mro__[1]

_HELP = (
    "Find out which modality of an item (text, image) was the point of interest of each choice, and which was noise."
)
app = typer.Typer(
    name="demure",
    help=_HELP,
    epilog="To begin, run `demure demo`: it shows every step on a small catalogue, offline, in three minutes.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        terminal.raw(f"demure {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=_HELP)
def root(
    context: typer.Context,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_json: LogJson = None,
    version: Annotated[
        bool, flag("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Set the flags of all commands; without a command, print the help."""
    terminal.configure(quiet=quiet, verbose=verbose, log_json=log_json)
    if context.invoked_subcommand is None:
        terminal.raw(context.get_help())


_STEPS, _OTHERS = "From raw files to verdicts and recommendations", "Other commands"
_COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("prepare", prepare, _STEPS),
    ("extract", extract, _STEPS),
    ("train", train, _STEPS),
    ("tune", tune, _STEPS),
    ("eval", eval_, _STEPS),
    ("compare", compare, _STEPS),
    ("inspect", inspect, _STEPS),
    ("worklist", worklist, _STEPS),
    ("whatif", whatif, _STEPS),
    ("selftest", selftest, _STEPS),
    ("recommend", recommend, _STEPS),
    ("report", report, _STEPS),
    ("ui", ui, _STEPS),
    ("export", export, _STEPS),
    ("demo", demo, _OTHERS),
    ("extractors", extractors, _OTHERS),
)
for _name, _function, _panel in _COMMANDS:
    app.command(_name, cls=Command, rich_help_panel=_panel)(_function)
app.add_typer(data, name="data", rich_help_panel=_OTHERS)
app.add_typer(features, name="features", rich_help_panel=_OTHERS)
app.add_typer(images, name="images", rich_help_panel=_OTHERS)
app.add_typer(recipes, name="recipes", rich_help_panel=_OTHERS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0: success; 2: an error that the user can fix (one line on standard error); 130: Ctrl-C; 141: the reader of the
    output is gone; 1: a bug in demure.
    """
    start = time.monotonic()
    prepare_threads()
    terminal.reset(sys.argv[1:] if arguments is None else arguments)
    open_streams()
    correct_sizes()
    status = 1
    try:
        status = _run(arguments)
        return status
    finally:
        terminal.end_log(status, time.monotonic() - start)
        release_streams()


def _run(arguments: Sequence[str] | None) -> int:
    try:
        status = app(args=arguments, prog_name="demure", standalone_mode=False)
        terminal.flush()
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
        return 141
    except SystemExit as stop:  # rich raises it with code 1 when the reader is gone; shell completion raises it too
        return 141 if stop.code == 1 else int(stop.code or 0)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            return _bug(error)
        problem = f"{error.object[:200]!r} is not UTF-8 text"
        return _unexpected(error, 2, f"{problem}; rename the file or folder, or give another value")
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        return _unexpected(error, 2, f"{place}{error.strerror or error}")
    except MemoryError as error:
        return _unexpected(error, 2, "out of memory; close other programs, or use a machine with more memory")
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # of torch, recognised without importing torch
            return _unexpected(error, 2, "the device is out of memory; use --device cpu, or a smaller recipe")
        return _bug(error)


def _bug(error: Exception) -> int:
    return _unexpected(error, 1, f"{type(error).__name__}: {error}; this is a bug: please report it, with --verbose")


def _usage(error: Any) -> str:
    message = error.format_message().strip().rstrip(".")
    context = error.ctx
    return message if context is None else f"{message}; see `{context.command_path} --help`"


def _unexpected(error: BaseException, status: int, line: str) -> int:
    if terminal.verbose:
        terminal.trace(error)
    terminal.error(line)
    return status


if __name__ == "__main__":
    sys.exit(main())
