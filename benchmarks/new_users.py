"""Measure how close the diagnosis of new users comes to that of the training, on a run and its own users.

    python benchmarks/new_users.py RUN [TRUTH.csv]

A tenth of the users is hidden: the rivals of content are fitted again without them. They are diagnosed as new users, by
these rivals and by those of the run, which hold what they learned from these users.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.diagnosis.posterior import infer_posterior
from demure.model.batch import KnownSideInformation
from demure.progress import silent
from demure.runs.manifest import read_manifest, recorded_dataset
from demure.runs.new_users import NewUserModel, load_new_user_model
from demure.training.rivals import Rivals

HIDDEN = 0.1


def probabilities(model: NewUserModel, histories: Histories, side: KnownSideInformation) -> np.ndarray:
    """Return the probability of a point of interest of every choice and modality (N, M)."""
    return infer_posterior(model.denoiser, histories, side, None, silent).probability_NM


def compare(frame: pd.DataFrame, label: str, truth: pd.DataFrame | None) -> None:
    """Print how the columns ``new`` and ``poi_probability`` of ``frame`` differ."""
    difference = frame["new"] - frame["poi_probability"]
    same = (frame["new"] >= 0.5) == (frame["poi_probability"] >= 0.5)
    print(
        f"{label}: mean difference {difference.abs().mean():.4f} (bias {difference.mean():+.4f}), correlation "
        f"{np.corrcoef(frame['new'], frame['poi_probability'])[0, 1]:.4f}, same side of one half {same.mean():.3f}, "
        f"of {len(frame)} verdicts"
    )
    if truth is not None:
        from sklearn.metrics import roc_auc_score

        joined = frame.merge(truth, on=["user_id", "item_id", "modality"])
        training, new = (roc_auc_score(joined["caused"], joined[name]) for name in ("poi_probability", "new"))
        print(f"    AUC of the training {training:.4f}, as new users {new:.4f}")


def main() -> None:
    """Compare on one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("truth", type=Path, nargs="?")
    options = parser.parse_args()
    manifest = read_manifest(options.run)
    dataset = Dataset.load(Path(recorded_dataset(options.run, manifest).path))
    model, train = load_new_user_model(options.run, manifest, dataset, "cpu"), dataset.histories("train")
    hidden_U = np.random.default_rng(0).random(dataset.n_users) < HIDDEN
    users = np.flatnonzero(hidden_U & (train.lengths > 0))
    rivals = Rivals(train.mask_users(~hidden_U), dataset.n_items, 0)
    rivals.fit(model.denoiser)
    new = train.select_users(users)
    names = np.array(model.denoiser.modalities, dtype=object)
    keys = {
        "user_id": np.repeat(dataset.user_ids[users][new.owners], len(names)),
        "position": np.repeat(np.arange(len(new.items)) - new.indptr[new.owners], len(names)),
        "modality": np.tile(names, len(new.items)),
    }
    stored = pd.read_parquet(options.run / "diagnosis.parquet")
    truth = None if options.truth is None else pd.read_csv(options.truth, dtype={"user_id": str, "item_id": str})
    rivals_of = {"hidden from the rivals": rivals.for_new_users(), "in the rivals": model.rivals}
    for label, models in rivals_of.items():
        assert models is not None
        side = models.side_information(new, model.denoiser, ordered=dataset.has_time)
        frame = stored.merge(pd.DataFrame({**keys, "new": probabilities(model, new, side).ravel()}), on=[*keys])
        compare(frame[frame["verdict"] != "missing"], label, truth)


if __name__ == "__main__":
    main()
