"""The demo from end to end, on a catalogue of a few dozen books; `-m slow` runs the real one."""

from pathlib import Path

import pandas as pd
import pytest

from demure.demo.catalogue import CatalogueOptions
from demure.demo.run import run_demo
from demure.errors import DemureError
from demure_cli.views.demo import show

SMALL = CatalogueOptions(users=150, items=60, length=(8, 12), wrong=0.1)
QUICK = ["training.epochs=2", "training.epoch_steps=3"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo") / "out", catalogue=SMALL, overrides=QUICK)


def test_all_files_exist(made):
    assert len(made.evaluation.runs) == 3
    assert all(Path(file).exists() for file in made.files.values())
    assert all(Path(file).is_relative_to(made.out) for file in made.files.values())


def test_the_user_it_shows_is_one_of_its_own_and_the_truth_is_about_that_history(made):
    chosen = {choice.item_id for choice in made.user.history}
    assert {item for item, _ in made.caused} & chosen
    assert {modality for _, modality in made.caused} <= {"image", "text"}


def test_the_generator_is_the_ceiling(made):
    assert made.without_denoising.ceiling == made.diagnosis.ceiling
    assert 0.5 < made.diagnosis.auc < made.diagnosis.ceiling <= 1


def test_its_further_results_are_compared_with_the_truth(made):
    assert [check.modality for check in made.interests] == ["image", "text"]
    for check in made.interests:
        assert 0 <= check.matched <= min(check.shown, check.kinds)
        assert check.shown == 0 or 1 / check.kinds <= check.purity <= 1
    assert made.wrong_covers.wrong == 6
    assert made.wrong_covers.matched <= made.wrong_covers.first <= 6
    wrong = pd.read_csv(Path(made.out) / "catalogue" / "item_truth.csv").query("wrong == 1")["item_id"]
    assert len(wrong) == 6
    assert len(made.what_if.expected) == len(made.what_if.true) > 3
    assert made.what_if.item not in set(wrong)
    assert min(made.what_if.true) > -1


@pytest.mark.parametrize("columns", [80, 160])
def test_its_tables_fit(made, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    show(made)
    lines = capsys.readouterr().out.splitlines()
    paths = [line for line in lines if made.out in line]
    assert len(paths) > 6
    assert max(len(line) for line in lines if line not in paths) <= columns


def test_a_second_demo_replaces_the_first_and_nothing_else(made, tmp_path):
    again = run_demo(Path(made.out), catalogue=SMALL, overrides=QUICK)
    assert again.evaluation.runs == made.evaluation.runs
    assert again.diagnosis == made.diagnosis
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DemureError, match="already exists"):
        run_demo(tmp_path, catalogue=SMALL, overrides=QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_the_real_demo_denoises(tmp_path):
    real = run_demo(tmp_path / "out")
    assert real.diagnosis.auc > 0.9
    assert real.diagnosis.log_loss < real.without_denoising.log_loss
    ours, _, popularity = real.evaluation.runs
    assert ours.metrics["recall@20"] > 2 * popularity.metrics["recall@20"]
