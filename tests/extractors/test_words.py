"""Which tokens of a text are content, and which only say when an item came or which one it is."""

import pytest
from demure_extractors.words import WordFilter, is_label, words


@pytest.mark.parametrize(
    "token", ["1900", "1995", "2024", "2099", "20200921", "00057", "12345", "hp00057", "b00abc12x3", "dx4000", "a_1234"]
)
def test_labels(token):
    assert is_label(token)


@pytest.mark.parametrize(
    "token",
    [
        "red",
        "10",
        "007",
        "1899",
        "2100",
        "500ml",
        "1080p",
        "1990s",
        "2400mah",
        "13x40x40",
        "1920x1080px",
        "mp3",
        "wd40",
        "3d",
        "c162",
        "旅",
    ],
)
def test_content(token):
    assert not is_label(token)


def test_words_of_two_letters_and_characters_of_scripts_without_spaces():
    assert words("a red hp-00057, 旅行") == ["red", "hp", "00057", "旅", "行"]


def test_labels_are_counted_only_while_that_is_asked_for():
    kept = WordFilter()
    assert kept("chair 1990") == ["chair"]
    assert kept.facts()["distinct"] == 0
    kept.counting = True
    kept("chair 1990 1990 2001")
    assert (kept.facts()["distinct"], kept.facts()["occurrences"]) == (2, 3)
    assert kept.facts()["examples"] == ["1990", "2001"]
