"""Compare a diagnosis with the planted truth: AUC, calibration error, log-loss, and precision and recall of noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.diagnosis.verdict import Verdict
from demure.errors import DataError

KEY = ["user_id", "item_id", "modality"]
_BINS = 10


@dataclass(frozen=True)
class DiagnosisScore:
    """How good ``poi_probability`` is over ``pairs`` interaction-modality pairs; the truth has ``of`` pairs.

    ``auc`` of the probability, ``auc_evidence`` of the evidence and ``ceiling`` of the generator's own posterior;
    ``ece`` over ten equal-width bins; ``log_loss`` in nats per pair, probabilities kept 1e-6 from 0 and 1.
    ``noise_precision`` is the share of pairs with verdict "noise" that caused nothing (None where no pair has it),
    ``noise_recall`` the share of pairs that caused nothing with that verdict.
    """

    pairs: int
    of: int
    auc: float
    auc_evidence: float
    ceiling: float
    ece: float
    log_loss: float
    noise_precision: float | None
    noise_recall: float
    auc_by_modality: dict[str, float]


def score_diagnosis(truth: pd.DataFrame, diagnosis: pd.DataFrame) -> DiagnosisScore:
    """Score a diagnosis (columns of ``demure inspect --export``) by a truth (columns of a planted ``truth.csv``).

    Pairs with verdict "missing" and pairs that only one of the two has (interactions kept for validation and test) are
    left out. Raises ``DataError`` for a pair listed twice, a probability outside [0, 1], and if they share no pair.
    """
    if diagnosis.duplicated(KEY).any():
        first = diagnosis.loc[diagnosis.duplicated(KEY), KEY].iloc[0].tolist()
        raise DataError(f"the pair {first} is listed twice", where="diagnosis")
    present = diagnosis[diagnosis["verdict"] != Verdict.MISSING]
    joined = _with_string_ids(truth).merge(_with_string_ids(present), on=KEY)
    if not len(joined):
        raise DataError("shares no pair with the truth", where="diagnosis", remedy="give the truth of the same dataset")
    caused = joined["caused"].to_numpy()
    probability = joined["poi_probability"].to_numpy(dtype=float)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise DataError("poi_probability is not always within [0, 1]", where="diagnosis")
    noise = (joined["verdict"] == Verdict.NOISE).to_numpy()
    return DiagnosisScore(
        pairs=len(joined),
        of=len(truth),
        auc=auc(caused, probability),
        auc_evidence=auc(caused, joined["evidence"].to_numpy(dtype=float)),
        ceiling=auc(caused, joined["posterior"].to_numpy(dtype=float)),
        ece=calibration_error(caused, probability),
        log_loss=log_loss(caused, probability),
        noise_precision=float((caused[noise] == 0).mean()) if noise.any() else None,
        noise_recall=float(noise[caused == 0].mean()) if (caused == 0).any() else float("nan"),
        auc_by_modality={
            str(name): auc(group["caused"].to_numpy(), group["poi_probability"].to_numpy(dtype=float))
            for name, group in joined.groupby("modality")
        },
    )


@dataclass(frozen=True)
class Calibration:
    """``score`` over all pairs, its ``ceiling`` NaN where the truth has no posterior; ``curve``: per ``modality`` and
    bin of probability the mean ``predicted``, the share ``caused`` and the ``pairs``."""

    score: DiagnosisScore
    curve: pd.DataFrame


def calibration(truth: Path | str, diagnosis: pd.DataFrame) -> Calibration:
    """Score a diagnosis (columns of ``demure inspect --export``) by a file of truth: CSV or Parquet with user_id,
    item_id, modality, caused (0 or 1) and, if known, the generator's posterior.

    Raises ``DataError`` if the file cannot be read or lacks a column, and as ``score_diagnosis``.
    """
    pairs = read_truth(Path(truth))
    score = score_diagnosis(pairs, diagnosis)
    present = diagnosis[diagnosis["verdict"] != Verdict.MISSING]
    joined = pairs.merge(present.astype(dict.fromkeys(KEY, str)), on=KEY)
    joined["bin"] = np.minimum((joined["poi_probability"] * _BINS).astype(int), _BINS - 1)
    curve = joined.groupby(["modality", "bin"], as_index=False, sort=True).agg(
        predicted=("poi_probability", "mean"), caused=("caused", "mean"), pairs=("caused", "size")
    )
    return Calibration(score, curve.drop(columns="bin"))


def read_truth(path: Path) -> pd.DataFrame:
    """Return the file of :func:`calibration` with ids as strings, and ``posterior`` NaN where it is absent."""
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(path, dtype=dict.fromkeys(KEY, str), keep_default_na=False)
    except (OSError, ValueError, UnicodeError) as error:
        raise DataError(f"cannot be read ({error})", where=path, remedy="give a CSV or Parquet file") from error
    lacking = [name for name in (*KEY, "caused") if name not in frame.columns]
    if lacking:
        raise DataError(f"has no column {', '.join(lacking)}", where=path, remedy="name the columns as truth.csv does")
    frame = frame.astype(dict.fromkeys(KEY, str))
    caused = pd.to_numeric(frame["caused"], errors="coerce")
    wrong = np.flatnonzero(~caused.isin([0, 1]))
    if len(wrong):
        value = frame["caused"].iloc[int(wrong[0])]
        raise DataError(f"caused is {value!r}, not 0 or 1", where=f"{path} row {int(wrong[0]) + 2}")
    if "posterior" not in frame.columns:
        frame["posterior"] = np.nan
    return frame.assign(caused=caused.astype(int), posterior=pd.to_numeric(frame["posterior"], errors="coerce"))


def auc(caused: np.ndarray, value: np.ndarray) -> float:
    """Return the probability that a pair with ``caused`` (n,) 1 has a larger ``value`` (n,) than a pair with 0; ties
    count half. NaN if all pairs are of one kind, or a value is NaN.
    """
    from scipy.stats import rankdata

    if np.isnan(value).any():
        return float("nan")

    positive = caused == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(value)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def calibration_error(caused: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Return the ECE: the mean over pairs of |share caused - mean probability| within their equal-width bin."""
    bin_of_pair = np.minimum((probability * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of_pair, weights=caused - probability, minlength=bins)
    return float(np.abs(gap).sum() / len(caused))


def log_loss(caused: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean over pairs of -log(probability of the true outcome), in nats."""
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return float(-(caused * np.log(clipped) + (1 - caused) * np.log(1 - clipped)).mean())


def _with_string_ids(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(user_id=frame["user_id"].astype(str), item_id=frame["item_id"].astype(str))
