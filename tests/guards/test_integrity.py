"""Files of datasets, features and runs are read through ``demure.integrity``, which compares them with their hashes."""

import ast

import pytest
from guards.tree import modules

READERS = {"read_parquet", "read_table", "ParquetFile", "read_schema", "load_file", "safe_open", "RowReader"}
READERS |= {"np.load", "read_json"}
# Module -> why its files are not among the recorded ones.
EXEMPT = {
    "demure.integrity": "the reader",
    "demure.data.feature_manifest": "manifests, which record the others",
    "demure.data.manifest": "manifests, which record the others",
    "demure.storage.folders": "the state of an unfinished upload",
    "demure.runs.manifest": "manifests, which record the others",
    "demure.features.importing": "files of other tools",
    "demure.features.exchange": "files of other tools",
    "demure.diagnosis.calibration": "the user's file of truth",
    "demure.demo.run": "files that the demo has just exported",
    "demure.serving.export": "files that the export has just written",
    "demure.serving.out_folder": "the manifest of an earlier export",
    "demure.extraction.image_cache": "a cache",
    "demure.extraction.request_key": "a record that decides only whether the features' own hashes are asked at once",
    "demure.extraction.shards": "unfinished work, which is named by its hash",
    "demure.extraction.reuse": "a path that the reader returned",
    "demure.features.constant": "a path that the reader returned",
    "demure.training.checkpoint": "unfinished work, which carries a signature",
    "demure.training.tracked": "the seed in the run.json beside a recipe",
    "demure.tracking.protocol": "ids of other tools' runs",
    "demure.tuning.study": "the manifest of a study",
}
OF_RAW_FILES = "demure.preparation"


def reads(path):
    """The calls of readers in a module, and readers that are handed over uncalled."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        whole = ast.unparse(node) if isinstance(node, ast.Attribute) else name
        if name in READERS or whole in READERS:
            yield whole, node.lineno


@pytest.mark.parametrize("name", [name for name in modules("demure") if not name.startswith(OF_RAW_FILES)])
def test_every_reader_goes_through_integrity(name):
    calls = list(reads(modules("demure")[name]))
    assert name in EXEMPT or not calls, f"{name} reads by {calls}: open the file through a CheckedFolder"


def test_no_exemption_is_left_over():
    assert [name for name in EXEMPT if not list(reads(modules("demure")[name]))] == []
