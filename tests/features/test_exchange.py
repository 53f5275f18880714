"""Features of other tools, by their ids; what does not fit is refused with the counts."""

import io
import itertools
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.small_sets import prepared_set

from demure.errors import DemureError, FeatureError
from demure.features import store
from demure.features.exchange import check_order, import_files
from demure.features.exporting import export_features
from demure.features.importing import read_matrix
from demure.preparation.prepare import PrepareOptions, prepare
from demure_cli.app import main


@pytest.fixture
def three(tmp_path):
    return prepared_set(
        tmp_path / "set", items={"item_id": ["a", "007", "c"], "image": ["x/one.v1.jpg", "two.jpg", None]}
    )


VECTORS = np.array([[1, 2], [3, 4], [0, 0]], dtype=np.float32)


def npy(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


@pytest.mark.parametrize("format", ["npy", "parquet", "mmrec", "ducho"])
def test_what_is_exported_is_imported_again(three, tmp_path, format):
    store.save(three, store.Features("sound", VECTORS, np.array([True, True, False]), {"encoder": "clip:a/b"}))
    before = store.load(three, "sound")
    made = export_features(three, tmp_path / "out", format=format)
    assert (made.items, made.modalities) == (3, ["sound"])
    source = {"npy": "sound.npy", "parquet": "sound.parquet", "mmrec": "", "ducho": ""}[format]
    [back] = import_files(three, tmp_path / "out" / source, "sound", partial=format == "ducho", overwrite=True)
    after = store.load(three, "sound")
    np.testing.assert_array_equal(after.vectors, before.vectors)
    np.testing.assert_array_equal(after.present, before.present)
    assert (back.present, back.missing, back.unknown) == (2, 1, 0)
    assert after.provenance["encoder"] == "import"


def test_the_exported_files_hold_ids_and_vectors(three, tmp_path):
    store.save(three, store.Features("sound", VECTORS, np.array([True, True, False]), {"encoder": "clip:a/b"}))
    export_features(three, tmp_path / "parquet", format="parquet")
    table = pq.read_table(tmp_path / "parquet" / "sound.parquet").to_pylist()
    assert table == [
        {"item_id": "a", "vector": [1, 2]},
        {"item_id": "007", "vector": [3, 4]},
        {"item_id": "c", "vector": None},
    ]
    export_features(three, tmp_path / "ducho", format="ducho")
    [first, second] = sorted((tmp_path / "ducho").rglob("*.npy"))
    assert str(first.relative_to(tmp_path / "ducho")) == "sound/clip-a-b/0/007.npy"
    assert np.load(second).tolist() == [[1, 2]]
    with pytest.raises(DemureError, match="already exists"):
        export_features(three, tmp_path / "ducho", format="ducho")
    with pytest.raises(FeatureError, match="unknown format 'csv'"):
        export_features(three, tmp_path / "x", format="csv")


@pytest.mark.parametrize("ids", ["text", "csv", "npy"])
def test_rows_of_a_matrix_are_matched_by_ids(three, tmp_path, ids):
    file = npy(tmp_path / "x.npy", VECTORS[[1, 0]])
    ids_file = tmp_path / f"ids.{ids}"
    if ids == "npy":
        np.save(ids_file, np.array(["007", "a"]))
    else:
        ids_file.write_text("007\na\n" if ids == "text" else "row,item_id\n0,007\n1,a\n")
    with pytest.raises(FeatureError) as error:
        import_files(three, file, "sound", ids=ids_file)
    assert "0 of its 2 rows are of no item here, and 1 of 3 items have no row (matched by ids of" in str(error.value)
    assert store.names(three) == []
    [made] = import_files(three, file, "sound", ids=ids_file, partial=True)
    assert store.load(three, "sound").vectors.tolist() == [[1, 2], [3, 4], [0, 0]]
    assert (made.absent, made.unknown) == (1, 0)


@pytest.mark.parametrize(
    ("rows", "ids", "message"),
    [
        (2, None, "2 rows for 3 items; name the items of the rows: --ids FILE"),
        (2, "a\n007\nc\n", "2 rows, and 3 ids in ids.txt"),
        (2, "x\ny\n", "2 of its 2 rows are of no item here, and 3 of 3 items have no row"),
        (4, "a\n007\nc\nd\n", "1 of its 4 rows are of no item here, and 0 of 3 items have no row"),
        (3, "a\na\nc\n", "item 'a' has two rows"),
        (1, "id,n\na,1\n", "no column 'item_id' (there are: id, n)"),
    ],
)
def test_a_mismatch_is_refused_with_the_counts(three, tmp_path, rows, ids, message):
    file = npy(tmp_path / "x.npy", np.ones((rows, 2)))
    if ids is not None:
        (tmp_path / "ids.txt").write_text(ids)
    with pytest.raises(FeatureError) as error:
        import_files(three, file, "sound", ids=None if ids is None else tmp_path / "ids.txt")
    assert message in str(error.value)
    assert store.names(three) == []


def test_mmrec_by_its_mapping(three, tmp_path):
    folder = tmp_path / "mmrec"
    npy(folder / "image_feat.npy", VECTORS[[2, 0, 1]] + 1)
    npy(folder / "text_feat.npy", np.ones((3, 5)))
    (folder / "i_id_mapping.csv").write_text("asin\titemID\nc\t0\na\t1\n007\t2\n")
    made = import_files(three, folder)
    assert [(imported.name, imported.by) for imported in made] == [
        ("image", "i_id_mapping.csv"),
        ("text", "i_id_mapping.csv"),
    ]
    assert store.load(three, "image").vectors.tolist() == [[2, 3], [4, 5], [1, 1]]
    (folder / "i_id_mapping.csv").write_text("asin,itemID\nc,0\na,1\n")
    with pytest.raises(FeatureError, match=r"3 rows, and 2 items in i_id_mapping\.csv"):
        import_files(three, folder, overwrite=True)


def test_mmrec_without_a_mapping_goes_by_its_numbers_or_by_place(three, tmp_path):
    folder = tmp_path / "mmrec"
    npy(folder / "image_feat.npy", VECTORS + 1)
    [made] = import_files(three, folder)
    assert made.by == "row k is item k here"
    numbered = prepared_set(tmp_path / "numbered", items={"item_id": ["2", "0", "1"]})
    [made] = import_files(numbered, folder)
    assert made.by == "row k is item k of MMRec"
    assert store.load(numbered, "image").vectors.tolist() == [[1, 1], [2, 3], [4, 5]]
    npy(folder / "image_feat.npy", np.ones((5, 2)))
    with pytest.raises(FeatureError, match="5 rows for 3 items, whose ids are not MMRec's numbers"):
        import_files(three, folder, overwrite=True)


def test_ducho_by_ids_or_by_names_of_images(three, tmp_path):
    leaf = tmp_path / "visual" / "torch" / "ResNet50" / "avgpool"
    npy(leaf / "one.npy", VECTORS[:1])
    npy(leaf / "two.npy", VECTORS[1:2])
    [made] = import_files(three, tmp_path / "visual", "image", partial=True)
    assert made.by == "names of the image files"
    assert store.load(three, "image").vectors.tolist() == VECTORS.tolist()
    npy(tmp_path / "texts" / "t" / "m" / "1" / "007.npy", np.ones((1, 4)))
    with pytest.raises(FeatureError, match="0 of its 1 rows are of no item here, and 2 of 3 items have no row"):
        import_files(three, tmp_path / "texts", "text")
    npy(tmp_path / "texts" / "t" / "m" / "2" / "007.npy", np.ones((1, 4)))
    with pytest.raises(FeatureError, match=r"2 folders with .npy files in it \(t/m/1, t/m/2\)"):
        import_files(three, tmp_path / "texts", "text")
    npy(leaf / "a.npy", np.ones((1, 3)))
    with pytest.raises(FeatureError, match="2 values, others have 3"):
        import_files(three, leaf, "image", overwrite=True)


def test_features_that_are_there_are_replaced_only_when_asked(three, tmp_path):
    file = npy(tmp_path / "x.npy", VECTORS)
    import_files(three, file, "sound")
    with pytest.raises(FeatureError, match="there are features 'sound'; say --overwrite"):
        import_files(three, file, "sound")
    import_files(three, npy(tmp_path / "x.npy", VECTORS + 1), "sound", overwrite=True)
    assert store.load(three, "sound").vectors.tolist() == (VECTORS + 1).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.npy"], "no such file or folder"),
        (["x.npy"], "has no name for the modality; write NAME=FILE"),
        (["a=x.npy", "--format", "hdf5"], "unknown format 'hdf5'"),
        (["history=x.npy"], "cannot name a modality"),
    ],
)
def test_bad_usage_is_one_line(three, tmp_path, monkeypatch, capsys, arguments, message):
    npy(tmp_path / "x.npy", VECTORS)
    monkeypatch.chdir(tmp_path)
    assert main(["features", "import", str(three), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_the_commands_print_what_they_did(three, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    file = npy(tmp_path / "x.npy", VECTORS)
    assert main(["features", "import", str(three), f"sound={file}", "--json"]) == 0
    [made] = json.loads(capsys.readouterr().out)["imported"]
    assert (made["present"], made["missing"], made["by"]) == (2, 1, "row k is item k")
    assert main(["features", "import", str(three), f"again={file}"]) == 0
    assert main(["features", "export", str(three), "sound", "--out", str(tmp_path / "o")]) == 0
    assert "sound" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["item_ids.csv", "sound.npy"]
    assert pd.read_csv(tmp_path / "o" / "item_ids.csv", dtype=str)["item_id"].tolist() == ["a", "007", "c"]


NUMBERED = ["5", "2", "7", "0", "1", "3", "6", "4"]


@pytest.fixture
def numbered(tmp_path):
    """A dataset without an items file, whose ids are numbers in the order of their interactions."""
    log = pd.DataFrame({"user_id": "u", "item_id": NUMBERED, "timestamp": range(8)})
    log.to_csv(tmp_path / "clicks.csv", index=False)
    prepare(PrepareOptions(tmp_path / "clicks.csv", tmp_path / "numbered"))
    return tmp_path / "numbered"


def test_rows_whose_order_is_not_certain_are_refused_until_it_is_given(numbered, tmp_path, capsys):
    own = np.arange(16, dtype=np.float32).reshape(8, 2) + 1  # row k is item k
    file = npy(tmp_path / "emb.npy", own)
    assert main(["features", "import", str(numbered), f"a={file}"]) == 2
    error = capsys.readouterr().err
    assert "not certain: the ids are 0 to 7, but the dataset has them in another order; name the items" in error
    assert len(error.splitlines()) == 1
    assert store.names(numbered) == []
    (tmp_path / "ids.txt").write_text("".join(f"{k}\n" for k in range(8)))
    import_files(numbered, file, "a", ids=tmp_path / "ids.txt")
    import_files(numbered, npy(tmp_path / "image_feat.npy", own))  # MMRec's: row k is item k
    import_files(
        numbered, npy(tmp_path / "x.npy", own[[int(k) for k in NUMBERED]]), "b", ids=numbered / "items.parquet"
    )
    assert store.names(numbered) == ["a", "b", "image"]
    for name in store.names(numbered):
        assert store.load(numbered, name).vectors[:, 0].tolist() == [2 * int(k) + 1 for k in NUMBERED]
    with pytest.raises(FeatureError, match=r"--ids: is for one \.npy file, not for mmrec"):
        import_files(numbered, tmp_path, ids=tmp_path / "ids.txt", overwrite=True)


def test_without_an_items_file_ids_of_any_kind_have_no_certain_order(tmp_path):
    pd.DataFrame({"user_id": "u", "item_id": ["b", "a"], "timestamp": [1, 2]}).to_csv(tmp_path / "c.csv", index=False)
    prepare(PrepareOptions(tmp_path / "c.csv", tmp_path / "set"))
    for name in ("x.npy", "image_feat.npy"):
        with pytest.raises(FeatureError, match="not certain: the dataset was made without an items file"):
            import_files(tmp_path / "set", npy(tmp_path / name, VECTORS[:2]), "x")


@given(st.permutations(range(6)), st.integers(0, 2), st.booleans(), st.sampled_from(["", "i"]))
@settings(max_examples=60, deadline=None)
def test_an_order_is_certain_only_where_ids_or_an_items_file_give_it(numbers, first, ordered, letter):
    """Ids 0..n-1 and 1..n are row numbers, whatever the items file; other ids have the order of the items file."""
    items = [f"{letter}{number + first}" for number in numbers]
    are_rows = not letter and first < 2
    certain = list(numbers) == sorted(numbers) if are_rows else ordered
    try:
        check_order(items, "x.npy", ordered=ordered)
    except FeatureError:
        assert not certain
    else:
        assert certain


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # of a fixed time
    return out.getvalue()


def saved(array, **options):
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(**{"archive/data.pkl": b"x"}), "is not a .npy matrix of numbers; save it with numpy.save"),
        (zipped(**{"a.npy": saved(VECTORS), "b.npy": saved(VECTORS)}), "holds 2 arrays (a, b)"),
        (zipped(), "is not a .npy matrix"),
        (zipped(**{"a.npy": b"\x93NUMPY\x01\x00"}), "cannot be read as a .npy matrix"),
        (zipped(**{"a.npy": saved(np.array([{}]), allow_pickle=True)}), "cannot be read as a .npy matrix"),
        (saved(np.array([{}]), allow_pickle=True), "cannot be read as a .npy matrix"),
        (saved(np.array(["a"])), "array of shape (1,) is not a matrix of numbers"),
        (saved(np.zeros(3)), "array of shape (3,) is not a matrix of numbers"),
        (saved(np.zeros((3, 0))), "array of shape (3, 0) is not a matrix of numbers"),
        (saved(np.zeros((3, 2, 1))), "array of shape (3, 2, 1) is not a matrix of numbers"),
        (b"PK\x03\x04", "cannot be read"),
        (b"", "cannot be read"),
    ],
    # By number: bytes of such length are no names, and differ where they hold a time.
    ids=itertools.count(),
)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_a_file_of_another_kind_is_one_plain_line(three, tmp_path, content, message, suffix):
    file = tmp_path / f"x{suffix}"
    file.write_bytes(content)
    with pytest.raises(FeatureError) as error:
        import_files(three, file, "sound")
    assert message in str(error.value)
    assert store.names(three) == []


def test_the_only_array_of_an_npz_is_read(three, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", VECTORS)
    import_files(three, tmp_path / "x.npz", "sound")
    assert store.load(three, "sound").vectors.tolist() == VECTORS.tolist()


@given(st.sampled_from([saved(VECTORS), zipped(**{"a.npy": saved(VECTORS)})]), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_matrices_are_refused_or_read(tmp_path, content, data):
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for place in data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=3)) if damaged else []:
        damaged[place] = data.draw(st.integers(0, 255))
    (tmp_path / "x.npy").write_bytes(damaged)
    try:
        matrix = read_matrix(tmp_path / "x.npy")
    except FeatureError as error:
        assert str(error).startswith(str(tmp_path / "x.npy"))  # noqa: PT017
    else:
        assert matrix.ndim == 2
