import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image, UnidentifiedImageError

from demure.demo.book_covers import HEIGHT, STYLES, WIDTH, draw_cover
from demure.demo.book_texts import TOPICS, write_description, write_title
from demure.demo.catalogue import CatalogueOptions, render
from demure.diagnosis.calibration import auc, calibration_error
from demure.errors import DemureError
from demure.files import sha256_file

SMALL = CatalogueOptions(users=300, items=90, length=(5, 10), no_cover=0.1, no_text=0.05, no_blurb=0.05)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    return render(tmp_path_factory.mktemp("shop") / "shop", SMALL)


def texts(catalogue):
    return pd.read_csv(catalogue.items, keep_default_na=False)


def answers(catalogue):
    return pd.read_csv(catalogue.folder / "item_truth.csv")


def test_the_folder_is_raw_input(catalogue):
    interactions, items = pd.read_csv(catalogue.interactions), texts(catalogue)
    assert list(interactions.columns) == ["user_id", "item_id", "timestamp"]
    assert list(items.columns) == ["item_id", "title", "description", "image"]
    assert len(interactions) == catalogue.n_interactions
    assert set(interactions.item_id) <= set(items.item_id)
    assert not interactions.duplicated(["user_id", "item_id"]).any()
    assert interactions.groupby("user_id").size().between(5, 10).all()
    assert interactions.user_id.nunique() == catalogue.n_users == 300


def test_the_same_options_give_the_same_files(catalogue, tmp_path):
    render(tmp_path / "again", SMALL)
    files = sorted(p.relative_to(catalogue.folder) for p in catalogue.folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert all(sha256_file(catalogue.folder / f) == sha256_file(tmp_path / "again" / f) for f in files)


def test_gaps_are_real_and_of_every_kind(catalogue):
    items = texts(catalogue)
    states = {"no path": 0, "no file": 0, "cut short": 0, "whole": 0}
    for path in items.image:
        if not path:
            states["no path"] += 1
        elif not (catalogue.images / path).exists():
            states["no file"] += 1
        else:
            try:
                Image.open(catalogue.images / path).load()
                states["whole"] += 1
            except (OSError, UnidentifiedImageError):
                states["cut short"] += 1
    assert states == {"no path": 3, "no file": 3, "cut short": 3, "whole": 81}
    assert (items.title == "").sum() == 4
    assert ((items.title != "") & (items.description == "")).sum() == 4
    titles = items.title[items.title != ""]
    assert titles.is_unique


def test_missing_content_of_a_book_causes_nothing(catalogue):
    truth = pd.read_csv(catalogue.truth)
    wordless = texts(catalogue).query("title == ''").item_id
    rows = truth[truth.item_id.isin(wordless) & (truth.modality == "text")]
    assert len(rows)
    assert not rows.caused.any()


def test_the_truth_is_calibrated_and_high(catalogue):
    truth = pd.read_csv(catalogue.truth)
    assert len(truth) == 2 * catalogue.n_interactions
    assert auc(truth.caused.to_numpy(), truth.posterior.to_numpy()) > 0.95
    assert calibration_error(truth.caused.to_numpy(), truth.posterior.to_numpy()) < 0.015
    together = truth.groupby(["user_id", "item_id"]).caused.sum().value_counts(normalize=True)
    assert set(together.index) == {0, 1, 2}


def test_style_and_topic_are_apart(catalogue):
    table = pd.crosstab(answers(catalogue)["style"], answers(catalogue)["topic"])
    assert table.shape == (9, 9)
    # 90 books over 81 pairs: no pair may hold a style's whole share of ten.
    assert table.to_numpy().max() <= 5


def test_a_picture_shows_its_style():
    """Colours, places and edges of a cover lead to others of its style, nearly always and not always."""
    random = np.random.default_rng(0)
    names = [style for style in STYLES for _ in range(8)]
    described = np.array([describe(draw_cover(style, random)) for style in names])
    distance = np.abs(described[:, None] - described[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    right = np.mean([names[k] == name for k, name in zip(distance.argmin(axis=1), names, strict=True)])
    assert 0.8 <= right < 1.0


def test_words_show_the_topic():
    from sklearn.feature_extraction.text import TfidfVectorizer

    random = np.random.default_rng(0)
    names = [topic for topic in TOPICS for _ in range(20)]
    books = [f"{write_title(topic, random)} {write_description(topic, random)}" for topic in names]
    weights = TfidfVectorizer(stop_words="english").fit_transform(books)
    near = (weights @ weights.T).toarray()
    np.fill_diagonal(near, -1)
    right = np.mean([names[k] == name for k, name in zip(near.argmax(axis=1), names, strict=True)])
    assert 0.8 <= right < 1.0


@pytest.mark.parametrize("topic", list(TOPICS))
def test_sentences_are_whole(topic):
    random = np.random.default_rng(1)
    for _ in range(30):
        for text in (write_title(topic, random), write_description(topic, random)):
            assert text[0].isupper() or not text[0].isalpha()
            assert not set("{}|") & set(text)
            assert "  " not in text
        assert text.endswith(".")


@pytest.mark.parametrize("style", list(STYLES))
def test_covers_differ_within_a_style(style):
    random = np.random.default_rng(2)
    first, second = (np.asarray(draw_cover(style, random), dtype=float) for _ in range(2))
    assert first.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(first - second).mean() > 5


def test_progress_is_reported(tmp_path):
    reports = []
    render(tmp_path / "shop", dataclasses.replace(SMALL, items=20, users=5), listener=reports.append)
    assert (reports[-1].stage, reports[-1].done, reports[-1].total) == ("draw covers", 20, 20)


def test_refusals(tmp_path):
    with pytest.raises(DemureError, match="give 1 user or more and 10 to 5000 items"):
        dataclasses.replace(SMALL, items=9)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "mine.txt").write_text("keep")
    with pytest.raises(DemureError, match="already exists"):
        render(tmp_path / "shop", SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]


def describe(cover):
    """A coarse descriptor: colour histogram, a thumbnail, and how strong edges are in each of eight directions."""
    small = np.asarray(cover.resize((24, 32)), dtype=float) / 255
    colours = np.histogramdd(small.reshape(-1, 3), 4, [(0, 1)] * 3)[0].ravel() / small.shape[0] / small.shape[1]
    layout = np.asarray(cover.resize((3, 4)), dtype=float).ravel() / 255 / 12
    down, across = np.gradient(np.asarray(cover.convert("L"), dtype=float) / 255)
    direction = ((np.arctan2(down, across) % np.pi) / np.pi * 8).astype(int) % 8
    strength = np.bincount(direction.ravel(), np.hypot(down, across).ravel(), 8) / direction.size
    return np.concatenate([colours, layout, 10 * strength])


def test_wrong_covers_are_those_of_other_books_and_the_rest_stays(catalogue, tmp_path):
    other = render(tmp_path / "wrong", dataclasses.replace(SMALL, wrong=0.1))
    wrong = set(answers(other).query("wrong == 1")["item_id"])
    assert len(wrong) == 9
    paths = texts(catalogue).set_index("item_id")["image"]
    for item, path in paths[paths != ""].items():
        if (catalogue.images / path).exists():
            same = sha256_file(catalogue.images / path) == sha256_file(other.images / path)
            assert same == (item not in wrong)
    assert sha256_file(catalogue.interactions) == sha256_file(other.interactions)
    dealt = sorted(sha256_file(other.images / paths[item]) for item in wrong)
    assert dealt == sorted(sha256_file(catalogue.images / paths[item]) for item in wrong)
