import json

import numpy as np
import pytest
import torch

from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.runs.load import load_run
from demure.training.placebo import reordered_features
from demure.training.selftest import _Bench, selftest
from demure_cli.app import main


@pytest.fixture(scope="module")
def result(run):
    return selftest(run, share=0.2, deals=2, device="cpu")


def test_dealt_content_is_found_more_often_than_by_chance(result, run):
    assert [line.modality for line in result.modalities] == DiagnosisReader.open(run).modalities
    for line in result.modalities:
        assert line.auc_low <= line.auc <= line.auc_high
        assert line.recall_low <= line.recall <= line.recall_high
        assert line.auc > 0.6
        assert line.recall > line.chance
        assert 0.1 < line.chance < 0.3  # a fifth of the items was dealt


def test_the_deals_are_those_of_the_seed_and_the_run_stays_as_it_is(result, run):
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    again = selftest(run, share=0.2, deals=2, device="cpu", modalities=["text"])
    assert again.modalities == [line for line in result.modalities if line.modality == "text"]
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    other = selftest(run, share=0.2, deals=1, seed=5, device="cpu", modalities=["text"])
    assert other.modalities[0].auc != again.modalities[0].auc


def test_evidence_without_a_deal_follows_the_diagnosis_of_the_training(run):
    bench = _Bench(DiagnosisReader.open(run), "cpu")
    table, evidence = bench.reader.table, bench._evidence()
    for m in range(len(table.modalities)):
        present = table.present[:, m]
        # The rivals are not known here, so that the two are not equal.
        assert np.corrcoef(evidence[present, m], table.evidence[present, m])[0, 1] > 0.95


def test_an_item_gets_the_features_of_another_and_loses_its_messages_alone(run):
    expert = load_run(run).recommender.denoiser.experts()[0]
    expert.clusters.offset_IC.fill_(1.0)
    coordinates = expert.coordinates_ID.clone()
    order = torch.arange(len(coordinates))
    order[:2] = torch.tensor([1, 0])
    silenced = torch.zeros(len(order), dtype=torch.bool)
    silenced[:2] = True
    with reordered_features(expert, order, silenced):
        assert torch.equal(expert.coordinates_ID[0], coordinates[1])
        assert torch.equal(expert.coordinates_ID[2:], coordinates[2:])
        assert not expert.clusters.offset_IC[:2].any()
        assert expert.clusters.offset_IC[2:].all()
    assert torch.equal(expert.coordinates_ID, coordinates)
    assert expert.clusters.offset_IC.all()


def test_the_command_prints_the_sentence_and_the_numbers(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["selftest", str(run), "--modality", "image", "--share", "0.2", "--deals", "1", "--device", "cpu"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("On your data, demure finds")
    assert max(map(len, printed.splitlines())) <= 80
    assert main([*arguments, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)["modalities"][0]
    assert line["modality"] == "image"
    assert f"{100 * line['recall']:.0f} %" in line["sentence"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, "not a share"),
        ({"share": 0.6}, "up to 0.5"),
        ({"modalities": ["texts"]}, "text"),
        ({"share": 0.01}, "deal a larger share"),
    ],
)
def test_what_cannot_be_dealt_is_refused(run, options, message):
    with pytest.raises(DemureError, match=message):
        selftest(run, device="cpu", **options)
