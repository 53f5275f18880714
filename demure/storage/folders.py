"""Open a folder at a URL as a local one, to read it or to make its next version."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from demure.compute.launcher import process_ranks
from demure.errors import DemureError, StorageError
from demure.files import already_exists, read_json, write_json
from demure.images.files import HASH_CACHES
from demure.locks import hold_folder
from demure.progress import Listener, Notice, silent
from demure.storage.cache import LIST, CachedFolder, keep_to_limit, writing
from demure.storage.checkpoints import CHECKPOINTS, uploading_checkpoints
from demure.storage.fetch import Superseded, fetch_version, link_or_copy
from demure.storage.location import Location
from demure.storage.names import being_written, is_url, redact, remember, unfinished
from demure.storage.upload import delete_files, local_version, upload
from demure.storage.version import Version, find_version

_TIMES = 5  # how often a reader begins anew since the folder has changed
RUN = "run.json"
_STATE = "state.json"
_RESUMABLE = ".work-*"
_REPLACED_WHOLE = (".parquet", ".safetensors")


class Use(Enum):
    """What a command does with a folder.

    ``READ``; ``CHANGE``: adds to it; ``MAKE``: writes it as a whole; ``RESUME``: writes it as a whole, and goes on with
    what an earlier call of it left.
    """

    READ = "read"
    CHANGE = "change"
    MAKE = "make"
    RESUME = "resume"


def local_folder(url: str | Path, listener: Listener = silent) -> Path:
    """Return the local folder of a URL, as it is there now; of a path the path.

    It stays as it is until the process ends, whatever is written at the URL. Raises ``StorageError`` if there is no
    dataset or run, or it cannot be read.
    """
    if not is_url(url):
        return Path(url)
    url = str(url).rstrip("/")
    folder = unfinished(redact(url))
    if folder is not None:
        return folder
    location = Location.open(url)
    for _ in range(_TIMES):
        match = find_version(location)
        if match is None:
            remedy = "name the URL of a folder that demure wrote, or that was copied there as a whole"
            raise StorageError("holds no dataset and no run", where=location.url, remedy=remedy)
        owner, version, path = match
        with suppress(Superseded):
            folder = _fetch(owner, version, listener)
            return folder / path if path else folder
    raise StorageError(
        "changes all the time, or lacks a file that it lists",
        where=location.url,
        remedy="wait until the upload has ended, or make the folder again",
    )


def _fetch(location: Location, version: Version, listener: Listener) -> Path:
    folder = fetch_version(location, version, listener)
    if not version.number and (after := find_version(location)) is not None and after[1].id != version.id:
        raise Superseded  # a copy of another program changed while it was fetched
    remember(folder, location.url)
    return folder


@dataclass
class WorkFolder:
    """The next version of a folder, while it is made at ``path``; ``uploaded``: it was finished earlier, by the same
    command, and has now been uploaded."""

    path: Path
    uploaded: bool = False


@contextmanager
def work_folder(
    url: str | Path,
    use: Use,
    *,
    command: str = "",
    overwrite: bool = False,
    resume: bool = False,
    listener: Listener = silent,
) -> Iterator[WorkFolder]:
    """Yield a local folder to write to; it is uploaded as the next version when the block ends without an error.

    Of a path, the path. ``command``: a text for the command and its arguments, for ``Use.RESUME``: where such a command
    has ended and its upload has not, the upload is ended and nothing else is to be done. ``overwrite`` and ``resume``:
    as the command takes an earlier folder. Raises ``StorageError`` if the folder cannot be read or written,
    ``DemureError`` if it exists already and the command does not take it, or another process writes it.
    """
    if not is_url(url):
        yield WorkFolder(Path(url))
        return
    if process_ranks().world > 1:
        problem = "cannot be written by several processes"
        remedy = "write to a folder that all of them see, or use --on ray"
        raise StorageError(problem, where=redact(str(url)), remedy=remedy)
    location = Location.open(str(url))
    place = CachedFolder.of(location.url, "work")
    with hold_folder(place.home / "writer.lock", location.url, "written"):
        work = _Work(location, place, find_version(location), listener)
        if use is Use.CHANGE and work.match is None:
            raise StorageError("is not a dataset folder", where=location.url, remedy="make one with `demure prepare`")
        if use is Use.RESUME and work.pending is not None:
            same = work.pending == command
            work.finish()
            listener(Notice("upload", 0, text=f"the upload of {location.url}, which had not ended, has ended"))
            if same:
                yield WorkFolder(work.path, uploaded=True)
                return
            work = _Work(location, place, find_version(location), listener)
        if work.exists(use) and not (overwrite or (resume and use is Use.RESUME)):
            failure = already_exists(work.path)
            raise DemureError(failure.problem, where=location.url, remedy=failure.remedy)
        keep = use is not Use.MAKE
        work.begin(keep=keep)
        with being_written(location.url, work.path):
            try:
                with (
                    uploading_checkpoints(work.path, work.upload_checkpoint, listener)
                    if use is Use.RESUME
                    else nullcontext()
                ):
                    yield WorkFolder(work.path)
            except BaseException:
                work.abandon(keep=keep)
                raise
            work.finish(command, may_be_absent=use is Use.MAKE)


class _Work:
    """The local folder in which the next version is made.

    A URL below a folder that was uploaded as a whole is made with the whole: ``root`` is the folder of that, ``path``
    the folder of the URL in it.
    """

    def __init__(
        self,
        location: Location,
        place: CachedFolder,
        match: tuple[Location, Version, str] | None,
        listener: Listener,
    ) -> None:
        self.match, self._listener, self._home = match, listener, place.home
        self.base: Version | None
        self._checkpoint: str | None = None
        self._owner, self.base, self._below = match if match is not None else (location, None, "")
        self.root = place.home / CachedFolder.of(self._owner.url).name
        self.path = self.root / self._below if self._below else self.root

    def exists(self, use: Use) -> bool:
        """Return whether there is what a command with this use would make; an unfinished training is not."""
        if use not in (Use.MAKE, Use.RESUME) or self.match is None:
            return False
        checkpoint = f"{self._below}/{CHECKPOINTS[0]}".lstrip("/")
        return use is Use.MAKE or checkpoint not in self.match[1].files

    @property
    def _state(self) -> dict[str, object]:
        try:
            state = read_json(self._home / _STATE)
        except DemureError:
            return {}
        return state if isinstance(state, dict) else {}

    @property
    def _base_id(self) -> str | None:
        return None if self.base is None else self.base.id

    @property
    def pending(self) -> str | None:
        """The command that has made this folder, from the present version, without an upload; None if there is none."""
        state = self._state
        is_pending = self.root.is_dir() and state.get("base") == self._base_id
        return str(state["pending"]) if is_pending and state.get("pending") is not None else None

    def begin(self, *, keep: bool) -> None:
        """Make the folder as the present version is, or with ``keep`` let it be as the last command left it, if that
        began with this version, too."""
        if keep and self.root.is_dir() and self._state.get("base") == self._base_id:
            return
        with writing(self._home):
            unfinished_parts = {
                path.relative_to(self.root): path for path in (self.root.rglob(_RESUMABLE) if keep else ())
            }
            part = self._home / "new.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
        if self.base is not None:
            _copy(_fetch(self._owner, self.base, self._listener), part)
        with writing(self._home):
            for name, path in unfinished_parts.items():
                if (part / name).parent.is_dir():
                    path.rename(part / name)
            shutil.rmtree(self.root, ignore_errors=True)
            if self.base is None:
                part.rmdir()  # commands refuse a folder that exists
            else:
                part.rename(self.root)
            write_json(self._home / _STATE, {"base": self._base_id})

    def abandon(self, *, keep: bool = False) -> None:
        """Delete the folder after a failure; with ``keep`` only if nothing was written into it."""
        if self.base is None and self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()
        if not (keep and self.root.is_dir()):
            self._clear()

    def _clear(self) -> None:
        """Delete all but the lock, which is deleted by those who hold it."""
        with suppress(OSError):
            (self._home / _STATE).unlink(missing_ok=True)
            for path in self._home.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)

    def finish(self, command: str = "", *, may_be_absent: bool = False) -> None:
        """Upload the folder, and let it be the version in the cache. ``may_be_absent``: as after a dry run."""
        if not self.root.is_dir():
            self.abandon()
            if not may_be_absent:
                remedy = "set DEMURE_CACHE to a folder that all machines of the cluster see"
                raise StorageError("was made on another machine", where=self._owner.url, remedy=remedy)
            return
        if command:
            write_json(self._home / _STATE, {"base": self._base_id, "pending": command})
        try:
            version = upload(self.root, self._owner, self.base, self._listener)
        except DemureError as error:
            remedy = f"{error.remedy}, and run the same command again: this machine has kept the result"
            raise StorageError(f"not uploaded: {error.problem}", where=error.where, remedy=remedy) from error
        self._replace_checkpoint(self.base, version)
        cached = CachedFolder.of(self._owner.url)
        with cached.lock():
            target = cached.home / version.id
            if not (target / LIST).is_file():
                shutil.rmtree(target, ignore_errors=True)
                self._keep_only(version)
                target.mkdir()
                self.root.rename(target / cached.name)
                (target / LIST).write_bytes(version.to_bytes())
            cached.read(version.id)
            cached.delete_other_versions(version.id)
        self._clear()
        keep_to_limit()
        remember(cached.version(version.id), self._owner.url)

    def upload_checkpoint(self) -> None:
        """Upload the folder of a training as it is now. Raises ``DemureError`` and ``OSError`` if that fails.

        A finished run stays as it is in the version: what takes its place is uploaded at the end alone.
        """
        snapshot, folder = self._home / "snapshot", self.root.stat().st_ino
        shutil.rmtree(snapshot, ignore_errors=True)
        snapshot.mkdir()
        _copy(self.root, snapshot)  # the training goes on meanwhile, and replaces files
        version, _ = local_version(snapshot, 0)
        if self.root.stat().st_ino != folder or self._run_of(version) != self._run_of(self.base):
            return
        earlier, self.base = self.base, upload(snapshot, self._owner, self.base, silent)
        write_json(self._home / _STATE, {"base": self._base_id})
        self._replace_checkpoint(earlier, self.base)

    def _replace_checkpoint(self, earlier: Version | None, version: Version) -> None:
        """Delete the files of an earlier checkpoint that the version does not have."""
        if earlier is not None and earlier.id == self._checkpoint:
            delete_files(self._owner, earlier, version)
        self._checkpoint = version.id

    def _run_of(self, version: Version | None) -> str | None:
        """Return the hash of the manifest of a finished run in a version."""
        name = f"{self._below}/{RUN}".lstrip("/")
        return version.files[name].sha256 if version is not None and name in version.files else None

    def _keep_only(self, version: Version) -> None:
        """Delete what the version does not hold, but for the hashes of content files, which hold on this machine."""
        for parent, folders, names in os.walk(self.root):
            for name in [*names, *folders]:
                path = Path(parent, name)
                relative = path.relative_to(self.root).as_posix()
                is_file = (path.is_symlink() or not path.is_dir()) and name not in HASH_CACHES.values()
                if is_file and relative not in version.files and relative not in version.links:
                    path.unlink()
        for parent, _, _ in os.walk(self.root, topdown=False):
            if parent != str(self.root) and not os.listdir(parent):
                os.rmdir(parent)


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a folder into another one, which exists; large files that demure never writes to are linked."""
    for path in source.iterdir():
        if path.is_symlink():
            (target / path.name).symlink_to(os.readlink(path), target_is_directory=True)
        elif path.is_dir():
            (target / path.name).mkdir()
            _copy(path, target / path.name)
        elif path.suffix in _REPLACED_WHOLE:
            link_or_copy(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)
