"""dataset.json as a dataclass: the same content again, folders of early versions, damaged manifests."""

import pytest
from support import manifests
from support.data_by_hand import csv_of, made, write

from demure.data.dataset import Dataset
from demure.data.manifest import MANIFEST, read_manifest
from demure.errors import DatasetError


@pytest.fixture
def folder(tmp_path):
    dataset, _ = made(tmp_path, write(tmp_path, "x.csv", csv_of([("u", "a", 1), ("u", "b", 2), ("u", "c", 3)])))
    return dataset.path


def rewrite(folder, change):
    manifests.rewrite(folder / MANIFEST, change)


def test_it_is_written_as_it_was_read(folder):
    before = (folder / MANIFEST).read_bytes()
    read_manifest(folder).write(folder)
    assert (folder / MANIFEST).read_bytes() == before


def test_a_folder_of_an_early_version_opens(folder):
    rewrite(folder, lambda content: [content.pop(key) for key in ("leaks", "attribute_columns")])
    dataset = Dataset.load(folder)
    assert dataset.manifest.leaks is None
    assert dataset.attribute_columns == []
    assert dataset.manifest.counts.interactions == 3


def test_keys_of_a_later_version_are_ignored(folder):
    rewrite(folder, lambda content: content.update(more=1))
    assert Dataset.load(folder).n_users == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("hashes"),
        lambda content: content.pop("counts"),
        lambda content: content["counts"].pop("users"),
        lambda content: content.update(files=None),
    ],
)
def test_a_damaged_manifest_is_refused(folder, change):
    rewrite(folder, change)
    with pytest.raises(DatasetError, match=r"dataset\.json: lacks or misstates an entry .*; prepare it again"):
        Dataset.load(folder)
