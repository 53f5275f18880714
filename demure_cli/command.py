"""What every command shares: its flags, how it shows its result, and what it says when it is interrupted."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from demure_cli.output.terminal import terminal


def flag(*names: str, help: str, **options: Any) -> Any:
    """A yes-or-no option, without the ``<bool>`` that Typer would print behind it."""
    return typer.Option(*names, help=help, metavar="", **options)


Quiet = Annotated[bool, flag("--quiet", "-q", help="No progress and no notes: only the result and errors.")]
Verbose = Annotated[bool, flag("--verbose", "-v", help="Show warnings, logs and tracebacks.")]
Json = Annotated[bool, flag("--json", help="Print the result as one JSON object on standard output.")]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run folder that `demure train` wrote.")]
DatasetFolder = Annotated[str, typer.Argument(metavar="DATASET", help="Dataset folder that `demure prepare` wrote.")]


class Interrupted(Exception):
    """Ctrl-C, with what is left of the work."""


def command(
    show: Callable[[Any], None] | None = None, *, kept: str = "nothing was written", json: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Make a function that returns a result object into a command.

    Adds ``--quiet``, ``--verbose`` and, unless ``json`` is false, ``--json``; prints the result through ``show``. On
    Ctrl-C the command ends with ``kept``, in which ``{name}`` stands for an argument.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            terminal.configure(quiet=arguments.pop("quiet"), verbose=arguments.pop("verbose"))
            as_json = arguments.pop("json", False)
            try:
                result = function(**arguments)
                if as_json:
                    terminal.json(result)
                elif show is not None:
                    show(result)
            except KeyboardInterrupt as error:
                raise Interrupted(kept.format(**arguments)) from error

        flags: dict[str, Any] = {**({"json": Json} if json else {}), "quiet": Quiet, "verbose": Verbose}
        signature = inspect.signature(function, eval_str=True)
        parameters = [
            *signature.parameters.values(),
            *(
                inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=a)
                for n, a in flags.items()
            ),
        ]
        run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate
