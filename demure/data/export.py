"""A dataset folder in another tool's files, with the same split: RecBole, MMRec, Cornac."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from demure.data.dataset import Dataset
from demure.data.splits import SPLIT_NAMES
from demure.errors import DataError
from demure.files import atomic_folder, refuse_existing
from demure.suggest import check_choice

EXPORTS = ("recbole", "mmrec", "cornac")
_SUFFIXES = {".inter", ".item", ".yaml", ".npy", ".csv", ".tsv", ".txt"}
_BATCH = 1 << 18


@dataclass(frozen=True)
class Exported:
    """``folder`` and the files in it; ``read`` is how the other tool reads it."""

    folder: Path
    format: str
    files: list[str]
    interactions: int
    read: str


def export(path: Path, out: Path, format: str, name: str | None = None, *, overwrite: bool = False) -> Exported:
    """Write the folder ``out`` with the files of ``format``, called ``name`` (default: as ``out``).

    Features go with it: row k is item k, zeros where it lacks the modality. Raises ``DataError`` for an unknown format
    and for an id that the format cannot hold, ``DatasetError`` and ``DemureError`` for folders that cannot be used.
    """
    check_choice(format, EXPORTS, "--format")
    dataset = Dataset.load(path)
    out = Path(out)
    name = name or out.resolve().name
    if not name or "/" in name or name.startswith("."):
        raise DataError(f"{name!r} cannot name files", where="--name", remedy="use letters and digits")
    refuse_existing(out, overwrite=overwrite)
    strange = next((one for one in sorted(out.glob("*")) if one.is_dir() or one.suffix not in _SUFFIXES), None)
    if strange is not None:
        reason = f"{strange.name} is not what an export writes, so --overwrite does not replace it"
        raise DataError(reason, where=out, remedy="choose another --out")
    if format != "mmrec":
        for role, ids in (("user", dataset.user_ids), ("item", dataset.item_ids)):
            bad = next((one for one in ids if one != one.strip() or any(c in one for c in "\t\n\r")), None)
            if bad is not None:
                reason = f"{role} id {bad!r} has a tab, a line break or spaces at its end, which {format} cannot hold"
                raise DataError(reason, where=path, remedy="use --format mmrec, which numbers the ids")
    with atomic_folder(out, overwrite=overwrite) as folder:
        read = _WRITERS[format](dataset, folder, name)
        files = sorted(one.name for one in folder.iterdir())
    return Exported(Path(out), format, files, int(dataset.manifest["counts"]["interactions"]), read)


def _recbole(dataset: Dataset, folder: Path, name: str) -> str:
    columns = _columns(dataset)
    types = {"user_id": "token", "item_id": "token"}
    header = "\t".join(f"{column}:{types.get(column, 'float')}" for column in columns)
    for part in SPLIT_NAMES:
        _lines(folder / f"{name}.{part}.inter", _rows(dataset, part, columns), header)
    texts = dataset.text_columns
    header = "\t".join(["item_id:token", *(f"{column}:token_seq" for column in texts)])
    cells = (dataset.items[column].map(_one_line) for column in ["item_id", *texts])
    _lines(folder / f"{name}.item", [["\t".join(row) for row in zip(*cells, strict=True)]], header)
    _features(dataset, folder, "{}.npy")
    settings = {
        "benchmark_filename": list(SPLIT_NAMES),
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        **({"TIME_FIELD": "timestamp"} if dataset.has_time else {}),
        "load_col": {"inter": columns, "item": ["item_id", *texts]},
        "eval_args": {"mode": "full", "order": "TO" if dataset.has_time else "RO"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return f"run_recbole(dataset={name!r}, config_file_list=['{name}.yaml'], config_dict={{'data_path': ...}})"


def _mmrec(dataset: Dataset, folder: Path, name: str) -> str:
    columns = _columns(dataset)
    header = "\t".join(["userID", "itemID", *columns[2:], "x_label"])
    labels = {part: str(code) for code, part in enumerate(SPLIT_NAMES)}
    numbered = dict(zip(("user_id", "item_id"), dataset.codes(), strict=True))
    _lines(folder / f"{name}.inter", _rows(dataset, None, [*columns, "split"], numbered, labels), header)
    for file, role, key, ids in (
        ("u_id_mapping.csv", "user_id", "userID", dataset.user_ids),
        ("i_id_mapping.csv", "item_id", "itemID", dataset.item_ids),
    ):
        with open(folder / file, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow([role, key])
            writer.writerows((one, k) for k, one in enumerate(ids))
    _features(dataset, folder, "{}_feat.npy")
    return f"{name} is what MMRec's `-d` takes, from its folder of data; inter_file_name: {name}.inter"


def _cornac(dataset: Dataset, folder: Path, name: str) -> str:
    columns = ["user_id", "item_id", "rating", *(["timestamp"] if dataset.has_time else [])]
    for part in SPLIT_NAMES:
        _lines(folder / f"{name}.{part}.tsv", _rows(dataset, part, columns))
    (folder / "item_ids.txt").write_text("".join(f"{one}\n" for one in dataset.item_ids), encoding="utf-8")
    _features(dataset, folder, "{}.npy")
    fmt = "UIRT" if dataset.has_time else "UIR"
    return f"BaseMethod.from_splits(*(Reader().read(f, fmt={fmt!r}) for f in (train, test)), fmt={fmt!r})"


_WRITERS: dict[str, Callable[[Dataset, Path, str], str]] = {"recbole": _recbole, "mmrec": _mmrec, "cornac": _cornac}


def _columns(dataset: Dataset) -> list[str]:
    there = pq.read_schema(dataset.path / "interactions.parquet").names
    return ["user_id", "item_id", *(column for column in ("rating", "timestamp") if column in there)]


def _rows(
    dataset: Dataset,
    part: str | None,
    columns: list[str],
    numbered: dict[str, np.ndarray] | None = None,
    labels: dict[str, str] | None = None,
) -> Iterator[list[str]]:
    """Lines of the interactions of one part, or of all, by user and then time. ``numbered``: column -> what to
    give instead, (N,) in the order of the rows."""
    file = pq.ParquetFile(dataset.path / "interactions.parquet")
    there = [column for column in columns if column in file.schema_arrow.names]
    at = 0
    for batch in file.iter_batches(_BATCH, columns=[*dict.fromkeys([*there, "split"])]):
        table = pa.Table.from_batches([batch])
        for column, values in (numbered or {}).items():
            given = pa.array(values[at : at + table.num_rows]).cast(pa.string())
            table = table.set_column(table.column_names.index(column), column, given)
        at += table.num_rows
        if part is not None:
            table = table.filter(pc.equal(table["split"], part))
        cells = [_cells(table, column, labels or {}) for column in columns]
        yield pc.binary_join_element_wise(*cells, "\t").to_pylist()


def _cells(table: pa.Table, column: str, labels: dict[str, str]) -> pa.Array:
    """A column as text; a rating that is not there is 1."""
    if column == "split":
        return pa.array([labels[one] for one in table[column].to_pylist()], pa.string())
    if column == "rating":
        there = column in table.column_names
        values = pc.fill_null(table[column], 1.0).to_numpy() if there else np.ones(table.num_rows)
        return pa.array([f"{value:.15g}" for value in values], pa.string())
    if column == "timestamp":
        return pa.array([f"{value:.17g}" for value in table[column].to_numpy()], pa.string())
    return table[column].combine_chunks()


def _lines(path: Path, batches: Iterable[list[str]], header: str | None = None) -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        if header is not None:
            handle.write(header + "\n")
        for lines in batches:
            handle.writelines(f"{line}\n" for line in lines)


def _one_line(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())


def _features(dataset: Dataset, folder: Path, name: str) -> None:
    from safetensors.numpy import load_file

    for modality in dataset.modalities():
        arrays = load_file(str(dataset.path / "features" / modality / "features.safetensors"))
        np.save(folder / name.format(modality), arrays["vectors"].astype(np.float32))
