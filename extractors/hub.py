"""Find a model's folder: a local one, one in the hub's cache, or a download; only safetensors, and no long waits."""

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

HUB_SECONDS = 20.0  # time limit for an answer of the hub
FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja"]
NOT_FILES = ["onnx/*", "openvino/*", "*.fp16.*", "*.bf16.*", "original/*", "metal/*"]


@dataclass(frozen=True)
class ModelFiles:
    """The ``folder`` of a model's files, and the ``facts`` that a manifest records about them."""

    folder: Path
    facts: dict[str, Any]


def find_model(
    model: str,
    revision: str | None,
    family: str,
    suggestions: Sequence[str] = (),
    alias: str = "",
    *,
    code: bool = False,
) -> ModelFiles:
    """Return the files of a model.

    Args:
        model: a folder, or a name on the hub.
        revision: a revision on the hub, or None.
        family: the family of encoders, for messages.
        suggestions: names to suggest where ``model`` is unknown.
        alias: the user's name for the model, where it differs.
        code: whether the model's Python files are wanted, too.

    Raises ``ExtractorError`` with what was tried and how to fetch the model.
    """
    folder = Path(model)
    if folder.exists():
        if not folder.is_dir():
            raise ExtractorError(f"{model!r} is a file", where=family, remedy="give the folder of the model's files")
        return ModelFiles(folder, {"model": folder.name, "from": "local folder"})
    where = f"{family}:{alias or model}" + (f" ({model} on the hub)" if alias else "")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        raise ExtractorError(
            "is neither a folder here nor a hub name",
            where=where,
            remedy=f"{suggestion(model, suggestions)}write owner/model",
        )
    snapshot = cached(model, revision)
    if snapshot is None or (code and not any(snapshot.glob("*.py"))):
        snapshot = _download(model, revision, where, suggestions, code=code)
    return ModelFiles(snapshot, {"model": model, "revision": snapshot.name, "from": "hub"})


def suggestion(name: str, names: Sequence[str]) -> str:
    """Return ``"did you mean 'x'? "``, or nothing; compares with the names and with their last parts."""
    by_last = {other.rpartition("/")[2].lower(): other for other in names} | {other.lower(): other for other in names}
    similar = nearest(name.lower(), by_last) or nearest(name.rpartition("/")[2].lower(), by_last)
    return f"did you mean {by_last[similar]!r}? " if similar else ""


def own_code(where: str, evidence: str, *, may_run: bool = True) -> ExtractorError:
    """Return the error for a model that cannot be had without running code of its folder."""
    allow = ", or read its code and say --trust-remote-code" if may_run else ""
    return ExtractorError(
        f"the model brings its own code ({evidence}), which demure does not run",
        where=where,
        remedy=f"use another model{allow}",
    )


def unused_code(*folders: Path) -> list[str]:
    """Return a note on each file that names code of the folder, for models that were loaded without it."""
    names = [
        f"{folder.name}/{name}"
        for folder in folders
        for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json")
        if (folder / name).is_file() and "auto_map" in (folder / name).read_text(encoding="utf-8")
    ]
    return [f"transformers' own classes, not the code that {', '.join(names)} names"] if names else []


def weights(folder: Path) -> list[Path]:
    """Return the safetensors files at the top of a model's folder."""
    return sorted(folder.glob("*.safetensors"))


def require_transformers_files(folder: Path, where: str, kind: str) -> None:
    """Raise ``ExtractorError`` if a folder lacks a part of a transformers model of ``kind`` (image, audio)."""
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            remedy = f"give a transformers {kind} model, whole"
            raise ExtractorError(f"no {name} in {folder}", where=where, remedy=remedy)
    require_weights(folder, where)


def require_weights(folder: Path, where: str) -> None:
    """Raise ``ExtractorError`` if a model's folder has no safetensors weights."""
    if weights(folder):
        return
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"})
    raise ExtractorError(
        f"no safetensors weights in {folder}" + (f", only pickled ones ({pickled[0]})" if pickled else ""),
        where=where,
        remedy="convert them to safetensors" if pickled else "give the folder that holds model.safetensors",
    )


def fingerprint(folder: Path, extra: Sequence[str] = ()) -> str:
    """Return the hex digest of the weights and of all small configuration files in a model's folder."""
    patterns = ("*.json", "*/*.json", "*.txt", "*/*.safetensors")
    files = [*weights(folder), *(path for pattern in patterns for path in folder.glob(pattern))]
    return _digest(folder, [*files, *(folder / name for name in extra)])


def code_fingerprint(folder: Path) -> str:
    """Return the hex digest of the Python files in a model's folder."""
    return _digest(folder, list(folder.rglob("*.py")))


def _digest(folder: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        with open(path, "rb") as handle:
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def read_json_file(path: Path, where: str) -> Any:
    """Return the content of a model's JSON file. Raises ``ExtractorError`` if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ExtractorError(f"{path} cannot be read ({error})", where=where, remedy="the model is damaged") from error


def cached(model: str, revision: str | None) -> Path | None:
    """Return the snapshot of a hub model in the local cache, or None if it is incomplete."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model, revision=revision, local_files_only=True))
    except (OSError, ValueError):  # a miss is a FileNotFoundError and a ValueError
        return None
    # An interrupted download leaves a snapshot without its weights.
    whole = weights(folder) or any(folder.glob("*/*.safetensors"))
    return folder if whole and (any(folder.glob("*config.json")) or (folder / "modules.json").is_file()) else None


def _download(model: str, revision: str | None, where: str, suggestions: Sequence[str], *, code: bool = False) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub import errors as hub

    hint = "" if model in suggestions else suggestion(model, suggestions)
    fetch = f"hf download {model}" + (f" --revision {revision}" if revision else "")
    remedy = f"{hint}fetch it where there is a network ({fetch}) or give a local folder"
    try:
        info = run_with_timeout(
            HUB_SECONDS, lambda: HfApi().model_info(model, revision=revision, timeout=HUB_SECONDS / 2)
        )
        names = [file.rfilename for file in info.siblings or []]
        if not any(name.endswith(".safetensors") for name in names):
            raise ExtractorError("the hub has no safetensors weights of it", where=where, remedy="use another model")
        wanted = [*FILES, "*.py"] if code else FILES
        return Path(snapshot_download(model, revision=info.sha, allow_patterns=wanted, ignore_patterns=NOT_FILES))
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


def run_with_timeout(seconds: float, work: Callable[[], Any]) -> Any:
    """Return the result of ``work()``. Raises ``TimeoutError``, as a dead name server would block for minutes."""
    results: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            results.append((True, work()))
        except Exception as error:  # raised in the caller's thread
            results.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeoutError(f"no answer in {seconds:.0f} s")
    succeeded, value = results[0]
    if not succeeded:
        raise value
    return value
