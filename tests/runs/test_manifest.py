"""run.json: read and written with the same keys, whatever else is in it, and compared with its dataset."""

from pathlib import Path

import pytest

from demure.errors import DatasetError, RunError
from demure.files import read_json, write_json
from demure.runs.manifest import DatasetReference, RunManifest, read_manifest, recorded_dataset, verify_dataset

IDENTITY = {"interactions": "aa", "split": "bb", "items": "cc"}


def test_a_manifest_is_written_as_it_was_read(run, tmp_path):
    read_manifest(run).write(tmp_path)
    assert (tmp_path / "run.json").read_bytes() == (run / "run.json").read_bytes()


def test_keys_that_nobody_knows_are_kept_and_keys_that_are_absent_have_defaults(tmp_path):
    facts = {"format_version": 1, "recipe": "mine", "dataset": {"path": "/data", "identity": IDENTITY}, "note": [1]}
    write_json(tmp_path / "run.json", facts)
    manifest = read_manifest(tmp_path)
    assert (manifest.recipe, manifest.seed, manifest.modalities, manifest.pool) == ("mine", 0, [], None)
    assert manifest.dataset == DatasetReference("/data", IDENTITY)
    manifest.write(tmp_path)
    written = read_json(tmp_path / "run.json")
    assert {key: written[key] for key in facts} == facts
    assert "pool" not in written


@pytest.mark.parametrize("dataset", [None, "films", {}, {"identity": IDENTITY}])
def test_a_manifest_without_a_dataset_is_refused(tmp_path, dataset):
    write_json(tmp_path / "run.json", {"format_version": 1, "dataset": dataset})
    with pytest.raises(RunError, match="does not say what data it is of"):
        read_manifest(tmp_path)


def test_features_of_another_form_are_refused_in_a_manifest_without_hash(tmp_path):
    facts = {"dataset": {"path": "/data", "identity": IDENTITY}, "features": {"image": {"provenance": 1.5}}}
    write_json(tmp_path / "run.json", {"format_version": 1, **facts})
    with pytest.raises(RunError, match=r"features\.image\.provenance is 1\.5, not an object"):
        read_manifest(tmp_path)


def test_where_no_dataset_is_named_there_is_none_to_open():
    with pytest.raises(RunError, match="does not say what data it is of"):
        recorded_dataset(Path("run"), RunManifest())


def test_a_dataset_that_has_changed_is_refused():
    manifest = RunManifest(dataset=DatasetReference("/data", IDENTITY))
    verify_dataset(Path("run"), manifest, IDENTITY | {"more": "dd"}, Path("/data"))
    changed = r"/data: is not the dataset that run was made from \(split, items changed\)"
    with pytest.raises(DatasetError, match=changed):
        verify_dataset(Path("run"), manifest, {"interactions": "aa", "split": "xx"}, Path("/data"))
