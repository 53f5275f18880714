"""Export and back: the other tool's files have the same split."""

import csv

import numpy as np
import pandas as pd
import pytest
from support.data_by_hand import csv_of, made, rows, write

from demure.data.dataset import Dataset
from demure.data.export import EXPORTS, export_dataset
from demure.errors import DataError, DemureError
from demure.features import store
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features

PARTS = ("train", "valid", "test")


def interactions(timed=True, rated=True):
    rng = np.random.default_rng(0)
    draws = rng.integers(0, [[20], [30], [9], [5]], (4, 400)).T
    columns = ["user_id", "item_id", *(["timestamp"] if timed else []), *(["rating"] if rated else [])]
    lines = [
        (f"u {a}", f"{b:03d}", *([1_600_000_000 + t / 4] if timed else []), *([r + 0.5] if rated else []))
        for a, b, t, r in draws
    ]
    return csv_of(lines, ",".join(columns))


@pytest.fixture(params=[(True, True, "leave-one-out"), (True, False, "time"), (False, False, "ratio")])
def dataset(request, tmp_path):
    timed, rated, split = request.param
    path = write(tmp_path, "x.csv", interactions(timed, rated))
    items = "".join(f'{k:03d},"Title ""{k}""\ttabbed",A|B\n' for k in range(31, -1, -1))
    options = {"items": write(tmp_path, "items.csv", "item_id,title,genres\n" + items), "split": split}
    np.save(tmp_path / "image.npy", np.random.default_rng(1).normal(size=(32, 3)).astype(np.float32))
    features = {"image": tmp_path / "image.npy"}
    return Dataset.load(
        prepare_with_features(PrepareOptions(path, tmp_path / "toy", features=features, **options)).dataset
    )


def interactions_by_split(dataset, users=str, items=str):
    """(Part, user) -> (items in order, times)."""
    by_user = {}
    for part in PARTS:
        history = dataset.histories(part)
        for k, user in enumerate(dataset.user_ids):
            own = slice(history.indptr[k], history.indptr[k + 1])
            times = None if history.times is None else history.times[own].tolist()
            if own.stop > own.start:
                by_user[part, users(user)] = ([items(dataset.item_ids[item]) for item in history.items[own]], times)
    return by_user


def test_recbole_and_back(tmp_path, dataset):
    made_files = export_dataset(dataset.path, tmp_path / "rb" / "toy", "recbole").files
    assert made_files == ["image.npy", "toy.item", "toy.test.inter", "toy.train.inter", "toy.valid.inter", "toy.yaml"]
    header = (tmp_path / "rb" / "toy" / "toy.train.inter").read_text().splitlines()[0]
    assert header.startswith("user_id:token\titem_id:token")
    options = {"items": tmp_path / "rb" / "toy" / "toy.item", "split": "given"}
    back, _ = made(tmp_path, tmp_path / "rb" / "toy" / "toy.train.inter", **options)
    assert interactions_by_split(back) == interactions_by_split(dataset)
    assert list(back.item_ids) == list(dataset.item_ids)
    assert back.items["title"].tolist() == [" ".join(title.split()) for title in dataset.items["title"]]


def test_recbole_can_read_every_text(tmp_path):
    titles = ['"Dune" and others', "", "NA", "null", "#N/A N/A", 'a "quoted" word', "Dune"]
    pd.DataFrame({"item_id": range(7), "title": titles}).to_csv(tmp_path / "items.csv", index=False)
    log = write(tmp_path, "x.csv", csv_of([("u", k, k) for k in range(7)]))
    dataset, _ = made(tmp_path, log, items=tmp_path / "items.csv")
    export_dataset(dataset.path, tmp_path / "rb" / "toy", "recbole")
    # As RecBole reads its files, and what it then makes of a sequence of words.
    frame = pd.read_csv(tmp_path / "rb" / "toy" / "toy.item", delimiter="\t", engine="python", dtype=str)
    words = [list(filter(None, text.split(" "))) for text in frame["title:token_seq"]]
    assert words == [(title or "").split() for title in dataset.items["title"]]
    assert words[0] == ['"Dune"', "and", "others"]


def test_mmrec_and_back(tmp_path, dataset):
    assert "image_feat.npy" in export_dataset(dataset.path, tmp_path / "mm" / "toy", "mmrec").files
    report = prepare_with_features(
        PrepareOptions(tmp_path / "mm" / "toy" / "toy.inter", tmp_path / "back", format="mmrec", split="given")
    )
    back = Dataset.load(report.dataset)

    def mapping(name):
        with open(tmp_path / "mm" / "toy" / name, newline="") as handle:
            return {row[1]: row[0] for row in csv.reader(handle)}

    users, items = mapping("u_id_mapping.csv"), mapping("i_id_mapping.csv")
    assert interactions_by_split(back, users.get, items.get) == interactions_by_split(dataset)
    assert [items[item_id] for item_id in back.item_ids] == list(dataset.item_ids)
    assert np.array_equal(store.load(back.path, "image").vectors, store.load(dataset.path, "image").vectors)
    if not dataset.has_time:
        assert back.histories(*PARTS).items.tolist() != [] and back.histories(*PARTS).times is None  # noqa: PT018


def test_cornac_and_back(tmp_path, dataset):
    export_dataset(dataset.path, tmp_path / "cc" / "toy", "cornac")
    back, report = made(tmp_path, tmp_path / "cc" / "toy" / "toy.train.tsv", format="cornac", split="given")
    assert interactions_by_split(back) == interactions_by_split(dataset)
    assert report.format == "cornac"
    first = (tmp_path / "cc" / "toy" / "toy.train.tsv").read_text().splitlines()[0].split("\t")
    assert len(first) == (4 if dataset.has_time else 3)
    assert float(first[2]) in (0.5, 1.0, 1.5, 2.5, 3.5, 4.5)
    assert (tmp_path / "cc" / "toy" / "item_ids.txt").read_text().split() == list(dataset.item_ids)


@pytest.mark.parametrize("batch", [1, 7, 1 << 18])
def test_the_size_of_a_batch_does_not_matter(tmp_path, dataset, monkeypatch, batch):
    export_dataset(dataset.path, tmp_path / "a", "mmrec")
    monkeypatch.setattr("demure.data.export._BATCH", batch)
    export_dataset(dataset.path, tmp_path / "b", "mmrec")
    assert (tmp_path / "a" / "a.inter").read_bytes() == (tmp_path / "b" / "b.inter").read_bytes()


def test_ids_that_lines_cannot_hold(tmp_path):
    path = write(tmp_path, "x.jsonl", [{"user_id": "u\tv", "item_id": "two\nlines", "timestamp": 1}])
    dataset, _ = made(tmp_path, path)
    for format in ("recbole", "cornac"):
        with pytest.raises(DataError, match=r"user id 'u\\tv' has a tab.*use --format mmrec"):
            export_dataset(dataset.path, tmp_path / "no", format)
    export_dataset(dataset.path, tmp_path / "mm" / "toy", "mmrec")
    back, _ = made(tmp_path, tmp_path / "mm" / "toy" / "toy.inter", format="mmrec", split="given", out="back")
    assert rows(back) == [("0", "0")]


def test_refusals(tmp_path, dataset):
    with pytest.raises(DataError, match="--format: unknown value 'recbol'; did you mean recbole"):
        export_dataset(dataset.path, tmp_path / "no", "recbol")
    with pytest.raises(DataError, match="'a/b' cannot name files"):
        export_dataset(dataset.path, tmp_path / "no", "recbole", name="a/b")
    write(tmp_path, "there/letter", b"dear")
    for format in EXPORTS:
        with pytest.raises(DemureError, match="already exists"):
            export_dataset(dataset.path, tmp_path / "there", format)
        with pytest.raises(DemureError, match="not what an export writes, so --overwrite does not replace it"):
            export_dataset(dataset.path, tmp_path / "there", format, overwrite=True)
    assert not (tmp_path / "no").exists()
    export_dataset(dataset.path, tmp_path / "mm" / "toy", "mmrec")
    export_dataset(dataset.path, tmp_path / "mm" / "toy", "recbole", overwrite=True)
    assert (tmp_path / "mm" / "toy" / "toy.item").is_file()
    assert not (tmp_path / "mm" / "toy" / "toy.inter").exists()
