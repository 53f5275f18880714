"""What every command shares: its flags, the view of its result, and its message when it is interrupted."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand

from demure_cli.options import Json, LogJson, Quiet, Verbose
from demure_cli.output.terminal import terminal
from demure_cli.places import AlreadyFinished, is_remote, local_places, places_of, refuse_empty


class Command(TyperCommand):
    """A command whose options in ``OPTIONAL_VALUE`` may stand without a value, which is then empty."""

    OPTIONAL_VALUE = ("--interests",)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with an empty value after such an option."""
        complete: list[str] = []
        for argument, following in zip(args, [*args[1:], "--"], strict=False):  # no argument has none following it
            complete.append(argument)
            if argument in self.OPTIONAL_VALUE and following.startswith("-"):
                complete.append("")
        return super().parse_args(ctx, complete)


class Interrupted(Exception):
    """Ctrl-C; the message says what is kept of the work."""


def view(module: str, function: str = "show") -> Callable[[Any], None]:
    """Return a function that prints a result by ``demure_cli.views.<module>.<function>``.

    The view is imported when there is a result: views import rich and parts of the library, and `demure --help` must
    start fast.
    """

    def show(result: Any) -> None:
        getattr(importlib.import_module(f"demure_cli.views.{module}"), function)(result)

    return show


def command(
    show: Callable[[Any], None] | None = None,
    *,
    kept: str = "nothing was written",
    json: bool = True,
    paged: bool = False,
) -> Callable[[Callable[..., object]], Callable[..., None]]:
    """Turn a function that returns a result into a command.

    Adds ``--quiet``, ``--verbose``, ``--log-json`` and, unless ``json`` is false, ``--json``; prints the result by
    ``show``. ``kept``: what Ctrl-C leaves, in which ``{name}`` stands for an argument. ``paged``: whether a result that
    is longer than the terminal goes through a pager.
    """

    def decorate(function: Callable[..., object]) -> Callable[..., None]:
        signature = inspect.signature(function, eval_str=True)
        places = places_of(signature)

        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            refuse_empty(signature, arguments)
            terminal.configure(
                quiet=arguments.pop("quiet"),
                verbose=arguments.pop("verbose"),
                log_json=arguments.pop("log_json", None),
            )
            as_json = arguments.pop("json", False)
            try:
                with local_places(places, arguments, f"{function.__module__}.{function.__name__}") as local:
                    result = function(**local)
                if as_json:
                    terminal.json(result)
                elif show is not None:
                    with terminal.paged() if paged else contextlib.nullcontext():
                        show(result)
            except AlreadyFinished as end:
                if as_json:
                    terminal.json({"out": end.url, "uploaded": True})
            except (KeyboardInterrupt, Interrupted) as error:
                text = str(error) if isinstance(error, Interrupted) else kept.format(**arguments)
                here = " (until it is uploaded, in the cache of this machine)" if is_remote(places, arguments) else ""
                raise Interrupted(text + here) from error

        flags: dict[str, Any] = {
            **({"json": (Json, False)} if json else {}),
            "quiet": (Quiet, False),
            "verbose": (Verbose, False),
            "log_json": (LogJson, None),
        }
        parameters = [
            *signature.parameters.values(),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
                for name, (annotation, default) in flags.items()
            ),
        ]
        run.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__ = _paragraphs(function)
        return run

    return decorate


def _paragraphs(function: Callable[..., object]) -> str:
    """Return the docstring with one line for each paragraph: Typer would keep the line breaks of the source."""
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n"))
