"""`demure train`: from a dataset folder and a recipe to a run folder."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from demure.baselines.registry import check_model, is_learned, learned_options
from demure.compute.device import pick_device
from demure.compute.process_group import ProcessGroup
from demure.compute.threads import one_thread
from demure.data.dataset import Dataset
from demure.errors import RecipeError, RunError
from demure.features import store
from demure.features.constant import constant_features
from demure.features.normalize import robust_scale
from demure.features.select import default_modalities
from demure.files import atomic_file
from demure.model.content_items import ContentItemModel, ContentItemParameters, to_tensors
from demure.model.denoiser import Denoiser
from demure.model.denormals import flush_denormals
from demure.model.fusion import FusionWeights
from demure.model.latent import Latent, projection_tensors
from demure.model.nearest_items import NearestItems, nearest_items
from demure.model.recommender import Recommender
from demure.progress import FinishedTraining, Listener, Plan, Progress, silent
from demure.recipe.load import load_recipe, to_yaml
from demure.recipe.schema import Recipe
from demure.runs.folder import (
    CHECKPOINT,
    NEAREST_ITEMS,
    PROJECTION,
    RECIPE,
    RIVAL_MODELS,
    WEIGHTS,
    publish,
    working_folder,
)
from demure.runs.manifest import RunManifest, hash_files
from demure.storage.names import is_url
from demure.training.baseline_run import fit_baseline, train_learned
from demure.training.belief_propagation import propagate_beliefs
from demure.training.checkpoint import CHECKPOINT_MINUTES, TrainingContext, write_tensors
from demure.training.denoise import check_denoising
from demure.training.denoiser_loop import RIVALS_FILE, train_denoiser
from demure.training.diagnose import diagnose
from demure.training.inputs import build_latents
from demure.training.interests import describe_interests
from demure.training.job import Job
from demure.training.placebo import admit_modalities, learn_placebo_shares, measure_placebos
from demure.training.rivals import Rivals
from demure.training.stages import COMPARE, FUSION, INTERESTS, READ, RIVALS, stages_of
from demure.training.tune_fusion import tune_fusion
from demure.training.validation import Validation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainReport:
    """The result of a training.

    ``epochs`` trained, of at most ``max_epochs``, ``best_epoch`` kept (0: before any step); ``valid``: metric -> value
    by full ranking on the validation split; ``seconds`` of this call; ``diagnosed``: whether there is a diagnosis to
    inspect; ``left_out``: features that are second encodings of those used, and were not asked for; ``constant``:
    modality -> how its features are alike for all items, so that it was left out; ``notes`` on verdicts that count in
    full.
    """

    run: str
    recipe: str
    modalities: list[str]
    epochs: int
    best_epoch: int
    valid: dict[str, float]
    seconds: float
    diagnosed: bool
    max_epochs: int = 0
    left_out: list[str] = field(default_factory=list)
    constant: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@flush_denormals()
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

    The folder is finished when run.json is there; until then it holds a checkpoint, of every validated epoch and of
    every ``checkpoint_minutes``, that ``resume`` goes on from. A finished run that ``overwrite`` replaces stays
    until the new one is finished. The same seed gives the same weights on a CPU. Started by torchrun or accelerate, all
    processes train one model; only the first of them tunes the fusion, writes, and returns the validation metrics.
    Raises ``DemureError`` for what a user can cause.
    """
    start = time.monotonic()
    resolved = load_recipe(recipe, overrides, listener=listener)
    check_model(resolved.model)
    check_denoising(resolved)
    if resolved.denoise and not is_url(
        resolved.denoise
    ):  # the recipe in the run folder is read from other folders, too
        resolved = replace(resolved, denoise=str(Path(resolved.denoise).absolute()))
    if not checkpoint_minutes >= 0:
        raise RunError(f"is {checkpoint_minutes}", where="--checkpoint-minutes", remedy="give 0 or more")
    processes, chosen = ProcessGroup.join(pick_device(device))
    with contextlib.ExitStack() as claimed:
        try:
            data = Dataset.load(Path(dataset))
            if not len(data.histories("train").items):
                raise RunError("holds no training interaction", where=dataset, remedy="prepare it with another split")
            folder = working_folder(Path(out), overwrite=overwrite)
            context = TrainingContext(
                folder, resume, checkpoint_minutes, listener if processes.is_first else silent, processes
            )
            # Baselines have no stages to count, and must not go on in the plan of an earlier training.
            stages = stages_of(rivals=resolved.denoiser.rivals) if resolved.model == "demure" else ()
            context.listener(Plan("plan", 0, stages=stages))
            context.listener(Progress(READ, 0))
            logger.info(
                "train %s on %s with seed %d on %s", resolved.name, dataset, seed, chosen, extra={"run": str(out)}
            )
            job = Job(data, resolved, Path(out), seed, chosen, context, overwrite, claimed)
            if resolved.model == "demure":
                # Its operators are small: more threads wait for each other longer than they compute.
                with one_thread():
                    manifest = _train_demure(job)
            elif is_learned(resolved.model):
                manifest = train_learned(job)
            else:
                manifest = fit_baseline(job)
        finally:
            processes.leave()
        report = TrainReport(
            run=str(out),
            recipe=resolved.name,
            modalities=manifest.modalities,
            epochs=manifest.epochs,
            best_epoch=manifest.best_epoch,
            valid=manifest.valid,
            seconds=time.monotonic() - start,
            diagnosed=resolved.model == "demure",
            max_epochs=_max_epochs(resolved) if manifest.epochs else 0,
            notes=[] if manifest.denoise is None else manifest.denoise["notes"],
            left_out=[] if resolved.modalities or not manifest.modalities else default_modalities(data.path)[1],
            constant=_constant(data, resolved, manifest),
        )
        if processes.is_first:
            _finish_folder(job, manifest, report.constant)
            extra = {"run": str(out), "valid": report.valid, "seconds": round(report.seconds, 3)}
            logger.info("trained %s for %d epochs, the best is %d", out, report.epochs, report.best_epoch, extra=extra)
    return report


def _max_epochs(recipe: Recipe) -> int:
    """Return the epochs of a training that validation does not stop."""
    if recipe.model == "demure":
        return recipe.training.epochs + recipe.training.offset_epochs
    return learned_options(recipe.model, recipe.baseline).epochs


def _constant(data: Dataset, recipe: Recipe, manifest: RunManifest) -> dict[str, str]:
    """Return modality -> why, for the modalities that the training left out since they are alike for all items."""
    if not manifest.modalities:
        return {}
    wanted = recipe.modalities or default_modalities(data.path)[0]
    return constant_features(data.path, [name for name in wanted if name not in manifest.modalities])


def _train_demure(job: Job) -> RunManifest:
    """Train the denoiser, test it against its placebo, tune the fusion, and diagnose the training interactions."""
    data, recipe, context = job.data, job.recipe, job.context
    settings, listener = recipe.training, context.listener
    if recipe.denoiser.causal and not data.has_time:
        raise RecipeError("the interactions have no order", where="denoiser.causal", remedy="leave it off")
    train_part, valid = data.histories("train"), data.histories("valid")
    rivals = Rivals(train_part, data.n_items, job.seed)
    has_periods = recipe.denoiser.rivals and len(rivals.periods.starts) > 0

    # Latent spaces of the features, without what they reveal about the time of choices.
    latents = build_latents(data, recipe.modalities, recipe.denoiser.max_dim, train_part if has_periods else None)
    features = job.feature_manifests(list(latents))
    job.claim_folder()
    denoiser = _build_denoiser(job, latents, rivals)
    build_validation = partial(
        Validation,
        rivals,
        valid,
        most=settings.validation_users,
        longest=settings.history,
        held_out=settings.held_out,
        seed=job.seed,
    )

    # Content alone; the rivals beside it; content against the rivals; offsets of items.
    log = train_denoiser(
        denoiser,
        rivals,
        build_validation(processes=context.processes),
        settings,
        seed=job.seed,
        signature=job.signature(features),
        context=context,
    )
    manifest = replace(job.manifest(latents, log), features=features)
    if not context.processes.is_first:
        return manifest
    denoiser.eval()

    # The rivals once more, beside the content as it is now.
    if recipe.denoiser.rivals:
        listener(Progress(RIVALS, 0))
        rivals.fit(denoiser, listener)

    # Modalities that explain no more than their placebo are excluded; then items receive messages of their choices.
    listener(Progress(COMPARE, 0))
    validation = build_validation()
    gains = admit_modalities(denoiser, validation, job.seed, listener)
    # Before belief propagation: messages of the choices that are masked here would leak into the shares.
    shares = learn_placebo_shares(denoiser, validation, settings, job.seed, listener)
    passes = settings.belief_passes if settings.epochs else 0
    messages = propagate_beliefs(denoiser, validation, passes, listener=listener)

    listener(Progress(FUSION, 0))
    manifest = _tune_recommender(job, denoiser, manifest)

    # The diagnosis of every training interaction, and of each modality against its placebo.
    causes = diagnose(denoiser, data, context.folder, listener, rivals, messages)
    placebos = measure_placebos(denoiser, rivals, gains, job.seed, shares, listener)
    write_tensors(context.folder / PROJECTION, projection_tensors(latents))
    listener(Progress(INTERESTS, 0))
    sizes = dict(zip(denoiser.modalities, (len(expert.clusters.bias) for expert in denoiser.experts()), strict=True))
    describe_interests(data, context.folder, features, sizes, placebos, listener)
    write_tensors(context.folder / WEIGHTS, denoiser.state_dict())
    if recipe.denoiser.rivals:
        write_tensors(context.folder / RIVAL_MODELS, rivals.for_new_users().tensors())
    placebo = {name: placebo.to_dict() for name, placebo in placebos.items()}
    return replace(manifest, causes=causes, placebo=placebo)


def _build_denoiser(job: Job, latents: dict[str, Latent], rivals: Rivals) -> Denoiser:
    """Return the untrained denoiser; torch's global random numbers start from the seed."""
    torch.manual_seed(job.seed)
    denoiser = Denoiser.from_latents(
        latents,
        rivals.train.count_items(job.data.n_items),
        job.recipe.denoiser,
        ordered=job.data.has_time,
        seed=job.seed,
        popularity_factor_IP=rivals.periods.popularity_factor_IP if job.recipe.denoiser.rivals else None,
    )
    return denoiser.to(job.device)


def _tune_recommender(job: Job, denoiser: Denoiser, manifest: RunManifest) -> RunManifest:
    """Choose the item-item model and the fusion weights on validation, and return ``manifest`` with them."""
    train_part, valid, recipe = job.data.histories("train"), job.data.histories("valid"), job.recipe
    counts_I = train_part.count_items(job.data.n_items)
    recommender = Recommender(denoiser, None, FusionWeights(0.0, 1.0), counts_I, max_history=recipe.training.history)
    window = recipe.collaborative.window if recipe.collaborative.enabled else None
    if window is not None:
        nearest = _nearest_by_content(job, manifest.modalities)
        recommender.content_items = ContentItemModel(nearest, counts_I, ContentItemParameters(), job.device)
    metrics = tune_fusion(recommender, train_part, valid, window, seed=job.seed, listener=job.context.listener)
    item_item, content_items = recommender.item_item, recommender.content_items
    if content_items is not None:
        write_tensors(job.context.folder / NEAREST_ITEMS, to_tensors(content_items.nearest))
    return replace(
        manifest,
        valid={name: value for name, value in metrics.items() if name.startswith(("recall", "ndcg"))},
        pool=asdict(recommender.fusion),
        walk=None if item_item is None else asdict(item_item.parameters),
        content_items=None if content_items is None else asdict(content_items.parameters),
    )


def _nearest_by_content(job: Job, modalities: Sequence[str]) -> dict[str, NearestItems]:
    """Return the nearest items of every item in the whole feature space of each modality."""
    nearest = {}
    for name in modalities:
        features = store.load(job.data.path, name)
        nearest[name] = nearest_items(robust_scale(features), features.present, device=job.device)
    return nearest


def _finish_folder(job: Job, manifest: RunManifest, constant: dict[str, str]) -> None:
    """Write recipe.yaml and run.json, which makes the run finished, and delete the checkpoint."""
    folder = job.context.folder
    with atomic_file(folder / RECIPE) as part:
        part.write_text(to_yaml(job.recipe), encoding="utf-8")
    replace(manifest, constant=constant or None, files=hash_files(folder)).write(folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    (folder / RIVALS_FILE).unlink(missing_ok=True)
    job.context.listener(FinishedTraining("finish", 1, 1, valid=manifest.valid))
    if folder != job.out:
        publish(job.out)
