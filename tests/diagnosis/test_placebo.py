"""The placebo of a run, sentence by sentence."""

import pytest
from support.runs_by_hand import ABOVE, CAUSES, FEATURES, IMAGE_EXPLAINS_NOTHING, NOTHING, placebo, small_run

from demure.diagnosis import tables
from demure.diagnosis.placebo import Placebos
from demure.runs.manifest import RunManifest

# popularity .2, taste .15 and transition .12 of .47
RIVALS = (
    "f the causes other than content, what was popular at the time, or nothing known, has 43 %, hidden taste 32 % "
    "and what goes with previous choices 26 %."
)


def manifest(placebo):
    return {"placebo": placebo, "causes": CAUSES, "features": FEATURES}


def summary(placebo, modalities=("image", "text"), neither=0.48, **changes):
    return Placebos.read(RunManifest.from_dict(manifest(placebo) | changes), modalities).summary(neither)


def test_above_the_placebo():
    assert summary(ABOVE) == [
        "Pictures explain 19 % of the choices more than shuffled pictures do (17 to 21 %).",
        "Texts explain 30 % of the choices more than shuffled texts do (26 to 34 %).",
        f"Neither: 48 % of the choices have no point of interest in the content; o{RIVALS}",
    ]


def test_a_modality_that_was_not_admitted_explains_nothing():
    assert summary(IMAGE_EXPLAINS_NOTHING) == [
        "Pictures (`image`), as encoded by `color`, explain nothing here.",
        "Texts explain 30 % of the choices more than shuffled texts do (26 to 34 %).",
        f"Neither: 48 % of the choices have no point of interest in the content; o{RIVALS}",
    ]


def test_nothing_explains_anything():
    assert summary(NOTHING, neither=1.0) == [
        "Nothing in the content explains the choices here: 100 % have no point of interest.",
        "Pictures (`image`), as encoded by `color`, explain nothing here.",
        "Texts (`text`), as encoded by `tfidf`, explain nothing here.",
        f"O{RIVALS}",
    ]


def test_verdicts_no_better_than_those_of_shuffled_content():
    assert summary(NOTHING, neither=0.97)[0] == (
        "Nothing in the content explains the choices here: 97 % have no point of interest, about as many as with "
        "shuffled content."
    )


def test_an_interval_that_reaches_zero_explains_nothing():
    placebos = Placebos.read(RunManifest.from_dict(manifest(NOTHING)), ["image", "text"])
    assert placebos.cannot_tell == ["image", "text"]
    assert [modality.admitted for modality in placebos.modalities] == [False, True]


def test_a_modality_that_was_not_admitted_needs_no_numbers():
    placebos = Placebos.read(
        RunManifest.from_dict({"placebo": {"image": {"admitted": False, "mean_probability": None}}}), ["image"]
    )
    assert placebos.summary(1.0) == [
        "Nothing in the content explains the choices here: 100 % have no point of interest.",
        "Pictures (`image`) explain nothing here.",
    ]


def test_an_older_run_claims_nothing():
    placebos = Placebos.read(RunManifest(), ["image", "text"])
    assert placebos.summary(0.25) == ["Neither: 25 % of the choices have no point of interest in the content."]
    assert (placebos.cannot_tell, placebos.causes, placebos.column()) == ([], None, None)


@pytest.mark.parametrize(
    ("name", "provenance", "words", "plural"),
    [
        ("dino", {"encoder": "vision:x", "kind": "image"}, "Pictures (`dino`)", "pictures"),
        ("brand", {"encoder": "import", "file": "a.npy"}, "The features `brand`", "features"),
        ("audio", {"encoder": "import", "file": "a.npy"}, "Audio files", "audio files"),
    ],
)
def test_names_that_are_not_the_kind(name, provenance, words, plural):
    features = {name: {"provenance": provenance}}
    assert summary({name: placebo(0.008, 0.004, 0.012)}, [name], features=features)[0] == (
        f"{words} explain 0.8 % of the choices more than shuffled {plural} do (0.4 to 1.2 %)."
    )


def test_an_import_is_named_by_its_file():
    features = {"brand": {"provenance": {"encoder": "import", "file": "a.npy"}}}
    assert summary({"brand": placebo(0, 0, 0, admitted=False)}, ["brand"], 1.0, causes=None, features=features) == [
        "Nothing in the content explains the choices here: 100 % have no point of interest.",
        "The features `brand`, as imported from `a.npy`, explain nothing here.",
    ]


def test_rivals_may_be_absent():
    words = summary(ABOVE, causes={"image": 0.5, "taste": 0.5})[-1]
    assert words.endswith("in the content; of the causes other than content, hidden taste has 100 %.")


def test_the_overview(tmp_path):
    view = tables.overview(small_run(tmp_path, manifest=manifest(ABOVE)))
    assert view.neither == pytest.approx(1 / 6)  # bob's second choice
    assert view.summary[0].startswith("Pictures explain 19 % of the choices")
    assert "Neither: 17 % of the choices" in view.summary[-1]
    assert view.causes == CAUSES
    assert view.modalities["placebo"].tolist()[0] == {
        "mean_probability": 0.02,
        "excess": 0.19,
        "low": 0.17,
        "high": 0.21,
    }


def test_a_modality_that_explains_nothing_has_no_items_to_look_at(tmp_path):
    view = tables.overview(small_run(tmp_path, manifest=manifest(IMAGE_EXPLAINS_NOTHING)), min_count=1)
    assert view.cannot_tell == ["image"]
    assert "image" not in set(view.flagged["modality"])


def test_a_segment_repeats_no_number_of_the_whole(tmp_path):
    run = small_run(tmp_path, manifest=manifest(IMAGE_EXPLAINS_NOTHING))
    view = tables.overview(run, segment=("history", "1-4"))
    assert view.summary == [
        "Pictures (`image`), as encoded by `color`, explain nothing here.",
        "Neither: 17 % of the choices have no point of interest in the content.",
    ]
    assert view.causes is None
    assert "placebo" not in view.modalities.columns
