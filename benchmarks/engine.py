"""Speed and memory of the training engine: `python benchmarks/engine.py --help`.

All seconds are CPU seconds of one thread, so that other programs do not count. Trainings start from prepared sets
(`benchmarks/sets.py`); the sets of `scale` are random.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from sets import obtain

from demure.baselines.build import build_learned, build_task
from demure.baselines.learned import Learned, Task
from demure.baselines.registry import learned_options
from demure.compute.process_group import ProcessGroup
from demure.data.dataset import Dataset
from demure.data.export import export_dataset
from demure.data.histories import Histories
from demure.model.denoiser import Denoiser
from demure.model.latent import Latent
from demure.progress import Progress
from demure.recipe.load import load_recipe
from demure.training import baseline_loop, denoiser_loop
from demure.training.batches import draw_observed, views_of_step
from demure.training.checkpoint import CheckpointManager, TrainingContext, TrainingLog
from demure.training.inputs import build_latents
from demure.training.optimizer import Optimizer
from demure.training.rivals import Rivals
from demure.training.run import train

HERE = Path(__file__).parent
app = typer.Typer(add_completion=False, no_args_is_help=True)
Data = Annotated[Path, typer.Option(help="Folder with ml-100k-posters and tiktok.")]
Work = Annotated[Path, typer.Option(help="Scratch folder; prepared sets in it are used again.")]
DATA, WORK = HERE.parent.parent / "shared" / "data", Path("/tmp/demure-bench")


def table(header: str, rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("\n".join([f"| {header} |", "|" + " --- |" * (header.count("|") + 1)]))
    print("\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows), "\n", flush=True)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of ``work``."""
    start = time.process_time()
    work()
    return time.process_time() - start


class Trainer:
    """A model with its loop, one epoch at a time, without checkpoints: ``reads`` interactions an epoch."""

    def __init__(
        self, name: str, data: Dataset, folder: Path, device: str = "cpu", overrides: Sequence[str] = ()
    ) -> None:
        self.name, train_part = name, data.histories("train")
        context = TrainingContext(folder, minutes=float("inf"))
        self.generator = torch.Generator().manual_seed(0)
        if name == "demure":
            recipe = load_recipe("default", overrides)
            self.settings = recipe.training
            latents = build_latents(data, (), recipe.denoiser.max_dim)
            torch.manual_seed(0)
            counts_I = train_part.count_items(data.n_items)
            self.denoiser = Denoiser.from_latents(latents, counts_I, recipe.denoiser, ordered=data.has_time, seed=0)
            self.denoiser.to(device)
            self.rivals = Rivals(train_part, data.n_items, 0)
            self.users = np.flatnonzero(train_part.lengths >= 2)
            self.static_step = denoiser_loop.make_static_step(self.denoiser, self.rivals, context)
            optimizer = Optimizer(denoiser_loop.parameter_groups(self.denoiser, self.settings), (), ProcessGroup())
            log = TrainingLog("x", [{"epoch": 0}])
            self.checkpoints = CheckpointManager(context, "", self.denoiser, optimizer, self.generator, log)
            random = torch.Generator().manual_seed(1)
            sizes = [int((self.batch(random) >= 0).sum()) for _ in range(200)]
            self.reads = statistics.mean(sizes) * self.settings.epoch_steps
        else:
            options, task = learned_options(name, {}), build_task(data, name, ())
            self.module = build_learned(name, options, task, 0, torch.device("cpu"))
            groups = [{"params": list(self.module.parameters()), "lr": options.learning_rate}]
            optimizer = Optimizer(groups, self.module.rowwise(), ProcessGroup())
            log = TrainingLog("x")
            self.checkpoints = CheckpointManager(context, "", self.module, optimizer, self.generator, log)
            longest, length = getattr(options, "longest", None), train_part.lengths
            read = length if longest is None else np.minimum(length, longest + 1)[length > 1]
            self.reads = float(read.sum())

    def batch(self, generator: torch.Generator) -> np.ndarray:
        """Return the indices of the interactions of one step (B, T)."""
        return denoiser_loop.draw_batch(self.rivals.train, self.users, self.settings, generator)

    def epoch(self) -> None:
        """Train one epoch, as in a training."""
        if self.name == "demure":
            self.checkpoints.state.steps = 0
            self.generator.manual_seed(1)
            model = (self.denoiser, self.rivals, self.users, self.settings)
            denoiser_loop.train_epoch(*model, self.checkpoints, self.static_step)
        else:
            baseline_loop.train_epoch(self.module, self.checkpoints, 0, 1)

    def bare(self) -> Callable[[], None]:
        """Return a function that computes forward and backward on batches drawn before, as many as in an epoch."""
        if self.name == "demure":
            random, train_part = torch.Generator().manual_seed(1), self.rivals.train
            batches: list[Any] = []
            for _ in range(self.settings.epoch_steps):
                interactions_BT = self.batch(random)
                batches.append((interactions_BT, draw_observed(interactions_BT, self.settings.held_out, random)))
                items_BT = np.where(interactions_BT >= 0, train_part.items[interactions_BT], -1)
                views_of_step(self.denoiser, items_BT, random)  # draws as a step does: the batches are those of `epoch`

            def work() -> None:
                for interactions_BT, observed_BT in batches:
                    self.denoiser.zero_grad()
                    loss = denoiser_loop.batch_loss(
                        self.denoiser, self.rivals, interactions_BT, observed_BT, random, ProcessGroup()
                    )
                    loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.module.train()
            batches = list(self.module.batches(self.generator))

            def work() -> None:
                for batch in batches:
                    self.module.zero_grad()
                    loss = self.module.step_loss(batch, self.generator)
                    assert loss is not None
                    loss.backward()  # type: ignore[no-untyped-call]

        return work


def trainers(data: Path, work: Path, folder: Path) -> Iterator[tuple[str, list[Trainer]]]:
    """Yield each set with the models that can be trained on it, after one epoch as a warm-up."""
    torch.set_num_threads(1)
    for name in ("ml-100k", "tiktok"):
        dataset = Dataset.load(obtain(name, data, work).path)
        models = ["demure", *(["sasrec"] if dataset.has_time else []), "lightgcn", "freedom"]
        ready = [Trainer(model, dataset, folder) for model in models]
        for trainer in ready:
            trainer.epoch()
        yield name, ready


RECBOLE = """
import json, sys, time, types
for name in ("ray", "ray.tune", "ray.tune.schedulers", "torch.utils.tensorboard"):  # imported, not needed here
    sys.modules[name] = types.ModuleType(name)
sys.modules["torch.utils.tensorboard"].SummaryWriter = None
sys.modules["ray"].tune = sys.modules["ray.tune"]
sys.modules["ray.tune.schedulers"].ASHAScheduler = None
import numpy as np
for old, new in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_), ("bool8", np.bool_)):
    hasattr(np, old) or setattr(np, old, new)
import torch
torch.set_num_threads(1)
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, init_seed
folder, name, most = sys.argv[1], sys.argv[2], float(sys.argv[3])
config = Config(model="SASRec", dataset=name, config_dict={
    "data_path": folder, "train_neg_sample_args": None, "loss_type": "CE", "MAX_ITEM_LIST_LENGTH": 100,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "hidden_size": 64, "inner_size": 256, "n_layers": 2,
    "n_heads": 2, "use_gpu": False, "device": "cpu", "show_progress": False, "train_batch_size": 2048, "seed": 1,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}})
init_seed(1, True)
loader = data_preparation(config, create_dataset(config))[0]
model = get_model("SASRec")(config, loader.dataset)
adam = torch.optim.Adam(model.parameters(), lr=1e-3)
model.train()
done, start = 0, time.process_time()
for batch in loader:
    adam.zero_grad()
    model.calculate_loss(batch).backward()
    adam.step()
    done += len(batch)
    if time.process_time() - start > most:
        break
seconds = time.process_time() - start
print(json.dumps({"done": done, "rows": len(loader.dataset), "epoch": seconds * len(loader.dataset) / done}))
"""


def recbole(python: Path, dataset: Path, work: Path, most: float) -> dict[str, float]:
    """RecBole's SASRec, of the same size: CPU seconds of an epoch, from ``most`` seconds of one."""
    out = work / "recbole" / "all"
    export_dataset(dataset, work / "recbole" / "parts", "recbole", overwrite=True)
    out.mkdir(parents=True, exist_ok=True)
    parts = [(work / "recbole" / "parts" / f"parts.{part}.inter").read_text() for part in ("train", "valid", "test")]
    (out / "all.inter").write_text(parts[0] + "".join(part.split("\n", 1)[1] for part in parts[1:]))
    command = [str(python), "-c", RECBOLE, str(work / "recbole"), "all", str(most)]
    process = subprocess.run(command, capture_output=True, text=True, cwd=work, check=False)
    if process.returncode:
        raise SystemExit(process.stderr[-2000:])
    times: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return times


@app.command()
def epoch(
    data: Data = DATA,
    work: Work = WORK,
    rounds: int = 3,
    recbole_python: Annotated[Path | None, typer.Option(help="Python of an environment that has RecBole.")] = None,
    recbole_seconds: float = 60,
) -> None:
    """Seconds of an epoch, and interactions a second, in one run, taking turns."""
    with tempfile.TemporaryDirectory() as folder:
        for name, ready in trainers(data, work, Path(folder)):
            rows = []
            for trainer in ready:
                seconds = statistics.median(cpu(trainer.epoch) for _ in range(rounds))
                rows.append([trainer.name, f"{seconds:.2f}", f"{trainer.reads:.0f}", f"{trainer.reads / seconds:.0f}"])
            if recbole_python is not None and name == "ml-100k":
                times = recbole(recbole_python, obtain(name, data, work).path, Path(folder), recbole_seconds)
                pace = times["rows"] / times["epoch"]
                rows.append(["SASRec of RecBole", f"{times['epoch']:.1f}", f"{times['rows']:.0f}", f"{pace:.0f}"])
            print(name)
            table("model | CPU s an epoch | interactions read | a second", rows)


@app.command()
def best(
    data: Data = DATA, work: Work = WORK, sets: str = "ml-100k,tiktok", models: str = "default,sasrec,lightgcn,freedom"
) -> None:
    """Seconds until the best epoch by validation was over, validation included, and until training stopped."""
    torch.set_num_threads(1)
    for name in sets.split(","):
        source, rows = obtain(name, data, work), []
        for model in models.split(","):
            if model == "sasrec" and not Dataset.load(source.path).has_time:
                continue
            times: dict[int, float] = {}
            start = time.process_time()

            def note(progress: Progress, times: dict[int, float] = times, start: float = start) -> None:
                if progress.stage == "train":
                    times[int(progress.fields["epoch"])] = time.process_time() - start

            with tempfile.TemporaryDirectory() as folder:
                report = train(source.path, Path(folder) / "run", recipe=model, device="cpu", listener=note)
            whole = time.process_time() - start
            until = (f"{times.get(report.best_epoch, 0):.0f}", report.epochs, f"{max(times.values()):.0f}")
            rows.append([model, report.best_epoch, *until, f"{whole:.0f}", f"{report.valid['recall@20']:.4f}"])
        print(name)
        table("recipe | best epoch | CPU s until then | epochs | CPU s until then | whole run | valid recall@20", rows)


@app.command()
def bare(data: Data = DATA, work: Work = WORK, rounds: int = 3) -> None:
    """Measure the share of forward and backward in an epoch; the rest is batches, Adam, clipping, bookkeeping."""
    with tempfile.TemporaryDirectory() as folder:
        for name, ready in trainers(data, work, Path(folder)):
            rows = []
            for trainer in ready:
                alone = trainer.bare()
                pairs = [(cpu(trainer.epoch), cpu(alone)) for _ in range(rounds)]
                whole, core = (statistics.median(part) for part in zip(*pairs, strict=True))
                rows.append([trainer.name, f"{whole:.2f}", f"{core:.2f}", f"{core / whole:.0%}"])
            print(name)
            table("model | CPU s an epoch | forward and backward alone | share", rows)


def drawn(users: int, items: int, length: int, seed: int = 0) -> Histories:
    """Return random histories of ``length`` on average (geometric, at least 2), items by a Zipf-like law.

    A million interactions at a time, so that 100 million take 0.8 GB.
    """
    random = np.random.default_rng(seed)
    lengths = 1 + random.geometric(1 / (length - 1), users)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    chosen = np.empty(indptr[-1], np.int64)
    for start in range(0, len(chosen), 1_000_000):
        part = chosen[start : start + 1_000_000]
        part[:] = (items ** random.random(len(part))).astype(np.int64) % items  # density falls as 1 / rank
    return Histories(indptr, chosen, np.broadcast_to(np.float64(0), len(chosen)))


def drawn_denoiser(history: Histories, items: int) -> Denoiser:
    """Return an untrained denoiser of two modalities of random vectors."""
    random = np.random.default_rng(1)
    latents = {
        name: Latent(random.standard_normal((items, 20), np.float32), np.ones(20, np.float32), np.ones(items, bool))
        for name in ("image", "text")
    }
    settings = load_recipe("default").denoiser
    return Denoiser.from_latents(latents, history.count_items(items), settings, ordered=True, seed=0)


@app.command("rivals")
def measure_rivals(users: int = 100_000, items: int = 50_000, length: int = 10) -> None:
    """The first fit of the rivals of content on a drawn log."""
    torch.set_num_threads(1)
    history = drawn(users, items, length)
    ordered = Histories(history.indptr, history.items, np.arange(len(history.items), dtype=np.float64))
    rivals, denoiser = Rivals(ordered, items, 0), drawn_denoiser(history, items)
    seconds = cpu(lambda: rivals.fit(denoiser))
    per_million = seconds / len(history.items) * 1e6
    table(
        "interactions | CPU s | CPU s a million | peak GiB",
        [(f"{len(history.items):,}", f"{seconds:.0f}", f"{per_million:.0f}", f"{peak_gib():.1f}")],
    )


def peak_gib() -> float:
    """Return the peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@app.command("one")
def measure_step(model: str, users: int, items: int, length: int, steps: int, override: str = "") -> None:
    """One cell of `scale`, in a process of its own; prints JSON."""
    from demure.baselines import sasrec
    from demure.model import denoiser as denoiser_module

    torch.set_num_threads(1)
    start = time.process_time()
    history = drawn(users, items, length)
    made = time.process_time() - start
    generator = torch.Generator().manual_seed(0)
    data_gib = history.items.nbytes / 2**30
    start = time.process_time()
    if override:
        sasrec.FULL_UP_TO = denoiser_module.MAX_FULL_CATALOGUE = 10**12 if override == "full" else 0
    if model == "demure":
        recipe = load_recipe("default")
        denoiser = drawn_denoiser(history, items)
        rivals = Rivals(Histories(history.indptr, history.items), items, 0)
        optimizer = Optimizer(denoiser_loop.parameter_groups(denoiser, recipe.training), (), ProcessGroup())
        rows = np.arange(users)

        def step() -> int:
            interactions_BT = denoiser_loop.draw_batch(history, rows, recipe.training, generator)
            observed_BT = draw_observed(interactions_BT, recipe.training.held_out, generator)
            loss = denoiser_loop.batch_loss(denoiser, rivals, interactions_BT, observed_BT, generator, ProcessGroup())
            optimizer.step(loss, "", "", clip=1.0)
            return int((interactions_BT >= 0).sum())
    else:
        options = replace(learned_options(model, {}), batch=64) if model == "sasrec" else learned_options(model, {})
        module: Learned = build_learned(model, options, Task(history, items), 0, torch.device("cpu"))
        groups = [{"params": list(module.parameters()), "lr": 1e-3}]
        optimizer = Optimizer(groups, module.rowwise(), ProcessGroup())
        batches = module.batches(generator)
        module.train()
        todo = iter(batches)

        def step() -> int:
            batch = next(todo)
            optimizer.step(module.step_loss(batch, generator), "", "")
            if model != "sasrec":
                return len(batch)
            return int((history.padded(batch.numpy(), 101)[:, 1:] >= 0).sum())

    ready = time.process_time() - start
    for _ in range(2):
        step()
    taken = [(cpu_of(step)) for _ in range(steps)]
    seconds, positions = (sum(part) for part in zip(*taken, strict=True))
    print(
        json.dumps(
            {
                "made": made,
                "ready": ready,
                "step": seconds / steps,
                "per_position": seconds / positions,
                "peak": peak_gib(),
                "data": data_gib,
                "interactions": len(history.items),
            }
        )
    )


def cpu_of(step: Callable[[], int]) -> tuple[float, int]:
    """CPU seconds of a step, and the positions it read."""
    start = time.process_time()
    positions = step()
    return time.process_time() - start, positions


CELLS = ",".join(
    (
        "100000:10000:20",
        "100000:100000:20",
        "100000:1000000:20",
        "10000:100000:20",
        "1000000:100000:20",
        "1000000:1000000:100",
    )
)


@app.command()
def scale(
    cells: str = CELLS,
    models: str = "sasrec,demure,bpr",
    steps: int = 6,
    override: Annotated[str, typer.Option(help="`full`: as for small catalogues; `sampled`: as for large ones.")] = "",
) -> None:
    """A step's time and the peak memory as users and items grow: users:items:mean length, comma-separated."""
    rows = []
    for model in models.split(","):
        for cell in cells.split(","):
            users, items, length = cell.split(":")
            command = [sys.executable, __file__, "one", model, users, items, length, str(steps)]
            command += ["--override", override] if override else []
            process = subprocess.run(command, capture_output=True, text=True, check=False)
            if process.returncode:
                rows.append([model, users, items, length, process.stderr.strip().splitlines()[-1][:60], "", "", "", ""])
                continue
            times = json.loads(process.stdout.splitlines()[-1])
            size = (f"{int(users):,}", f"{int(items):,}", f"{times['interactions'] / 1e6:.1f} M")
            pace = (f"{times['ready']:.1f}", f"{times['step']:.3f}", f"{times['per_position'] * 1e6:.0f}")
            rows.append([model, *size, *pace, f"{times['data']:.2f}", f"{times['peak']:.2f}"])
            print(rows[-1], flush=True)
    table(
        "model | users | items | interactions | s to start | CPU s a step | µs a position | data GiB | peak GiB", rows
    )


@app.callback()
def main() -> None:
    """The training engine, measured."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, one thread\n", file=sys.stderr)


if __name__ == "__main__":
    app()
