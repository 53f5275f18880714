"""Check that files are the files that were made: a manifest records their SHA-256, and readers compare it.

All that reads a file of a dataset, of features or of a finished run opens it through :class:`CheckedFolder`; a guard
test (``tests/guards/test_integrity.py``) finds readers that do not.

A file of at most ``_SMALL`` bytes is hashed by every process that reads it (1.4 GB take one second). The hash of a
larger file is kept in ``.checked.json`` beside it, with the file's size, inode, mtime and ctime, and the file is hashed
again when one of them differs. The system sets the ctime at every write and no program can set it back, so a change
that keeps size and mtime is noticed. A hash is not kept if the file changed within the last seconds, as the clock of
file times is coarse. What goes unnoticed in a large file is a bit that flips on the medium without a write.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.errors import DemureError
from demure.files import read_json, remedy_of, sha256_bytes, sha256_file, write_json

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SEAL = "manifest_sha256"
CHANGED = "was changed after it was made"
KEPT_HASHES = ".checked.json"
_SMALL = 32 << 20
_SETTLED = 3.0  # seconds: FAT keeps file times in steps of two
Hashes = Mapping[Path, tuple[list[int], str]]
"""Path -> state of the file, SHA-256."""
_checked: dict[Path, tuple[list[int], str]] = {}  # of this process


@dataclass(frozen=True)
class CheckedFolder:
    """A folder whose files are opened only if they are the ones that its manifest records.

    ``sha256``: name of a file -> its hash; None for a folder of an early version, whose files are not checked.
    ``remedy`` and the class ``error`` are used where a file is missing, changed or damaged.
    """

    path: Path
    sha256: Mapping[str, str] | None
    error: type[DemureError]
    remedy: str

    def file(self, name: str) -> Path:
        """Return the path of a file. Raises ``error`` if it is missing or was changed."""
        path = self.path / name
        if not path.is_file():
            raise self.error("is missing and cannot be read", where=path, remedy=self.remedy)
        if self.sha256 is not None:
            try:
                digest = hash_of(path)
            except OSError as error:
                raise self.failed(name, error) from error
            if name not in self.sha256:
                raise self.error("was added after the folder was made", where=path, remedy=self.remedy)
            if digest != self.sha256[name]:
                raise self.error(CHANGED, where=path, remedy=self.remedy)
        return path

    def has(self, name: str) -> bool:
        """Return whether the folder was made with this file, or holds it where it was made by an early version."""
        return (self.path / name).is_file() if self.sha256 is None else name in self.sha256

    def check(self, *names: str) -> None:
        """Check those of the files that the folder was made with, so that processes that :func:`take_hashes` of this
        one need not hash them. Raises ``error`` if one is missing or was changed."""
        for name in names:
            if self.has(name):
                self.file(name)

    def failed(self, name: str, reason: object) -> DemureError:
        """Return the error for a file that cannot be used for ``reason``, a text or an exception."""
        remedy = remedy_of(reason, self.remedy) if isinstance(reason, BaseException) else self.remedy
        return self.error(f"cannot be read ({reason})", where=self.path / name, remedy=remedy)

    def text(self, name: str) -> str:
        """Return the content of a text file."""
        with self._reading(name):
            return self.file(name).read_text(encoding="utf-8")

    @contextlib.contextmanager
    def parquet(self, name: str, read_dictionary: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
        """Open a Parquet file for the block: an open file would keep Windows from replacing its folder."""
        import pyarrow.parquet as pq

        with self._reading(name):
            file = pq.ParquetFile(self.file(name), read_dictionary=list(read_dictionary) or None)
        with file:
            yield file

    def columns(self, name: str) -> list[str]:
        """Return the names of the columns of a Parquet file."""
        with self.parquet(name) as file:
            return list(file.schema_arrow.names)

    def rows(self, name: str) -> int:
        """Return the number of rows of a Parquet file."""
        with self.parquet(name) as file:
            return int(file.metadata.num_rows)

    def table(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        *,
        filters: Any = None,
        read_dictionary: Sequence[str] = (),
    ) -> pa.Table:
        """Return a Parquet file as a table: these columns, the rows that pass pyarrow's ``filters``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        selected, dictionaries = None if columns is None else list(columns), list(read_dictionary) or None
        with (
            self._reading(name),
            pa.OSFile(str(self.file(name))) as file,
        ):
            return pq.read_table(file, columns=selected, filters=filters, read_dictionary=dictionaries)

    def tensors(self, name: str, only: Collection[str] | None = None, *, framework: str = "numpy") -> dict[str, Any]:
        """Return the tensors of a safetensors file, by default all, as arrays or (``framework="pt"``) for torch."""
        from safetensors import safe_open

        with self._reading(name), safe_open(str(self.file(name)), framework=framework) as file:
            names = file.keys() if only is None else [tensor for tensor in file.keys() if tensor in only]  # noqa: SIM118
            return {tensor: file.get_tensor(tensor) for tensor in names}

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Raise ``error`` for a file that cannot be opened or parsed."""
        import pyarrow as pa
        from safetensors import SafetensorError

        try:
            yield
        except DemureError:
            raise
        except (OSError, ValueError, KeyError, SafetensorError, pa.ArrowException) as error:
            raise self.failed(name, error) from error


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits, from memory where nothing can have changed the file since."""
    path = path.absolute()
    stat, state = path.stat(), _state(path)
    kept = _checked.get(path)
    if kept is None and stat.st_size > _SMALL:
        kept = _kept(path.parent).get(path.name)
    if kept is not None and kept[0] == state:
        return kept[1]
    digest = sha256_file(path)
    settled = time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED
    if settled and state == _state(path):
        _checked[path] = state, digest
        if stat.st_size > _SMALL:
            with contextlib.suppress(DemureError):  # a folder that cannot be written is hashed again
                write_json(path.parent / KEPT_HASHES, {**_kept(path.parent), path.name: [state, digest]})
    return digest


def hashes_below(folders: Collection[Path]) -> Hashes:
    """Return the files that this process has hashed below ``folders``, for :func:`take_hashes` in another process."""
    return {path: kept for path, kept in _checked.items() if any(folder in path.parents for folder in folders)}


def take_hashes(hashes: Hashes) -> None:
    """Use hashes of another process for files whose size, inode, mtime and ctime are the same here as they were there,
    as those in ``.checked.json``; others are hashed."""
    _checked.update(hashes)


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _kept(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Return the states and hashes of large files that ``.checked.json`` holds; none where it is absent or damaged."""
    try:
        return {
            str(name): (list(state), str(digest)) for name, (state, digest) in read_json(folder / KEPT_HASHES).items()
        }
    except (DemureError, AttributeError, TypeError, ValueError):
        return {}


def sealed(content: Mapping[str, Any], *, movable: Sequence[str] = ()) -> dict[str, Any]:
    """Return the content of a manifest with a hash of itself as its last key.

    ``movable``: dotted keys of paths that a person may edit after moving a folder: the hash leaves them out.
    """
    content = {key: value for key, value in content.items() if key != SEAL}
    return {**content, SEAL: _seal(content, movable)}


def check_seal(
    content: Mapping[str, Any], where: Path, error: type[DemureError], remedy: str, movable: Sequence[str] = ()
) -> None:
    """Raise ``error`` if the manifest is not as it was written. A manifest of an early version has no seal."""
    if SEAL in content and sealed(content, movable=movable)[SEAL] != content[SEAL]:
        raise error(CHANGED, where=where, remedy=remedy)


def _seal(content: Mapping[str, Any], movable: Sequence[str]) -> str:
    content = json.loads(json.dumps(content))  # as a reader gets it: lists for tuples, text for keys
    for key in movable:
        *parents, last = key.split(".")
        section: Any = content
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict):
            section.pop(last, None)
    return sha256_bytes(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def all_finite(values: Any) -> bool:
    """Return whether no value of an array or tensor is NaN or infinite."""
    import numpy as np

    array = np.asarray(values)
    return array.dtype.kind not in "fc" or math.isfinite(float(np.sum(np.abs(array), dtype=np.float64)))
