"""Files that processes of a cluster decode: the same batches, features and problems as beside the encoder."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.executors import PickledExecutor
from support.hostile_folder import feature_files, pictures
from support.hostile_images import postscript

from demure.cluster.executor import LOCAL
from demure.errors import MachineError
from demure.extraction import decoding_elsewhere
from demure.extraction.decoding_elsewhere import DecodersElsewhere, DecodeTask, decoders_elsewhere
from demure.extraction.extract import extract
from demure.extraction.images import ImageFile, image_inputs
from demure.extraction.workers import DecoderPool, PreparedFiles
from demure.images.unusable import UnusableInput

BAD = {
    "broken.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "empty.png": b"",
    "text.jpg": b"no image",
    "eps.jpg": postscript(),
}
TEMPLATE = np.zeros((4, 4, 3), np.uint8)
pytestmark = pytest.mark.skipif(decoding_elsewhere.START_METHOD != "fork", reason="processes are forked on Linux alone")


class HelpedExecutor(PickledExecutor):
    """Workers whose files are decoded by others."""

    def helpers(self, processes=None):
        self.processes = processes
        return PickledExecutor()


class Small:
    """Prepares an image as 4 x 4 pixels."""

    def prepare(self, image):
        return np.asarray(image.resize((4, 4)))


class Untravelled(Small):
    def __getstate__(self):
        raise TypeError("holds a handle")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("hostile"), 60, BAD)


@pytest.fixture
def load(dataset):
    import pandas as pd

    items = pd.DataFrame({"image": [f"{k}.png" for k in range(30)] + ["broken.png"]})
    return image_inputs(items, dataset.parent / "images").load


def decoded(decoders):
    """Return what ``decoders`` make of four batches, of which the third has the broken file."""
    batches = [("a", [0, 5, 2, 7, 1]), ("b", [9]), ("c", [12, 30, 11]), ("d", [30])]
    return [(tag, inputs, np.array(arrays), problems) for tag, inputs, arrays, problems in decoders.run(iter(batches))]


def test_batches_are_those_of_one_machine(dataset, load, monkeypatch):
    monkeypatch.setattr(decoding_elsewhere, "FILES_AT_ONCE", 2)
    executor = PickledExecutor()
    elsewhere = decoded(decoders_elsewhere(executor, dataset / "dataset.json", load, Small(), TEMPLATE, 20.0))
    assert executor.parts == 3 + 1 + 2 + 1
    beside = decoded(DecoderPool(PreparedFiles(load, Small()), TEMPLATE, 5, 1, 20.0))
    for ours, theirs in zip(elsewhere, beside, strict=True):
        assert (ours[0], ours[1], ours[3]) == (theirs[0], theirs[1], theirs[3])
        np.testing.assert_array_equal(ours[2], theirs[2])
    assert [(k, kind) for k, kind, _ in elsewhere[2][3]] == [(30, "not an image")]


def test_few_large_files_travel_together(dataset, load, monkeypatch):
    monkeypatch.setattr(decoding_elsewhere, "BYTES_AT_ONCE", 3 * TEMPLATE.nbytes + 1)
    decoders = decoders_elsewhere(PickledExecutor(), dataset / "dataset.json", load, Small(), TEMPLATE, 20.0)
    assert decoders.task.size == 3


def test_features_are_those_of_one_machine(dataset, tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    copies = [shutil.copytree(dataset, tmp_path / place / "dataset") for place in ("one", "other")]
    local = extract(copies[0], image="color", device="cpu")
    sizes = []
    work = DecodeTask.work
    monkeypatch.setattr(DecodeTask, "work", lambda task, part, _: sizes.append(len(part)) or work(task, part, _))
    executor = HelpedExecutor(2)
    remote = extract(copies[1], image="color", device="cpu", executor=executor, workers=3)
    assert executor.processes == 3
    assert sizes == [32, 32]
    assert feature_files(copies[1]) == feature_files(copies[0])
    [made], [expected] = remote.modalities, local.modalities
    assert made.problems == expected.problems
    assert sum(made.problems.values()) == len(BAD) + 2


def test_a_machine_that_does_not_see_the_files(dataset, load, monkeypatch):
    """Its files would be listed as missing."""
    decoders = decoders_elsewhere(PickledExecutor(), dataset / "dataset.json", load, Small(), TEMPLATE, 20.0)

    def absent(file):
        raise UnusableInput("cannot be read", f"{file.name}: No such file or directory")

    monkeypatch.setattr(ImageFile, "load", absent)  # also in the processes that are forked
    line = r"images/0\.png: .* does not see the file that .* sees there; put the files where all machines"
    with pytest.raises(MachineError, match=line):
        decoded(decoders)


def test_a_file_that_is_gone_is_a_problem(dataset, load, tmp_path):
    gone = dataclasses.replace(load, paths=[str(tmp_path / Path(path).name) for path in load.paths], root=tmp_path)
    decoders = decoders_elsewhere(PickledExecutor(), dataset / "dataset.json", gone, Small(), TEMPLATE, 20.0)
    assert [problem.kind for _, _, _, problems in decoded(decoders) for problem in problems] == ["cannot be read"] * 10


def test_where_files_are_decoded_beside_the_encoder(dataset, load, monkeypatch, caplog):
    arguments = (dataset / "dataset.json", load, Small(), TEMPLATE, 20.0)
    assert isinstance(decoders_elsewhere(PickledExecutor(), *arguments), DecodersElsewhere)
    assert decoders_elsewhere(LOCAL, *arguments) is None
    untravelled = (*arguments[:2], Untravelled(), *arguments[3:])
    assert decoders_elsewhere(PickledExecutor(), *untravelled) is None
    assert "it cannot travel to other machines: holds a handle" in caplog.text
    monkeypatch.setattr(decoding_elsewhere, "START_METHOD", "spawn")
    assert decoders_elsewhere(PickledExecutor(), *arguments) is None
