"""Compare what demure says about the demo's catalogue with what is known of it: interests, wrong covers, what-ifs.

Shapes: I items of the diagnosis, K interests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from demure.demo.catalogue import MODALITIES, Catalogue
from demure.diagnosis.interests.view import measured_interests
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.whatif.answer import Change, measure
from demure.diagnosis.whatif.effects import DemandOfRun
from demure.diagnosis.whatif.variants import Variant
from demure.diagnosis.worklist import worklist
from demure.runs.load import load_run

_KINDS = {"image": "style", "text": "topic"}
_WHAT_IFS, _LEAST_CHOICES = 12, 20


@dataclass(frozen=True)
class InterestsCheck:
    """The interests of one modality above their placebo.

    How many are ``shown``; how many of the planted ``kinds`` (of covers, or of stories) are ``matched`` as the main
    kind of one; ``purity``: the share of the choices that the interests explain by books of their main kind.
    """

    modality: str
    shown: int
    kinds: int
    matched: int
    purity: float


@dataclass(frozen=True)
class WrongCoversCheck:
    """Of the books with a ``wrong`` cover, how many are ``matched`` by one of as many ``first`` rows of the work list
    about pictures."""

    wrong: int
    first: int
    matched: int


@dataclass(frozen=True)
class WhatIfCheck:
    """Books with the cover of another book: the ``expected`` relative change by demure, and the ``true`` one by the
    generator, in the same order; ``correlation`` of their ranks. ``item`` and ``title`` name the first."""

    item: str
    title: str
    expected: list[Change]
    true: list[float]
    correlation: float


def check_interests(reader: DiagnosisReader, catalogue: Catalogue) -> list[InterestsCheck]:
    """Compare the interests with the planted styles and topics."""
    truth = pd.read_csv(catalogue.item_truth, dtype=str).set_index("item_id")
    interests, table = measured_interests(reader), reader.table
    checks = []
    for name in MODALITIES:
        kinds = truth.loc[table.item_ids.astype(str), _KINDS[name]]
        code_I, labels = pd.factorize(kinds)
        own = [k for k, (modality, _) in enumerate(interests.columns) if modality == name and interests.shown[k]]
        weight_KI = interests.shares.by_item_IK[:, own].T
        by_kind = weight_KI @ np.eye(len(labels))[code_I]
        matched = len(set(by_kind.argmax(1).tolist()))
        purity = float(by_kind.max(1).sum() / max(by_kind.sum(), 1e-12)) if own else float("nan")
        checks.append(InterestsCheck(name, len(own), len(labels), matched if own else 0, purity))
    return checks


def check_wrong_covers(reader: DiagnosisReader, catalogue: Catalogue) -> WrongCoversCheck:
    """Look for the books with a wrong cover at the top of the work list."""
    truth = pd.read_csv(catalogue.item_truth, dtype=str)
    wrong = set(truth.loc[truth["wrong"] == "1", "item_id"])
    rows = worklist(reader, kinds=["content"]).rows
    rows = rows[rows["modality"] == "image"].head(len(wrong))
    return WrongCoversCheck(len(wrong), len(rows), int(rows["item_id"].isin(wrong).sum()))


def check_what_if(reader: DiagnosisReader, catalogue: Catalogue, seed: int) -> WhatIfCheck:
    """Compare the expected effect of another book's cover with that in the generator."""
    loaded, random = load_run(reader.run, "cpu"), np.random.default_rng(seed)
    assert loaded.recommender is not None
    dataset, denoiser = loaded.dataset, loaded.recommender.denoiser
    truth = pd.read_csv(catalogue.item_truth, dtype=str)
    number = {item: k for k, item in enumerate(truth["item_id"])}  # in the generator
    right = dataset.item_ids[np.isin(dataset.item_ids.astype(str), truth.loc[truth["wrong"] == "0", "item_id"])]
    m = denoiser.modalities.index("image")
    expert = denoiser.experts()[m]
    counts = dataset.histories("train").count_items(dataset.n_items)
    usable = [
        row
        for row in (reader.item_rows[str(item)] for item in right)
        if counts[row] >= _LEAST_CHOICES and bool(expert.present_I[row] > 0)
    ]
    demand = DemandOfRun(reader, denoiser, dataset.histories("train"))
    books = random.permutation(usable)[:_WHAT_IFS]
    expected, true = [], []
    for row, source in zip(books, np.roll(books, 1), strict=True):
        item, other = str(dataset.item_ids[row]), str(dataset.item_ids[source])
        variant = Variant(f"the cover of {other}", {"image": expert.coordinates_ID[source].cpu().numpy()})
        expected += measure(reader, demand, item, [variant], seed=seed)[0]
        before, after = catalogue.process.expected_choices(number[item], MODALITIES.index("image"), number[other])
        true.append(float(after.sum() / before.sum() - 1))
    ranks = pd.DataFrame({"expected": [change.relative for change in expected], "true": true}).rank()
    first = str(dataset.item_ids[books[0]]) if len(books) else ""
    title = reader.titles.get(first, "")
    return WhatIfCheck(first, title, expected, true, float(ranks["expected"].corr(ranks["true"])))
