"""The self-test: how many wrong pictures and texts does the diagnosis of a run find on the data of that run?

The features of a small share of the items are dealt among these items, the posterior of all training interactions is
inferred anew, and the items are listed as for the work list. Nothing is trained: the parameters are those of the true
features, and the rivals of content are left at the popularity of the time. How close that is to a training on dealt
features: benchmarks/LOG.md.

Shape suffixes: N training interactions, M modalities, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.diagnosis.calibration import auc
from demure.diagnosis.flagging import deviations
from demure.diagnosis.posterior import LONGEST, content_evidence
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.table import DiagnosisTable
from demure.diagnosis.verdict import MIN_CHOICES
from demure.diagnosis.worklist.failing import BAD_FIT
from demure.diagnosis.worklist.fit import fits
from demure.errors import DemureError, RunError
from demure.model.batch import KnownSideInformation
from demure.model.blocks import infer_blocks
from demure.model.denoiser import Denoiser
from demure.progress import Listener, Progress, silent
from demure.runs.new_users import load_new_user_model
from demure.suggest import did_you_mean
from demure.training.placebo import reordered_features

MAX_SHARE = 0.5
_LEAST_DEALT = 5  # items that have enough choices, in every deal


@dataclass(frozen=True)
class ModalityTest:
    """How well dealt content of one modality is found; an entry of ``modalities`` of `demure selftest --json`.

    ``items``: items with the modality and a choice; ``dealt``: how many of them were dealt in a deal; ``tested``: how
    many of these have ``MIN_CHOICES`` choices or more, on average. ``auc`` of separating dealt items from the others by
    their deviation. ``recall``: the share of the ``tested`` items that are among the first so many rows of the list,
    ``recall_by_choices`` if the list ignores whether picture and text go together. Each with the least (``low``) and
    the greatest (``high``) value over the deals. ``chance``: the recall of a random list. ``sentence``: the result
    in words. The numbers are NaN where the modality explains nothing, so that no deal was made.
    """

    modality: str
    items: int
    dealt: int
    tested: float
    auc: float
    auc_low: float
    auc_high: float
    recall: float
    recall_low: float
    recall_high: float
    recall_by_choices: float
    chance: float
    sentence: str


@dataclass(frozen=True)
class SelfTest:
    """The result of `demure selftest`: for each modality, how well dealt content was found in ``deals`` deals of
    ``share`` of the items."""

    run: str
    share: float
    deals: int
    seed: int
    modalities: list[ModalityTest]


@dataclass(frozen=True)
class _Deal:
    """One modality in one deal: AUC, recalls, and the counts that they rest on."""

    auc: float
    recall: float
    recall_by_choices: float
    tested: int
    listed: int


def selftest(
    run: Path | str,
    *,
    modalities: Sequence[str] = (),
    share: float = 0.05,
    deals: int = 3,
    seed: int = 0,
    device: str = "auto",
    listener: Listener = silent,
) -> SelfTest:
    """Deal the content of ``share`` of the items, for each of ``modalities`` (all by default), and look for it.

    Raises ``DemureError`` for a share outside of 0 to ``MAX_SHARE``, an unknown modality, and too few items to deal;
    ``RunError`` if the run has no diagnosis.
    """
    if not 0 < share <= MAX_SHARE:
        remedy = f"give a number above 0 and up to {MAX_SHARE}, such as 0.05"
        raise DemureError(f"{share} is not a share that can be dealt", where="--share", remedy=remedy)
    reader = DiagnosisReader.open(run)
    for name in modalities:
        if name not in reader.modalities:
            suggestion, listed = did_you_mean(name, reader.modalities), f"there are: {', '.join(reader.modalities)}"
            remedy = f"{suggestion} ({listed})" if suggestion else listed
            raise DemureError(f"no modality {name!r} in this run", where="--modality", remedy=remedy)
    names = [name for name in reader.modalities if not modalities or name in modalities]
    informative = [name for name in names if name not in reader.placebos.cannot_tell]
    results: dict[str, list[_Deal]] = {name: [] for name in informative}
    if informative:
        bench = _Bench(reader, device)
        total = deals * len(informative)
        for name in informative:  # one modality at a time: the other ones are as they are
            for number in range(deals):
                listener(Progress("deal and look", number + deals * informative.index(name), total))
                random = np.random.default_rng([seed, reader.modalities.index(name), number])
                results[name].append(bench.deal(name, share, random))
        listener(Progress("deal and look", total, total))
    return SelfTest(
        str(reader.run), share, deals, seed, [_summarise(reader, name, share, results.get(name, [])) for name in names]
    )


class _Bench:
    """A loaded run whose training interactions can be diagnosed again, and the order of its rows."""

    def __init__(self, reader: DiagnosisReader, device: str) -> None:
        self.reader = reader
        dataset = Dataset.load(reader.dataset)
        model = load_new_user_model(reader.run, reader.manifest, dataset, device)
        self.denoiser: Denoiser = model.denoiser
        self.train: Histories = dataset.histories("train")
        self.side = KnownSideInformation(model.periods.assign(self.train.times, len(self.train.items)), None)
        table = reader.table
        # The diagnosis is written user by user in the order of the histories, and users without any are left out.
        if not np.array_equal(table.item_ids[table.item], dataset.item_ids[self.train.items]):
            raise RunError("its diagnosis is of other interactions", where=reader.run, remedy="train the run again")

    def deal(self, name: str, share: float, random: np.random.Generator) -> _Deal:
        """Deal the features of one modality among a share of the items, and return how well they are found."""
        expert = self.denoiser.experts()[self.denoiser.modalities.index(name)]
        present = np.flatnonzero(expert.present_I.cpu().numpy() > 0)
        chosen = random.permutation(present)[: max(2, round(share * len(present)))]
        order = np.arange(len(expert.present_I))
        order[chosen] = np.roll(chosen, 1)
        dealt_I = np.zeros(len(order), bool)
        dealt_I[chosen] = True
        with reordered_features(expert, torch.as_tensor(order), torch.as_tensor(dealt_I)):
            evidence_NM = self._evidence()
        table = replace(self.reader.table, evidence=evidence_NM)
        return self._look(name, table, order, dealt_I)

    @torch.no_grad()
    def _evidence(self) -> np.ndarray:
        evidence_NM = np.zeros(self.reader.table.evidence.shape, np.float32)
        for block in infer_blocks(self.denoiser, self.train.split_long(LONGEST), None, self.side):
            valid_BT = block.interactions_BT >= 0
            evidence_NM[block.interactions_BT[valid_BT]] = content_evidence(self.denoiser, block)[valid_BT]
        return evidence_NM

    def _look(self, name: str, table: DiagnosisTable, order: np.ndarray, dealt_I: np.ndarray) -> _Deal:
        """Rank the items as the work list does, and count the dealt ones that come first."""
        rows = deviations(self.reader, table)
        rows = rows[rows["modality"] == name]
        item_row = np.array([self.reader.item_rows[str(item)] for item in rows["item_id"]])
        dealt, below = dealt_I[item_row], rows["below"].to_numpy()
        enough = rows["interactions"].to_numpy() >= MIN_CHOICES
        tested = int((dealt & enough).sum())
        if tested < _LEAST_DEALT:
            raise DemureError(
                f"only {tested} dealt items of {name!r} have {MIN_CHOICES} choices or more",
                where="--share",
                remedy="deal a larger share",
            )
        features = dict(self.reader.unit_features)
        if name in features:
            features[name] = features[name][order]
        misfit = np.zeros(len(order), bool)
        for pair, fit in fits(self.reader, features).items():
            if name in pair:
                misfit |= fit < BAD_FIT  # NaN is not
        strong = misfit[item_row] & rows["clearly"].to_numpy() & (below > 0)

        def recall(score: np.ndarray) -> float:
            first = np.argsort(-score[enough], kind="stable")[:tested]
            return float(dealt[enough][first].mean())

        return _Deal(
            auc(dealt.astype(np.float64), below),
            recall(below + strong * (1 + np.ptp(below))),
            recall(below),
            tested,
            int(enough.sum()),
        )


def _summarise(reader: DiagnosisReader, name: str, share: float, deals: Sequence[_Deal]) -> ModalityTest:
    table, nouns = reader.table, reader.placebos.of(name).noun.plural
    present = table.present[:, table.modalities.index(name)]
    items = len(np.unique(table.item[present]))
    if not deals:
        sentence = f"The {nouns} explain nothing here, so wrong ones cannot be found by what users choose."
        nan = float("nan")
        return ModalityTest(name, items, 0, nan, nan, nan, nan, nan, nan, nan, nan, nan, sentence)
    aucs, recalls = [deal.auc for deal in deals], [deal.recall for deal in deals]
    tested, recall = float(np.mean([deal.tested for deal in deals])), float(np.mean(recalls))
    chance = tested / float(np.mean([deal.listed for deal in deals]))
    span = f", {100 * min(recalls):.0f} to {100 * max(recalls):.0f} % in {len(deals)} deals" if len(deals) > 1 else ""
    sentence = (
        f"On your data, demure finds {10 * recall:.0f} of 10 wrong {nouns}: of about {tested:.0f} that were dealt to "
        f"items with {MIN_CHOICES} choices or more, {100 * recall:.0f} % are among the first {tested:.0f} of the "
        f"list{span} ({100 * chance:.0f} % by chance)."
    )
    return ModalityTest(
        modality=name,
        items=items,
        dealt=round(share * items),
        tested=tested,
        auc=float(np.mean(aucs)),
        auc_low=min(aucs),
        auc_high=max(aucs),
        recall=recall,
        recall_low=min(recalls),
        recall_high=max(recalls),
        recall_by_choices=float(np.mean([deal.recall_by_choices for deal in deals])),
        chance=chance,
        sentence=sentence,
    )
