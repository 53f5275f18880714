from types import SimpleNamespace

import numpy as np
import pytest

from demure.diagnosis.worklist.finding import Sign
from demure.diagnosis.worklist.labels import mislabelled

N = 150


@pytest.fixture
def contents():
    """Items in two groups by their pictures; one of the red group is called blue."""
    random = np.random.default_rng(0)
    group = np.repeat([0, 1], N)
    features = np.eye(8)[group] + 0.05 * random.standard_normal((2 * N, 8))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    colour = ["red"] * N + ["blue"] * N
    colour[7] = "blue"
    return SimpleNamespace(
        item_ids=[f"i{k}" for k in range(2 * N)],
        columns={"colour": colour, "sku": [f"s{k}" for k in range(2 * N)]},
        reader=SimpleNamespace(unit_features={"image": features}),
        choices=np.arange(2 * N),
        kind_of=lambda name: name,
    )


def test_an_attribute_unlike_those_of_all_similar_items(contents):
    contents.columns = {"colour": contents.columns["colour"]}
    (finding,), notes = mislabelled(contents, set())
    assert (finding.item_id, finding.modality, finding.sign, finding.choices) == ("i7", "colour", Sign.STRONG, 7)
    assert "Its colour is 'blue', and that of all 10 items with the most similar picture is 'red'" in finding.reason
    assert notes == []
    assert mislabelled(contents, {7}) == ([], [])  # its picture is at fault already


def test_titles_are_another_way_to_compare(contents):
    """With the title of the blue group, the attribute is right by one view, so it is not listed."""
    titles = [f"warm red scarf number{k}" for k in range(N)] + [f"cold blue lake number{k}" for k in range(N)]
    titles[7] = "cold blue lake"
    contents.columns = {"title": titles, "colour": contents.columns["colour"]}
    findings, _ = mislabelled(contents, set())
    assert "i7" not in [finding.item_id for finding in findings]


def test_without_attributes_nothing_is_checked(contents):
    contents.columns = {"sku": contents.columns["sku"]}
    assert mislabelled(contents, set()) == ([], [])
