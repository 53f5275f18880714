"""Baselines that train with the verdicts of a run: read back, resumed, refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from support.manifests import rewrite

from demure.errors import DemureError
from demure.runs.evaluate import evaluate_runs
from demure.runs.load import load_run
from demure.runs.recommend import recommend
from demure.training.run import train

SHORT = ("baseline.epochs=2", "baseline.every=1", "baseline.dim=8", "baseline.batch=64")


@pytest.fixture
def verdicts(run, tmp_path):
    """A copy of the run, which a test may delete."""
    return shutil.copytree(run, tmp_path / "verdicts")


def train_with(dataset, out, verdicts, recipe="vbpr", *overrides, **options):
    return train(
        dataset, out, recipe=recipe, overrides=[*SHORT, f"denoise={verdicts}", *overrides], device="cpu", **options
    )


@pytest.mark.parametrize("recipe", ["vbpr", "freedom", "mgcn", "smore", "sasrec-content"])
def test_the_run_needs_the_verdicts_no_longer(timed, tmp_path, verdicts, recipe):
    report = train_with(timed, tmp_path / "run", verdicts, recipe)
    train(timed, tmp_path / "plain", recipe=recipe, overrides=SHORT, device="cpu")
    scores = [load_run(tmp_path / name).array_scorer_of for name in ("run", "plain")]
    shutil.rmtree(verdicts)
    evaluated = evaluate_runs([tmp_path / "run"], split="valid", ks=(20,), device="cpu").runs[0]
    assert evaluated.metrics["recall@20"] == report.valid["recall@20"]
    recommend(tmp_path / "run", tmp_path / "top.parquet", k=5, device="cpu")
    train_part = load_run(tmp_path / "run").dataset.histories("train")
    first, second = (score(train_part)(np.arange(9)) for score in scores)
    assert not np.allclose(first, second)


def test_the_manifest_names_the_verdicts(timed, tmp_path, verdicts, run):
    train_with(timed, tmp_path / "run", verdicts)
    record = load_run(tmp_path / "run").manifest.denoise
    frame = pd.read_parquet(run / "diagnosis.parquet").query("verdict != 'missing'")
    assert record["run"] == str(verdicts)
    assert record["mean_probability"] == pytest.approx(frame.groupby("modality")["poi_probability"].mean().to_dict())
    assert {len(digest) for digest in record["weights_sha256"].values()} == {64}
    assert record["notes"] == []


def test_a_modality_that_explains_nothing_counts_in_full(timed, tmp_path, verdicts):
    def explain_nothing(content):
        content["placebo"]["image"].update(low=-0.1, excess=0.0, high=0.1, admitted=False)

    rewrite(verdicts / "run.json", explain_nothing)
    report = train_with(timed, tmp_path / "run", verdicts)
    assert report.notes == [f"image counts in full: in {verdicts} its features explain no more than shuffled ones"]
    reliance = load_file(tmp_path / "run" / "model.safetensors")["reliance_UM"]
    assert (reliance[:, 0] == 1).all()
    assert reliance[:, 1].std() > 0
    rewrite(verdicts / "run.json", lambda content: content["placebo"]["text"].update(admitted=False))
    with pytest.raises(DemureError, match="has no verdicts that weigh image, text"):
        train_with(timed, tmp_path / "other", verdicts)


def test_the_share_of_the_verdicts_is_an_option(timed, tmp_path, verdicts):
    train(timed, tmp_path / "plain", recipe="vbpr", overrides=SHORT, device="cpu")
    reliance = {}
    for share in (0, 0.5, 1):
        train_with(timed, tmp_path / f"{share}", verdicts, "vbpr", f"baseline.denoising={share}")
        reliance[share] = load_file(tmp_path / f"{share}" / "model.safetensors")["reliance_UM"]
    frames = [pd.read_json(tmp_path / name / "metrics.jsonl", lines=True) for name in ("0", "plain")]
    pd.testing.assert_frame_equal(*frames)
    assert np.allclose(reliance[0.5] - 1, (reliance[1] - 1) / 2, atol=1e-6)


def test_a_modality_that_the_run_lacks_counts_in_full(timed, tmp_path, run):
    from support.small_sets import QUICK

    train(timed, tmp_path / "text", overrides=[*QUICK, "modalities=[text]", "training.epochs=0"], device="cpu")
    report = train_with(timed, tmp_path / "run", tmp_path / "text")
    assert report.notes == [f"image counts in full: {tmp_path / 'text'} has no verdicts on it"]


def test_resumed_it_ends_with_the_same_weights(timed, tmp_path, monkeypatch, verdicts):
    from demure.training import baseline_loop

    train_with(timed, tmp_path / "whole", verdicts)
    real = baseline_loop.train_epoch

    def cut(*arguments):
        if arguments[-1] == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(baseline_loop, "train_epoch", cut)
    with pytest.raises(KeyboardInterrupt):
        train_with(timed, tmp_path / "cut", verdicts)
    monkeypatch.undo()
    with pytest.raises(DemureError, match="belongs to another dataset, recipe or seed"):
        train(timed, tmp_path / "cut", recipe="vbpr", overrides=SHORT, device="cpu", resume=True)
    moved = shutil.move(verdicts, tmp_path / "moved")  # the verdicts count, not their path
    train_with(timed, tmp_path / "cut", moved, resume=True)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_run_on_a_copy_of_the_dataset_is_used(timed, tmp_path, verdicts):
    copy = shutil.copytree(timed, tmp_path / "copy")
    rewrite(verdicts / "run.json", lambda content: content["dataset"].update(path=str(tmp_path / "gone")))
    assert train_with(copy, tmp_path / "run", verdicts).epochs == 2


@pytest.mark.parametrize("recipe", ["bpr", "lightgcn", "bm3", "popularity", "default", "sasrec"])
def test_a_recipe_without_features_is_refused(timed, tmp_path, verdicts, recipe):
    overrides = [f"denoise={verdicts}"]
    with pytest.raises(DemureError, match=f"{recipe} has no features that verdicts could weigh; use one of vbpr"):
        train(timed, tmp_path / "run", recipe=recipe, overrides=overrides, device="cpu")
    assert not (tmp_path / "run").exists()


def test_other_runs_are_refused(timed, untimed, tmp_path, verdicts):
    with pytest.raises(DemureError, match=r"nowhere: is not a run folder \(no run.json\)"):
        train_with(timed, tmp_path / "run", tmp_path / "nowhere")
    train(timed, tmp_path / "popularity", recipe="popularity")
    with pytest.raises(DemureError, match="has no diagnosis: recipe 'popularity'"):
        train_with(timed, tmp_path / "run", tmp_path / "popularity")
    with pytest.raises(DemureError, match=r"was trained on another dataset than .* \(interactions, split differ\)"):
        train_with(untimed, tmp_path / "run", verdicts)
    with pytest.raises(DemureError, match="is not text"):
        train(timed, tmp_path / "run", recipe="vbpr", overrides=["denoise=true"], device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_recipe_of_the_run_repeats_it_from_another_folder(timed, tmp_path, verdicts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_with(timed, "run", "verdicts")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(timed, "again", recipe=tmp_path / "run" / "recipe.yaml", device="cpu")
    files = [tmp_path / "run" / "model.safetensors", tmp_path / "elsewhere" / "again" / "model.safetensors"]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["denoise"]["run"] == str(verdicts)
