"""Every command after the other, as a user types them, on a small catalogue with its gaps."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from demure.demo.catalogue import CatalogueOptions, render
from demure_cli.app import main

QUICK = ["--set", "training.epochs=2", "--set", "training.epoch_steps=3", "--device", "cpu"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with raw data, a dataset with features, and a trained run."""
    folder = tmp_path_factory.mktemp("a shop")
    raw = render(folder / "raw", CatalogueOptions(users=60, items=60, length=(6, 12)))
    options = [
        "--interactions",
        raw.interactions,
        "--items",
        raw.items,
        "--images",
        raw.images,
        "--out",
        folder / "data",
    ]
    for arguments in (
        ["prepare", *options],
        ["extract", folder / "data"],
        ["train", folder / "data", "--out", folder / "run", *QUICK],
        ["train", folder / "data", "--out", folder / "popular", "--recipe", "popularity"],
    ):
        assert main(["--quiet", *map(str, arguments)]) == 0, arguments
    return folder


def run(capsys, *arguments):
    """What a command prints as JSON."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert main(["--quiet", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err


def histories(shop):
    return pd.read_parquet(shop / "data" / "interactions.parquet")


def test_the_dataset_folder(shop):
    manifest = json.loads((shop / "data" / "dataset.json").read_text())
    rows = histories(shop)
    assert manifest["counts"]["interactions"] == len(rows)
    assert set(rows["split"]) == {"train", "valid", "test"}
    assert rows.groupby("user_id")["split"].value_counts().unstack()[["valid", "test"]].eq(1).all(None)
    items = pd.read_parquet(shop / "data" / "items.parquet")
    for name in ("text", "image"):
        features = load_file(shop / "data" / "features" / name / "features.safetensors")
        assert len(features["vectors"]) == len(features["present"]) == len(items)
        assert features["vectors"].dtype == np.float32


def test_eval(shop, capsys):
    single = run(capsys, "eval", shop / "run", "--k", "5,20")
    assert set(single["metrics"]) >= {"recall@5", "recall@20", "ndcg@5", "ndcg@20"}
    assert single["metrics"]["recall@5"] <= single["metrics"]["recall@20"] <= 1
    both = run(capsys, "eval", shop / "run", shop / "popular", "--split", "valid")
    assert [row["run"] for row in both["runs"]] == [str(shop / "run"), str(shop / "popular")]
    assert {pair["metric"] for pair in both["comparison"]["pairs"]} == {"recall@20", "ndcg@20"}


def test_inspect_adds_up(shop, capsys):
    output = run(capsys, "inspect", shop / "run")
    train = histories(shop).query("split == 'train'")
    assert output["interactions"] == len(train)
    for row in output["modalities"]:
        assert row["poi"] + row["noise"] + row["missing"] == pytest.approx(1)
    assert sum(row["users"] for row in output["reliance"]) == output["users"] == train["user_id"].nunique()


def test_inspect_a_user_in_time_order(shop, capsys):
    user = histories(shop)["user_id"].iloc[0]
    output = run(capsys, "inspect", shop / "run", "--user", user)
    own = histories(shop).query("split == 'train' and user_id == @user").sort_values("timestamp", kind="stable")
    assert [row["item_id"] for row in output["history"]] == own["item_id"].tolist()
    for row in output["history"]:
        assert set(row["verdicts"]) == {"image", "text"}
        for verdict in row["verdicts"].values():
            assert row["item_id"] not in {support["item_id"] for support in verdict["supports"]}
            assert (verdict["poi_probability"] >= 0.5) == (verdict["verdict"] == "poi")


def test_export_has_every_interaction_and_modality_once(shop, capsys, tmp_path):
    report = run(capsys, "inspect", shop / "run", "--export", tmp_path / "noise.parquet")
    frame = pd.read_parquet(tmp_path / "noise.parquet")
    assert list(frame) == ["user_id", "item_id", "modality", "poi_probability", "evidence", "verdict"]
    assert report["rows"] == len(frame) == 2 * len(histories(shop).query("split == 'train'"))
    assert not frame.duplicated(["user_id", "item_id", "modality"]).any()
    assert frame["poi_probability"].between(0, 1).all()
    items = pd.read_parquet(shop / "data" / "items.parquet")["item_id"]
    for name in ("text", "image"):
        present = load_file(shop / "data" / "features" / name / "features.safetensors")["present"]
        lacking = set(items[present == 0])
        assert set(frame.query("modality == @name and verdict == 'missing'")["item_id"]) == lacking & set(
            frame["item_id"]
        )


def test_recommendations_are_new_to_the_user(shop, capsys, tmp_path):
    run(capsys, "recommend", shop / "run", "--all", "--k", 7, "--out", tmp_path / "best.parquet")
    best = pd.read_parquet(tmp_path / "best.parquet")
    assert list(best) == ["user_id", "rank", "item_id", "score", "because", "interest"]
    assert best.loc[best["because"] == "history", "interest"].eq("").all()
    assert best.loc[best["because"] != "history", "interest"].ne("").all()
    assert best.groupby("user_id")["rank"].apply(list).map(lambda ranks: ranks == list(range(1, 8))).all()
    assert best.merge(histories(shop), on=["user_id", "item_id"]).empty
    assert set(best["because"]) <= {"image", "text", "history"}
    users = best["user_id"].unique()[:2]
    run(
        capsys,
        "recommend",
        shop / "run",
        "--user",
        users[1],
        "--user",
        users[0],
        "--k",
        3,
        "--out",
        tmp_path / "2.parquet",
    )
    two = pd.read_parquet(tmp_path / "2.parquet")
    assert two["user_id"].unique().tolist() == [users[1], users[0]]
    alone = best.query("rank <= 3").set_index(["user_id", "rank"])["item_id"]
    assert (
        alone.loc[list(users)].sort_index().tolist()
        == two.set_index(["user_id", "rank"])["item_id"].sort_index().tolist()
    )


def test_new_users_by_their_history(shop, capsys, tmp_path):
    rows = histories(shop)
    old = rows["user_id"].iloc[0]
    whole = rows.query("user_id == @old")
    item = rows["item_id"].iloc[-1]
    guests = {"user_id": ["a guest", "a guest", "lost"], "item_id": [item, "no such", "no such"], "timestamp": 1}
    new = whole.assign(user_id="somebody new")[["user_id", "item_id", "timestamp"]]
    pd.concat([new, pd.DataFrame(guests)]).to_csv(tmp_path / "now.csv", index=False)
    recommend = ["recommend", shop / "run", "--k", 5]
    report = run(capsys, *recommend, "--history", tmp_path / "now.csv", "--out", tmp_path / "n.parquet")
    assert any("unknown item: 2 dropped" in note for note in report["notes"])
    assert any("1 users have no item that the dataset knows" in note for note in report["notes"])
    run(capsys, *recommend, "--user", old, "--out", tmp_path / "o.parquet")
    new, old_user = pd.read_parquet(tmp_path / "n.parquet"), pd.read_parquet(tmp_path / "o.parquet")
    assert new["user_id"].unique().tolist() == ["somebody new", "a guest", "lost"]
    same = new.query("user_id == 'somebody new'")
    assert same["item_id"].tolist() == old_user["item_id"].tolist()
    assert np.allclose(same["score"], old_user["score"], atol=1e-5)
    assert item not in set(new.query("user_id == 'a guest'")["item_id"])
    lost = new.query("user_id == 'lost'")
    counts = rows.query("split == 'train'")["item_id"].value_counts()
    assert counts.reindex(lost["item_id"]).tolist() == counts.sort_values(ascending=False).head(5).tolist()
    assert set(lost["because"]) == {"history"}


def test_the_report_is_one_file_that_asks_for_nothing(shop, capsys, tmp_path):
    report = run(capsys, "report", shop / "run", "--out", tmp_path / "report.html")
    assert report["users"] == histories(shop).query("split == 'train'")["user_id"].nunique()
    page = re.sub(r"(?s)<script.*?</script>", "", (tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert not any(f"{start}{scheme}" in page for start in ('src="', 'href="', "url(") for scheme in ("http", "//"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{run}", "--out", "{new}"], "is not a dataset folder (no dataset.json); make one with"),
        (["train", "{data}", "--out", "{run}"], "already exists"),
        (["train", "{data}", "--out", "{new}", "--recipe", "defualt"], "no recipe 'defualt'; did you mean default"),
        (["train", "{data}", "--out", "{new}", "--set", "training.epoch=2"], "did you mean epochs"),
        (["train", "{data}", "--out", "{new}", "--set", "modalities=[audio]"], "audio"),
        (["extract", "{data}", "--text", "tfdif"], "unknown encoder 'tfdif'"),
        (["extract", "{data}", "--image", "tfidf"], "tfidf"),
        (["eval", "{run}", "{run}"], "is given twice"),
        (["eval", "{data}"], "is not a run folder"),
        (["inspect", "{run}", "--user", "ada-1"], "nearest: ada-"),
        (["inspect", "{run}", "--item", "b00"], "nearest: "),
        (["inspect", "{popular}"], "has no diagnosis: recipe 'popularity' does not diagnose modalities"),
        (["inspect", "{run}", "--export", "{new}.csv"], "give a name that ends in .parquet"),
        (["recommend", "{run}", "--user", "nobody", "--out", "{new}.parquet"], "no user 'nobody'"),
        (["recommend", "{run}", "--all", "--out", "{new}.csv"], "end its name in .parquet"),
        (["report", "{popular}", "--out", "{new}.html"], "has no diagnosis"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line_and_leaves_nothing(shop, capsys, tmp_path, arguments, message):
    names = {"data": shop / "data", "run": shop / "run", "popular": shop / "popular", "new": tmp_path / "new"}
    assert message in refused(capsys, *(argument.format(**names) for argument in arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_changed_dataset_is_noticed(shop, capsys, tmp_path):
    raw = shop / "raw"
    options = ["--interactions", raw / "interactions.csv", "--items", raw / "items.csv", "--out", tmp_path / "data"]
    run(capsys, "prepare", *options, "--k-core", 0)
    run(capsys, "extract", tmp_path / "data", "--text", "tfidf")
    run(capsys, "train", tmp_path / "data", "--out", tmp_path / "run", *QUICK)
    run(capsys, "prepare", *options, "--k-core", 6, "--overwrite")
    for arguments in (["eval"], ["inspect"], ["recommend", "--all", "--out", tmp_path / "x.parquet"]):
        assert "is not the dataset" in refused(capsys, arguments[0], tmp_path / "run", *arguments[1:])
