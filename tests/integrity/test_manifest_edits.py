"""A table of edits of manifests: whatever JSON a manifest holds, it is read or refused with one line."""

import copy
import json
import shutil

import pytest
from support.manifests import rewrite

from demure.data.dataset import Dataset
from demure.data.manifest import read_manifest as read_dataset_manifest
from demure.diagnosis import tables
from demure.errors import DemureError
from demure.features import store
from demure.integrity import SEAL
from demure.runs.load import load_run
from demure.runs.manifest import read_manifest
from demure.schema import SchemaError, build

VALUES = (None, [], {}, "x", -1, 10**12, float("nan"), True, [None], {"x": None})
MOVABLE = {("images_root",), ("media_roots",), ("dataset", "path"), ("dataset",)}


def keys(value, path=()):
    """The path of every key, to three levels."""
    if isinstance(value, dict) and len(path) < 3:
        for key, inner in value.items():
            yield (*path, key)
            yield from keys(inner, (*path, key))


def edits(content):
    """Yield the path and the content of every edit: each key deleted, and each with every value."""
    for path in keys(content):
        if path == (SEAL,):
            continue
        for value in ("deleted", *VALUES):
            edited = copy.deepcopy(content)
            section = edited
            for key in path[:-1]:
                section = section[key]
            if value == "deleted":
                del section[path[-1]]
            else:
                section[path[-1]] = value
            if json.dumps(edited) != json.dumps(content):
                yield path, edited


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("dataset/dataset.json", lambda folder: read_dataset_manifest(folder / "dataset")),
        ("dataset/features/text/features.json", lambda folder: store.read_manifest(folder / "dataset", "text")),
        ("run/run.json", lambda folder: read_manifest(folder / "run")),
    ],
)
def test_every_edit_is_noticed_or_of_a_path_that_a_person_may_edit(timed, run, tmp_path, name, read):
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    shutil.copyfile({"dataset": timed, "run": run}[name.split("/")[0]] / name.partition("/")[2], file)
    read(tmp_path)
    content = json.loads(file.read_text())
    for path, edited in edits(content):
        file.write_text(json.dumps(edited))
        if path in MOVABLE:
            try:
                read(tmp_path)
            except DemureError:
                continue
        else:
            with pytest.raises(DemureError) as caught:
                read(tmp_path)
            assert "\n" not in str(caught.value)
            assert str(tmp_path) in str(caught.value)
        edited.pop(SEAL)  # as an early version wrote it: read, or refused
        file.write_text(json.dumps(edited))
        try:
            read(tmp_path)
        except DemureError as error:
            assert "\n" not in str(error)  # noqa: PT017


CONTENTS = ["[]", "null", '"x"', "NaN", "5", "", "{", "\x00", "[" * 100_000, '{"a":' * 100_000, '{"format_version": 1}']


@pytest.mark.parametrize("name", ["dataset/dataset.json", "dataset/features/text/features.json", "run/run.json"])
@pytest.mark.parametrize("content", CONTENTS, ids=lambda content: content[:9])
def test_a_manifest_of_other_content_is_refused(timed, run, tmp_path, name, content):
    shutil.copytree(timed, tmp_path / "dataset")
    shutil.copytree(run, tmp_path / "run")
    rewrite(
        tmp_path / "run" / "run.json", lambda own: own["dataset"].update(path=str(tmp_path / "dataset")), sealed=True
    )
    (tmp_path / name).write_text(content)
    readers = {
        "dataset/dataset.json": (
            lambda: Dataset.load(tmp_path / "dataset"), lambda: tables.overview(tmp_path / "run"),
            lambda: load_run(tmp_path / "run"),
        ),
        "dataset/features/text/features.json": (lambda: store.load(tmp_path / "dataset", "text"),),
        "run/run.json": (lambda: load_run(tmp_path / "run"), lambda: tables.overview(tmp_path / "run")),
    }  # fmt: skip
    for read in readers[name]:
        with pytest.raises(DemureError) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_recipe_that_is_nested_too_deeply_is_refused(tmp_path):
    from demure.recipe.load import load_recipe

    for text in ("[" * 5000, "a: " + "[" * 5000, "a: " + "{b: " * 5000):
        (tmp_path / "recipe.yaml").write_text(text)
        with pytest.raises(DemureError):
            load_recipe(tmp_path / "recipe.yaml")
    with pytest.raises(DemureError):
        load_recipe("default", ["training.epochs=" + "[" * 5000])


def test_counts_that_the_tables_do_not_have_are_damage_and_no_lack_of_memory(timed, tmp_path):
    dataset = shutil.copytree(timed, tmp_path / "dataset")
    rewrite(dataset / "dataset.json", lambda content: content["counts"].update(users=10**12))
    with pytest.raises(
        DemureError, match=r"counts 1000000000000 in users.parquet, which has 60 rows; prepare it again"
    ):
        Dataset.load(dataset)


def test_the_message_names_the_key_and_the_value(timed, tmp_path):
    dataset = shutil.copytree(timed, tmp_path / "dataset")
    for change, words in (
        (lambda content: content["counts"].update(users="many"), "counts.users is 'many', not a whole number"),
        (lambda content: content["counts"].pop("items"), "counts.items is missing"),
        (lambda content: content.update(images_root=5), "images_root is 5, not text"),
        (lambda content: content.update(text_columns=["a", None]), r"text_columns\[1\] is null, not text"),
        (lambda content: content.update(has_time=1), "has_time is 1, not true or false"),
    ):
        shutil.copyfile(timed / "dataset.json", dataset / "dataset.json")
        rewrite(dataset / "dataset.json", change)
        with pytest.raises(DemureError, match=f"dataset.json: lacks or misstates an entry .{words}"):
            Dataset.load(dataset)


def test_a_whole_number_is_a_number_and_true_is_not():
    from demure.data.leakage import LeakCounts

    zeros = dict.fromkeys(LeakCounts.__dataclass_fields__, 0)
    assert build(LeakCounts, {**zeros, "cut": 5}).cut == 5
    with pytest.raises(SchemaError, match="cut is true, not a number"):
        build(LeakCounts, {**zeros, "cut": True})
