"""The nouns of modalities, in every sentence that has them: each kind of content, and vectors of an unknown kind."""

import re

import numpy as np
import pandas as pd
import pytest
from support.runs_by_hand import DiagnosisRow, placebo, write_run

from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist import worklist
from demure.features.kinds import KINDS, NOUNS, noun
from demure.training.selftest import _Deal, _summarise

NAMES = (*KINDS, "brand")
WRONG = re.compile(r"`s\b|[^e]ss\b|sets of sets|\ba `?[aeiou]|\ban `?[^aeiou`]")


def small_run(folder, *, admitted):
    """A run of all modalities: the item i0 has none of them, and its own content never explains the choices of i1."""
    random = np.random.default_rng(0)

    def cell(item):
        if item == 0:
            return "missing", 0.0
        return ("noise", 0.02) if item == 1 else ("poi", float(random.uniform(0.5, 0.9)))

    rows = [
        DiagnosisRow(f"u{user}", item, f"i{item}", name, *cell(item))
        for user in range(12)
        for item in range(20)
        for name in NAMES
    ]
    features = {name: {"provenance": {"kind": name} if name in KINDS else {"encoder": "import"}} for name in NAMES}
    above = placebo(0.19, 0.17, 0.21) if admitted else placebo(0, 0, 0, admitted=False)
    manifest = {"placebo": dict.fromkeys(NAMES, above), "features": features}
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(20)], "title": [f"thing {k}" for k in range(20)]})
    return write_run(folder, rows, items, pictures=False, manifest=manifest)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("nouns"), admitted=True)


@pytest.fixture(scope="module")
def silent_run(tmp_path_factory):
    """The same, but no modality explains more than shuffled features do."""
    return small_run(tmp_path_factory.mktemp("silent"), admitted=False)


def sentences(run, deals=()):
    """Every sentence about each modality: name -> texts."""
    reader, rows = DiagnosisReader.open(run), worklist(run).rows
    texts = {
        name: [reader.placebos.of(name).sentence(), _summarise(reader, name, 0.1, deals).sentence] for name in NAMES
    }
    for name, reason, suggestion in zip(rows["modality"], rows["reason"], rows["suggestion"], strict=True):
        texts[name] += [reason, suggestion]
    return texts


def test_every_kind_has_a_noun():
    assert set(NOUNS) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("image", "dino", ("a picture", "pictures")),
        ("audio", "audio", ("an audio file", "audio files")),
        ("attributes", "attributes", ("a set of attributes", "attributes")),
        ("brand", "brand", ("a `brand` vector", "features `brand`")),
        ("ids", "ids", ("an `ids` vector", "features `ids`")),
    ],
)
def test_nouns(kind, name, words):
    assert (noun(kind, name).with_article, noun(kind, name).plural) == words


def test_sentences_of_modalities_that_explain_choices(run):
    texts = sentences(run, [_Deal(0.7, 0.4, 0.3, 10, 40)])
    for name, lines in texts.items():
        assert len(lines) >= 6, name  # the placebo, the self-test, i0 and i1
        assert not [line for line in lines if WRONG.search(line)]
    assert "On your data, demure finds 4 of 10 wrong videos: of about 10 that were dealt" in texts["video"][1]
    assert "It has no audio file. Where items have one, audio files explain 19 %" in " ".join(texts["audio"])
    assert "Add a set of attributes." in texts["attributes"]
    assert "Its `brand` vector explains its 12 choices worse than the features `brand` of other items" in " ".join(
        texts["brand"]
    )


def test_sentences_of_modalities_that_explain_nothing(silent_run):
    texts = sentences(silent_run)
    for lines in texts.values():
        assert len(lines) == 4
        assert not [line for line in lines if WRONG.search(line)]
    nothing = "explain nothing here, so wrong ones cannot be found by what users choose."
    assert texts["video"][:2] == ["Videos (`video`) explain nothing here.", f"The videos {nothing}"]
    assert texts["brand"][1] == f"The features `brand` {nothing}"
    assert texts["attributes"][3].startswith("Do not choose or change single attributes by this run.")
