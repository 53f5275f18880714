import pytest
from support.small_sets import QUICK, dataset_folder

from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.files import read_json
from demure.report.build import report
from demure.report.comparing import compare_with
from demure.training.run import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    dataset = dataset_folder(folder)
    for name, recipe, overrides in (("a", "default", QUICK), ("b", "no-denoising", QUICK), ("c", "popularity", ())):
        train(dataset, folder / name, recipe=recipe, overrides=overrides, device="cpu")
    return folder


def test_runs_stand_beside_each_other(runs):
    comparison = compare_with(DiagnosisReader.open(runs / "a"), [runs / "b", runs / "c"])
    assert comparison.runs["run"].tolist() == ["a", "b", "c"]
    assert comparison.runs["recipe"].tolist() == ["default", "no-denoising", "popularity"]
    assert comparison.runs["recall@20"].between(0, 1).all()
    assert {(test["first"], test["second"]) for test in comparison.tests} == {("a", "b"), ("a", "c"), ("b", "c")}
    assert set(comparison.verdicts["run"]) == {"b"}  # popularity has no diagnosis
    assert comparison.verdicts["same"].between(0, 1).all()


def test_a_run_agrees_with_itself(runs, tmp_path):
    (tmp_path / "again").symlink_to(runs / "a")
    comparison = compare_with(DiagnosisReader.open(runs / "a"), [tmp_path / "again"])
    assert (comparison.verdicts["same"] == 1).all()
    # A modality that is not admitted has the same probability everywhere: there is nothing to correlate.
    placebo = read_json(runs / "a" / "run.json")["placebo"]
    varied = comparison.verdicts["modality"].map(lambda name: placebo[name]["admitted"])
    assert comparison.verdicts.loc[varied, "correlation"].tolist() == pytest.approx([1.0] * varied.sum())
    assert comparison.verdicts.loc[~varied, "correlation"].isna().all()


def test_the_page_shows_them_and_what_would_come_next(runs, tmp_path):
    done = report(runs / "a", tmp_path / "page.html", compare=[runs / "c"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Next to other runs" in page
    assert "a − c" in page
    assert done.users == done.users_total


def test_runs_on_other_data_are_refused(runs, tmp_path):
    other = dataset_folder(tmp_path, split="leave-one-out", timed=False)
    train(other, tmp_path / "run", recipe="popularity", device="cpu")
    with pytest.raises(DemureError, match="was made from other data"):
        compare_with(DiagnosisReader.open(runs / "a"), [tmp_path / "run"])
    with pytest.raises(DemureError, match="compared with itself"):
        compare_with(DiagnosisReader.open(runs / "a"), [runs / "a"])
