"""New users and fresh histories: the diagnosis that training gives to users whom it did not learn from."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from support.manifests import record, rewrite
from support.small_sets import QUICK, prepared

from demure import Run
from demure.data.dataset import Dataset
from demure.demo.planted import plant
from demure.diagnosis.history import diagnose_histories, history_view
from demure.diagnosis.history_export import export_histories
from demure.errors import DemureError
from demure.recipe.load import load_recipe
from demure.runs.folder import RIVAL_MODELS
from demure.training.rivals import Rivals
from demure.training.run import train
from demure.training.validation import Validation

COLUMNS = ["user_id", "position", "item_id", "modality", "poi_probability", "evidence", "verdict"]


def history_file(dataset, path, users=None, times=True, prefix="new-"):
    """Write the training choices of ``users`` (codes) as a file of interactions of other, new users."""
    train_part = dataset.histories("train")
    frame = pd.DataFrame(
        {
            "user_id": prefix + dataset.user_ids[train_part.owners],
            "item_id": dataset.item_ids[train_part.items],
            "timestamp": train_part.times,
        }
    )
    kept = slice(None) if users is None else np.isin(train_part.owners, users)
    frame[kept].drop(columns=[] if times else "timestamp").to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def unsplit(tmp_path_factory):
    """A dataset without a validation split, so that training withholds a tenth of the users."""
    from support.small_sets import SMALL

    folder = tmp_path_factory.mktemp("unsplit")
    plant(SMALL).write(folder / "raw")
    file = folder / "raw" / "interactions.csv"
    pd.read_csv(file).assign(split="train").to_csv(file, index=False)
    return prepared(folder / "raw", folder / "dataset", split="given")


@pytest.fixture(scope="module", params=[False, True], ids=["popularity", "rivals"])
def withheld(request, unsplit, tmp_path_factory):
    """A run, with and without rivals, and the users whom its training left out."""
    out = tmp_path_factory.mktemp("withheld") / "run"
    train(unsplit, out, overrides=(*QUICK, f"denoiser.rivals={str(request.param).lower()}"), device="cpu")
    dataset, settings = Dataset.load(unsplit), load_recipe(out / "recipe.yaml").training
    validation = Validation(
        Rivals(dataset.histories("train"), dataset.n_items, 0),
        dataset.histories("valid"),
        most=settings.validation_users,
        longest=settings.history,
        held_out=settings.held_out,
        seed=0,
    )
    users = np.setdiff1d(np.flatnonzero(dataset.histories("train").lengths), validation.training_users)
    assert len(users) >= 3
    return out, dataset, users, request.param


def side_by_side(run, dataset, users, file):
    """Return the verdicts of training and those of the users' file, row by row."""
    reader = diagnose_histories(run, history_file(dataset, file, users), device="cpu")
    new = reader.diagnosis(COLUMNS).to_pandas()
    new["user_id"] = new["user_id"].str.removeprefix("new-")
    old = pd.read_parquet(run / "diagnosis.parquet")[COLUMNS]
    old = old[old["user_id"].isin(dataset.user_ids[users])]
    keys = ["user_id", "position", "item_id", "modality"]
    merged = old.merge(new, on=keys, suffixes=("", "_new"), validate="one_to_one")
    assert len(merged) == len(old) == len(new)
    return merged, reader


def test_users_whom_training_left_out_get_its_verdicts(withheld, tmp_path):
    """Exactly where popularity is the only rival; rivals that count the user's own choices differ a little."""
    run, dataset, users, rivals = withheld
    merged, reader = side_by_side(run, dataset, users, tmp_path / "history.csv")
    difference = (merged["poi_probability"] - merged["poi_probability_new"]).abs()
    assert merged["poi_probability"].std() > 0.1
    if rivals:
        assert difference.mean() < 0.03
        assert np.corrcoef(merged["poi_probability"], merged["poi_probability_new"])[0, 1] > 0.98
        return
    assert difference.max() < 1e-5
    np.testing.assert_allclose(merged["evidence"], merged["evidence_new"], atol=1e-4)
    assert merged["verdict"].tolist() == merged["verdict_new"].tolist()
    for name in ("supports", "reliance"):
        old = pd.read_parquet(run / f"{name}.parquet")
        old = old[old["user_id"].isin(dataset.user_ids[users])].reset_index(drop=True)
        new = reader.tables[f"{name}.parquet"].to_pandas()
        new["user_id"] = new["user_id"].str.removeprefix("new-")
        pd.testing.assert_frame_equal(old, new, atol=1e-5, check_dtype=False)


def test_a_user_is_diagnosed_alone_as_among_others(run, timed, tmp_path):
    dataset = Dataset.load(timed)
    everyone = diagnose_histories(run, history_file(dataset, tmp_path / "all.csv"), device="cpu")
    whole = everyone.diagnosis(COLUMNS).to_pandas()
    for user in (0, 7):
        single = diagnose_histories(run, history_file(dataset, tmp_path / "one.csv", [user]), device="cpu")
        alone = single.diagnosis(COLUMNS).to_pandas()
        expected = whole[whole["user_id"] == "new-" + dataset.user_ids[user]].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, expected, atol=1e-5)


def test_training_users_come_close_to_their_training_verdicts(run, timed, tmp_path):
    dataset = Dataset.load(timed)
    merged, _ = side_by_side(run, dataset, np.arange(dataset.n_users), tmp_path / "all.csv")
    shown = merged[merged["verdict"] != "missing"]
    assert (shown["poi_probability"] - shown["poi_probability_new"]).abs().mean() < 0.06


def test_users_with_the_history_of_the_training_get_its_verdicts(run, timed, tmp_path):
    dataset = Dataset.load(timed)
    file = history_file(dataset, tmp_path / "some.csv", [2, 5, 9], prefix="")
    frame = pd.read_csv(file)
    changed = str(dataset.user_ids[5])
    frame = frame[(frame["user_id"] != changed) | (frame["user_id"].duplicated())]  # without the first choice
    frame.iloc[::-1].to_csv(file, index=False)
    reader = diagnose_histories(run, file, device="cpu")
    assert any("2 of 3 users have the history that the training had" in note for note in reader.notes)
    assert any("1 of 3 users were part of the training with another history" in note for note in reader.notes)
    for name, table in reader.tables.items():
        new, old = table.to_pandas(), pd.read_parquet(run / name)[table.column_names]
        assert list(new["user_id"].unique()) == list(reader.user_ids)  # in the order of the file
        for user in reader.user_ids:
            own, trained = (part[part["user_id"] == user].reset_index(drop=True) for part in (new, old))
            assert own.equals(trained) == (user != changed)
    # The rows are in the order of the histories.
    diagnosed = reader.tables["diagnosis.parquet"].to_pandas().drop_duplicates(["user_id", "position"])
    assert diagnosed["item_id"].tolist() == list(dataset.item_ids[reader.histories.items])


def test_a_run_without_interests_keeps_what_it_infers(run, timed, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    pd.read_parquet(old / "diagnosis.parquet").drop(columns="interest").to_parquet(old / "diagnosis.parquet")
    record(old / "run.json")
    file = history_file(Dataset.load(timed), tmp_path / "one.csv", [1], prefix="")
    reader = diagnose_histories(old, file, device="cpu")
    assert "1 of 1 users were part of the training" in reader.notes[-1]


def test_a_run_of_an_earlier_version_has_popularity_alone_and_a_note(run, timed, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    (old / RIVAL_MODELS).unlink()
    rewrite(old / "run.json", lambda content: content["files"].pop(RIVAL_MODELS))
    file = history_file(Dataset.load(timed), tmp_path / "one.csv", [1])
    before, now = (diagnose_histories(folder, file, device="cpu") for folder in (old, run))
    assert any("trained by an earlier version" in note for note in before.notes)
    assert not any("trained by an earlier version" in note for note in now.notes)
    first, second = (reader.diagnosis(["poi_probability"]).to_pandas() for reader in (before, now))
    assert not np.allclose(first, second)


def test_rivals_of_other_items_are_refused(run, timed, tmp_path):
    from safetensors.torch import load_file, save_file

    file = history_file(Dataset.load(timed), tmp_path / "one.csv", [1])
    for name, change in (
        ("taste.rate", lambda tensor: tensor[:-1].clone()),
        ("transition.item", lambda tensor: tensor + 50),
        ("popularity.rate", lambda tensor: tensor[:-1].clone()),
        ("taste.prior", None),
    ):
        other = shutil.copytree(run, tmp_path / name)
        tensors = load_file(other / RIVAL_MODELS)
        tensors |= {name: change(tensors[name])} if change else {}
        if change is None:
            del tensors[name]
        save_file(tensors, other / RIVAL_MODELS)
        record(other / "run.json")
        with pytest.raises(DemureError, match="train the run again"):
            diagnose_histories(other, file, device="cpu")


def test_without_timestamps_the_rows_are_in_order(run, timed, tmp_path):
    dataset = Dataset.load(timed)
    timeless = diagnose_histories(run, history_file(dataset, tmp_path / "a.csv", [3], times=False), device="cpu")
    items = timeless.diagnosis(["item_id", "modality"]).to_pandas()
    expected = dataset.item_ids[dataset.histories("train").of(3)]
    assert items[items["modality"] == "text"]["item_id"].tolist() == list(expected)
    assert timeless.table_times is None
    assert any("in order of time" in note for note in timeless.notes)


def test_the_views_are_those_of_a_run(run, timed, tmp_path):
    dataset = Dataset.load(timed)
    file = history_file(dataset, tmp_path / "few.csv", [0, 1, 2])
    file.write_text(file.read_text().replace("new-u1,", "someone new,") + "nobody,no such item,1\n")
    users = history_view(run, file, device="cpu")
    assert (users.what, users.total) == ("users", 3)
    shares = users.rows[[*users.modalities, "none"]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1.0, atol=1e-6)
    assert "1 of 4 users have no item that the dataset knows: they have no verdicts" in users.notes
    view = history_view(run, file, user="someone new", recommend=2, device="cpu")
    assert [choice.item_id for choice in view.history] == list(dataset.item_ids[dataset.histories("train").of(1)])
    assert len(view.recommended) == 2
    assert all(verdict.reason is not None for choice in view.history for verdict in choice.verdicts.values())
    few = history_view(run, file, user="someone new", where=["choice<=2"], device="cpu")
    assert len(few.history) == 2
    with pytest.raises(DemureError, match="no user 'someone knew' in these histories; nearest: someone new"):
        history_view(run, file, user="someone knew", device="cpu")
    with pytest.raises(DemureError, match="user 'nobody' has no item of the dataset"):
        history_view(run, file, user="nobody", device="cpu")


def test_the_export_and_python_give_the_same(run, timed, tmp_path):
    file = history_file(Dataset.load(timed), tmp_path / "few.csv", [0, 1, 2], prefix="")
    frame = pd.read_csv(file)
    frame.iloc[1:].to_csv(file, index=False)
    written = export_histories(run, file, tmp_path / "out.parquet", device="cpu")
    exported = pd.read_parquet(tmp_path / "out.parquet")
    assert list(exported.columns) == ["user_id", "item_id", "modality", "poi_probability", "evidence", "verdict"]
    assert written.rows == len(exported)
    loaded = Run.load(run, device="cpu")
    for history in (file, pd.read_csv(file)):
        frame = loaded.diagnose(history=history)
        pd.testing.assert_frame_equal(frame[exported.columns], exported, atol=1e-5)
        assert any("were part of the training" in note for note in frame.attrs["notes"])
    assert set(loaded.diagnose("u1", history=file)["user_id"]) == {"u1"}
    with pytest.raises(DemureError, match=r"\.parquet"):
        export_histories(run, file, tmp_path / "out.csv", device="cpu")


def test_the_command(run, timed, tmp_path, capsys):
    from demure_cli.app import main

    file = str(history_file(Dataset.load(timed), tmp_path / "few.csv", [0, 1, 2], prefix=""))
    assert main(["inspect", str(run), "--history", file, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["user_id"] for row in listed["rows"]] == ["u0", "u1", "u2"]
    assert main(["inspect", str(run), "--history", file, "--user", "u1"]) == 0
    assert f"choices in {file}" in " ".join(capsys.readouterr().out.split())
    assert main(["inspect", str(run), "--history", file, "--item", "i1"]) == 2
    assert capsys.readouterr().err == "demure: --history: has no effect with --item; use it with --user or --export\n"
    assert main(["inspect", str(run), "--time-format", "seconds"]) == 2
    assert main(["inspect", str(run), "--history", str(tmp_path / "none.csv")]) == 2
    assert "no such file" in capsys.readouterr().err
