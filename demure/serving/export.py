"""`demure export`: a run as files that other programs serve, read back and checked before they take their name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure import __version__
from demure.errors import DemureError, RunError
from demure.evaluation.top_k import top_k
from demure.files import atomic_folder, refuse_existing, write_json
from demure.progress import Listener, Progress, silent
from demure.runs.load import LoadedRun, load_run
from demure.runs.manifest import recorded_dataset
from demure.serving.arrays import Parts, parts_of
from demure.serving.index import IndexReport, index_items, need_usearch
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    from demure.data.histories import Histories

FORMATS = ("onnx", "safetensors", "npy")
FORMAT_VERSION = 1
MANIFEST = "export.json"
TOLERANCE = 1e-4
"""Largest difference of a score that passes, as a share of the spread of the user's scores."""
_FLAT = 1e-2
_CHECKED, _QUERIES, _TOP = 64, 1_000, 20


@dataclass(frozen=True)
class Check:
    """How far the files are from the run, over ``users``: the largest ``difference`` of a score, as a share of the
    spread of that user's scores, and the share of the ``top`` best items that are the same."""

    what: str
    users: int
    difference: float
    top: int
    same_top: float


@dataclass(frozen=True)
class ExportReport:
    """What was written. ``holds`` and ``lacks`` are in words; ``files``: name -> bytes; ``indexes`` with ``--ann``."""

    run: str
    out: str
    format: str
    model: str
    files: dict[str, int]
    holds: list[str]
    lacks: list[str]
    checks: list[Check]
    indexes: list[IndexReport] = field(default_factory=list)


def export(
    run: Path,
    out: Path,
    *,
    format: str = "safetensors",
    ann: bool = False,
    k: int = _TOP,
    overwrite: bool = False,
    listener: Listener = silent,
) -> ExportReport:
    """Write the run as ``format`` into the folder ``out``, with the ids; with ``ann`` also an index for an approximate
    search of the ``k`` best, and how much of the exact ones it finds.

    The files are read back, and what they score is held against the run; ``DemureError``, and nothing written, where
    they differ by more than ``TOLERANCE``. Raises it too for an unknown format, one that the model has not, and a
    missing package.
    """
    if format not in FORMATS:
        remedy = did_you_mean(format, FORMATS) or f"one of {', '.join(FORMATS)}"
        raise DemureError(f"unknown format {format!r}", where="--format", remedy=remedy)
    if k < 1:
        raise DemureError(f"k is {k}", where="--k", remedy="give 1 or more")
    if out.is_dir() and any(out.iterdir()) and overwrite and not (out / MANIFEST).is_file():
        raise RunError("is not an export folder", where=out, remedy="choose another --out")
    refuse_existing(out, overwrite=overwrite)
    loaded = load_run(run, "cpu")
    dataset = loaded.dataset
    histories = dataset.histories("train", "valid", "test")
    listener(Progress("take it apart", 0))
    parts = parts_of(loaded, histories)
    if ann and not parts.searched:
        remedy = "leave --ann out"
        raise DemureError(f"{loaded.recipe.model!r} has no vectors to search", where="--ann", remedy=remedy)
    if ann:
        need_usearch()
    users = _some_users(histories)
    indexes: list[IndexReport] = []
    with atomic_folder(out, overwrite=overwrite) as part:
        write_json(part / "item_ids.json", [str(one) for one in dataset.item_ids])
        if "user_vectors" in parts.arrays:
            write_json(part / "user_ids.json", [str(one) for one in dataset.user_ids])
        listener(Progress(f"write {format}", 0))
        if format == "onnx":
            holds, lacks, checks = _as_onnx(loaded, histories, users, part)
            kept = sorted(name for name in parts.arrays if name.endswith("item_vectors"))
            _write_npy({name: parts.arrays[name] for name in kept}, part)
            holds += [f"{name}.npy" for name in kept]
        else:
            read = _write_safetensors if format == "safetensors" else _write_npy
            back = read(parts.arrays, part)
            listener(Progress("check", 0))
            holds, lacks, checks = parts.holds, parts.lacks, [_check_arrays(parts, back, users)]
        if ann:
            listener(Progress("index", 0))
            for name, one in parts.searched.items():
                asked = one.queries[np.random.default_rng(0).permutation(len(one.queries))[:_QUERIES]]
                indexes.append(index_items(name, one.vectors, asked, k, part / f"{name}.usearch", one.keys))
        manifest = {
            "format_version": FORMAT_VERSION,
            "demure_version": __version__,
            "run": str(Path(run).absolute()),
            "format": format,
            "model": loaded.recipe.model,
            "recipe": loaded.recipe.name,
            "modalities": loaded.manifest.modalities,
            "dataset": recorded_dataset(loaded.path, loaded.manifest).identity,
            "numbers": parts.numbers,
            "holds": holds,
            "lacks": lacks,
            "checks": [asdict(one) for one in checks],
            "indexes": [asdict(one) for one in indexes],
        }
        write_json(part / MANIFEST, manifest)
        files = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
    return ExportReport(
        str(run), str(out), format, loaded.recipe.model, files, list(holds), list(lacks), checks, indexes
    )


def _some_users(histories: Histories) -> np.ndarray:
    """Up to 64 users with a history, spread over all of them, the one with the longest among them."""
    length = histories.lengths
    known = np.flatnonzero(length > 0)
    if not len(known):
        return np.arange(min(len(length), 1))
    chosen = known[np.linspace(0, len(known) - 1, min(len(known), _CHECKED)).astype(np.int64)]
    return np.unique([*chosen, int(length.argmax())])


def _write_safetensors(arrays: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Write one file; return what is read back from it."""
    from safetensors.numpy import load_file, save_file

    save_file({name: np.ascontiguousarray(one) for name, one in arrays.items()}, folder / "arrays.safetensors")
    back: dict[str, np.ndarray] = load_file(folder / "arrays.safetensors")
    return back


def _write_npy(arrays: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Write a file for each; return what is read back from them."""
    for name, one in arrays.items():
        np.save(folder / f"{name}.npy", one, allow_pickle=False)
    return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in arrays}


def _check_arrays(parts: Parts, back: Mapping[str, np.ndarray], users: np.ndarray) -> Check:
    for name, one in parts.arrays.items():
        if not np.array_equal(one, back[name]):
            raise DemureError(f"{name} reads back as something else", where="export", remedy="check the disk")
    return _check("scores", lambda which: parts.scores(back, which), parts.reference, users)


def _as_onnx(
    loaded: LoadedRun, histories: Histories, users: np.ndarray, folder: Path
) -> tuple[list[str], list[str], list[Check]]:
    from demure.serving.onnx import graph_of, run_onnx, write_onnx

    reference = _reference(loaded, histories)
    graph = graph_of(loaded, histories)
    write_onnx(graph, folder / "model.onnx")
    checks = [
        _check(
            name,
            lambda which, one=name: run_onnx(folder / "model.onnx", graph, histories, which)[one],  # type: ignore[misc]
            reference[name],
            users,
        )
        for name in graph.outputs
        if name in reference
    ]
    return [f"model.onnx: {graph.holds}"], [graph.lacks] if graph.lacks else [], checks


def _reference(loaded: LoadedRun, histories: Histories) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {"scores": loaded.scorer_of(histories)}
    model = loaded.recommender
    if model is not None:
        found["content"] = lambda which: model.content(histories.padded(which))[0]
    return found


def _check(
    what: str,
    scores: Callable[[np.ndarray], np.ndarray],
    reference: Callable[[np.ndarray], np.ndarray],
    users: np.ndarray,
) -> Check:
    """Raises ``DemureError`` where the largest difference is above ``TOLERANCE``."""
    ours, theirs = (np.asarray(one(users), np.float32) for one in (reference, scores))
    # Scores that hardly differ (content that explains nothing is 0 for all) differ by their rounding alone.
    spread = np.maximum(ours.max(1) - ours.min(1), _FLAT)
    difference = float((np.abs(ours - theirs).max(1) / spread).max())
    k = min(_TOP, ours.shape[1])
    lists = [top_k(one.copy(), k)[0] for one in (ours, theirs)]
    same = float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*lists, strict=True)]))
    if not difference <= TOLERANCE:
        raise DemureError(
            f"the exported {what} differ from the run's by {difference:.2g} of their spread, more than {TOLERANCE:g}",
            where="export",
            remedy="nothing was written; please report this",
        )
    return Check(what, len(users), difference, k, same)
