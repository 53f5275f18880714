"""Where image files are: every command gives the same answer, and no name is an error."""

import os
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, write
from support.runs_by_hand import DiagnosisRow, write_run

from demure.api.dataset import Dataset
from demure.data.describe.coverage import content_masks
from demure.data.describe.lookalikes import same_files
from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DataError
from demure.extraction.images import image_inputs
from demure.images.files import ImageFolder
from demure.images.unusable import UnusableInput

ODD = {
    # name: kind of the problem, or None for the name of a file
    "good.png": None,
    "sub/../good.png": None,
    "linked.png": None,
    "gone.png": "no such file",
    "good.png/x.png": "no such file",
    "sub": "not a file",
    "pipe.png": "not a file",
    ".": "not a file",
    "..": "outside the images folder",
    "../secret.png": "outside the images folder",
    "out.png": "outside the images folder",
    "/etc/passwd": "outside the images folder",
    "loop.png": "cannot be read",
    "loops/x.png": "cannot be read",
    "x" * 5000: "cannot be read",
    "x/" * 3000: "cannot be read",
    "nul\0.png": "no such file",
    "half\ud800.png": "no such file",
    "": "no image given",
    " ": "no image given",
    None: "no image given",
    float("nan"): "no image given",
    "http://x/y.png": "a URL, not a file",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "images"
    (folder / "sub").mkdir(parents=True)
    (folder.parent / "secret.png").write_bytes(b"x")
    (folder / "good.png").write_bytes(b"x")
    (folder / "linked.png").symlink_to("good.png")
    (folder / "out.png").symlink_to("../secret.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "loops").symlink_to("loops")
    os.mkfifo(folder / "pipe.png")
    return folder


@pytest.mark.parametrize("name", ODD, ids=lambda name: repr(name)[:20])
def test_odd_names_are_missing_files(folder, name):
    images = ImageFolder(folder)
    if ODD[name] is None:
        assert images.locate(name) == folder.resolve() / "good.png"
        assert images.find(name) == images.locate(name)
    else:
        with pytest.raises(UnusableInput) as problem:
            images.locate(name)
        assert problem.value.kind == ODD[name]
        assert images.find(name) is None
        assert "\0" not in problem.value.value
        assert len(problem.value.value) < 300


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "sub", "loops", "good.png", "loop.png", "\0", "a" * 300, "~"])
        | st.text("a.\\/ \0é\ud800", max_size=4),
        max_size=5,
    )
)
def test_no_name_leaves_the_folder_or_raises_anything_else(folder, parts):
    path = ImageFolder(folder).find("/".join(parts))
    assert path is None or path.is_relative_to(folder.resolve())


def test_every_command_has_the_same_images(folder, tmp_path):
    """An item whose image is odd is listed by each command, and nothing ends in an error."""
    storable = [name for name in ODD if isinstance(name, str) and name.strip() and "\ud800" not in name]
    exists = [ODD[name] is None for name in storable]
    frame = pd.DataFrame({"item_id": [f"i{k}" for k in range(len(storable))], "title": "t", "image": storable})
    frame.to_parquet(tmp_path / "items.parquet")
    clicks = write(tmp_path, "x.csv", csv_of([("u", item, k) for k, item in enumerate(frame["item_id"])]))
    dataset, report = made(tmp_path, clicks, items=tmp_path / "items.parquet", images=folder)
    assert dataset.items["image"].tolist() == storable
    kinds = [ODD[name] for name in storable]
    n_outside = kinds.count("outside the images folder")
    assert report.problems["image file outside the images folder"].count == n_outside
    assert report.problems["image file not there"].count == exists.count(False) - n_outside - 1  # one is a URL
    assert content_masks(dataset)["image"].tolist() == exists
    assert same_files(dataset) == [[k for k, there in enumerate(exists) if there]]
    assert (image_inputs(dataset.items, dataset.images_root).index >= 0).tolist() == exists
    from_python = Dataset.load(tmp_path / "out")
    assert [from_python.picture(item) is not None for item in frame["item_id"]] == exists
    rows = [DiagnosisRow("u", k, item, "image", "noise", 0.1) for k, item in enumerate(frame["item_id"])]
    reader = DiagnosisReader.open(write_run(tmp_path / "by hand", rows, frame, pictures=False))
    (tmp_path / "by hand" / "images").symlink_to(folder)
    assert [path is not None for path in reader.pictures(list(frame["item_id"]))] == exists


@pytest.mark.parametrize("option", ["interactions", "items", "images"])
def test_an_input_that_is_a_link_to_itself_is_refused_in_one_line(tmp_path, option):
    (tmp_path / "loop").symlink_to("loop")
    options = {
        "interactions": write(tmp_path, "x.csv", "user_id,item_id,timestamp\nu,a,1\n"),
        option: tmp_path / "loop",
    }
    with pytest.raises(DataError, match="loop"):
        made(tmp_path, **options)


def test_a_folder_that_is_a_link_to_itself_has_no_images():
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "loop").symlink_to("loop")
        assert ImageFolder(Path(folder) / "loop").find("a.png") is None
