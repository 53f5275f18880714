"""Every tracker for real, where its package is installed; and a tracker that fails stops nothing."""

import json
import sys

import pytest
from support.small_sets import QUICK

from demure.errors import DemureError, MachineError
from demure.progress import FinishedTraining, Notice, ValidatedEpoch
from demure.tracking import trackers
from demure.tracking.listener import TrackingListener
from demure.tracking.protocol import RunInfo
from demure.training.run import train
from demure.training.tracked import read_seed, train_tracked

BOTH = [pytest.param("default", marks=pytest.mark.slow), "bpr"]


def go(dataset, out, **options):
    return train_tracked(dataset, out, overrides=QUICK, device="cpu", **options)


def go_quickly(dataset, out, **options):
    """Train a model of fewer stages, where it does not matter which one is trained."""
    return train_tracked(dataset, out, recipe="bpr", overrides=("baseline.epochs=4",), device="cpu", **options)


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def cut_off(progress):
    if progress.stage == "train" and progress.done == 5:
        raise KeyboardInterrupt


class Recorder:
    """Keeps the calls that it received."""

    def __init__(self):
        self.calls = []

    def begin(self, info):
        self.calls.append(("begin", info.name))

    def epoch(self, number, values):
        self.calls.append(("epoch", number, values))

    def end(self, values, *, finished):
        self.calls.append(("end", finished, values))


class Broken(Recorder):
    """Fails in the methods that it is made for."""

    def __init__(self, *failing, error=None):
        super().__init__()
        self.failing, self.error = failing, error or RuntimeError("no connection")

    def __getattribute__(self, name):
        if name in ("begin", "epoch", "end") and name in self.failing:

            def fail(*_, **__):
                self.calls.append((name,))
                raise self.error

            return fail
        return super().__getattribute__(name)


@pytest.fixture
def use_tracker(monkeypatch):
    """Make every tracker by name the tracker passed here."""

    def use(tracker):
        monkeypatch.setattr("demure.training.tracked.open_trackers", lambda names: dict.fromkeys(names, tracker))
        return tracker

    return use


def test_a_tracker_receives_everything(timed, tmp_path, use_tracker):
    tracker = use_tracker(Recorder())
    report = go_quickly(timed, tmp_path / "run", track=["mine"])
    kinds = [call[0] for call in tracker.calls]
    written = lines(tmp_path / "run")
    assert kinds == ["begin", *["epoch"] * len(written), "end"]
    epochs = [{k: v for k, v in call[2].items() if k != "seconds"} for call in tracker.calls if call[0] == "epoch"]
    assert epochs == written
    assert tracker.calls[-1] == ("end", True, report.valid)
    assert [call[2]["seconds"] for call in tracker.calls[1:-1]] == sorted(c[2]["seconds"] for c in tracker.calls[1:-1])


def test_a_closed_form_is_tracked_as_well(timed, tmp_path, use_tracker):
    tracker = use_tracker(Recorder())
    train_tracked(timed, tmp_path / "run", recipe="popularity", track=["mine"])
    assert [call[0] for call in tracker.calls] == ["begin", "end"]
    assert set(tracker.calls[-1][2]) == {"recall@20", "ndcg@20"}


@pytest.mark.parametrize("recipe", BOTH)
def test_tracking_changes_nothing(timed, tmp_path, use_tracker, recipe):
    use_tracker(Recorder())
    quick = QUICK if recipe == "default" else ("baseline.epochs=4",)
    train(timed, tmp_path / "alone", recipe=recipe, overrides=quick, device="cpu")
    train_tracked(timed, tmp_path / "seen", recipe=recipe, overrides=quick, device="cpu", track=["mine"])
    for name in ("model.safetensors", "metrics.jsonl", "recipe.yaml"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "seen" / name).read_bytes()


@pytest.mark.parametrize("failing", [("begin",), ("epoch",), ("end",), ("begin", "epoch", "end")])
@pytest.mark.parametrize("error", [RuntimeError("no connection"), SystemExit(1)])
def test_a_tracker_that_fails_is_reported_once_and_stops_nothing(timed, tmp_path, use_tracker, failing, error):
    tracker, notices = use_tracker(Broken(*failing, error=error)), []
    report = go_quickly(timed, tmp_path / "run", track=["mine"], listener=lambda p: notices.append(p))
    assert (tmp_path / "run" / "run.json").is_file()
    messages = [notice.text for notice in notices if isinstance(notice, Notice)]
    assert messages == report.notes
    assert len(messages) == 1
    assert "mine failed" in messages[0]
    assert ("epoch" in failing) == (("epoch",) in tracker.calls) or "begin" in failing


def test_ctrl_c_reaches_the_tracker_and_goes_on_through_it(timed, tmp_path, use_tracker):
    tracker = use_tracker(Recorder())
    with pytest.raises(KeyboardInterrupt):
        go(timed, tmp_path / "run", track=["mine"], listener=cut_off)
    assert tracker.calls[-1] == ("end", False, {})


def test_the_best_epoch_is_reported_with_each(timed, tmp_path):
    validated = []

    def listener(progress):
        if isinstance(progress, ValidatedEpoch):
            validated.append(progress)

    report = go(timed, tmp_path / "run", listener=listener)
    values = [epoch.fields["valid_log_likelihood"] for epoch in validated]
    assert [epoch.best for epoch in validated] == [max(values[: k + 1]) for k in range(len(values))]
    assert validated[-1].best_epoch == report.best_epoch


def test_standard_output_is_not_for_trackers(tmp_path, capsys):
    class Loud(Recorder):
        def begin(self, info):
            print("* look at me")  # noqa: T201

    TrackingListener({"loud": Loud()}, RunInfo(tmp_path, {}, {}), lambda _: None).end({}, finished=True)
    assert capsys.readouterr().out == ""


def test_what_is_not_available_is_refused_before_anything_is_trained(timed, tmp_path, monkeypatch):
    with pytest.raises(DemureError, match=r"unknown tracker 'tensorbord'; did you mean tensorboard\?"):
        go(timed, tmp_path / "run", track=["tensorbord"])
    sound = trackers.importlib.util.find_spec
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None if name == "wandb" else sound(name))
    with pytest.raises(MachineError, match=r"wandb is not installed; pip install 'demure\[wandb\]'"):
        go(timed, tmp_path / "run", track=["wandb"])
    monkeypatch.setattr(trackers.importlib.util, "find_spec", sound)
    monkeypatch.setitem(sys.modules, "demure.tracking.mlflow", None)
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(MachineError, match="the package mlflow cannot be used"):
        go(timed, tmp_path / "run", track=["mlflow"])
    assert list(tmp_path.iterdir()) == []


def resumed(timed, out, name):
    """Cut off in the middle and gone on with."""
    with pytest.raises(KeyboardInterrupt):
        go(timed, out, track=[name], listener=cut_off)
    report = go(timed, out, track=[name], resume=True)
    assert report.notes == []
    return report, lines(out)


def test_tensorboard(timed, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report, written = resumed(timed, tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    values = {event.step: event.value for event in events.Scalars("valid_log_likelihood")}
    assert values == pytest.approx({line["epoch"]: line["valid_log_likelihood"] for line in written})
    assert events.Scalars("best/recall@20")[0].value == pytest.approx(report.valid["recall@20"])
    assert b"training.epochs" in events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]


def test_mlflow(timed, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from mlflow.tracking import MlflowClient

    report, written = resumed(timed, tmp_path / "run", "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("demure").experiment_id])
    history = client.get_metric_history(run.info.run_id, "valid_log_likelihood")
    assert {entry.step: entry.value for entry in history} == pytest.approx(
        {line["epoch"]: line["valid_log_likelihood"] for line in written}
    )
    assert run.data.metrics["best/recall_at_20"] == pytest.approx(report.valid["recall@20"])
    assert run.data.params["training.epochs"] == "3"
    assert run.info.status == "FINISHED"


def test_wandb(timed, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    resumed(timed, tmp_path / "run", "wandb")
    files = list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1
    assert all(b"valid_log_likelihood" in file.read_bytes() for file in files)


def test_trackio(timed, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    if str(tmp_path) not in str(trackio.utils.TRACKIO_DIR):
        monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")
    report, written = resumed(timed, tmp_path / "run", "trackio")
    import sqlite3

    (file,) = [path for path in (tmp_path / "trackio").rglob("*.db") if "demure" in path.name]
    rows = sqlite3.connect(file).execute("select metrics from metrics order by id").fetchall()
    metrics = [json.loads(row[0]) for row in rows]
    values = [entry["valid_log_likelihood"] for entry in metrics if "valid_log_likelihood" in entry]
    assert values == pytest.approx([line["valid_log_likelihood"] for line in written])
    assert metrics[-1]["best/recall@20"] == pytest.approx(report.valid["recall@20"])


@pytest.mark.parametrize("recipe", BOTH)
def test_a_run_repeats_itself_with_its_seed(timed, tmp_path, recipe):
    quick = QUICK if recipe == "default" else ("baseline.epochs=4",)
    train_tracked(timed, tmp_path / "one", recipe=recipe, overrides=quick, seed=7, device="cpu")
    again = tmp_path / "one" / "recipe.yaml"
    assert train_tracked(timed, tmp_path / "two", recipe=again, device="cpu").seed == 7
    assert train_tracked(timed, tmp_path / "three", recipe=again, seed=0, device="cpu").seed == 0
    first, second, third = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "three"))
    assert first == second != third
    assert (tmp_path / "one" / "recipe.yaml").read_bytes() == (tmp_path / "two" / "recipe.yaml").read_bytes()
    assert (tmp_path / "one" / "run.json").read_bytes() == (tmp_path / "two" / "run.json").read_bytes()


def test_a_recipe_beside_no_run_has_seed_0(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: mine\n")
    assert read_seed(tmp_path / "recipe.yaml") == read_seed("default") == 0
    (tmp_path / "run.json").write_text('{"seed": 4}')
    assert read_seed(tmp_path / "recipe.yaml") == 4
    assert read_seed(tmp_path / "other.yaml") == 0


@pytest.mark.parametrize("recipe", BOTH)
def test_a_profile_shows_where_time_goes(timed, tmp_path, recipe):
    quick = QUICK if recipe == "default" else ("baseline.epochs=6",)
    report = train_tracked(timed, tmp_path / "run", recipe=recipe, overrides=quick, device="cpu", profile=True)
    profile = report.profile
    assert 0 < sum(profile.stages.values()) < report.seconds + 1  # without the profiler's own
    assert {"train", "validate"} <= set(profile.stages)
    assert profile.steps > 0
    shares = [operator.share for operator in profile.operators]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) <= 1
    events = json.loads((tmp_path / "run" / "trace.json").read_text())["traceEvents"]
    assert any("backward" in str(event.get("name", "")).lower() for event in events)


def test_a_profile_of_too_few_steps_has_no_trace(timed, tmp_path):
    few = [*QUICK, "training.epochs=1", "training.offset_epochs=0"]
    report = train_tracked(timed, tmp_path / "run", overrides=few, device="cpu", profile=True)
    assert (report.profile.trace, report.profile.operators) == (None, [])
    assert not (tmp_path / "run" / "trace.json").exists()


def test_a_closed_form_has_nothing_to_profile(timed, tmp_path):
    with pytest.raises(DemureError, match=r"--profile: 'ease' has no training steps"):
        train_tracked(timed, tmp_path / "run", recipe="ease", profile=True)
    assert list(tmp_path.iterdir()) == []


def test_trackers_end_before_a_folder_takes_the_place_of_another(tmp_path):
    class Counting:
        ends = 0

        def begin(self, info):
            info.save_id("counting", "7")

        def end(self, values, *, finished):
            assert (values, finished) == ({"recall@20": 0.5}, True)
            self.ends += 1

    tracker, working = Counting(), tmp_path / "unfinished"
    working.mkdir()
    listener = TrackingListener({"counting": tracker}, RunInfo(tmp_path, {}, {}, working), lambda _: None)
    listener(FinishedTraining("finish", 1, 1, valid={"recall@20": 0.5}))
    listener.end({}, finished=True)
    assert (tracker.ends, listener.failures) == (1, {})
    assert (working / "watchers.json").is_file()
