import itertools

import numpy as np
import pandas as pd
import pytest
from support.runs_by_hand import DiagnosisRow, small_run, write_run

from demure.diagnosis.flagging import deviations, flagged, variance_components
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.similar_items import similar_items
from demure.features.store import Features, save


def test_variance_components_by_hand():
    # Two items with evidence (0, 2) and (4, 6): mean 3, within (2 + 2) / 2 = 2, between sum 2 * 4 + 2 * 4 = 16 over one
    # degree of freedom; n0 = (4 - 8 / 4) / 1 = 2; between = (16 - 2) / 2 = 7.
    components = variance_components(np.array([0, 0, 1, 1]), np.array([0.0, 2.0, 4.0, 6.0]))
    assert (components.mean, components.within, components.between) == pytest.approx((3, 2, 7))


def test_variance_components_are_found_again():
    random = np.random.default_rng(0)
    item = np.repeat(np.arange(2000), random.integers(1, 12, 2000))
    evidence = 1.5 + random.normal(0, 0.8, 2000)[item] + random.normal(0, 2.0, len(item))
    components = variance_components(item, evidence)
    assert components.within == pytest.approx(4.0, rel=0.1)
    assert components.between == pytest.approx(0.64, rel=0.15)


def test_items_that_do_not_differ_have_no_variance_components():
    components = variance_components(np.array([0, 0, 1, 1]), np.array([0.0, 2.0, 2.0, 0.0]))
    assert components.between == 0.0


@pytest.fixture
def run(tmp_path):
    """Twenty items, eight users each; the picture of i0 fails everyone, that of i1 fails its only user."""
    random = np.random.default_rng(1)
    rows = []
    for item in range(20):
        for user in range(8 if item != 1 else 1):
            bad = item <= 1
            for modality in ("image", "text"):
                low = bad and modality == "image"
                probability = 0.05 if low else float(random.uniform(0.5, 0.95))
                rows.append(
                    DiagnosisRow(f"u{user}", item, f"i{item}", modality, "noise" if low else "poi", probability)
                )
    rows.sort(key=lambda row: (row.user, row.position, row.modality))
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(20)], "title": [f"title {k}" for k in range(20)]})
    return write_run(tmp_path, rows, items, pictures=False)


def test_an_item_is_flagged_by_its_evidence_and_trusted_by_its_choices(run):
    table = deviations(DiagnosisReader.open(run))
    image = table[table["modality"] == "image"].set_index("item_id")
    assert image.index[0] == "i0"
    assert image.loc["i0", "evidence"] == pytest.approx(4 * 0.05 - 2)
    assert image.loc["i0", "clearly"]
    assert image.loc["i1", "evidence"] == pytest.approx(image.loc["i0", "evidence"])  # the same, but of one choice
    assert 0 < image.loc["i1", "below"] < image.loc["i0", "below"]
    assert image["below"].is_monotonic_decreasing
    assert next(iter(flagged(table, 2)["item_id"])) == "i0"
    assert "i1" not in set(flagged(table, 2)["item_id"])


def test_deviations_count_present_modalities(tmp_path):
    table = deviations(DiagnosisReader.open(small_run(tmp_path)))
    row = table[(table["item_id"] == "i1") & (table["modality"] == "image")].iloc[0]
    assert (row["interactions"], row["noise"]) == (3, pytest.approx(2 / 3))
    assert row["evidence"] == pytest.approx((1.6 - 1.2 - 1.2) / 3)
    assert table[(table["item_id"] == "i3") & (table["modality"] == "image")].empty  # i3 has no picture


def test_similar_items_are_similar_otherwise_and_do_better(run):
    reader = DiagnosisReader.open(run)
    random = np.random.default_rng(2)
    directions = random.normal(size=(20, 6)).astype(np.float32)
    directions[5] = directions[0] + 0.05  # by its text, i5 is next to i0
    present = np.ones(20, bool)
    save(reader.dataset, Features("text", directions, present))
    save(reader.dataset, Features("image", random.normal(size=(20, 6)).astype(np.float32), present))
    table = deviations(reader)
    table.loc[(table["item_id"] == "i5") & (table["modality"] == "image"), ["clearly", "below"]] = [True, -1.0]
    matches = similar_items(reader, table, [("i0", "image")])["i0", "image"]
    assert matches[0].item_id == "i5"
    assert matches[0].similarity > 0.9
    assert all(a.similarity >= b.similarity for a, b in itertools.pairwise(matches))
    good = table[(table["modality"] == "image") & table["clearly"] & (table["below"] < 0)]
    assert {match.item_id for match in matches} <= set(good["item_id"]) - {"i0"}


def test_without_features_there_is_nothing_to_compare(run):
    reader = DiagnosisReader.open(run)
    assert similar_items(reader, deviations(reader), [("i0", "image")]) == {}
