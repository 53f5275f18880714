"""Reasons: each verdict gets one code, and its sentence claims no more than the numbers."""

import string

import pytest

from demure.diagnosis.explain import SENTENCES, ReasonCode, describe_deviation, explain, with_reasons
from demure.diagnosis.verdict import ModalityVerdict, Support, Verdict

SUPPORTS = (Support("a", "A", 0.5), Support("b", "B", 0.2), Support("c", "", 0.1))


def verdicts(verdict, evidence, other=(0.1, -1.0), supports=SUPPORTS):
    probability = 0.9 if verdict == "poi" else 0.3
    return {
        "image": ModalityVerdict(Verdict(verdict), probability, evidence, supports),
        "text": ModalityVerdict(Verdict.NOISE, *other),
    }


@pytest.mark.parametrize(
    ("verdict", "evidence", "other", "code", "sentence"),
    [
        ("poi", 1.0, (0.1, -1.0), "similar", "like A, B and c"),
        (
            "poi",
            -0.2,
            (0.1, -1.0),
            "reliance_closest",
            "little evidence (closest: A); a point of interest because the user relies on image elsewhere",
        ),
        ("noise", -0.2, (0.9, 2.0), "no_support", "none of the 7 other choices supports it"),
        ("noise", 0.5, (0.9, 2.0), "other_stronger", "like A and B, but the evidence for its text is stronger"),
        ("noise", 0.5, (0.9, 0.1), "other_relied_on", "like A and B, but the user relies more on text"),
        ("noise", 0.5, (0.1, 0.1), "weak", "like A and B, but other causes explain the choice better"),
    ],
)
def test_sentences_claim_no_more_than_the_numbers(verdict, evidence, other, code, sentence):
    reason = explain("image", verdicts(verdict, evidence, other), 7)
    assert (reason.code, reason.sentence()) == (code, sentence)


@pytest.mark.parametrize(
    ("probability", "code"),
    [(0.02, "weak"), (0.35, "weak"), (0.36, "inconclusive"), (0.49, "inconclusive")],
)
def test_only_an_undecided_verdict_is_inconclusive(probability, code):
    own = ModalityVerdict(Verdict.NOISE, probability, 0.3, SUPPORTS[:1])
    reason = explain("image", {"image": own, "text": ModalityVerdict(Verdict.NOISE, 0.01, 0.1)}, 7)
    assert own.undecided == (code == "inconclusive")
    assert reason.code == code
    assert reason.sentence().startswith("like A, but ")
    assert explain("image", {"image": own}, 7).code == code


@pytest.mark.parametrize(
    ("verdict", "evidence", "other_choices", "code"),
    [
        ("poi", 1.0, 7, "no_single_support"),
        ("poi", -1.0, 7, "reliance"),
        ("noise", 1.0, 7, "no_support"),
        ("noise", 1.0, 1, "no_support_of_one"),
        ("noise", 1.0, 0, "only_choice"),
        ("missing", 0.0, 7, "missing"),
    ],
)
def test_without_supports(verdict, evidence, other_choices, code):
    assert explain("image", verdicts(verdict, evidence, supports=()), other_choices).code == code


def test_a_modality_that_explains_nothing_has_no_other_reason():
    reasons = with_reasons(verdicts("poi", 1.0), 7, ["image"])
    assert reasons["image"].reason.code is ReasonCode.CANNOT_TELL
    assert reasons["text"].reason.code is ReasonCode.NO_SUPPORT
    assert explain("image", verdicts("missing", 0.0), 7, ["image"]).code is ReasonCode.MISSING


def test_every_code_has_a_sentence_with_arguments_that_the_page_fills():
    assert set(SENTENCES) == set(ReasonCode)
    arguments = {name for text in SENTENCES.values() for _, name, _, _ in string.Formatter().parse(text) if name}
    assert arguments == {"modality", "items", "other_choices", "other_modality"}


def test_reasons_in_json():
    row = with_reasons(verdicts("noise", 0.5, (0.9, 2.0)), 7)["image"].to_dict()
    assert list(row) == ["verdict", "poi_probability", "evidence", "undecided", "supports", "why", "reason"]
    assert row["supports"][0] == {"item_id": "a", "title": "A", "weight": 0.5}
    assert row["reason"] == {
        "code": "other_stronger",
        "modality": "image",
        "items": ["a", "b"],
        "other_choices": 7,
        "other_modality": "text",
    }
    assert list(ModalityVerdict(Verdict.NOISE, 0.4, 0.1).to_dict()) == list(row)[:4]


def test_how_an_item_deviates():
    row = {"interactions": 3, "noise": 2 / 3, "below": 1.25, "clearly": True}
    assert describe_deviation("image", row) == (
        "image: noise in 67 % of 3 choices; it explains its choices worse than is typical"
    )
    assert describe_deviation("image", row | {"below": -1.25}).split("choices ")[-1] == "better than is typical"
    assert "too few chose it to tell" in describe_deviation("image", row | {"interactions": 1, "clearly": False})
    assert "cannot tell" in describe_deviation("image", row, informative=False)
