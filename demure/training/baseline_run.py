"""Train or fit a baseline into a run folder."""

from __future__ import annotations

from dataclasses import replace

from demure.baselines.build import build_learned, build_task
from demure.baselines.registry import learned_options, make_baseline
from demure.evaluation.ranking import evaluate
from demure.runs.folder import WEIGHTS
from demure.runs.manifest import RunManifest
from demure.storage.folders import local_folder
from demure.training.baseline_loop import METRICS, train_baseline
from demure.training.checkpoint import write_tensors
from demure.training.denoise import read_denoising
from demure.training.job import Job


def train_learned(job: Job) -> RunManifest:
    """Train a baseline with weights."""
    options = learned_options(job.recipe.model, job.recipe.baseline)
    task = build_task(job.data, job.recipe.model, job.recipe.modalities)
    denoising = None
    if job.recipe.denoise:
        share = vars(options)["denoising"]  # an option of all models that can
        denoising = read_denoising(local_folder(job.recipe.denoise), job.data, list(task.content), share)
        task = replace(task, weights=denoising.weights)
    module = build_learned(job.recipe.model, options, task, job.seed, job.device)
    job.claim_folder()
    features, valid = job.feature_manifests(list(task.content)), job.data.histories("valid")
    signature = job.signature(features, None if denoising is None else denoising.identity)
    log = train_baseline(module, valid, task, seed=job.seed, signature=signature, context=job.context)
    if job.context.processes.is_first:
        write_tensors(job.context.folder / WEIGHTS, module.state_dict())
    best = log.entries[log.best_entry]
    metrics = {name: best[name] for name in METRICS if len(valid.items)}
    record = None if denoising is None else denoising.record
    return replace(job.manifest(task.content, log), valid=metrics, features=features, denoise=record)


def fit_baseline(job: Job) -> RunManifest:
    """Measure a closed-form baseline on validation; it is fitted again whenever the run is loaded."""
    baseline = make_baseline(job.recipe.model, **job.recipe.baseline)
    job.claim_folder()
    train_part, valid = job.data.histories("train"), job.data.histories("valid")
    if not job.context.processes.is_first or not len(valid.items):
        return job.manifest()
    baseline.fit(train_part, job.data.n_items)
    means = evaluate(baseline.scorer(train_part), valid, train_part, (20,), job.data.n_items).means()
    return replace(job.manifest(), valid={name: means[name] for name in METRICS})
