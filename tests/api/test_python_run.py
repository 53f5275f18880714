"""`import demure`: datasets and runs as frames that draw themselves."""

import dataclasses
from types import SimpleNamespace

import pandas as pd
import pytest
from support.runs_by_hand import IMAGE_EXPLAINS_NOTHING, small_run
from support.small_sets import QUICK, SMALL

import demure
from demure.api.drawing import Drawn, drawn
from demure.demo.planted import plant


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    return demure.Run.load(small_run(tmp_path_factory.mktemp("by_hand")))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    plant(SMALL).write(folder / "raw")
    raw = folder / "raw"
    features = {file.stem: file for file in raw.glob("*.npy")}
    shop = demure.prepare(raw / "interactions.csv", folder / "shop", items=raw / "items.csv", features=features)
    return demure.train(shop, folder / "run", overrides=QUICK, seed=1, device="cpu")


def test_the_facade_names_what_it_has():
    assert {"Dataset", "Run", "compare", "extract", "prepare", "train", "DemureError"} <= set(dir(demure))
    assert issubclass(demure.DemureError, ValueError)
    with pytest.raises(AttributeError, match="no attribute 'evaluate'"):
        demure.evaluate  # noqa: B018


def test_prepare_can_be_called_after_its_package_was_imported(tmp_path):
    import demure.preparation.prepare

    with pytest.raises(demure.DemureError, match="nowhere"):
        demure.prepare(tmp_path / "nowhere.csv", tmp_path / "out")


def test_steps_give_back_what_they_made(trained):
    assert isinstance(trained.dataset, demure.Dataset)
    assert trained.manifest.seed == 1
    assert repr(trained).endswith("recipe='default', seed=1)")
    assert len(trained.dataset.interactions) == trained.dataset.manifest.counts.interactions


def test_diagnosis_of_a_user_is_the_history_in_order(trained):
    user = trained.dataset.user_ids[0]
    frame = trained.diagnose(user=user)
    had = trained.dataset.interactions.query("user_id == @user and split == 'train'")["item_id"].tolist()
    image = frame[frame["modality"] == frame["modality"].iloc[0]]
    assert image["item_id"].tolist() == had
    assert set(frame["verdict"]) <= {"poi", "noise", "missing"}
    assert frame["poi_probability"].between(0, 1).all()


def test_diagnosis_of_everything_is_the_table_of_the_run(trained):
    whole = trained.diagnose()
    assert len(whole) == len(pd.read_parquet(trained.path / "diagnosis.parquet"))
    of_item = trained.diagnose(item=whole["item_id"].iloc[0])
    assert of_item["item_id"].nunique() == 1


def test_reliance_is_a_share(trained):
    shares = trained.reliance()
    assert shares.sum(axis=1).tolist() == pytest.approx([1.0] * len(shares))
    of_user = trained.reliance(shares.index[2])
    pd.testing.assert_frame_equal(of_user, shares.iloc[[2]])


def test_recommendations_are_those_of_the_command(trained, tmp_path):
    from demure.runs.recommend import recommend

    users = list(trained.dataset.user_ids[:3])
    recommend(trained.path, tmp_path / "top.parquet", users=users, k=4, device="cpu")
    expected = pd.read_parquet(tmp_path / "top.parquet")
    pd.testing.assert_frame_equal(pd.DataFrame(trained.recommend(users, k=4)), expected, check_dtype=False)
    assert trained.recommend(users[0], k=2)["rank"].tolist() == [1, 2]
    assert trained.recommend(k=1)["user_id"].tolist() == list(trained.dataset.user_ids)


def test_new_users_are_scored_by_a_frame(trained, tmp_path):
    visit = trained.dataset.interactions.query("split == 'train'").head(6)[["user_id", "item_id"]]
    visit = visit.assign(user_id=["a", "a", "a", "b", "b", "b"])
    visit.to_csv(tmp_path / "visit.csv", index=False)
    by_frame = trained.recommend(history=visit, k=3)
    assert by_frame["user_id"].tolist() == ["a"] * 3 + ["b"] * 3
    pd.testing.assert_frame_equal(by_frame, trained.recommend(history=tmp_path / "visit.csv", k=3))
    assert set(trained.recommend("b", history=visit, k=3)["user_id"]) == {"b"}


def test_evaluation_and_comparison_are_those_of_the_commands(trained, tmp_path):
    from demure.runs.evaluate import evaluate_runs

    expected = evaluate_runs([trained.path], device="cpu").runs[0]
    frame = trained.evaluate(k=[20, 5])
    assert frame.set_index("k").loc[20, "recall"] == expected.metrics["recall@20"]
    assert trained.evaluate(k=5, by="users")["slice"].tolist() == ["all", "warm"]
    other = demure.train(trained.dataset, tmp_path / "popularity", recipe="popularity")
    table = demure.compare([trained, other], k=[5], metrics=["hit"])
    assert table["metric"].tolist() == ["hit@5"] * 2
    assert table["difference"].isna().tolist() == [True, False]


def test_objects_draw_themselves(trained, by_hand):
    assert "recipe" in trained._repr_html_()
    assert "by timestamps" in trained.dataset._repr_html_()
    assert trained.recommend(trained.dataset.user_ids[0], k=3)._repr_html_().count("<tr>") == 3


def test_a_history_is_drawn_with_titles_badges_and_pictures(by_hand):
    by_hand.__dict__["dataset"] = Pictured(by_hand)
    drawing = by_hand.diagnose(user="ann")._repr_html_()
    assert drawing.count("<tr>") == 3  # one per choice
    assert "Alien" in drawing
    assert "poi 0.90" in drawing
    assert "noise 0.80" in drawing  # the probability of noise, not of a point of interest
    assert ">missing</span>" in drawing
    assert "data:image/" in drawing
    item = by_hand.diagnose(item="i1")._repr_html_()
    assert {name for name in ("ann", "bob", "cid") if f"<td>{name}</td>" in item} == {"ann", "bob", "cid"}


def test_the_overview_is_that_of_the_command(trained, tmp_path):
    overview = trained.overview()
    assert overview.summary
    assert 0 <= overview.neither <= 1
    assert trained.overview(("history", "5-9")).segment == "history=5-9"
    made = small_run(tmp_path, manifest={"placebo": IMAGE_EXPLAINS_NOTHING})
    run = demure.Run.load(made)
    assert run.overview().summary[0] == "Pictures (`image`) explain nothing here."
    run.__dict__["dataset"] = Pictured(run)
    drawing = run.diagnose(user="ann")._repr_html_()
    assert drawing.count("cannot tell") == 2
    assert "noise 0.80" in drawing


class Pictured:
    """The part of a dataset that drawing needs, from a run written by hand."""

    def __init__(self, run):
        self.folder = run.path.parent
        frame = pd.read_parquet(self.folder / "dataset" / "items.parquet")
        self.titles = dict(zip(frame["item_id"], frame["title"].fillna(""), strict=True))
        self.titles["i2"] = "<script>alert(1)</script>"
        self.images = dict(zip(frame["item_id"], frame["image"], strict=True))

    def picture(self, item_id):
        return self.folder / "images" / self.images[item_id]


def test_hostile_titles_are_text(by_hand):
    by_hand.__dict__["dataset"] = Pictured(by_hand)
    drawing = by_hand.diagnose(user="ann")._repr_html_()
    assert "<script" not in drawing
    assert "&lt;script&gt;" in drawing


def test_what_is_derived_from_a_drawn_frame_is_plain():
    frame = drawn(pd.DataFrame({"a": [1, 2]}), lambda own: f"drawn {len(own)}")
    assert frame._repr_html_() == "drawn 2"
    assert isinstance(frame, pd.DataFrame)
    assert type(frame.head(1)) is pd.DataFrame
    frame["b"] = 3
    assert frame._repr_html_() != "drawn 2"
    assert "<table" in Drawn({"a": [1]})._repr_html_()
    assert "<table" in drawn(pd.DataFrame({"a": []}), lambda own: "nothing")._repr_html_()


def test_pictures_outside_the_folder_of_images_are_not_shown(tmp_path):
    from demure.api.dataset import Dataset

    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "images" / "a.png").write_bytes(b"x")
    dataset = Dataset(tmp_path, SimpleNamespace(images_root=str(tmp_path / "images")))
    dataset.__dict__["items"] = pd.DataFrame({"item_id": ["a", "b", "c"], "image": ["a.png", "../secret.png", None]})
    assert dataset.picture("a") == tmp_path / "images" / "a.png"
    assert dataset.picture("b") is None
    assert dataset.picture("c") is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.diagnose(user="nobody"), "no user 'nobody'"),
        (lambda run: run.diagnose(item="nothing"), "no item 'nothing'"),
        (lambda run: run.reliance("nobody"), "no user 'nobody'"),
        (lambda run: run.recommend("nobody"), "no user 'nobody'"),
        (lambda run: run.recommend(k=0), "k must be 1 or more"),
        (lambda run: run.recommend(history=pd.DataFrame({"user": [1]})), "^history: has no column"),
        (lambda run: run.evaluate(by="nothing"), "unknown slicing 'nothing'"),
        (lambda run: demure.compare([run]), "nothing to compare"),
        (lambda run: demure.Run.load(run.path.parent / "no"), "is not a run folder"),
        (lambda run: demure.Dataset.load(run.path), "is not a dataset folder"),
    ],
)
def test_refusals(trained, call, message):
    with pytest.raises(demure.DemureError, match=message):
        call(trained)


def test_options_of_extract_are_those_of_the_library():
    from demure.extraction.extract import ExtractKeywords, ExtractOptions

    assert list(ExtractKeywords.__annotations__) == [field.name for field in dataclasses.fields(ExtractOptions)]


def test_options_of_prepare_are_those_of_the_command():
    from demure.api.steps import PrepareKeywords
    from demure.preparation.options import PrepareOptions

    own = {"interactions", "out", "items", "images", "audio", "video", "features"}
    assert set(PrepareKeywords.__annotations__) == {field.name for field in dataclasses.fields(PrepareOptions)} - own
