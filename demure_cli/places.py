"""Arguments that name a folder or a file: never an empty text, and where it may be a URL, commands get a local path.

An annotation of an argument says what the command does with it: ``Annotated[str, typer.Argument(...), READS]``.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from typer.models import OptionInfo, ParameterInfo

from demure.errors import DemureError
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.progress import Listener, Progress


@dataclass(frozen=True)
class Access:
    """What a command does with a folder or file: ``use`` is ``read``, ``change``, ``make`` or ``resume``, as in
    ``demure.storage.folders.Use``, or ``local`` for what is never at a URL."""

    use: str
    is_file: bool = False


READS, CHANGES, MAKES, RESUMES = Access("read"), Access("change"), Access("make"), Access("resume")
READS_FILE, WRITES_FILE = Access("read", is_file=True), Access("make", is_file=True)
LOCAL = Access("local")


def places_of(signature: inspect.Signature) -> dict[str, Access]:
    """Return argument -> the access in its annotation."""
    return {
        name: annotation
        for name, parameter in signature.parameters.items()
        for annotation in get_args(parameter.annotation)
        if isinstance(annotation, Access)
    }


def refuse_empty(signature: inspect.Signature, arguments: Mapping[str, Any]) -> None:
    """Raise ``DemureError`` for the first path that is an empty text, which would be the current folder."""
    for name in places_of(signature):
        empty = next((value for value in _values(arguments.get(name)) if value is not None and not value.strip()), None)
        if empty is None:
            continue
        parameter = signature.parameters[name]
        info = next(info for info in get_args(parameter.annotation) if isinstance(info, ParameterInfo))
        value = str(info.metavar).rstrip(".")
        where = f"--{name.replace('_', '-')}" if isinstance(info, OptionInfo) else value
        remedy = f"give {value}" + ("" if parameter.default is parameter.empty else ", or leave it out")
        raise DemureError(
            f"{empty!r} names nothing", where=where, remedy=f"{remedy} (a shell variable that is not set is empty)"
        )


def is_remote(places: Mapping[str, Access], arguments: Mapping[str, Any]) -> bool:
    """Return whether a command writes a folder at a URL."""
    folders = (
        name for name, place in places.items() if place.use in ("change", "make", "resume") and not place.is_file
    )
    written = (arguments.get(name) for name in folders)
    return any("://" in str(value) for value in written)


class AlreadyFinished(Exception):
    """An earlier call of the same command has done the work; this one has ended its upload to ``url``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@contextlib.contextmanager
def local_places(places: Mapping[str, Access], arguments: Mapping[str, Any], command: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments with local paths in place of URLs; what is written there is uploaded at the end of the block.

    Raises ``AlreadyFinished`` if nothing is left to do, and the errors of ``demure.storage``.
    """
    places = {name: place for name, place in places.items() if place != LOCAL}
    urls = {name for name in places if any("://" in str(value) for value in _values(arguments.get(name)))}
    if not urls:
        yield dict(arguments)
        return
    from demure.storage.files import file_to_write, local_file
    from demure.storage.folders import Use, local_folder, work_folder
    from demure.storage.names import is_url, redact

    local = dict(arguments)
    # A command without --resume always goes on (tune).
    options = {"overwrite": bool(arguments.get("overwrite")), "resume": bool(arguments.get("resume", True))}
    own = sorted((name, str(value)) for name, value in arguments.items() if name != "resume")
    text = redact(f"{command} {own}")

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_Bars())
        for name in sorted(urls, key=lambda name: places[name].use != "read"):
            place, value = places[name], arguments[name]
            if place.use == "read":
                read = local_file if place.is_file else local_folder
                paths = [str(read(item, listener)) if is_url(item) else item for item in _values(value)]
                local[name] = paths if isinstance(value, list) else paths[0]
            elif place.is_file:
                local[name] = str(stack.enter_context(file_to_write(value)))
            else:
                folder = stack.enter_context(
                    work_folder(value, Use(place.use), command=text, **options, listener=listener)
                )
                if folder.uploaded:
                    raise AlreadyFinished(redact(value))
                local[name] = str(folder.path)
        listener.close()  # the command has progress of its own
        yield local


class _Bars:
    """A listener that shows progress from the first report on, until it is closed."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._listener: Listener | None = None

    def __call__(self, progress: Progress) -> None:
        if self._listener is None:
            self._listener = self._stack.enter_context(terminal.progress())
        self._listener(progress)

    def close(self) -> None:
        """Take the bars away."""
        self._stack.close()
        self._listener = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _values(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
