"""A model's folder: a local one, one from the hub's cache, or a download. Only safetensors weights; no long waits."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demure.errors import ExtractorError
from demure.suggest import nearest

PATIENCE = 20.0
FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja"]
NOT_FILES = ["onnx/*", "openvino/*", "*.fp16.*", "*.bf16.*", "original/*", "metal/*"]


@dataclass(frozen=True)
class Source:
    """Where a model's files are, and how to say so in a manifest."""

    folder: Path
    facts: dict[str, Any]


def find(model: str, revision: str | None, family: str, known: Sequence[str] = (), asked: str = "") -> Source:
    """The files of ``model``, a folder or a hub name; ``asked`` is what the user called it, where that differs.

    Raises ``ExtractorError``, one line with what was tried and how to fetch the model, if it cannot be had.
    """
    folder = Path(model)
    if folder.exists():
        if not folder.is_dir():
            raise ExtractorError(f"{model!r} is a file", where=family, remedy="give the folder of the model's files")
        return Source(folder, {"model": folder.name, "from": "local folder"})
    where = f"{family}:{asked or model}" + (f" ({model} on the hub)" if asked else "")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        raise ExtractorError(
            "is neither a folder here nor a hub name", where=where, remedy=f"{near(model, known)}write owner/model"
        )
    here = cached(model, revision) or _download(model, revision, where, known)
    return Source(here, {"model": model, "revision": here.name, "from": "hub"})


def near(name: str, known: Sequence[str]) -> str:
    """``"did you mean 'x'? "``, or nothing. Compares with the names and with their last parts."""
    by_last = {one.rpartition("/")[2].lower(): one for one in known} | {one.lower(): one for one in known}
    similar = nearest(name.lower(), by_last) or nearest(name.rpartition("/")[2].lower(), by_last)
    return f"did you mean {by_last[similar]!r}? " if similar else ""


def weights(folder: Path) -> list[Path]:
    """The safetensors files at the top of a model's folder."""
    return sorted(folder.glob("*.safetensors"))


def require_weights(source: Source, where: str) -> None:
    """Raise ``ExtractorError`` if the folder has no safetensors weights."""
    if weights(source.folder):
        return
    pickled = sorted(p.name for p in source.folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    raise ExtractorError(
        f"no safetensors weights in {source.folder}" + (f", only pickled ones ({pickled[0]})" if pickled else ""),
        where=where,
        remedy="convert them to safetensors" if pickled else "give the folder that holds model.safetensors",
    )


def fingerprint(folder: Path, extra: Sequence[str] = ()) -> str:
    """Hex digest of the weights and of all small configuration files in a model's folder."""
    files = [*weights(folder), *folder.glob("*.json"), *folder.glob("*/config.json"), *folder.glob("*.txt")]
    digest = hashlib.sha256()
    for path in sorted({*files, *(folder / name for name in extra)}):
        with open(path, "rb") as handle:
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def read(path: Path, where: str) -> Any:
    """A JSON file of a model; ``ExtractorError`` if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExtractorError(f"{path} cannot be read ({error})", where=where, remedy="the model is damaged") from error


def cached(model: str, revision: str | None) -> Path | None:
    """The snapshot of a hub model in the local cache, or None if it is not whole."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model, revision=revision, local_files_only=True))
    except (OSError, ValueError):  # a miss is a FileNotFoundError and a ValueError
        return None
    # An interrupted download leaves a snapshot without its weights.
    return folder if weights(folder) and any(folder.glob("*config.json")) else None


def _download(model: str, revision: str | None, where: str, known: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub import errors as hub

    hint = "" if model in known else near(model, known)
    fetch = f"hf download {model}" + (f" --revision {revision}" if revision else "")
    remedy = f"{hint}fetch it where there is a network ({fetch}) or give a local folder"
    try:
        info = within(PATIENCE, lambda: HfApi().model_info(model, revision=revision, timeout=PATIENCE / 2))
        names = [one.rfilename for one in info.siblings or []]
        if not any(name.endswith(".safetensors") for name in names):
            raise ExtractorError("the hub has no safetensors weights of it", where=where, remedy="use another model")
        return Path(snapshot_download(model, revision=info.sha, allow_patterns=FILES, ignore_patterns=NOT_FILES))
    except hub.RevisionNotFoundError as error:
        raise ExtractorError(f"the hub has no revision {revision!r} of it", where=where) from error
    except hub.GatedRepoError as error:
        raise ExtractorError("the hub asks for a login", where=where, remedy="hf auth login") from error
    except hub.RepositoryNotFoundError as error:
        raise ExtractorError("the hub has no such model (or keeps it private)", where=where, remedy=remedy) from error
    except ExtractorError:
        raise
    except Exception as error:  # whatever the HTTP client of this hub version raises without a network
        reason = "offline mode" if isinstance(error, hub.OfflineModeIsEnabled) else type(error).__name__
        raise ExtractorError(
            f"not a folder, not in the hub's cache, and the hub cannot be reached ({reason})",
            where=where,
            remedy=remedy,
        ) from error


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Result of ``work()``, or ``TimeoutError``; a name server that does not answer must not hold us for minutes."""
    box: list[Any] = []

    def run() -> None:
        try:
            box.append((True, work()))
        except Exception as error:  # handed over to the caller's thread
            box.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not box:
        raise TimeoutError(f"no answer in {seconds:.0f} s")
    good, value = box[0]
    if not good:
        raise value
    return value
