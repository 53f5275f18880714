"""`demure train`: a dataset folder and a recipe into a run folder."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from demure import __version__
from demure.baselines.build import build_learned, build_task
from demure.baselines.registry import LEARNED, check_model, learned_options, make_baseline
from demure.compute.device import pick_device
from demure.compute.process_group import Team
from demure.data.dataset import Dataset
from demure.errors import RecipeError, RunError
from demure.evaluation.ranking import evaluate
from demure.features import store
from demure.features.select import by_default
from demure.files import atomic_file, refuse_existing, sha256_bytes, write_json
from demure.model.denoiser import Denoiser
from demure.model.denormals import subnormals_are_zero
from demure.model.recommender import Pool, Recommender
from demure.progress import Listener, Progress, silent
from demure.recipe.load import load_recipe, to_yaml
from demure.recipe.schema import Recipe
from demure.runs.folder import CHECKPOINT, FORMAT_VERSION, MANIFEST, environment
from demure.runs.load import WEIGHTS, shape_of
from demure.training.baseline_loop import train_baseline
from demure.training.belief_propagation import propagate_beliefs
from demure.training.checkpoint import CHECKPOINT_MINUTES, TrainingContext, TrainingLog, write_tensors
from demure.training.denoiser_loop import FITTED, train_denoiser
from demure.training.diagnose import diagnose
from demure.training.inputs import latents
from demure.training.placebo import admit, measure
from demure.training.rivals import Rivals
from demure.training.tune_fusion import tune_fusion
from demure.training.validation import Validation


@dataclass(frozen=True)
class TrainReport:
    """What a training made. ``epochs`` trained, ``best_epoch`` kept (0 = before any step), ``valid`` metrics by full
    ranking on the validation split, ``seconds`` of this call, ``diagnosed`` whether there is a diagnosis to inspect,
    ``left_out`` the features that are second encodings of what is used, and were not asked for."""

    run: str
    recipe: str
    modalities: list[str]
    epochs: int
    best_epoch: int
    valid: dict[str, float]
    seconds: float
    diagnosed: bool
    left_out: list[str] = field(default_factory=list)


@subnormals_are_zero()
def train(
    dataset: Path,
    out: Path,
    *,
    recipe: str | Path = "default",
    overrides: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    listener: Listener = silent,
) -> TrainReport:
    """Train on ``dataset``, keep the best epoch by the validation split, write the run folder ``out``.

    The folder is finished when run.json is there; until then it holds a checkpoint, of every judged epoch and of every
    ``checkpoint_minutes``, that ``resume`` goes on from. The same seed gives the same weights on a CPU. Started by
    torchrun or accelerate, all processes train one model; only the first of them chooses the pool, writes, and knows
    the validation metrics. Raises ``DemureError`` for what a user can cause.
    """
    began = time.monotonic()
    dataset, out = Path(dataset), Path(out)
    resolved = load_recipe(recipe, overrides)
    check_model(resolved.model)
    if not checkpoint_minutes >= 0:
        raise RunError(f"is {checkpoint_minutes}", where="--checkpoint-minutes", remedy="give 0 or more")
    team, chosen = Team.join(pick_device(device))
    try:
        data = Dataset.load(dataset)
        if not len(data.histories("train").items):
            raise RunError("holds no training interaction", where=dataset, remedy="prepare it with another split")
        care = TrainingContext(out, resume, checkpoint_minutes, listener if team.leads else silent, team)
        care.listener(Progress("read features", 0))
        if resolved.model == "demure":
            log, valid, details = _train_demure(data, resolved, seed, chosen, care, overwrite)
        elif resolved.model in LEARNED:
            log, valid, details = _train_learned(data, resolved, seed, chosen, care, overwrite)
        else:
            log, valid, details = _fit_baseline(data, resolved, care, overwrite)
    finally:
        team.leave()
    report = TrainReport(
        run=str(out),
        recipe=resolved.name,
        modalities=details["modalities"],
        epochs=0 if log is None else int(log.epochs[-1]["epoch"]),
        best_epoch=0 if log is None else int(log.epochs[log.best]["epoch"]),
        valid=valid,
        seconds=time.monotonic() - began,
        diagnosed=resolved.model == "demure",
        left_out=[] if resolved.modalities or not details["modalities"] else by_default(data.path)[1],
    )
    if not team.leads:
        return report
    with atomic_file(out / "recipe.yaml") as part:
        part.write_text(to_yaml(resolved), encoding="utf-8")
    manifest = {
        "format_version": FORMAT_VERSION,
        "demure_version": __version__,
        "recipe": resolved.name,
        "model": resolved.model,
        "seed": seed,
        "device": chosen.type,
        "dataset": {"path": str(data.path.absolute()), "identity": data.identity},
        "ordered": data.has_time,
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "valid": valid,
        **details,
        "environment": environment(),
    }
    write_json(out / MANIFEST, manifest)
    (out / CHECKPOINT).unlink(missing_ok=True)
    (out / FITTED).unlink(missing_ok=True)
    return report


Trained = tuple["TrainingLog | None", dict[str, float], dict[str, Any]]
"""The log of the epochs (None where there are none), metrics on validation, and what run.json tells besides."""


def _train_demure(
    data: Dataset, recipe: Recipe, seed: int, device: torch.device, care: TrainingContext, overwrite: bool
) -> Trained:
    if recipe.denoiser.causal and not data.has_time:
        raise RecipeError("the interactions have no order", where="denoiser.causal", remedy="leave it off")
    history, valid = data.histories("train"), data.histories("valid")
    shape = shape_of(recipe)
    rivals = Rivals(history, data.n_items, seed)
    timed = history if shape.rivals and len(rivals.periods.starts) else None
    spaces = latents(data, recipe.modalities, recipe.denoiser.max_dim, timed)
    _claim(care, overwrite=overwrite)
    torch.manual_seed(seed)
    popularity = history.count_items(data.n_items)
    period_IG = rivals.periods.factor_IG if shape.rivals else None
    denoiser = Denoiser.start(spaces, popularity, shape, ordered=data.has_time, seed=seed, period_IG=period_IG)
    denoiser = denoiser.to(device)
    settings = recipe.training
    watching = partial(
        Validation,
        rivals,
        valid,
        most=settings.watched_users,
        longest=settings.history,
        held_out=settings.held_out,
        seed=seed,
    )
    watch = watching(team=care.team)
    used = {name: store.manifest(data.path, name) for name in spaces}
    signature = _signature(data, recipe, seed, used)
    log = train_denoiser(denoiser, rivals, watch, settings, seed=seed, signature=signature, care=care)
    details: dict[str, Any] = {"modalities": list(spaces), "features": used}
    if not care.team.leads:
        return log, {}, details
    denoiser.eval()
    if shape.rivals:
        care.listener(Progress("fit the rivals of content", 0))
        rivals.fit(denoiser)
    care.listener(Progress("compare with shuffled features", 0))
    gains = admit(denoiser, watching(), seed)
    told = propagate_beliefs(denoiser, watching(), settings.hearings if settings.epochs else 0)
    care.listener(Progress("choose the pool", 0))
    recommender = Recommender(denoiser, None, Pool(0.0, 1.0), popularity, longest=settings.history)
    window = recipe.collaborative.window if recipe.collaborative.enabled else None
    metrics = tune_fusion(recommender, history, valid, window, seed=seed)
    details["causes"] = diagnose(denoiser, data, care.folder, care.listener, rivals, told)
    measured = measure(denoiser, rivals, gains, seed)
    details["placebo"] = {name: one.to_dict() for name, one in measured.items()}
    write_tensors(care.folder / WEIGHTS, denoiser.state_dict())
    details["pool"] = asdict(recommender.pool)
    if recommender.neighbours is not None:
        details["walk"] = asdict(recommender.neighbours.walk)
    return log, {name: value for name, value in metrics.items() if name.startswith(("recall", "ndcg"))}, details


def _train_learned(
    data: Dataset, recipe: Recipe, seed: int, device: torch.device, care: TrainingContext, overwrite: bool
) -> Trained:
    options = learned_options(recipe.model, recipe.baseline)
    task = build_task(data, recipe.model, recipe.modalities)
    module = build_learned(recipe.model, options, task, seed, device)
    _claim(care, overwrite=overwrite)
    used = {name: store.manifest(data.path, name) for name in task.content}
    signature, valid = _signature(data, recipe, seed, used), data.histories("valid")
    log = train_baseline(module, valid, task, seed=seed, signature=signature, care=care)
    if care.team.leads:
        write_tensors(care.folder / WEIGHTS, module.state_dict())
    best = log.epochs[log.best]
    metrics = {name: best[name] for name in ("recall@20", "ndcg@20") if len(valid.items)}
    return log, metrics, {"modalities": list(task.content), "features": used}


def _signature(data: Dataset, recipe: Recipe, seed: int, used: dict[str, Any]) -> str:
    """What a checkpoint belongs to."""
    return sha256_bytes(json.dumps([data.identity, to_yaml(recipe), seed, used], sort_keys=True, default=str).encode())


def _fit_baseline(data: Dataset, recipe: Recipe, care: TrainingContext, overwrite: bool) -> Trained:
    """A baseline is fitted again whenever it is loaded; here only its validation metrics are taken."""
    baseline = make_baseline(recipe.model, **recipe.baseline)
    _claim(care, overwrite=overwrite)
    train_part, valid = data.histories("train"), data.histories("valid")
    details: dict[str, Any] = {"modalities": []}
    if not care.team.leads or not len(valid.items):
        return None, {}, details
    baseline.fit(train_part, data.n_items)
    means = evaluate(baseline.scorer(train_part), valid, train_part, (20,), data.n_items).means()
    return None, {name: means[name] for name in ("recall@20", "ndcg@20")}, details


def _claim(care: TrainingContext, *, overwrite: bool) -> None:
    """The first process takes the run folder, the others wait for it."""
    if care.team.leads:
        _take(care.folder, resume=care.resume, overwrite=overwrite)
    care.team.wait()


def _take(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make ``out`` ours: a new folder, one to replace, or one to go on with."""
    if resume and out.is_dir():
        for part in out.glob(".*.part*"):  # of a process that was killed while it wrote
            part.unlink()
    unfinished = (out / CHECKPOINT).is_file() and not (out / MANIFEST).is_file()
    if resume and (unfinished or not out.exists()):
        pass
    elif resume and (out / MANIFEST).is_file():
        raise RunError("is already finished", where=out, remedy="leave --resume out and say --overwrite to train again")
    elif unfinished and not overwrite:
        raise RunError("holds an unfinished training", where=out, remedy="say --resume to go on, or --overwrite")
    else:
        refuse_existing(out, overwrite=overwrite)
        if out.exists():
            ours = (out / MANIFEST).is_file() or unfinished or not any(out.iterdir())
            if not ours:
                raise RunError("is not a run folder", where=out, remedy="choose another --out")
            shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
