"""Verdicts: the rule, the stored words, and the probability of a word."""

import numpy as np
import pytest

from demure.diagnosis.verdict import ModalityVerdict, Verdict, assign_verdicts, probability_of


def test_a_point_of_interest_needs_a_probability_of_one_half_and_positive_evidence():
    probability = np.array([0.5, 0.49, 0.9, 0.9])
    evidence = np.array([0.1, 2.0, 0.0, 1.0])
    present = np.array([True, True, True, False])
    assert assign_verdicts(probability, evidence, present).tolist() == ["poi", "noise", "noise", "missing"]


def test_stored_words_are_verdicts():
    assert [verdict.value for verdict in Verdict] == ["poi", "noise", "missing"]
    assert Verdict("poi") is Verdict.POI
    assert f"{Verdict.NOISE}" == "noise"
    with pytest.raises(ValueError, match="maybe"):
        Verdict("maybe")


def test_the_probability_of_a_word():
    assert probability_of(Verdict.POI, 0.8) == 0.8
    assert probability_of(Verdict.NOISE, 0.8) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("verdict", "probability", "undecided"),
    [
        (Verdict.POI, 0.64, True),
        (Verdict.POI, 0.65, False),
        (Verdict.NOISE, 0.36, True),
        (Verdict.NOISE, 0.35, False),
        (Verdict.NOISE, 0.88, True),
        (Verdict.MISSING, 0.5, False),
    ],
)
def test_a_verdict_below_65_per_cent_is_undecided(verdict, probability, undecided):
    assert ModalityVerdict(verdict, probability, 0.0).undecided is undecided
