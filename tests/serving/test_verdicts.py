"""The weights of an export are the verdicts of the run, in every file and in PyTorch; the example of the docs runs."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from guards.tree import ROOT
from support.data_by_hand import made, rows
from support.manifests import rewrite

import demure
from demure.data.dataset import Dataset
from demure.data.export import export_dataset
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.weights import read_weights
from demure.errors import DemureError, RunError
from demure.serving.verdicts import export_verdicts
from demure_cli.app import main


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("weights") / "toy"
    return out, export_verdicts(run, out)


@pytest.fixture(scope="module")
def expected(run):
    """(User, item) -> modality -> probability, from the file of the run; None where the modality is missing."""
    frame = pd.read_parquet(run / "diagnosis.parquet")
    weights = {}
    for row in frame.itertuples():
        value = None if row.verdict == "missing" else row.poi_probability
        weights.setdefault((row.user_id, row.item_id), {})[row.modality] = value
    return weights


def test_the_table_has_every_verdict(exported, expected):
    out, report = exported
    frame = pd.read_parquet(out / "weights.parquet")
    assert list(frame.columns) == ["user_id", "item_id", "poi_image", "poi_text"]
    assert report.interactions == len(frame) == len(expected)
    for row in frame.itertuples():
        for modality, value in expected[row.user_id, row.item_id].items():
            weight = getattr(row, f"poi_{modality}")
            assert np.isnan(weight) if value is None else weight == pytest.approx(value, abs=1e-6)
    assert frame["poi_image"].isna().any()
    for modality in report.modalities:
        column = frame[modality.column]
        assert (modality.present, modality.mean) == (column.count(), pytest.approx(column.mean(), abs=1e-5))


def test_the_files_of_recbole_have_the_same_weights(exported, expected, timed, tmp_path):
    out, report = exported
    parts = {
        part: pd.read_csv(out / "recbole" / "toy" / f"toy.{part}.inter", sep="\t", dtype={0: str, 1: str})
        for part in ("train", "valid", "test")
    }
    assert list(parts["train"].columns)[-2:] == ["poi_image:float", "poi_text:float"]
    for row in parts["train"].to_numpy():
        weights = [value or 0 for value in expected[row[0], row[1]].values()]
        assert list(row[-2:]) == pytest.approx(weights, abs=1e-6)
    assert (parts["valid"].iloc[:, -2:] == 1).all(axis=None)
    assert (parts["test"].iloc[:, -2:] == 1).all(axis=None)
    assert "poi_image" in (out / "recbole" / "toy" / "toy.yaml").read_text()
    back, _ = made(tmp_path, out / "recbole" / "toy" / "toy.train.inter", split="given")
    assert rows(back, "train") == rows(Dataset.load(timed), "train")
    assert set(report.files) == {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}


def test_mmrec_reads_the_same_interactions_as_without_weights(exported, expected, timed, tmp_path):
    out, _ = exported
    export_dataset(timed, tmp_path / "toy", "mmrec")
    frame = pd.read_csv(out / "mmrec" / "toy" / "toy.inter", sep="\t")
    columns = ["userID", "itemID", "x_label"]
    pd.testing.assert_frame_equal(frame[columns], pd.read_csv(tmp_path / "toy" / "toy.inter", sep="\t")[columns])
    dataset = Dataset.load(timed)
    for row in frame[frame["x_label"] == 0].itertuples():
        weights = expected[dataset.user_ids[row.userID], dataset.item_ids[row.itemID]]
        assert row.poi_text == pytest.approx(weights["text"] or 0, abs=1e-6)
    for name in ("u_id_mapping.csv", "i_id_mapping.csv"):
        assert (out / "mmrec" / "toy" / name).read_bytes() == (tmp_path / "toy" / name).read_bytes()


def test_the_dataset_of_pytorch(run, exported, expected):
    choices = demure.WeightedChoices(run)
    assert len(choices) == len(expected)
    for k in (0, 7, len(choices) - 1):
        user, item, weights = choices[k]
        values = expected[choices.user_ids[user], choices.item_ids[item]]
        assert weights.tolist() == pytest.approx([values[name] or 0 for name in choices.modalities], abs=1e-6)
    users, items, weights = next(iter(torch.utils.data.DataLoader(choices, batch_size=16)))
    assert (users.shape, items.shape, weights.shape) == ((16,), (16,), (16, 2))
    assert (users.dtype, weights.dtype) == (torch.int64, torch.float32)


def test_the_example_of_the_docs_runs(run, timed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    export_dataset(timed, tmp_path / "mm" / "shop", "mmrec")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "other-models.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "WeightedChoices" in block)
    variables = {}
    exec(compile(code, "docs/other-models.md", "exec"), variables)
    assert variables["loss"].item() < np.log(2) + 0.05
    # A modality counts by its weight: without any, the score is that of the vectors of user and item.
    u, i, weights = variables["choices"][:20]
    product = (variables["user"](u) * variables["item"](i)).sum(1)
    assert torch.equal(variables["score"](u, i, torch.zeros_like(weights)), product)
    assert not torch.allclose(variables["score"](u, i, weights), product)


def test_a_modality_that_explains_nothing_is_named(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    rewrite(
        tmp_path / "run" / "run.json",
        lambda content: content["placebo"]["image"].update(low=-0.1, excess=0.0, high=0.1, admitted=False),
    )
    report = export_verdicts(tmp_path / "run", tmp_path / "out")
    assert "image explains no more than shuffled features do" in report.notes[0]
    assert json.loads((tmp_path / "out" / "export.json").read_text())["notes"] == report.notes
    assert "image" in demure.WeightedChoices(tmp_path / "run").cannot_tell


def test_the_command(run, tmp_path, capsys):
    out = tmp_path / "toy"
    assert main(["export", str(run), "--verdicts", "--out", str(out)]) == 0
    assert "poi_image" in capsys.readouterr().out
    assert main(["export", str(run), "--verdicts", "--out", str(out), "--overwrite", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [modality["column"] for modality in shown["modalities"]] == ["poi_image", "poi_text"]
    assert shown["interactions"] == len(DiagnosisReader.open(run).table.user)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ann"], "--verdicts: --ann is for the model; leave --ann out"),
        (["--k", "5"], "--verdicts: --k is for the model; leave --k out"),
        (["--format", "npy"], "--verdicts: --format is for the model; leave --format out"),
        (["--items", "new.csv"], "--verdicts: --items is for the model; leave --items out"),
        (["--overwrite"], "is not an export folder; choose another --out"),
        ([], "exists"),
    ],
)
def test_refusals(run, tmp_path, capsys, arguments, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text('{"mine": 1}')  # a file of the user that only has this name
    assert main(["export", str(run), "--verdicts", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "out" / "export.json").read_text() == '{"mine": 1}'


def test_a_run_without_verdicts_is_refused(timed, tmp_path):
    demure.train(timed, tmp_path / "popularity", recipe="popularity")
    with pytest.raises(DemureError, match="has no diagnosis"):
        export_verdicts(tmp_path / "popularity", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verdicts_on_other_interactions_are_refused(run, monkeypatch):
    table = DiagnosisReader.open(run).table
    monkeypatch.setattr(DiagnosisReader, "table", table.select(np.arange(len(table.user) - 1)))
    with pytest.raises(RunError, match=r"diagnoses \d+ interactions, which are not the \d+ training interactions"):
        read_weights(run)
