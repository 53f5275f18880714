"""Files of lists in every layout become the same lists; what is odd in them is counted, what cannot be used refused."""

import gzip
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from demure.errors import DataError
from demure.preparation.ranked_lists import read_ranked_lists

FRAME = pd.DataFrame({"user_id": ["v", "u", "u", "u"], "item_id": ["b", "c", "a", "b"], "rank": [1, 1, 2, 3]})
EXPECTED = {"u": ["c", "a", "b"], "v": ["b"]}


def dataset(format="csv"):
    ids = {"user_ids": np.array(["u", "v", "w"], object), "item_ids": np.array(["a", "b", "c", "d"], object)}
    return SimpleNamespace(**ids, manifest=SimpleNamespace(created_by={"format": format}))


def read(path, content=None, **options):
    if content is not None:
        path.write_text(content)
    return read_ranked_lists(path, dataset(**options))


def as_ids(ranked):
    lists = ranked.lists
    return {user: ["abcd"[k] for k in lists.of(row)] for row, user in enumerate("uvw") if ranked.has_list[row]}


def write_csv(path):
    FRAME.to_csv(path, index=False)


def write_scores(path):
    FRAME.assign(score=10.5 - FRAME["rank"]).drop(columns="rank").to_csv(path, sep="\t", index=False)


def write_parquet(path):
    FRAME.to_parquet(path, index=False)


def write_gzip(path):
    with gzip.open(path, "wt") as handle:
        handle.write(FRAME.to_csv(index=False))


def write_other_names(path):
    FRAME.rename(columns={"user_id": "user", "item_id": "item", "rank": "Rank"}).to_csv(path, index=False)


def write_recbole(path):
    names = {"user_id": "user_id:token", "item_id": "item_id:token", "rank": "rank:float"}
    FRAME.rename(columns=names).to_csv(path, sep="\t", index=False)


def write_trec(path):
    lines = (f"{row.user_id} Q0 {row.item_id}  {row.rank} {1 / row.rank} mine\n" for row in FRAME.itertuples(name="R"))
    path.write_text("".join(lines))


def write_trec_in_tabs(path):
    rows = [(row[0], "Q0", row[1], row[2], -row[2], "mine") for row in FRAME.itertuples(index=False)]
    pd.DataFrame(rows).to_csv(path, sep="\t", header=False, index=False)


@pytest.mark.parametrize(
    "write",
    [
        write_csv, write_scores, write_parquet, write_gzip, write_other_names, write_recbole, write_trec,
        write_trec_in_tabs,
    ],
)  # fmt: skip
def test_every_layout_is_the_same_lists(tmp_path, write):
    suffix = {"write_scores": ".tsv", "write_parquet": ".parquet", "write_gzip": ".csv.gz"}.get(write.__name__, ".csv")
    write(tmp_path / f"lists{suffix}")
    ranked = read(tmp_path / f"lists{suffix}")
    assert as_ids(ranked) == EXPECTED
    assert (ranked.unknown_users, ranked.unknown_items, ranked.duplicates, ranked.tied) == ([], [], 0, 0)


def mmrec_file(path, rows):
    """Write top-k item numbers of users as MMRec's TopKEvaluator does."""
    frame = pd.DataFrame([items for _, items in rows])
    frame.insert(0, "id", [user for user, _ in rows])
    frame.columns = ["id", *(f"top_{place}" for place in range(frame.shape[1] - 1))]
    frame.astype(int).to_csv(path, sep="\t", index=False)


def test_numbers_of_mmrec_are_those_of_the_export(tmp_path):
    mmrec_file(tmp_path / "BPR-toy-idx0-top3.csv", [(1, [1, 0, 3]), (0, [2, 0, 1])])
    ranked = read(tmp_path / "BPR-toy-idx0-top3.csv")
    assert as_ids(ranked) == {"u": ["c", "a", "b"], "v": ["b", "a", "d"]}
    assert "taken as those that `demure data export --format mmrec` writes" in ranked.notes[0]


def test_numbers_of_mmrec_by_the_mapping_files_beside_it(tmp_path):
    mmrec_file(tmp_path / "lists.csv", [(7, [5, 6]), (8, [6, 5])])
    (tmp_path / "u_id_mapping.csv").write_text("user_id,userID\nu,8\nv,7\n")
    (tmp_path / "i_id_mapping.csv").write_text("itemID\tasin\n5\td\n6\tb\n")
    assert as_ids(read(tmp_path / "lists.csv")) == {"u": ["b", "d"], "v": ["d", "b"]}
    (tmp_path / "i_id_mapping.csv").write_text("itemID,x,y\n5,d,e\n")
    with pytest.raises(DataError, match=r"i_id_mapping.csv: .*columns itemID, x, y.*two columns, an id and itemID"):
        read(tmp_path / "lists.csv")


def test_numbers_of_mmrec_are_the_ids_of_a_dataset_from_its_files(tmp_path):
    mmrec_file(tmp_path / "lists.csv", [(9, [4, 3])])
    own = dataset(format="mmrec")
    own.user_ids, own.item_ids = np.array(["9", "0"], object), np.array(["3", "4"], object)
    assert read_ranked_lists(tmp_path / "lists.csv", own).lists.of(0).tolist() == [1, 0]


def test_ties_are_in_the_order_of_the_items_and_counted(tmp_path):
    ranked = read(tmp_path / "x.csv", "user_id,item_id,score\nu,d,1\nu,a,1\nu,b,2\nv,a,3\nv,b,2\n")
    assert as_ids(ranked) == {"u": ["b", "a", "d"], "v": ["a", "b"]}
    assert ranked.tied == 1


def test_of_a_repeated_item_the_best_place_counts(tmp_path):
    ranked = read(tmp_path / "x.csv", "user_id,item_id,score\nu,d,1\nu,a,2\nu,d,3\n")
    assert as_ids(ranked) == {"u": ["d", "a"]}
    assert ranked.duplicates == 1


def test_what_the_dataset_lacks_is_left_out_and_counted(tmp_path):
    ranked = read(tmp_path / "x.csv", "user_id,item_id,rank\nu,a,2\nu,x,1\nme,a,1\nv,y,1\n")
    assert as_ids(ranked) == {"u": ["a"], "v": []}
    assert (ranked.unknown_users, ranked.unknown_items) == (["me"], ["x", "y"])


def test_a_score_of_minus_infinity_is_never(tmp_path):
    ranked = read(tmp_path / "x.csv", "user_id,item_id,score\nu,a,1\nu,b,-inf\n")
    assert as_ids(ranked) == {"u": ["a"]}
    assert ranked.never == 1


@pytest.mark.parametrize(
    ("content", "order", "counted"),
    [
        ("user_id,item_id,rank,score\nu,a,1,0.1\nu,b,2,0.9\n", ["a", "b"], "rank"),
        ("u Q0 a 1 0.1 x\nu Q0 b 2 0.9 x\n", ["b", "a"], "score"),  # as trec_eval
    ],
)
def test_a_rank_that_contradicts_the_score(tmp_path, content, order, counted):
    ranked = read(tmp_path / "x.txt", content)
    assert as_ids(ranked) == {"u": order}
    assert f"order 1 lists in different ways; {counted} counts" in ranked.notes[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id,rating\nu,a,5\n", "has no column rank or score .there are: 'user_id', 'item_id', 'rating'"),
        ("user_id,score\nu,5\n", "has no column item_id"),
        ("user_id,item_id,rank\nu,a,1\nu,b,first\n", "x.csv:3: rank is 'first', which is not a number"),
        ("user_id,item_id,score\nu,a,nan\n", "x.csv:2: score is 'nan', which is not a number"),
        ("user_id,item_id,rank\n1,a,1\n2,a,1\n", "has no user of the dataset: its users are '1', '2', those of"),
        ("user_id,item_id,rank\nu,7,1\n", "has no item of the dataset: .*not the numbers that another tool gives"),
        ("u Q0 a 1 0.1 x\nu Q0 b 2\n", "x.csv:2: score is ''"),
        ("u Q0 a 1 0.1 x\nu Q0 b 2 0.2 x y\n", "is not a TREC run .*six fields a line"),
        ("", "is empty"),
    ],
)  # fmt: skip
def test_refusals(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as refusal:
        read(tmp_path / "x.csv", content)
    assert "--columns" not in str(refusal.value)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "absent.csv")
