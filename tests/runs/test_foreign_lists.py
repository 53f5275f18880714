"""Lists of other models are evaluated as runs are: those of a run have its metrics, and the round trips through the
files of MMRec and RecBole give what their users would compute by hand."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import demure
from demure.data.dataset import Dataset
from demure.data.export import export_dataset
from demure.data.histories import Histories
from demure.data.splits import EARLIER
from demure.errors import DemureError
from demure.evaluation.beyond_accuracy import Catalogue
from demure.evaluation.metrics import PER_USER
from demure.evaluation.ranked_lists import Coverage, measure_coverage
from demure.evaluation.ranking import as_array
from demure.preparation.ranked_lists import RankedLists
from demure.runs.evaluate import compare_runs
from demure.runs.foreign_lists import ForeignLists, evaluate_lists
from demure.runs.load import load_run
from demure.runs.ranking import RankedRuns
from demure_cli.app import main

K = 10


@pytest.fixture(scope="module")
def own_lists(run):
    """The K best items of every user of the test split, by the run's own scores; with past items left in."""
    loaded = load_run(run, device="cpu")
    ids, items = loaded.dataset.user_ids, loaded.dataset.item_ids
    users = np.flatnonzero(loaded.dataset.histories("test").lengths)
    scores = as_array(loaded.scorer("test")(users))
    best = np.argsort(-scores, axis=1, kind="stable")
    rows = [
        (ids[user], items[item], rank + 1, float(scores[row, item]))
        for row, user in enumerate(users)
        for rank, item in enumerate(best[row])
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank", "score"])


def without_past(frame, dataset, k=K):
    past = dataset.histories(*EARLIER["test"])
    item_of = {item_id: k for k, item_id in enumerate(dataset.item_ids)}
    row_of = {user_id: k for k, user_id in enumerate(dataset.user_ids)}
    new = [item_of[i] not in past.of(row_of[u]) for u, i in zip(frame["user_id"], frame["item_id"], strict=True)]
    return frame[new].groupby("user_id", sort=False).head(k).reset_index(drop=True)


def means(comparison, name):
    method = next(method for method in comparison.comparison.methods if method.name == name)
    return {metric: mean.mean for metric, mean in method.metrics.items()}


def write(path, frame):
    frame.to_csv(path, index=False)
    return path


def test_the_lists_of_a_run_have_its_metrics(run, own_lists, tmp_path):
    cut = write(tmp_path / "cut.csv", without_past(own_lists, Dataset.load(demure.Run.load(run).dataset.path)))
    whole = write(tmp_path / "whole.csv", own_lists.drop(columns="rank"))
    shuffled = write(tmp_path / "shuffled.csv", own_lists.sample(frac=1, random_state=0))
    files = [("cut", cut), ("whole", whole), ("shuffled", shuffled)]
    comparison = compare_runs([run], ks=(5, K), metrics=[*PER_USER, "ild-image"], lists=files, device="cpu")
    expected = means(comparison, str(run))
    assert expected["recall@10"] > 0
    assert means(comparison, "cut") == means(comparison, "whole") == means(comparison, "shuffled") == expected
    assert all(pair.difference == 0 and pair.p_value == 1 for pair in comparison.comparison.pairs)
    cut_check, whole_check, _ = comparison.lists
    assert cut_check.notes == []
    assert whole_check.past_users == whole_check.users
    assert "items in their list that they had before" in whole_check.notes[0]


def popularity(train, users, n, masked):
    """The n most popular items of training for each user, ties by the smaller number, without the ``masked`` ones."""
    counts = train["itemID"].value_counts()
    order = sorted(counts.index, key=lambda item: (-counts[item], item))
    return {user: [item for item in order if item not in masked.get(user, ())][:n] for user in users}


def by_user(part):
    return part.groupby("userID")["itemID"].agg(set).to_dict()


def test_round_trips_through_mmrec_and_recbole(run, timed, tmp_path):
    export_dataset(timed, tmp_path / "mm" / "toy", "mmrec")
    inter = pd.read_csv(tmp_path / "mm" / "toy" / "toy.inter", sep="\t")
    train, valid, test = (inter[inter["x_label"] == label] for label in range(3))
    lists = popularity(train, test["userID"].unique(), 20, by_user(train))  # MMRec masks training alone
    matrix = pd.DataFrame(list(lists.values()))
    matrix.insert(0, "id", list(lists))
    matrix.columns = ["id", *(f"top_{k}" for k in range(20))]
    mmrec = tmp_path / "Pop-toy-idx0-top20-Nov-27-2026-07-05-56.csv"
    matrix.astype(int).to_csv(mmrec, sep="\t", index=False)

    export_dataset(timed, tmp_path / "rb" / "toy", "recbole")
    names = {"user_id:token": "userID", "item_id:token": "itemID"}
    parts = [pd.read_csv(tmp_path / "rb" / "toy" / f"toy.{part}.inter", sep="\t", dtype=str) for part in
             ("train", "valid", "test")]  # fmt: skip
    rb_train, rb_valid, rb_test = (part.rename(columns=names) for part in parts)
    number = {item: k for k, item in enumerate(Dataset.load(timed).item_ids)}
    rb_train = rb_train.assign(itemID=rb_train["itemID"].map(number))
    masked = by_user(pd.concat([rb_train, rb_valid.assign(itemID=rb_valid["itemID"].map(number))]))
    tokens = Dataset.load(timed).item_ids
    rows = [
        (user, tokens[item], 1000.0 - place)
        for user, items in popularity(rb_train, rb_test["userID"].unique(), 10, masked).items()
        for place, item in enumerate(items)
    ]
    recbole = tmp_path / "Pop.lists"
    pd.DataFrame(rows, columns=[*names, "score:float"]).to_csv(recbole, sep="\t", index=False)

    comparison = compare_runs([run], ks=(K,), lists=[("MMRec", mmrec), ("RecBole", recbole)], device="cpu")
    relevant, had = by_user(test), by_user(valid)
    recalls = []
    for user, items in lists.items():
        top = [item for item in items if item not in had.get(user, ())][:K]
        recalls.append(len(relevant[user] & set(top)) / len(relevant[user]))
    assert means(comparison, "MMRec")["recall@10"] == pytest.approx(np.mean(recalls))
    assert means(comparison, "MMRec") == means(comparison, "RecBole")
    mm, rb = comparison.lists
    assert (mm.past_items["train"], rb.past_items) == (0, {"train": 0, "valid": 0})
    assert mm.past_items["valid"] == sum(len(had.get(user, set()) & set(items)) for user, items in lists.items())
    assert not any("MMRec lists no items of training" in note for note in mm.notes)
    # The numbers of other users: their lists have items of training.
    matrix.assign(id=np.roll(matrix["id"], 1)).astype(int).to_csv(mmrec, sep="\t", index=False)
    (wrong,) = compare_runs([run], ks=(K,), lists=[("MMRec", mmrec)], device="cpu").lists
    assert any("MMRec lists no items of training" in note for note in wrong.notes)
    assert (mm.missing_users, mm.unknown_items, mm.short_lists, rb.short_lists) == (0, 0, 0, 0)


def test_users_without_a_list_count_with_zero(run, own_lists, tmp_path):
    users = own_lists["user_id"].unique()
    half = own_lists[own_lists["user_id"].isin(users[::2])]
    comparison = compare_runs([run], ks=(K,), lists=[("half", write(tmp_path / "half.csv", half))], device="cpu")
    per_user = compare_runs([run], ks=(K,), lists=[("all", write(tmp_path / "all.csv", own_lists))], device="cpu")
    (check,) = comparison.lists
    assert (check.users, check.missing_users) == (len(users), len(users) // 2)
    assert f"{len(users) // 2} of the {len(users)} users have no list and count with 0" in check.notes
    assert 0 < means(comparison, "half")["recall@10"] < means(per_user, "all")["recall@10"]
    assert comparison.comparison.users == len(users)


def test_what_does_not_fit_is_counted(run, own_lists, tmp_path):
    frame = without_past(own_lists.drop(columns="score"), demure.Run.load(run).dataset, k=3)
    extra = pd.DataFrame({"user_id": ["nobody", frame["user_id"][0]], "item_id": ["nothing"] * 2, "rank": [1, 0]})
    file = write(tmp_path / "x.csv", pd.concat([frame, extra, frame.head(1).assign(rank=9)]))
    (check,) = compare_runs([run], ks=(K,), lists=[("x", file)], device="cpu").lists
    assert (check.unknown_users, check.unknown_items, check.duplicates) == (1, 1, 1)
    assert check.short_lists == check.users
    assert [note.split(" ", 1)[1].split(";")[0].split(",")[0] for note in check.notes] == [
        "items",
        "users",
        "places repeat an item of their list",
        "lists have fewer than 10 items that can be recommended",
    ]


def test_coverage_by_hand():
    # User 0 had 0 (train) and 1 (valid), user 1 nothing, user 2 had 2; users 0 and 1 are evaluated; five items.
    lists = Histories(np.array([0, 3, 3, 4]), np.array([0, 4, 1, 2]))
    train, valid = Histories(np.array([0, 1, 1, 2]), np.array([0, 2])), Histories(np.array([0, 1, 1, 1]), np.array([1]))
    has_list = np.array([True, False, True])
    coverage = measure_coverage(lists, has_list, np.array([0, 1]), {"train": train, "valid": valid}, 2, 5)
    assert coverage == Coverage(
        missing_users=1, other_users=1, past_users=1, past_items={"train": 1, "valid": 1}, short_lists=1
    )
    # With k above the three items that user 0 can be recommended, a list of these three is not short.
    full = Histories(np.array([0, 3, 3, 3]), np.array([2, 3, 4]))
    assert measure_coverage(full, has_list, np.array([0]), {"train": train, "valid": valid}, 20, 5).short_lists == 0


def test_lists_of_none_of_the_evaluated_users_are_refused():
    histories = {"train": [[0], [0]], "valid": [[], []], "test": [[1], []]}

    class TwoUsers:
        n_items = 3

        def histories(self, *splits):
            lists = [[item for split in splits for item in histories[split][user]] for user in range(2)]
            return Histories(np.cumsum([0, *map(len, lists)]), np.array([*lists[0], *lists[1]], int))

    past = TwoUsers().histories("train", "valid")
    ranked = RankedLists(Histories(np.array([0, 0, 1]), np.array([1])), np.array([False, True]), [], [], 0, 0, 0, [])
    runs = RankedRuns(TwoUsers(), past, Catalogue(np.array([2, 0, 0]), 2), {})
    with pytest.raises(DemureError, match=r"x.csv: has no list of a user with relevant items in the split 'test'"):
        evaluate_lists([ForeignLists("x", Path("x.csv"), ranked)], runs, "test", [2])


def test_several_files_of_a_name_are_seeds(run, own_lists, tmp_path):
    first = write(tmp_path / "first.csv", own_lists)
    second = write(tmp_path / "second.csv", own_lists.drop(columns="score").assign(rank=-own_lists["rank"]))
    comparison = compare_runs([run], ks=(K,), lists=[("mine", first), ("mine", second)], device="cpu")
    _, method = comparison.comparison.methods
    assert (method.name, method.runs) == ("mine", [str(first), str(second)])
    assert method.metrics["recall@10"].sd > 0
    assert [note.partition(":")[0] for note in comparison.notes()] == ["mine, file 1", "mine, file 2"]


def test_from_python_with_a_frame(run, own_lists):
    table = demure.compare([run], k=K, lists={"frame": own_lists}, device="cpu")
    assert table["method"].tolist() == [str(run), "frame"] * 2
    assert table["mean"].iloc[0] == table["mean"].iloc[1]
    assert table.attrs["notes"][0].startswith("frame: ")
    with pytest.raises(DemureError, match=r"^frame: has no column rank or score"):
        demure.compare([run], lists={"frame": own_lists[["user_id", "item_id"]]}, device="cpu")


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown", "latex"])
def test_the_command_in_every_form(run, own_lists, tmp_path, capsys, form):
    file = write(tmp_path / "theirs.csv", own_lists)
    assert main(["compare", str(run), "--lists", f"MGCN={file}", "--k", "10", "--format", form]) == 0
    output = capsys.readouterr()
    assert "MGCN" in output.out
    if form == "json":
        (check,) = json.loads(output.out)["lists"]
        assert (check["name"], check["file"]) == ("MGCN", str(file))
        assert check["past_users"] == check["users"]
    else:
        assert "had before" in " ".join((output.out if form == "table" else output.err).split())


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (["theirs.csv"], "--lists: 'theirs.csv' is not NAME=FILE; for example MGCN=lists.csv"),
        (["A=absent.csv"], "absent.csv: no such file"),
        (["A=x.csv", "B=x.csv"], "x.csv: is given twice"),
        (["RUN=x.csv"], "is the name of a run; give the lists another name"),
    ],
)
def test_refusals(run, own_lists, tmp_path, monkeypatch, capsys, lists, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.csv", own_lists)
    options = [option.replace("RUN", str(run)) for option in lists]
    assert main(["compare", str(run), *(word for option in options for word in ("--lists", option))]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


def test_lists_with_the_name_of_the_folder_of_a_run_keep_it_apart(run, own_lists, tmp_path, capsys):
    file = write(tmp_path / "theirs.csv", own_lists)
    assert main(["compare", str(run), "--lists", f"{run.name}={file}", "--k", "10", "--metrics", "recall"]) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert f"difference:from{run}" in shown
