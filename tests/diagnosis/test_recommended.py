from dataclasses import replace

import numpy as np
import pytest
from support.small_sets import QUICK, dataset_folder

from demure.cluster.executor import LOCAL
from demure.diagnosis import suggest_many
from demure.diagnosis.recommended import describe_scores, suggestions
from demure.diagnosis.tables import user_view
from demure.progress import silent
from demure.runs.load import load_run
from demure.runs.manifest import RunManifest
from demure.training.run import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train(dataset_folder(folder), folder / "run", overrides=QUICK, device="cpu")
    return load_run(folder / "run")


def test_they_are_what_the_run_recommends_and_each_names_a_past_choice(run):
    users = [str(user) for user in run.dataset.user_ids[:5]]
    by_user = suggestions(run, users, 4)
    frame = run.recommend(users, 4)
    expected = [(user, item.rank, item.item_id, item.because) for user in users for item in by_user[user]]
    assert expected == list(frame[["user_id", "rank", "item_id", "because"]].itertuples(index=False, name=None))
    histories = run.dataset.histories("train", "valid", "test")
    for code, user in enumerate(users):
        past = {str(item) for item in run.dataset.item_ids[histories.of(code)]}
        assert all(item.past_item_id in past for item in by_user[user] if item.past_item_id is not None)
        assert all(item.item_id not in past for item in by_user[user])


def test_the_past_choice_is_the_one_with_the_largest_term(run):
    user = str(run.dataset.user_ids[0])
    code = {str(item): k for k, item in enumerate(run.dataset.item_ids)}
    past = run.dataset.histories("train", "valid", "test").of(0)
    for suggestion in suggestions(run, [user], 6)[user]:
        if suggestion.because != "history" or suggestion.past_item_id is None:
            continue
        alone = [run.recommender.collaborative(np.array([[item]]))[0, code[suggestion.item_id]] for item in past]
        assert past[int(np.argmax(alone))] == code[suggestion.past_item_id]


def test_many_users_get_the_same_in_blocks_and_groups(run, monkeypatch):
    users = [str(user) for user in run.dataset.user_ids]
    expected = suggestions(run, users, 4)
    monkeypatch.setattr(suggest_many, "_PAIRS_TOGETHER", 200)
    monkeypatch.setattr(suggest_many, "_USERS_AT_ONCE", 3)
    monkeypatch.setattr(suggest_many, "_PAST_ITEMS_AT_ONCE", 4)
    by_user = suggest_many.suggest_many(run.path, users, 4, LOCAL, silent)
    assert list(by_user) == users
    for user in users:
        assert [replace(item, score=0.0) for item in by_user[user]] == [
            replace(item, score=0.0) for item in expected[user]
        ]
        assert [item.score for item in by_user[user]] == pytest.approx([item.score for item in expected[user]])


def test_a_user_view_has_them(run):
    user = str(run.dataset.user_ids[1])
    view = user_view(run.path, user, recommend=3)
    assert [line["rank"] for line in view.recommended] == [1, 2, 3]
    assert {line["because"] for line in view.recommended} <= {*view.modalities, "history"}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (
            (1.0, 0.0, 0.0),
            "Validation gave the content no weight in this list: recommendations follow what is taken together.",
        ),
        (
            (0.0, 0.0, 0.0),
            "Validation gave the content no weight in this list: recommendations follow what is popular.",
        ),
        (
            (0.0, 0.4, 0.0),
            "Validation gave all weight in this list to the content: what is taken together has none.",
        ),
        (
            (0.75, 0.05, 0.0),
            "Validation gave what is taken together a weight of 0.75 in this list, the content 0.05.",
        ),
        (
            (1.0, 0.0, 0.5),
            "Validation gave what is taken together a weight of 1 in this list, the content 0 and more for items that "
            "few took.",
        ),
    ],
)
def test_what_the_score_is_describe_scores(weights, words):
    pool = dict(zip(("collaborative", "content", "scarce"), weights, strict=True))
    assert describe_scores(RunManifest(pool=pool, valid={"recall@20": 0.3})) == words


def test_without_validation_or_without_weights():
    assert describe_scores(RunManifest(pool={"collaborative": 1.0, "content": 0.1})) == (
        "Without a validation split, the defaults gave what is taken together a weight of 1 in this list, the content "
        "0.1."
    )
    assert describe_scores(RunManifest(recipe="popularity")) == ""


def test_it_stands_next_to_the_list(run, capsys, tmp_path):
    from demure_cli.app import main

    words = describe_scores(run.manifest)
    user = str(run.dataset.user_ids[1])
    assert user_view(run.path, user, recommend=3).made_of == words
    assert user_view(run.path, user).made_of == ""
    for command in (["inspect", str(run.path), "--user", user], ["recommend", str(run.path), "--user", user]):
        out = ["--out", str(tmp_path / "top.parquet")] if command[0] == "recommend" else []
        assert main([*command, *out, "--quiet"]) == 0
        assert words in " ".join(capsys.readouterr().out.split())
