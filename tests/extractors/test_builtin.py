"""The encoders without a download tell apart what differs, and are the same every time."""

import numpy as np
import pytest
from demure_extractors.builtin import Color, Tfidf
from PIL import Image, ImageDraw

TOPICS = {
    "space": "rocket planet orbit astronaut galaxy starship alien moon",
    "court": "judge trial lawyer verdict jury crime prison witness",
    "farm": "horse barn harvest tractor sheep field farmer meadow",
}


@pytest.fixture(scope="module")
def texts():
    random = np.random.default_rng(0)
    names = [list(TOPICS)[k % 3] for k in range(150)]
    return names, [" ".join(random.choice(TOPICS[name].split(), 5)) + " a film about the end" for name in names]


def nearest(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    return likeness.argmax(axis=1)


def test_texts_of_a_topic_are_near_each_other(texts):
    names, written = texts
    encoder = Tfidf()
    encoder.fit(written)
    vectors = encoder.encode(written)
    assert vectors.dtype == np.float32
    assert vectors.shape == (150, encoder.dim) == (150, 12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.mean([names[k] == names[other] for k, other in enumerate(nearest(vectors))]) > 0.95


@pytest.mark.parametrize(("n", "dim"), [(400, 33), (1200, 100), (1682, 119), (30, 2), (3, 2)])
def test_dimensions_follow_the_size_of_the_catalogue(n, dim):
    random = np.random.default_rng(0)
    words = [f"word{k}" for k in range(120)]
    encoder = Tfidf()
    encoder.fit([" ".join(random.choice(words, 8)) for _ in range(n)])
    assert encoder.dim == dim


@pytest.mark.parametrize(("n", "options", "dim"), [(400, "50", 50), (400, "999", 119), (1300, "7,keep-numbers", 7)])
def test_dimensions_that_are_asked_for_are_made_where_there_are_as_many(n, options, dim):
    random = np.random.default_rng(0)
    words = [f"word{k}" for k in range(120)]
    encoder = Tfidf(options)
    encoder.fit([" ".join(random.choice(words, 8)) for _ in range(n)])
    assert encoder.dim == dim


def test_directions_come_from_a_sample_of_many_texts(texts, monkeypatch):
    monkeypatch.setattr(Tfidf, "sample", 60)
    encoder = Tfidf()
    encoder.fit(texts[1])
    vectors = encoder.encode(texts[1])
    assert vectors.shape == (150, 12)
    assert np.mean([texts[0][k] == texts[0][other] for k, other in enumerate(nearest(vectors))]) > 0.95


def test_vectors_do_not_depend_on_the_signs_that_scikit_learn_gives(texts, monkeypatch):
    from sklearn.decomposition import TruncatedSVD

    _, written = texts
    encoder, fit = Tfidf(), TruncatedSVD.fit
    encoder.fit(written)
    largest = encoder.svd.components_[np.arange(encoder.dim), np.abs(encoder.svd.components_).argmax(axis=1)]
    assert (largest > 0).all()

    def fit_with_other_signs(self, counts):
        fit(self, counts)
        self.components_ = self.components_ * np.resize([-1.0, 1.0, -1.0], (len(self.components_), 1))
        return self

    monkeypatch.setattr(TruncatedSVD, "fit", fit_with_other_signs)
    other = Tfidf()
    other.fit(written)
    np.testing.assert_array_equal(other.encode(written), encoder.encode(written))


def test_years_ids_and_model_numbers_are_left_out_and_counted():
    texts = [f"red chair ({1990 + k % 2}) sku00{100 + k}" for k in range(4)] + ["blue cup 500ml 1990"]
    encoder = Tfidf()
    encoder.fit(texts)
    assert sorted(encoder.vectorizer.vocabulary_) == ["500ml", "blue", "chair", "cup", "red"]
    left_out = encoder.identity()["left_out"]
    assert left_out["distinct"] == 6
    assert left_out["occurrences"] == 9
    assert left_out["examples"] == ["1990", "1991", "sku00100", "sku00101", "sku00102"]
    encoder.encode(["chair 1990"])
    assert encoder.identity()["left_out"] == left_out


def test_numbers_can_be_kept():
    encoder = Tfidf("keep-numbers")
    encoder.fit(["red chair 1990", "red cup 1991"])
    assert {"1990", "1991"} <= set(encoder.vectorizer.vocabulary_)
    assert "left_out" not in encoder.identity()


def test_one_catalogue_one_result(texts):
    first, second = Tfidf(), Tfidf()
    first.fit(texts[1])
    second.fit(texts[1])
    whole = first.encode(texts[1])
    np.testing.assert_array_equal(whole, second.encode(texts[1]))
    np.testing.assert_allclose(whole[10:13], second.encode(texts[1][10:13]), atol=1e-6)


def test_a_text_without_known_words_is_zero(texts):
    encoder = Tfidf()
    encoder.fit(texts[1])
    assert not encoder.encode(["xyzzy"]).any()


@pytest.mark.parametrize("texts", [["!!!", "??"], ["same"], ["only words", "only words here"]])
def test_tiny_catalogues_do_not_break_it(texts):
    encoder = Tfidf()
    encoder.fit(texts)
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), encoder.dim)
    assert np.isfinite(vectors).all()


def test_scripts_without_spaces_go_by_character():
    encoder = Tfidf()
    encoder.fit(["宇宙の旅", "宇宙飛行士", "裁判所の話", "裁判官", "宇宙", "裁判"])
    near = nearest(encoder.encode(["宇宙の旅", "裁判所の話", "宇宙飛行士", "裁判官"]))
    assert near.tolist() == [2, 3, 0, 1]


def describe(*pictures):
    encoder = Color()
    return encoder.encode([encoder.prepare(picture) for picture in pictures])


def picture(background, shape=None, color="white", where=(20, 20, 60, 60)):
    made = Image.new("RGB", (120, 160), background)
    if shape:
        getattr(ImageDraw.Draw(made), shape)(where, fill=color)
    return made


def test_every_picture_has_a_vector_of_the_stated_length():
    vectors = describe(*(picture(color) for color in ("black", "white", "red", "grey")))
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, Color.dim)
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()


def test_size_hardly_matters_and_batches_do_not():
    small, large = picture("navy", "ellipse"), picture("navy", "ellipse").resize((480, 640))
    together = describe(small, large)
    assert together[0] @ together[1] > 0.98 * np.linalg.norm(together[0]) * np.linalg.norm(together[1])
    np.testing.assert_allclose(describe(large)[0], together[1], atol=1e-6)


def test_colour_and_layout_each_separate_pictures():
    circle = picture("navy", "ellipse")
    same = picture((5, 5, 120), "ellipse", (250, 250, 250))
    others = {
        "colour": picture("darkred", "ellipse"),
        "layout": picture("navy", "ellipse", where=(60, 100, 100, 140)),
    }
    vectors = describe(circle, same, *others.values())
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit[0] @ unit.T
    assert likeness[1] > 0.9
    assert (likeness[2:] < likeness[1] - 0.03).all()


def test_stripes_differ_by_their_direction():
    upright = np.zeros((64, 64, 3), dtype=np.uint8)
    upright[:, ::8] = upright[:, 1::8] = 255
    level = upright.transpose(1, 0, 2)
    shifted = np.roll(upright, 4, axis=1)
    a, b, c = describe(*(Image.fromarray(np.ascontiguousarray(stripes)) for stripes in (upright, level, shifted)))
    assert a @ c > a @ b + 0.05
