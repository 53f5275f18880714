"""`demure export`: write a run as files that other programs serve, read back and checked before the folder appears."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure import __version__
from demure.errors import DemureError
from demure.evaluation.ranking import as_array
from demure.evaluation.top_k import top_k
from demure.files import atomic_folder, write_json
from demure.progress import Listener, Progress, silent
from demure.runs.load import LoadedRun, load_run
from demure.runs.manifest import recorded_dataset
from demure.runs.new_items import with_new_items
from demure.serving.arrays import ExportContents, export_contents
from demure.serving.index import IndexReport, index_items, require_usearch
from demure.serving.out_folder import MANIFEST, check_out
from demure.storage.names import shown
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    from demure.data.histories import Histories

FORMATS = ("onnx", "safetensors", "npy")
FORMAT_VERSION = 1
TOLERANCE = 1e-4
"""Largest difference of a score that passes, as a share of the spread of the user's scores."""
_MIN_SPREAD = 1e-2
_CHECKED_USERS, _QUERIES, _TOP = 64, 1_000, 20

Scores = Callable[[np.ndarray], np.ndarray]
"""Users (B,) -> scores of all items (B, I)."""


@dataclass(frozen=True)
class Check:
    """Agreement of the files with the run, over ``users`` users.

    ``what``: name of the compared output. ``difference``: the largest difference of a score, as a share of the spread
    of that user's scores. ``same_top``: share of the ``top`` best items that are the same.
    """

    what: str  # a key of export.json
    users: int
    difference: float
    top: int
    same_top: float


@dataclass(frozen=True)
class ExportReport:
    """A finished export.

    ``files``: name -> bytes. ``holds`` and ``lacks``: sentences on its contents. ``indexes``: with ``--ann``.
    ``new_items``: the number of items, the last ones, that came after the training; ``notes``: what they lack.
    """

    run: str
    out: str
    format: str
    model: str
    files: dict[str, int]
    holds: list[str]
    lacks: list[str]
    checks: list[Check]
    indexes: list[IndexReport] = field(default_factory=list)
    new_items: int = 0
    notes: list[str] = field(default_factory=list)


def export(
    run: Path,
    out: Path,
    *,
    format: str = "safetensors",
    ann: bool = False,
    k: int = _TOP,
    items: Path | None = None,
    images: Path | None = None,
    features: Mapping[str, Path] | None = None,
    overwrite: bool = False,
    listener: Listener = silent,
) -> ExportReport:
    """Write the run as ``format``, with the ids, into the folder ``out``.

    With ``ann``, also write indexes for an approximate search of the ``k`` best items, and measure their recall.
    ``items``: a file of items that came after the training, with their ``images`` and ``features`` as of
    ``demure.runs.new_items.with_new_items``; they follow the items of the dataset. The files are read back and their
    scores compared with the run's. Raises ``DemureError``, with nothing written, where they differ by more than
    ``TOLERANCE``, for an unknown format, one that the model does not have, a missing package, and ``items`` that the
    model cannot take.
    """
    if format not in FORMATS:
        remedy = did_you_mean(format, FORMATS) or f"one of {', '.join(FORMATS)}"
        raise DemureError(f"unknown format {format!r}", where="--format", remedy=remedy)
    if k < 1:
        raise DemureError(f"k is {k}", where="--k", remedy="give 1 or more")
    check_out(out, overwrite=overwrite)
    loaded, notes = load_run(run, "cpu"), list[str]()
    if items is not None:
        listener(Progress("encode the new items", 0))
        extended = with_new_items(loaded, items, images, features, "cpu")
        loaded, notes = extended.loaded, extended.notes
    dataset, new_items = loaded.dataset, len(loaded.new_item_ids)
    histories = dataset.histories("train", "valid", "test")
    listener(Progress("collect arrays", 0))
    contents = export_contents(loaded, histories)
    if ann and not contents.index_inputs:
        remedy = "leave --ann out"
        raise DemureError(f"{loaded.recipe.model!r} has no vectors to search", where="--ann", remedy=remedy)
    if ann:
        require_usearch()
    users = _some_users(histories)
    indexes: list[IndexReport] = []
    with atomic_folder(out, overwrite=overwrite) as part:
        write_json(part / "item_ids.json", [str(item_id) for item_id in loaded.item_ids])
        if "user_vectors" in contents.arrays:
            write_json(part / "user_ids.json", [str(user_id) for user_id in dataset.user_ids])
        listener(Progress(f"write {format}", 0))
        if format == "onnx":
            holds, lacks, checks = _as_onnx(loaded, histories, users, part)
            vectors = sorted(name for name in contents.arrays if name.endswith("item_vectors"))
            _write_npy({name: contents.arrays[name] for name in vectors}, part)
            holds += [f"{name}.npy" for name in vectors]
        else:
            write = _write_safetensors if format == "safetensors" else _write_npy
            read_back = write(contents.arrays, part)
            listener(Progress("check", 0))
            holds, lacks, checks = contents.holds, contents.lacks, [_check_arrays(contents, read_back, users)]
        if ann:
            listener(Progress("index", 0))
            for name, source in contents.index_inputs.items():
                queries = source.queries[np.random.default_rng(0).permutation(len(source.queries))[:_QUERIES]]
                indexes.append(index_items(name, source.vectors, queries, k, part / f"{name}.usearch", source.keys))
        manifest = {
            "format_version": FORMAT_VERSION,
            "demure_version": __version__,
            "run": shown(str(Path(run).absolute())),
            "format": format,
            "model": loaded.recipe.model,
            "recipe": loaded.recipe.name,
            "modalities": loaded.manifest.modalities,
            "dataset": recorded_dataset(loaded.path, loaded.manifest).identity,
            "new_items": new_items,
            "notes": notes,
            "numbers": contents.numbers,
            "holds": holds,
            "lacks": lacks,
            "checks": [asdict(check) for check in checks],
            "indexes": [asdict(index) for index in indexes],
        }
        write_json(part / MANIFEST, manifest)
        files = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
    return ExportReport(
        str(run),
        str(out),
        format,
        loaded.recipe.model,
        files,
        list(holds),
        list(lacks),
        checks,
        indexes,
        new_items,
        notes,
    )


def _some_users(histories: Histories) -> np.ndarray:
    """Return up to 64 users with a history, spread over all of them, and the one with the longest history."""
    length = histories.lengths
    with_history = np.flatnonzero(length > 0)
    if not len(with_history):
        return np.arange(min(len(length), 1))
    spread = np.linspace(0, len(with_history) - 1, min(len(with_history), _CHECKED_USERS)).astype(np.int64)
    return np.unique([*with_history[spread], int(length.argmax())])


def _write_safetensors(arrays: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Write all arrays to one file and return them as read back."""
    from safetensors.numpy import load_file, save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "arrays.safetensors")
    read_back: dict[str, np.ndarray] = load_file(folder / "arrays.safetensors")
    return read_back


def _write_npy(arrays: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Write a file for each array and return them as read back."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in arrays}


def _check_arrays(contents: ExportContents, read_back: Mapping[str, np.ndarray], users: np.ndarray) -> Check:
    for name, array in contents.arrays.items():
        if not np.array_equal(array, read_back[name]):
            raise DemureError(f"{name} reads back as something else", where="export", remedy="check the disk")
    return _check("scores", lambda users_B: contents.scores(read_back, users_B), contents.reference, users)


def _as_onnx(
    loaded: LoadedRun, histories: Histories, users: np.ndarray, folder: Path
) -> tuple[list[str], list[str], list[Check]]:
    """Write model.onnx to ``folder``; return what it holds and lacks, and its checks."""
    from demure.serving.onnx import build_graph, run_onnx, write_onnx

    graph = build_graph(loaded, histories)
    # The graph says what it lacks: what came before its length. It is held to the run with as much of the histories.
    reference = _reference(loaded, histories.last(graph.length) if graph.input_name == "history" else histories)
    write_onnx(graph, folder / "model.onnx")

    def scores(output: str) -> Scores:
        return lambda users_B: run_onnx(folder / "model.onnx", graph, histories, users_B)[output]

    checks = [_check(name, scores(name), reference[name], users) for name in graph.outputs if name in reference]
    return [f"model.onnx: {graph.holds}"], [graph.lacks] if graph.lacks else [], checks


def _reference(loaded: LoadedRun, histories: Histories) -> dict[str, Scores]:
    """Return the run's own value of each output of a graph."""
    reference: dict[str, Scores] = {"scores": loaded.array_scorer_of(histories)}
    model = loaded.recommender
    if model is not None:
        reference["content"] = lambda users_B: as_array(model.content(histories.padded(users_B))[0])
    return reference


def _check(output: str, scores: Scores, reference: Scores, users: np.ndarray) -> Check:
    """Compare the exported ``scores`` with the run's. Raises ``DemureError`` where they differ too much."""
    expected, exported = (np.asarray(scorer(users), np.float32) for scorer in (reference, scores))
    # Scores that hardly vary (content that explains nothing is 0 for all) differ by their rounding alone.
    spread = np.maximum(expected.max(1) - expected.min(1), _MIN_SPREAD)
    difference = float((np.abs(expected - exported).max(1) / spread).max())
    k = min(_TOP, expected.shape[1])
    lists = [top_k(matrix.copy(), k)[0] for matrix in (expected, exported)]
    same = float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(*lists, strict=True)]))
    if not difference <= TOLERANCE:
        raise DemureError(
            f"the exported {output} differ from the run's by {difference:.2g} of their spread, more than {TOLERANCE:g}",
            where="export",
            remedy="nothing was written; please report this",
        )
    return Check(output, len(users), difference, k, same)
