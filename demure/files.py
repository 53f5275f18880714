"""Write files and folders atomically (write beside, then rename), hash them, read and write JSON, write CSV."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import itertools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from demure.errors import DemureError
from demure.leftovers import bring_back, exchange, folder_lock, mark_folder, mark_part, sweep
from demure.locks import hold_folder

logger = logging.getLogger(__name__)

# The last four are full-width.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@contextlib.contextmanager
def atomic_file(path: Path, *, sweeps: bool = True) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it takes the name of ``path`` when the block ends without an error.

    ``sweeps``: whether to delete what killed processes left of such a file, which reads the names of the whole folder.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if sweeps:
            sweep(path.parent, path.name)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part" + path.suffix, dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    lock = mark_part(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        os.replace(part, path)
        logger.debug("wrote the file %s", path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if lock is not None:
            os.close(lock)
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; it takes the name of ``path`` when the block ends without an error.

    An earlier folder is exchanged for it in one step where the system can do that. Raises ``DemureError`` if ``path``
    exists and is not an empty folder, unless ``overwrite``; and if another process is writing it.
    """
    path = Path(path)
    if path.is_symlink():  # else the link would be exchanged, and the folder that it names would stay
        path = Path(os.path.realpath(path))
    bring_back(path)
    refuse_existing(path, overwrite=overwrite)
    parent = path.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    with hold_folder(folder_lock(path), path, "written"):
        sweep(parent, path.name)
        refuse_existing(path, overwrite=overwrite)
        try:
            part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=parent))
            lock = mark_folder(part)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            yield part
            part.chmod(0o777 & ~_umask())
            replace_folder(part, path)
            logger.debug("wrote the folder %s", path)
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            if lock is not None:
                os.close(lock)
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def work_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``, deleted when the block ends, or at a later start if this is killed."""
    path = Path(path)
    parent = path.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        sweep(parent, path.name)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=parent))
        lock = mark_folder(folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        folder.chmod(0o777 & ~_umask())
        yield folder
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(part: Path, path: Path) -> None:
    """Give the folder ``part`` the name ``path``; after an exchange, ``part`` is the earlier folder."""
    if not path.exists():
        os.rename(part, path)
    elif not exchange(part, path):
        old = part.with_suffix(".old")  # a kill before the second rename: `bring_back` at the next start
        os.rename(path, old)
        try:
            os.rename(part, path)
        except OSError:
            os.rename(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Raise ``DemureError`` if ``path`` is a file, or a folder that is not empty and not to be overwritten."""
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not overwrite):
        raise already_exists(path)


def already_exists(path: Path) -> DemureError:
    """Return the error for a folder that is not to be overwritten."""
    remedy = "choose another --out, or say --overwrite to replace the folder"
    return DemureError("already exists", where=path, remedy=remedy)


def cannot_write(path: Path, error: OSError) -> DemureError:
    """Return the error for a full disk, a missing permission and similar failures."""
    return DemureError(f"cannot write: {error.strerror or error}", where=path, remedy="check space and permissions")


TRY_AGAIN = "check permissions and the disk, then try again"
_OF_THE_SYSTEM = {
    getattr(errno, name)
    for name in (
        "EACCES",
        "EPERM",
        "EROFS",
        "ENOSPC",
        "EDQUOT",
        "EIO",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "ESTALE",
        "EISDIR",
    )
    if hasattr(errno, name)
}


def remedy_of(error: BaseException, remedy: str) -> str:
    """Return the ``remedy`` for a damaged file, unless ``error`` shows that the system could not read or write it.

    What a missing permission or a full disk caused must not be begun again from nothing, nor what is only named by
    bytes that are not UTF-8, which Arrow and safetensors cannot open.
    """
    if isinstance(error, UnicodeEncodeError):
        return "rename the folder: its path is not UTF-8"
    if isinstance(error, DemureError) and error.remedy == TRY_AGAIN:
        return TRY_AGAIN
    return TRY_AGAIN if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM else remedy


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_bytes(*parts: bytes) -> str:
    """Return the SHA-256 of ``parts`` as hex digits; each is preceded by its length, so that their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` atomically as indented UTF-8 JSON; keys keep their order."""
    with atomic_file(path) as part:
        part.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises ``DemureError`` if it is absent or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DemureError("no such file", where=path) from error
    except RecursionError as error:
        raise DemureError(
            "cannot be read as JSON (too deeply nested)", where=path, remedy="the file is damaged"
        ) from error
    except (OSError, ValueError) as error:
        remedy = remedy_of(error, "the file is damaged")
        raise DemureError(f"cannot be read as JSON ({error})", where=path, remedy=remedy) from error


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file for people. Texts that a spreadsheet would run as a formula get a leading apostrophe."""
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as handle:
        handle.write(csv_text(header, rows))


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the content of ``write_csv``."""
    return "".join(_csv_line(row) for row in itertools.chain([header], rows))


def _csv_line(row: Sequence[object]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow(map(quote_formula, row))  # ends lines with \r\n, or a lone \r would not be quoted
    return line.getvalue().removesuffix("\r\n") + "\n"


def quote_formula(cell: object) -> object:
    """Return a cell with a leading apostrophe if it is text that a spreadsheet would run (``=cmd``, ``@SUM``)."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" \u00a0\ufeff").startswith(_FORMULA_STARTS) else cell


def unquote_formula(cell: str) -> str:
    """Return the text that ``quote_formula`` was given."""
    return cell[1:] if cell.startswith("'") and quote_formula(cell[1:]) != cell[1:] else cell


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
