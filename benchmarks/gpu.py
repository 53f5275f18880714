"""Print what training, `extract` and the ranking take on this machine, each beside a bare counterpart.

    python benchmarks/gpu.py            # on a GPU where there is one; under five minutes
    python benchmarks/gpu.py --small    # a few seconds of a CPU: shows that everything runs, and measures nothing

No network and no files are needed: encoders have random weights in their real shapes, pictures, texts and interactions
are drawn. A share of 1 is as fast as the counterpart. Seconds are the clock's on a GPU, and on a CPU the CPU time of
all processes, which other programs disturb less.
"""

from __future__ import annotations

import copy
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import encoder_rates
import numpy as np
import pandas as pd
import torch
import typer
from encoder_rates import best_rates, cpu_seconds, run_once
from engine import Trainer, drawn, drawn_denoiser
from ranking_problem import Problem, bare, ours, synchronize
from support.operators import count_operators
from support.small_sets import QUICK, SMALL, dataset_folder, prepared

from demure.compute.device import pick_device
from demure.compute.threads import usable_cores
from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.demo.planted import PlantedOptions
from demure.extraction.extract import extract
from demure.progress import Progress, ValidatedEpoch
from demure.training.rivals import Rivals
from demure.training.run import train


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        planted: the set that is trained on.
        recipe: overrides of the default recipe.
        steps: training steps that are timed.
        images, side: number and size of the pictures; ``texts``, ``words``: of the texts.
        rivals: users and items of the log that the rivals of content are fitted on.
        ranked: items -> users of the rankings.
        repeats: turns of each rate, of which the best counts.
    """

    planted: PlantedOptions
    recipe: tuple[str, ...]
    steps: int
    images: int
    side: int
    texts: int
    words: int
    rivals: tuple[int, int]
    ranked: dict[int, int]
    repeats: int


ML_100K = PlantedOptions(users=943, items=1682, length=(20, 192), dimensions=384)
"""As many users, items and interactions as ML-100K has."""
EPOCHS = ("training.epochs=2", "training.popularity_only_epochs=1", "training.offset_epochs=0")
GPU = Sizes(ML_100K, (), 10, 12_000, 256, 12_000, 60, (20_000, 10_000), {10_000: 100_000, 1_000_000: 2_000}, 2)
CPU = Sizes(ML_100K, (), 5, 256, 256, 512, 60, (2_000, 1_000), {10_000: 10_000, 1_000_000: 128}, 2)
QUICK_RECIPE = (*QUICK, "denoiser.rounds=1", "training.belief_passes=0")
TINY = Sizes(SMALL, QUICK_RECIPE, 2, 12, 48, 24, 6, (40, 30), {200: 60, 1_000: 30}, 1)

app = typer.Typer(add_completion=False)


def show(subject: str, demure: str, beside: str = "-", share: float | None = None) -> None:
    """Print a row of the table."""
    print(f"| {subject} | {demure} | {beside} | {'-' if share is None else f'{share:.3g}'} |", flush=True)


def card(device: torch.device) -> str:
    """Return the name of the card, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def now(device: torch.device) -> float:
    """Return the time in seconds, when the device has done its work."""
    synchronize(device)
    return cpu_seconds() if device.type == "cpu" else time.perf_counter()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of ``work``."""
    began = now(device)
    work()
    return now(device) - began


def launches(work: Callable[[], object], device: torch.device) -> int:
    """Return how often ``work`` starts something on the device: kernels and graphs on CUDA, operators on a CPU."""
    if device.type != "cuda":
        return count_operators(work)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize(device)
    calls = [event for event in profile.key_averages() if "LaunchKernel" in event.key or "GraphLaunch" in event.key]
    return sum(event.count for event in calls)


def measure_step(data: Dataset, sizes: Sizes, device: torch.device, folder: Path) -> None:
    """Print the time and the launches of a training step; beside it, one CPU thread, and its products alone."""
    overrides = (*sizes.recipe, f"training.epoch_steps={sizes.steps}")
    trainer, threads = Trainer("demure", data, folder, str(device), overrides), torch.get_num_threads()
    if device.type != "cpu":
        for _ in range(2):  # not counted: a shape of batch is computed once, then recorded
            trainer.epoch()
    started = launches(trainer.epoch, device) // sizes.steps
    taken = seconds(trainer.epoch, device) / sizes.steps
    if device.type != "cpu":
        torch.set_num_threads(1)
        reference = Trainer("demure", data, folder, "cpu", overrides)
        beside = seconds(reference.epoch, device) / sizes.steps
        torch.set_num_threads(threads)
        show("training step, beside one CPU thread", f"{taken:.3f} s", f"{beside:.3f} s", beside / taken)
    products = seconds(step_products(trainer, device), device) / sizes.steps
    show("training step, beside its products alone", f"{taken:.3f} s", f"{products:.4f} s", products / taken)
    unit = "kernel launches" if device.type == "cuda" else "operators"
    show(f"{unit} of a step, beside the most that a GPU should start", f"{started:,}", "400", 400 / started)


def step_products(trainer: Trainer, device: torch.device) -> Callable[[], None]:
    """Return the arithmetic of as many steps: kernels of all pairs of positions, each round, forward and backward."""
    random, settings = torch.Generator().manual_seed(1), trainer.denoiser.settings
    times = len(trainer.denoiser.experts()) * (settings.rounds + 1)
    shapes = [trainer.batch(random).shape for _ in range(trainer.settings.epoch_steps)]
    latents = [torch.randn(*shape, settings.max_dim, device=device, requires_grad=True) for shape in shapes]

    def work() -> None:
        for latent_BTD in latents:
            for _ in range(times):
                (latent_BTD @ latent_BTD.mT).logsumexp(2).sum().backward()  # type: ignore[no-untyped-call]

    work()
    return work


def measure_stages(dataset: Path, sizes: Sizes, device: torch.device, folder: Path) -> None:
    """Print the seconds of a training of two epochs, by stage."""
    stages: dict[str, float] = {}
    last, stage, announced = now(device), "start", True

    def note(progress: Progress) -> None:
        nonlocal last, stage, announced
        # A report without a total announces its stage; any other ends a part of it.
        announces = progress.total is None and not isinstance(progress, ValidatedEpoch)
        ended, moment = stage if announced or announces else progress.stage, now(device)
        stages[ended] = stages.get(ended, 0) + moment - last
        last, stage, announced = moment, progress.stage, announces

    train(dataset, folder, overrides=(*sizes.recipe, *EPOCHS), device=str(device), listener=note)
    stages["finish"] = now(device) - last
    named = ", ".join(f"{name} {taken:.1f}" for name, taken in sorted(stages.items(), key=lambda stage: -stage[1]))
    show(f"training of 2 epochs: {named}", f"{sum(stages.values()):.1f} s")


def measure_rivals(sizes: Sizes, device: torch.device) -> None:
    """Print the seconds of the first fit of the rivals of content, and how far it is from that of a CPU."""
    users, items = sizes.rivals
    history = drawn(users, items, 10)
    times = np.arange(len(history.items), dtype=np.float64)

    def fit(where: torch.device) -> tuple[float, np.ndarray]:
        rivals = Rivals(Histories(history.indptr, history.items, times), items, 0)
        denoiser = drawn_denoiser(history, items).to(where)
        taken = seconds(lambda: rivals.fit(denoiser), where)
        assert rivals.ratio_NR is not None
        return taken, rivals.ratio_NR

    subject, (taken, ratio_NR) = f"fit of the rivals, {len(times):,} interactions", fit(device)
    if device.type == "cpu":
        show(subject, f"{taken:.1f} s")
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone, expected_NR = fit(torch.device("cpu"))
    torch.set_num_threads(threads)
    show(f"{subject}, beside one CPU thread", f"{taken:.1f} s", f"{alone:.1f} s", alone / taken)
    difference = float(np.abs(ratio_NR / expected_NR - 1).max())
    show("largest relative difference of their ratios from the CPU's", f"{difference:.1e}")


def drawn_items(folder: Path, sizes: Sizes) -> tuple[Path, pd.DataFrame]:
    """Return the dataset folder of drawn items with a picture and a text each, and its items table."""
    raw = folder / "drawn"
    names = encoder_rates.draw_pictures(raw / "images", sizes.images, sizes.side)
    texts = encoder_rates.draw_texts(sizes.images, sizes.words)
    items = pd.DataFrame({"item_id": names, "title": texts, "image": [f"images/{name}" for name in names]})
    items.to_csv(raw / "items.csv", index=False)
    log = pd.DataFrame({"user_id": "u", "item_id": names, "timestamp": range(len(names))})
    log.to_csv(raw / "interactions.csv", index=False)
    return prepared(raw, folder / "items"), items


def show_rates(subject: str, work: dict[str, Callable[[], int]], repeats: int, device: torch.device, unit: str) -> None:
    """Print a row for the rate of each work but the first, which is demure's, beside it."""
    rates = {name: rate[device.type == "cpu"] for name, rate in best_rates(work, repeats).items()}
    demure = rates.pop(next(iter(work)))
    for name, rate in rates.items():
        show(f"{subject}, beside {name}", f"{demure:,.0f} {unit}", f"{rate:,.0f} {unit}", demure / rate)


def measure_extraction(sizes: Sizes, device: torch.device, folder: Path, small: bool) -> None:
    """Print the rates of `extract` for images and texts, with encoders that are loaded; then whole commands."""
    from demure_extractors.clip import ClipImage
    from demure_extractors.sentence import Sentence

    bert, clip = encoder_rates.tiny(folder) if small else (folder / "minilm", folder / "vit-b-32")
    if not small:
        encoder_rates.minilm(bert), encoder_rates.big_clip(clip)
    dataset, items = drawn_items(folder, sizes)
    root, paths = folder / "drawn", [folder / "drawn" / name for name in items["image"]]
    workers = min(16 if device.type == "cuda" else 2, usable_cores())

    image = ClipImage(str(clip), None, str(device))
    batch = torch.zeros(image.batch, 3, *image.model.visual.image_size, device=device)
    work = {
        "extract": lambda: run_once(items[["item_id", "image"]], root, image, workers),
        f"a DataLoader of {workers} workers and the same encoder": lambda: encoder_rates.through_loader(
            image, paths, workers
        ),
        "the encoder alone": lambda: encoder_rates.encoder_alone(image, batch, sizes.images),
    }
    work["the encoder alone"]()  # a warm-up
    name = "small CLIP" if small else "CLIP ViT-B-32"
    subject = f"`extract`, {name}, {sizes.images:,} JPEGs of {sizes.side} px"
    show_rates(subject, work, sizes.repeats, device, "images/s")

    text = Sentence(str(bert), None, str(device))
    texts = pd.DataFrame({"item_id": range(sizes.texts), "title": encoder_rates.draw_texts(sizes.texts, sizes.words)})
    library = copy.deepcopy(text.model)
    if device.type == "cuda":
        library.half()
    work = {
        "extract": lambda: run_once(texts, None, text),
        f"sentence-transformers' `encode`{', 16 bits' if device.type == 'cuda' else ''}": lambda: (
            encoder_rates.through_library(library, texts["title"].tolist(), text.batch)
        ),
    }
    encoder_rates.through_library(library, texts["title"].tolist()[: text.batch], text.batch)
    name = "small sentence encoder" if small else "sentence encoder of MiniLM's size"
    subject = f"`extract`, {name}, {sizes.texts:,} texts of {sizes.words} words"
    show_rates(subject, work, sizes.repeats, device, "texts/s")

    encoders = {"text": f"sentence:{bert}", "image": f"clip:{clip}"}
    extracted = seconds(partial(extract, dataset, encoders["text"], encoders["image"], device=str(device)), device)
    show(f"`extract` of {sizes.images:,} of each, with the loading of both encoders", f"{extracted:.1f} s")
    again = ["extract", str(dataset), *(word for kind, name in encoders.items() for word in (f"--{kind}", name))]
    whole = seconds(partial(command, *again, "--device", str(device)), device)
    start = seconds(partial(command, "--help"), device)
    subject = "`demure extract` again, nothing to do, beside `demure --help`"
    show(subject, f"{whole:.2f} s", f"{start:.2f} s", start / whole)


def command(*arguments: str) -> None:
    """Run a `demure` command in a process of its own."""
    line = [sys.executable, "-m", "demure_cli", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}: exit {done.returncode}\n{done.stderr[-500:]}")


def measure_ranking(sizes: Sizes, device: torch.device) -> None:
    """Print the users ranked per second, beside the product of factors and its top k alone."""
    for items, users in sizes.ranked.items():
        problem = Problem(users, items, str(device))
        bare(problem)
        methods = partial(ours, problem), partial(bare, problem)
        turns = [[seconds(method, device) for method in methods] for _ in range(sizes.repeats)]
        demure, alone = (users / min(times) for times in zip(*turns, strict=True))
        subject = f"full ranking, {items:,} items, beside matmul and top-k"
        show(subject, f"{demure:,.0f} users/s", f"{alone:,.0f} users/s", demure / alone)


@app.command()
def main(
    device: Annotated[str, typer.Option(help="auto, cuda, cuda:N or cpu.")] = "auto",
    small: Annotated[bool, typer.Option("--small", help="The smallest sizes: shows that everything runs.")] = False,
) -> None:
    """Print the table."""
    began, chosen = time.perf_counter(), pick_device(device)
    sizes = TINY if small else GPU if chosen.type == "cuda" else CPU
    cores = f"{usable_cores()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    print(f"{card(chosen)}; {cores}; torch {torch.__version__}, NumPy {np.__version__}\n")
    print("| what | demure | beside it | share |\n| --- | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = dataset_folder(folder / "planted", sizes.planted)
        measure_step(Dataset.load(dataset), sizes, chosen, folder / "step")
        measure_rivals(sizes, chosen)
        measure_stages(dataset, sizes, chosen, folder / "run")
        measure_extraction(sizes, chosen, folder, small)
        measure_ranking(sizes, chosen)
    print(f"\n{time.perf_counter() - began:.0f} s in all", flush=True)


if __name__ == "__main__":
    app()
