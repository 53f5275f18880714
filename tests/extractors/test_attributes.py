"""Attributes as vectors: numbers worked out by hand."""

import math

import numpy as np
import pytest
from demure_extractors import attributes
from demure_extractors.attributes import Attributes, hash_places

HALF = math.sqrt(0.5)


def fitted(**columns):
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    encoder = Attributes()
    encoder.fit(rows)
    return encoder, encoder.encode(rows)


def test_a_category_is_a_place_of_its_own():
    encoder, vectors = fitted(colour=["red", "Blue ", "RED", None])
    assert encoder.dim == 2
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, [[0, 1], [1, 0], [0, 1], [0, 0]])


def test_a_cell_of_several_values_shares_length_1_between_them():
    _, vectors = fitted(genres=["a|b", "b", "a|b|c|d"])
    np.testing.assert_allclose(vectors, [[HALF, HALF, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0.5, 0.5]], atol=1e-6)


def test_every_column_has_the_same_weight_and_a_missing_one_is_zero():
    _, vectors = fitted(colour=["red", "blue", "red"], brand=["x", None, "y"])
    np.testing.assert_allclose(vectors, [[0, HALF, HALF, 0], [HALF, 0, 0, 0], [0, HALF, 0, HALF]], atol=1e-6)


def test_a_number_is_an_angle_by_median_and_spread():
    # 1 to 101: the 16th, 50th and 84th percentiles are 17, 51 and 85, so a spread is 34, and 45 degrees.
    encoder, vectors = fitted(weight=[str(k) for k in range(1, 102)])
    block = encoder.blocks["weight"]
    assert (block.median, block.spread, block.log) == (51.0, 34.0, "")
    np.testing.assert_allclose(vectors[50], [1, 0], atol=1e-6)
    np.testing.assert_allclose(vectors[84], [HALF, HALF], atol=1e-6)
    np.testing.assert_allclose(vectors[16], [HALF, -HALF], atol=1e-6)
    far = encoder.encode([{"weight": "9999"}, {"weight": "-9999"}, {"weight": None}, {"weight": "heavy"}])
    np.testing.assert_allclose(far, [[0, 1], [0, -1], [0, 0], [0, 0]], atol=1e-6)


def test_skewed_amounts_are_taken_as_logarithms():
    # Powers of two: evenly spaced as logarithms, so that the spread is 34 times log 2.
    encoder, vectors = fitted(price=[f"{2.0**k:.10f}" for k in range(1, 102)])
    block = encoder.blocks["price"]
    assert block.log == "log"
    assert block.median == pytest.approx(51 * math.log(2))
    assert block.spread == pytest.approx(34 * math.log(2))
    np.testing.assert_allclose(vectors[84], [HALF, HALF], atol=1e-6)
    with_zero, _ = fitted(price=["0", *(str(2**k) for k in range(20))])
    assert with_zero.blocks["price"].log == "log1p"


def test_prices_are_read_with_their_currency_and_codes_are_categories():
    encoder, _ = fitted(
        price=["$1,299.00", "€ 12,50", "7", "8"], colour_code=["1", "2", "3", "4"], zip=["012", "12", "13", "14"]
    )
    facts = {column: block.facts()["as"] for column, block in encoder.blocks.items()}
    assert facts == {"price": "number", "colour_code": "categories", "zip": "categories"}
    assert encoder.encode([{"price": "$1,299.00", "colour_code": None, "zip": None}])[0, 1] > 0


def test_two_numbers_are_categories():
    encoder, _ = fitted(used=["0", "1", "0"])
    assert encoder.blocks["used"].facts() == {"as": "categories", "values": 2}


def test_what_one_item_alone_has_is_left_out_of_a_larger_catalogue():
    colours = ["red", "blue"] * 25
    encoder, vectors = fitted(colour=[*colours, "mauve", None])
    assert encoder.dim == 2
    assert not vectors[50].any()
    left_out = encoder.identity()["left_out"]
    assert (left_out["distinct"], left_out["examples"]) == (1, ["colour mauve"])


def test_a_column_of_one_value_is_left_out_unless_some_items_lack_it():
    encoder, vectors = fitted(colour=["red"] * 3, waterproof=["yes", None, "yes"], brand=["x", "y", "x"])
    assert list(encoder.blocks) == ["waterproof", "brand"]
    assert encoder.identity()["constant_columns"] == ["colour"]
    np.testing.assert_allclose(vectors[0], [HALF, HALF, 0], atol=1e-6)


def test_nothing_but_one_value_is_nothing():
    _, vectors = fitted(colour=["red", "red"])
    np.testing.assert_array_equal(vectors, [[0], [0]])


def test_many_values_are_hashed_and_stay_apart():
    brands = [f"brand {k}" for k in range(300) for _ in range(2)]
    encoder, vectors = fitted(brand=brands)
    assert encoder.blocks["brand"].facts() == {"as": "hashed categories", "values": 300}
    assert vectors.shape == (600, attributes.ONE_HOT)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    expected = np.zeros(attributes.ONE_HOT)
    for place, sign in hash_places("brand 7"):
        expected[place] = sign / 2
    np.testing.assert_array_equal(vectors[14], expected)
    cosines = vectors[::2] @ vectors[::2].T
    np.fill_diagonal(cosines, 0)
    assert abs(cosines).mean() < 0.05
    assert abs(cosines).max() < 1


def test_hashed_places_are_distinct_and_the_same_every_time():
    assert hash_places("x") == hash_places("x")
    assert all(len({place for place, _ in hash_places(str(k))}) == 4 for k in range(200))
