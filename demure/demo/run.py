"""`demure demo`: run every step of demure on a generated catalogue, each by the library call of its command."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.catalogue import CatalogueOptions, render
from demure.demo.checks import (
    InterestsCheck,
    WhatIfCheck,
    WrongCoversCheck,
    check_interests,
    check_what_if,
    check_wrong_covers,
)
from demure.diagnosis.calibration import DiagnosisScore, score_diagnosis
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.tables import UserView, export, user_view
from demure.diagnosis.verdict import Verdict
from demure.diagnosis.worklist import list_content
from demure.extraction.extract import extract
from demure.files import refuse_existing
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features
from demure.progress import Listener, Progress, silent
from demure.report.build import report
from demure.runs.evaluate import RunEvaluations, evaluate_runs
from demure.runs.recommend import RecommendReport, recommend
from demure.training.run import train

WRONG_COVERS = 0.05
"""Share of the books whose picture is the cover of another book."""
TRAINING = ("training.epochs=12", "training.offset_epochs=4")
"""Shorter than by default, for the demo is to take a few minutes: benchmarks/LOG.md says what it costs."""
RECIPES = {"demure": "default", "no-denoising": "no-denoising", "popularity": "popularity"}


@dataclass(frozen=True)
class DemoResult:
    """The results of the demo.

    Attributes:
        out: the folder of everything.
        evaluation: the three runs on the test split, compared.
        diagnosis: scores of the diagnosis against the generator's truth.
        without_denoising: the same for the model that does not denoise.
        user: one user's history; ``caused`` holds the (item, modality) pairs that caused an interaction by the truth.
        interests, wrong_covers, what_if: further results against the generator's truth.
        recommended: the recommendations that were written.
        files: description -> path.
        seconds: step -> duration.
    """

    out: str
    evaluation: RunEvaluations
    diagnosis: DiagnosisScore
    without_denoising: DiagnosisScore
    user: UserView
    caused: set[tuple[str, str]]
    interests: list[InterestsCheck]
    wrong_covers: WrongCoversCheck
    what_if: WhatIfCheck
    recommended: RecommendReport
    files: dict[str, str]
    seconds: dict[str, float]


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    catalogue: CatalogueOptions | None = None,
    overrides: Sequence[str] = (),
    listener: Listener = silent,
) -> DemoResult:
    """Render, prepare, extract, train three recipes, evaluate, inspect, recommend and report, all under ``out``.

    ``catalogue`` replaces the usual catalogue; ``overrides``, as ``--set`` takes them, change the two recipes that
    train. A second demo replaces the first; any other folder with content is refused with ``DemureError``.
    """
    out = Path(out)
    again = (out / "catalogue").is_dir()
    refuse_existing(out, overwrite=again)
    seconds: dict[str, float] = {}
    last = time.monotonic()

    def done(step: str) -> None:
        nonlocal last
        seconds[step] = time.monotonic() - last
        last = time.monotonic()

    listener(Progress("draw the catalogue", 0))
    options = catalogue or CatalogueOptions(seed=seed, wrong=WRONG_COVERS)
    rendered = render(out / "catalogue", options, overwrite=again, listener=listener)
    done("draw")
    dataset = out / "dataset"
    prepare_options = PrepareOptions(
        interactions=rendered.interactions, out=dataset, items=rendered.items, images=rendered.images, overwrite=again
    )
    prepare_with_features(prepare_options, listener)
    done("prepare")
    extract(dataset, text="tfidf", image="color", listener=listener)
    done("extract")
    runs = {name: out / "runs" / name for name in RECIPES}
    for name, recipe in RECIPES.items():
        changes = (*TRAINING, *overrides) if recipe != "popularity" else ()
        train(
            dataset,
            runs[name],
            recipe=recipe,
            overrides=changes,
            seed=seed,
            device="cpu",
            overwrite=again,
            listener=listener,
        )
        done(f"train {name}")
    evaluation = evaluate_runs(list(runs.values()), device="cpu", listener=listener)
    done("eval")
    truth = pd.read_csv(rendered.truth, dtype={"user_id": str, "item_id": str, "modality": str})
    scores = {}
    for name in ("demure", "no-denoising"):
        file = out / f"noise-{name}.parquet"
        export(runs[name], file)
        scores[name] = score_diagnosis(truth, pd.read_parquet(file))
    reader = DiagnosisReader.open(runs["demure"])
    user = user_view(reader, illustrative_user(pd.read_parquet(out / "noise-demure.parquet")))
    interests = check_interests(reader, rendered)
    done("inspect")
    list_content(reader, out / "worklist.csv")
    wrong_covers = check_wrong_covers(reader, rendered)
    done("worklist")
    listener(Progress("what if", 0))
    what_if = check_what_if(reader, rendered, seed)
    done("whatif")
    recommended = recommend(runs["demure"], out / "recommendations.parquet", k=20, device="cpu", listener=listener)
    done("recommend")
    report(runs["demure"], out / "report.html", truth=rendered.truth, listener=listener)
    done("report")
    caused = truth[(truth["user_id"] == user.user_id) & (truth["caused"] == 1)]
    return DemoResult(
        out=str(out),
        evaluation=evaluation,
        diagnosis=scores["demure"],
        without_denoising=scores["no-denoising"],
        user=user,
        caused=set(zip(caused["item_id"], caused["modality"], strict=True)),
        interests=interests,
        wrong_covers=wrong_covers,
        what_if=what_if,
        recommended=recommended,
        files={
            "catalogue": str(out / "catalogue"),
            "dataset": str(dataset),
            "run": str(runs["demure"]),
            "diagnosis": str(out / "noise-demure.parquet"),
            "work list": str(out / "worklist.csv"),
            "recommendations": str(out / "recommendations.parquet"),
            "report": str(out / "report.html"),
        },
        seconds=seconds,
    )


def illustrative_user(diagnosis: pd.DataFrame) -> str:
    """Return a user of medium history whose interactions have different causes, as an example to show.

    Of these users, it is the user for whom the rarest of the modalities' verdicts is most frequent.
    """
    diagnosed = diagnosis[diagnosis["verdict"] != Verdict.MISSING]
    modalities = diagnosis["modality"].nunique()
    size = diagnosed.groupby("user_id").size()
    medium = size[size.between(7 * modalities, 12 * modalities)].index
    candidates = diagnosed[diagnosed["user_id"].isin(medium if len(medium) else size.index)]
    poi = candidates["verdict"] == Verdict.POI
    sure = (candidates["poi_probability"] - 0.5).abs() > 0.35
    kinds = candidates["modality"] + np.where(poi, " poi", " noise")
    counts = candidates[sure].groupby(["user_id", kinds[sure]]).size().unstack(fill_value=0)
    return str(
        counts.assign(least=counts.min(axis=1), total=counts.sum(axis=1)).sort_values(["least", "total"]).index[-1]
    )
