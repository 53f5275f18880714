"""A training that was cut off and goes on is the training that was not."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.small_sets import QUICK

from demure.errors import RunError
from demure.files import read_json
from demure.model.denoiser import Denoiser
from demure.runs.folder import CHECKPOINT
from demure.training.checkpoint import TrainingLog
from demure.training.denoiser_loop import RIVALS_FILE
from demure.training.run import train

MADE = (
    "model.safetensors",
    "metrics.jsonl",
    "recipe.yaml",
    "diagnosis.parquet",
    "supports.parquet",
    "reliance.parquet",
)


class CutOff(Exception):
    """The plug was pulled."""


def cut_off_at(stage, done):
    def listener(progress):
        if (progress.stage, progress.done) == (stage, done):
            raise CutOff

    return listener


def go(dataset, out, *overrides, **options):
    return train(dataset, out, overrides=[*QUICK, *overrides], device="cpu", **options)


@pytest.mark.parametrize(
    ("stage", "done"),
    [
        ("train", 1),
        ("fit the rivals of content", 0),
        pytest.param("train", 5, marks=pytest.mark.slow),
        ("train", 6),
        pytest.param("train", 7, marks=pytest.mark.slow),
        pytest.param("train", 8, marks=pytest.mark.slow),
        ("train", 10),
        ("tune the fusion", 0),
        ("diagnose", 60),
    ],
)
def test_resumed_equals_uninterrupted(timed, run, tmp_path, stage, done):
    out = tmp_path / "run"
    with pytest.raises(CutOff):
        go(timed, out, listener=cut_off_at(stage, done))
    assert not (out / "run.json").exists()
    go(timed, out, resume=True)
    for name in MADE:
        assert (out / name).read_bytes() == (run / name).read_bytes(), name
    assert read_json(out / "run.json") == read_json(run / "run.json")
    assert not (out / CHECKPOINT).exists()
    assert not (out / RIVALS_FILE).exists()


def test_without_rivals_there_is_one_stage_before_the_offsets(timed, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(CutOff):
        go(timed, out, "denoiser.rivals=false", listener=cut_off_at("train", 5))
    go(timed, out, "denoiser.rivals=false", resume=True)
    entries = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    assert [[*entry][2:] for entry in entries] == [[], *[["loss", "prior"]] * 3, *[["loss", "prior", "offsets"]] * 2]


def test_the_fit_of_the_rivals_is_needed_to_go_on(timed, tmp_path):
    """It is a file beside the checkpoint, from their fit on."""
    out = tmp_path / "run"
    with pytest.raises(CutOff):
        go(timed, out, listener=cut_off_at("train", 6))
    whole = (out / RIVALS_FILE).read_bytes()
    for damage in (lambda: (out / RIVALS_FILE).write_bytes(whole[:100]), lambda: (out / RIVALS_FILE).unlink()):
        damage()
        with pytest.raises(RunError, match=r"cannot be read.*--overwrite"):
            go(timed, out, resume=True)


@pytest.mark.parametrize("name", [CHECKPOINT, RIVALS_FILE])
def test_a_flipped_bit_of_an_unfinished_training_is_noticed(timed, tmp_path, name):
    out = tmp_path / "run"
    with pytest.raises(CutOff):
        go(timed, out, listener=cut_off_at("train", 6))
    content = bytearray((out / name).read_bytes())
    content[-5] ^= 4
    (out / name).write_bytes(content)
    with pytest.raises(RunError, match=r"was changed after it was made.*--overwrite"):
        go(timed, out, resume=True)


def test_cut_off_again_and_again(timed, run, tmp_path):
    out = tmp_path / "run"
    for step in (2, 5, 7, 10):
        with pytest.raises(CutOff):
            go(timed, out, listener=cut_off_at("train", step), resume=True)
    go(timed, out, resume=True)
    assert (out / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert (out / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


def test_it_goes_on_and_does_not_start_again(timed, tmp_path):
    out, steps = tmp_path / "run", []
    with pytest.raises(CutOff):
        go(timed, out, listener=cut_off_at("train", 6))
    go(timed, out, resume=True, listener=lambda p: steps.append(p.done) if p.stage == "train" else None)
    assert steps == [*range(5, 11)]


def test_metrics_are_there_after_every_epoch(timed, run, tmp_path):
    """After a cut, those of the start and of every epoch before it, as they stay."""
    with pytest.raises(CutOff):
        go(timed, tmp_path / "run", listener=cut_off_at("train", 7))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) >= 4
    assert lines == (run / "metrics.jsonl").read_text().splitlines()[: len(lines)]
    modes = {path.stat().st_mode & 0o777 for path in [*(tmp_path / "run").iterdir(), run / "run.json"]}
    assert len(modes) == 1


def test_a_checkpoint_of_something_else_is_refused(timed, untimed, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(CutOff):
        go(timed, out, listener=cut_off_at("train", 5))
    before = (out / CHECKPOINT).read_bytes()
    for dataset, overrides, seed in [(timed, ["training.epochs=4"], 0), (timed, [], 1), (untimed, [], 0)]:
        with pytest.raises(RunError, match="belongs to another dataset, recipe or seed"):
            go(dataset, out, *overrides, seed=seed, resume=True)
    with pytest.raises(RunError, match=r"unfinished training.*--resume"):
        go(timed, out)
    assert (out / CHECKPOINT).read_bytes() == before
    (out / CHECKPOINT).write_bytes(before[: len(before) // 2])
    with pytest.raises(RunError, match="cannot be read"):
        go(timed, out, resume=True)
    go(timed, out, overwrite=True)
    assert (out / "run.json").is_file()


def test_a_finished_run_is_not_resumed(timed, run):
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match="already finished"):
        go(timed, run, resume=True)
    assert (run / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_no_number_leaves_the_last_good_epoch(timed, run, tmp_path, monkeypatch):
    """Bad in the third epoch: an error, the checkpoint of the second, from which a sound machine goes on; the entry
    besides is of the fit of the rivals."""
    out, sound, calls = tmp_path / "run", Denoiser.log_likelihood, []

    def failing(self, context, views, own=None):
        weights, held = sound(self, context, views, own)
        calls.append(torch.is_grad_enabled())
        return (weights * float("nan") if sum(calls) > 4 and calls[-1] else weights), held

    with monkeypatch.context() as patch:
        patch.setattr(Denoiser, "log_likelihood", failing)
        with pytest.raises(RunError, match=r"the loss is nan in epoch 3, step 1.*last good epoch"):
            go(timed, out)
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    go(timed, out, resume=True)
    assert (out / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_a_likelihood_that_is_not_a_number_is_an_error(timed, tmp_path, monkeypatch):
    def failing(self, context, views, own=None):
        held = (context.valid_BT > 0) & (context.observed_BT == 0)
        return torch.full((int(held.sum()),), float("nan")), held

    monkeypatch.setattr(Denoiser, "log_likelihood", failing)
    with pytest.raises(RunError, match="validation likelihood is nan"):
        go(timed, tmp_path / "run")
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_patience_ends_a_training_and_the_best_epoch_stays(timed, tmp_path, monkeypatch):
    """Likelihoods are dictated: the third epoch is the best, two worse ones end it."""
    ends = ("denoiser.rivals=false", "training.patience=2", "training.offset_epochs=0", "training.belief_passes=0")
    dictated = iter([0.1, 0.2, 0.15, 0.3, 0.25, 0.2, 0.9])
    monkeypatch.setattr("demure.training.validation.Validation.log_likelihood", lambda self, denoiser: next(dictated))
    report = go(timed, tmp_path / "run", "training.epochs=50", *ends)
    assert (report.epochs, report.best_epoch) == (5, 3)
    values = [json.loads(line)["valid_log_likelihood"] for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert values == [0.1, 0.2, 0.15, 0.3, 0.25, 0.2]
    dictated = iter([0.1, 0.2, 0.15, 0.3])
    short = go(timed, tmp_path / "short", *ends)
    assert short.best_epoch == 3
    kept, three = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "short"))
    assert kept == three
    assert np.isfinite(list(short.valid.values())).all()


def test_against_the_rivals_the_search_for_the_best_epoch_starts_again(timed, tmp_path, monkeypatch):
    """Likelihoods are dictated: the best epoch alone is the second of three; against the rivals it is the first of
    two, below whatever was before."""
    values = [0.1, 0.2, 0.3, 0.25, 0.05, 0.07, 0.06]
    dictated = iter(values)
    monkeypatch.setattr("demure.training.validation.Validation.log_likelihood", lambda self, denoiser: next(dictated))
    ends = (
        "training.patience=1",
        "training.offset_epochs=0",
        "training.belief_passes=0",
        "training.popularity_only_epochs=10",
    )
    go(timed, tmp_path / "run", "training.epochs=50", *ends)
    entries = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [entry["valid_log_likelihood"] for entry in entries] == values
    assert ["rivals" in entry for entry in entries] == [False] * 4 + [True] * 3
    assert ["loss" in entry for entry in entries] == [False, True, True, True, False, True, True]
    assert read_json(tmp_path / "run" / "run.json")["best_epoch"] == entries[5]["epoch"]


def test_offsets_come_last_and_alone_and_only_where_they_help(timed, tmp_path, monkeypatch):
    """Likelihoods are dictated: the second epoch is the best of three; then offsets that help once, or never."""
    go(
        timed,
        tmp_path / "without",
        "denoiser.rivals=false",
        "training.epochs=2",
        "training.offset_epochs=0",
        "training.belief_passes=0",
    )
    without = load_file(tmp_path / "without" / "model.safetensors")
    asked = (
        "denoiser.rivals=false",
        "training.epochs=50",
        "training.offset_epochs=9",
        "training.patience=1",
        "training.belief_passes=0",
    )
    for name, values in {"good": [0.1, 0.2, 0.3, 0.25, 0.4, 0.35], "bad": [0.1, 0.2, 0.3, 0.25, 0.2]}.items():
        dictated = iter(values)
        monkeypatch.setattr(
            "demure.training.validation.Validation.log_likelihood", lambda self, denoiser, values=dictated: next(values)
        )
        report = go(timed, tmp_path / name, *asked)
        assert (report.epochs, report.best_epoch) == (len(values) - 1, values.index(max(values)))
        entries = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").open()]
        assert ["offsets" in entry for entry in entries] == [False] * 4 + [True] * (len(values) - 4)
        weights = load_file(tmp_path / name / "model.safetensors")
        changed = {key.rsplit(".", 1)[-1] for key in weights if not torch.equal(weights[key], without[key])}
        assert changed == ({"offset_ID"} if name == "good" else set())


def test_the_log_keeps_the_names_of_the_checkpoint_format():
    log = TrainingLog("recall@20", [{"epoch": 0, "recall@20": 0.1}, {"epoch": 2, "recall@20": 0.3}], 1)
    stored = log.to_json()
    assert json.loads(stored) == {"metric": "recall@20", "epochs": log.entries, "best": 1}
    assert TrainingLog.from_json(stored) == log
    assert (log.last_epoch, log.best_epoch, log.best_value) == (2, 2, 0.3)


def folder_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


def test_an_overwritten_run_stays_until_the_new_one_is_finished(timed, tmp_path):
    out, quick = tmp_path / "run", {"recipe": "bpr", "device": "cpu", "overwrite": True}
    changes = ["baseline.epochs=4", "baseline.every=1", "baseline.dim=8"]
    train(timed, out, overrides=changes, **quick)
    before = folder_bytes(out)

    class Diverged(Exception):
        pass

    def cut_off(progress):
        if progress.stage == "validate" and progress.done >= 2:
            raise Diverged

    def fail(progress):
        raise Diverged

    with pytest.raises(Diverged):  # before the folder is claimed
        train(timed, out, overrides=changes, seed=1, listener=fail, **quick)
    assert folder_bytes(out) == before
    with pytest.raises(Diverged):
        train(timed, out, overrides=changes, seed=1, listener=cut_off, **quick)
    assert folder_bytes(out) == before
    assert (out / "unfinished" / CHECKPOINT).is_file()
    with pytest.raises(RunError, match="holds an unfinished training; say --resume to go on, or --overwrite"):
        train(timed, out, overrides=changes, seed=1, **{**quick, "overwrite": False})
    with pytest.raises(RunError, match="belongs to another dataset, recipe or seed"):
        train(timed, out, overrides=changes, seed=2, resume=True, **quick)
    train(timed, out, overrides=changes, seed=1, resume=True, **quick)
    train(timed, tmp_path / "fresh", overrides=changes, seed=1, **quick)
    assert folder_bytes(out) == folder_bytes(tmp_path / "fresh")
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("run", "fresh")] == []
    assert not (out / "unfinished").exists()
