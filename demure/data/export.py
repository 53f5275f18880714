"""A dataset folder, with its split, as the files of another tool: RecBole, MMRec, Cornac."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from demure.data.dataset import Dataset
from demure.data.feature_manifest import read_arrays
from demure.data.splits import SPLIT_NAMES
from demure.errors import DataError
from demure.files import atomic_folder, refuse_existing
from demure.suggest import check_choice

EXPORTS = ("recbole", "mmrec", "cornac")
_SUFFIXES = {".inter", ".item", ".yaml", ".npy", ".csv", ".tsv", ".txt"}
_BATCH = 1 << 18  # rows


@dataclass(frozen=True)
class DatasetExport:
    """``folder`` and the files in it; ``read`` is the call with which the other tool reads them."""

    folder: Path
    format: str
    files: list[str]
    interactions: int
    read: str


def export_dataset(
    path: Path, out: Path, format: str, name: str | None = None, *, overwrite: bool = False
) -> DatasetExport:
    """Write the folder ``out`` with the files of ``format``, called ``name`` (default: the name of ``out``).

    The features are exported too: row k is item k, zeros where the item lacks the modality. Raises ``DataError`` for an
    unknown format and for an id that the format cannot hold, ``DatasetError`` and ``DemureError`` for folders that
    cannot be used.
    """
    check_choice(format, EXPORTS, "--format")
    dataset = Dataset.load(path)
    out = Path(out)
    name = name or Path(os.path.realpath(out)).name
    if not name or "/" in name or name.startswith("."):
        raise DataError(f"{name!r} cannot name files", where="--name", remedy="use letters and digits")
    refuse_existing(out, overwrite=overwrite)
    foreign = next((file for file in sorted(out.glob("*")) if file.is_dir() or file.suffix not in _SUFFIXES), None)
    if foreign is not None:
        problem = f"{foreign.name} is not what an export writes, so --overwrite does not replace it"
        raise DataError(problem, where=out, remedy="choose another --out")
    if format != "mmrec":
        _refuse_ids_with_separators(dataset, format)
    with atomic_folder(out, overwrite=overwrite) as folder:
        read = _WRITERS[format](dataset, folder, name)
        files = sorted(file.name for file in folder.iterdir())
    return DatasetExport(Path(out), format, files, dataset.manifest.counts.interactions, read)


def _refuse_ids_with_separators(dataset: Dataset, format: str) -> None:
    for role, ids in (("user", dataset.user_ids), ("item", dataset.item_ids)):
        bad = next((name for name in ids if name != name.strip() or any(c in name for c in "\t\n\r")), None)
        if bad is not None:
            problem = f"{role} id {bad!r} has a tab, a line break or spaces at its end, which {format} cannot hold"
            raise DataError(problem, where=dataset.path, remedy="use --format mmrec, which numbers the ids")


def export_interactions(
    dataset: Dataset, folder: Path, name: str, format: str, extra: Mapping[str, np.ndarray]
) -> list[str]:
    """Write the interactions alone into ``folder``, with the columns ``extra``: name -> a number (N,) for each, in the
    order of interactions.parquet. Return the names of the files.

    ``format`` is recbole or mmrec. Raises ``DataError`` for an id that RecBole's files cannot hold.
    """
    before = set(folder.iterdir())
    if format == "recbole":
        _refuse_ids_with_separators(dataset, format)
        settings = _write_recbole_interactions(dataset, folder, name, extra)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    else:
        _write_mmrec_interactions(dataset, folder, name, extra)
    return sorted(file.name for file in set(folder.iterdir()) - before)


def _write_recbole(dataset: Dataset, folder: Path, name: str) -> str:
    settings = _write_recbole_interactions(dataset, folder, name, {})
    texts = dataset.text_columns
    header = "\t".join(["item_id:token", *(f"{column}:token_seq" for column in texts)])
    values = (dataset.items["item_id"], *(dataset.items[column].map(_recbole_text) for column in texts))
    _write_lines(folder / f"{name}.item", [["\t".join(row) for row in zip(*values, strict=True)]], header)
    _write_features(dataset, folder, "{}.npy")
    settings["load_col"]["item"] = ["item_id", *texts]
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return f"run_recbole(dataset={name!r}, config_file_list=['{name}.yaml'], config_dict={{'data_path': ...}})"


def _write_recbole_interactions(
    dataset: Dataset, folder: Path, name: str, extra: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Write the three parts of the split; return the settings with which RecBole reads them."""
    columns = [*_interaction_columns(dataset), *extra]
    types = {"user_id": "token", "item_id": "token"}
    header = "\t".join(f"{column}:{types.get(column, 'float')}" for column in columns)
    for split in SPLIT_NAMES:
        _write_lines(folder / f"{name}.{split}.inter", _interaction_lines(dataset, split, columns, extra), header)
    return {
        "benchmark_filename": list(SPLIT_NAMES),
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        **({"TIME_FIELD": "timestamp"} if dataset.has_time else {}),
        "load_col": {"inter": columns},
        "eval_args": {"mode": "full", "order": "TO" if dataset.has_time else "RO"},
    }


def _write_mmrec(dataset: Dataset, folder: Path, name: str) -> str:
    _write_mmrec_interactions(dataset, folder, name, {})
    _write_features(dataset, folder, "{}_feat.npy")
    return f"{name} is what MMRec's `-d` takes, from its folder of data; inter_file_name: {name}.inter"


def _write_mmrec_interactions(dataset: Dataset, folder: Path, name: str, extra: Mapping[str, np.ndarray]) -> None:
    columns = _interaction_columns(dataset)
    header = "\t".join(["userID", "itemID", *columns[2:], "x_label", *extra])
    labels = {split: str(code) for code, split in enumerate(SPLIT_NAMES)}
    numbers = {**dict(zip(("user_id", "item_id"), dataset.codes(), strict=True)), **extra}
    lines = _interaction_lines(dataset, None, [*columns, "split", *extra], numbers, labels)
    _write_lines(folder / f"{name}.inter", lines, header)
    for file, role, key, ids in (
        ("u_id_mapping.csv", "user_id", "userID", dataset.user_ids),
        ("i_id_mapping.csv", "item_id", "itemID", dataset.item_ids),
    ):
        with open(folder / file, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow([role, key])
            writer.writerows((name, code) for code, name in enumerate(ids))


def _write_cornac(dataset: Dataset, folder: Path, name: str) -> str:
    columns = ["user_id", "item_id", "rating", *(["timestamp"] if dataset.has_time else [])]
    for split in SPLIT_NAMES:
        _write_lines(folder / f"{name}.{split}.tsv", _interaction_lines(dataset, split, columns))
    (folder / "item_ids.txt").write_text("".join(f"{item_id}\n" for item_id in dataset.item_ids), encoding="utf-8")
    _write_features(dataset, folder, "{}.npy")
    fmt = "UIRT" if dataset.has_time else "UIR"
    return f"BaseMethod.from_splits(*(Reader().read(f, fmt={fmt!r}) for f in (train, test)), fmt={fmt!r})"


_WRITERS: dict[str, Callable[[Dataset, Path, str], str]] = {
    "recbole": _write_recbole,
    "mmrec": _write_mmrec,
    "cornac": _write_cornac,
}


def _interaction_columns(dataset: Dataset) -> list[str]:
    names = dataset.files.columns("interactions.parquet")
    return ["user_id", "item_id", *(column for column in ("rating", "timestamp") if column in names)]


def _interaction_lines(
    dataset: Dataset,
    split: str | None,
    columns: list[str],
    numbers: Mapping[str, np.ndarray] | None = None,
    labels: dict[str, str] | None = None,
) -> Iterator[list[str]]:
    """Yield batches of lines: the interactions of one split, or of all, by user and then time.

    ``numbers``: column -> numbers (N,) to write, instead of its ids where it is stored.
    ``labels``: split -> text in the column ``split``.
    """
    with dataset.files.parquet("interactions.parquet") as file:
        stored = [column for column in columns if column in file.schema_arrow.names]
        start = 0
        for batch in file.iter_batches(_BATCH, columns=[*dict.fromkeys([*stored, "split"])]):
            table = pa.Table.from_batches([batch])
            for column, values in (numbers or {}).items():
                texts = pa.array(values[start : start + table.num_rows]).cast(pa.string())
                if column in table.column_names:
                    table = table.set_column(table.column_names.index(column), column, texts)
                else:
                    table = table.append_column(column, texts)
            start += table.num_rows
            if split is not None:
                table = table.filter(pc.equal(table["split"], split))
            cells = [_column_text(table, column, labels or {}) for column in columns]
            yield pc.binary_join_element_wise(*cells, "\t").to_pylist()


def _column_text(table: pa.Table, column: str, labels: dict[str, str]) -> pa.Array:
    """Return a column as text; a missing rating is 1."""
    if column == "split":
        return pa.array([labels[split] for split in table[column].to_pylist()], pa.string())
    if column == "rating":
        is_stored = column in table.column_names
        values = pc.fill_null(table[column], 1.0).to_numpy() if is_stored else np.ones(table.num_rows)
        return pa.array([f"{value:.15g}" for value in values], pa.string())
    if column == "timestamp":
        return pa.array([f"{value:.17g}" for value in table[column].to_numpy()], pa.string())
    return table[column].combine_chunks()


def _write_lines(path: Path, batches: Iterable[list[str]], header: str | None = None) -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        if header is not None:
            handle.write(header + "\n")
        for lines in batches:
            handle.writelines(f"{line}\n" for line in lines)


def _one_line(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())


def _recbole_text(value: object) -> str:
    """Return a text in one line, as RecBole can read it.

    pandas reads it for RecBole: a quotation mark at the start would be that of a quoted field, and no text, NA or null
    a missing value, on which RecBole fails. A space before it, which only separates words there, makes it a text.
    """
    text = _one_line(value)
    return f" {text}" if " " not in text or text.startswith(('"', "#")) else text


def _write_features(dataset: Dataset, folder: Path, pattern: str) -> None:
    for modality in dataset.modalities():
        vectors = read_arrays(dataset.path, modality, ("vectors",))["vectors"]
        np.save(folder / pattern.format(modality), vectors.astype(np.float32))
