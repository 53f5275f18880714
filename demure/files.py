"""Write files and folders atomically (write beside, then rename), hash them, and read and write JSON."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demure.errors import DemureError


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it takes the name of ``path`` when the block ends without an error."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part" + path.suffix, dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o666 & ~_umask())
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; it takes the name of ``path`` when the block ends without an error.

    Raises ``DemureError`` if ``path`` exists and is not an empty folder, unless ``overwrite``.
    """
    path = Path(path)
    refuse_existing(path, overwrite=overwrite)
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.absolute().parent))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield part
        part.chmod(0o777 & ~_umask())
        if path.exists():
            old = part.with_suffix(".old")
            os.rename(path, old)
            os.rename(part, path)
            shutil.rmtree(old)
        else:
            os.rename(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Raise ``DemureError`` if ``path`` is a file, or a folder that is not empty and not to be overwritten."""
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not overwrite):
        raise DemureError(
            "already exists", where=path, remedy="choose another --out, or say --overwrite to replace the folder"
        )


def cannot_write(path: Path, error: OSError) -> DemureError:
    """Return the error for a full disk, a missing permission and similar failures."""
    return DemureError(f"cannot write: {error.strerror or error}", where=path, remedy="check space and permissions")


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
    except (OSError, ValueError) as error:
        raise DemureError(f"cannot be read as JSON ({error})", where=path, remedy="the file is damaged") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
