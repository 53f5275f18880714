"""Speed and memory of the training engine: `python benchmarks/engine.py --help`.

All seconds are CPU seconds of one thread, so that another program beside a run does not count. Trainings start from
prepared sets (`benchmarks/sets.py`); what is measured at scale is drawn.
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
from collections.abc import Callable, Iterator
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
from demure.training import denoiser_loop
from demure.training.baseline_loop import _epoch as learned_epoch
from demure.training.batches import hide, pieces
from demure.training.checkpoint import TrainingContext, CheckpointManager, TrainingLog
from demure.training.inputs import build_latents
from demure.training.optimizer import Optimizer
from demure.training.rivals import Rivals
from demure.training.run import train
from demure.training.validation import Validation

HERE = Path(__file__).parent
app = typer.Typer(add_completion=False, no_args_is_help=True)
Data = Annotated[Path, typer.Option(help="Folder with ml-100k-posters and tiktok.")]
Work = Annotated[Path, typer.Option(help="Scratch folder; prepared sets in it are used again.")]
DATA, WORK = HERE.parent.parent / "shared" / "data", Path("/tmp/demure-bench")


def table(header: str, rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    print("\n".join([f"| {header} |", "|" + " --- |" * (header.count("|") + 1)]))
    print("\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows), "\n", flush=True)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of ``work``."""
    began = time.process_time()
    work()
    return time.process_time() - began


class Trainer:
    """A model with its loop, one epoch at a time, without checkpoints: ``reads`` interactions an epoch."""

    def __init__(self, name: str, data: Dataset, folder: Path) -> None:
        self.name, train_part = name, data.histories("train")
        self.care = TrainingContext(folder, minutes=float("inf"))
        self.generator = torch.Generator().manual_seed(0)
        length = train_part.lengths
        if name == "demure":
            recipe = load_recipe("default", [])
            self.settings, spaces = recipe.training, build_latents(data, (), recipe.denoiser.max_dim)
            torch.manual_seed(0)
            self.denoiser = Denoiser.from_latents(
                spaces, train_part.count_items(data.n_items), recipe.denoiser, ordered=data.has_time, seed=0
            )
            s = self.settings
            self.rivals = Rivals(train_part, data.n_items, 0)
            self.watch = Validation(
                self.rivals, data.histories("valid"), most=s.validation_users, longest=s.history, held_out=0.2, seed=0
            )
            self.train_part = train_part
            self.descent = Optimizer(denoiser_loop._groups(self.denoiser, s), (), ProcessGroup())
            self.keeper = CheckpointManager(self.care, "", self.denoiser, self.descent, self.generator, TrainingLog("x", [{}]))
            random = torch.Generator().manual_seed(1)
            self.reads = statistics.mean(int((self.batch(random) >= 0).sum()) for _ in range(200)) * s.epoch_steps
        else:
            options, task = learned_options(name, {}), build_task(data, name, ())
            self.module = build_learned(name, options, task, 0, torch.device("cpu"))
            groups = [{"params": list(self.module.parameters()), "lr": options.learning_rate}]
            self.descent = Optimizer(groups, self.module.rowwise(), ProcessGroup())
            self.keeper = CheckpointManager(self.care, "", self.module, self.descent, self.generator, TrainingLog("x"))
            longest = getattr(options, "longest", None)
            read = length if longest is None else np.minimum(length, longest + 1)[length > 1]
            self.reads = float(read.sum())

    def batch(self, generator: torch.Generator) -> np.ndarray:
        """Interactions (their numbers) of one step, as ``demure.training.denoiser_loop`` draws them."""
        s = self.settings
        chosen = torch.randint(len(self.watch.kept), (s.batch_users,), generator=generator).numpy()
        at = pieces(self.train_part, self.watch.kept[chosen], s.history, generator)
        return at[: max(1, s.batch_pairs // at.shape[1] ** 2)]

    def epoch(self) -> None:
        """One epoch, as in a training."""
        if self.name == "demure":
            self.keeper.place.steps = 0
            self.generator.manual_seed(1)
            denoiser_loop._epoch(
                self.denoiser,
                self.descent,
                self.rivals,
                self.watch.kept,
                self.settings,
                self.generator,
                self.keeper,
            )
        else:
            learned_epoch(self.module, self.descent, self.generator, self.keeper, 0, 1)

    def bare(self) -> Callable[[], None]:
        """Forward and backward on batches that are there already, as many as an epoch has: nothing else."""
        if self.name == "demure":
            random = torch.Generator().manual_seed(1)
            batches: list[Any] = []
            for _ in range(self.settings.epoch_steps):
                at = self.batch(random)
                at = at[:, : max(int((at >= 0).sum(1).max()), 1)]
                batches.append((at, hide(at, self.settings.held_out, random)))
                items = np.where(at >= 0, self.train_part.items[at], -1)
                self.denoiser.sampled_views(items, random)  # draws as a step does, so that the batches are those of `epoch`

            def work() -> None:
                for at, known in batches:
                    self.denoiser.zero_grad()
                    denoiser_loop.loss_of(self.denoiser, self.rivals, at, known, random, ProcessGroup()).backward()
        else:
            self.module.train()
            batches = list(self.module.batches(self.generator))

            def work() -> None:
                for batch in batches:
                    self.module.zero_grad()
                    self.module.loss_of(batch, self.generator).backward()

        return work


def trainers(data: Path, work: Path, folder: Path) -> Iterator[tuple[str, list[Trainer]]]:
    """Each set with the models that can learn from it, warmed up by an epoch."""
    torch.set_num_threads(1)
    for name in ("ml-100k", "tiktok"):
        dataset = Dataset.load(obtain(name, data, work).path)
        models = ["demure", *(["sasrec"] if dataset.has_time else []), "lightgcn", "freedom"]
        made = [Trainer(model, dataset, folder) for model in models]
        for one in made:
            one.epoch()
        yield name, made


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
done, began = 0, time.process_time()
for batch in loader:
    adam.zero_grad()
    model.calculate_loss(batch).backward()
    adam.step()
    done += len(batch)
    if time.process_time() - began > most:
        break
seconds = time.process_time() - began
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
    found = subprocess.run(command, capture_output=True, text=True, cwd=work, check=False)
    if found.returncode:
        raise SystemExit(found.stderr[-2000:])
    told: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return told


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
        for name, made in trainers(data, work, Path(folder)):
            seconds = {one.name: statistics.median(cpu(one.epoch) for _ in range(rounds)) for one in made}
            rows = [
                [one.name, f"{seconds[one.name]:.2f}", f"{one.reads:.0f}", f"{one.reads / seconds[one.name]:.0f}"]
                for one in made
            ]
            if recbole_python is not None and name == "ml-100k":
                told = recbole(recbole_python, obtain(name, data, work).path, Path(folder), recbole_seconds)
                pace = told["rows"] / told["epoch"]
                rows.append(["SASRec of RecBole", f"{told['epoch']:.1f}", f"{told['rows']:.0f}", f"{pace:.0f}"])
            print(name)
            table("model | CPU s an epoch | interactions read | a second", rows)


@app.command()
def best(
    data: Data = DATA, work: Work = WORK, sets: str = "ml-100k,tiktok", models: str = "default,sasrec,lightgcn,freedom"
) -> None:
    """Seconds until the best epoch by validation was over, validation included, and until training stopped."""
    torch.set_num_threads(1)
    for name in sets.split(","):
        one, rows = obtain(name, data, work), []
        for model in models.split(","):
            if model == "sasrec" and not Dataset.load(one.path).has_time:
                continue
            times: dict[int, float] = {}
            began = time.process_time()

            def note(progress: Progress, times: dict[int, float] = times, began: float = began) -> None:
                if progress.stage == "train":
                    times[int(progress.fields["epoch"])] = time.process_time() - began

            with tempfile.TemporaryDirectory() as folder:
                report = train(one.path, Path(folder) / "run", recipe=model, device="cpu", listener=note)
            whole = time.process_time() - began
            until = (f"{times.get(report.best_epoch, 0):.0f}", report.epochs, f"{max(times.values()):.0f}")
            rows.append([model, report.best_epoch, *until, f"{whole:.0f}", f"{report.valid['recall@20']:.4f}"])
        print(name)
        table("recipe | best epoch | CPU s until then | epochs | CPU s until then | whole run | valid recall@20", rows)


@app.command()
def bare(data: Data = DATA, work: Work = WORK, rounds: int = 3) -> None:
    """What forward and backward alone take of an epoch: the rest is drawing batches, Adam, clipping, bookkeeping."""
    with tempfile.TemporaryDirectory() as folder:
        for name, made in trainers(data, work, Path(folder)):
            rows = []
            for one in made:
                alone = one.bare()
                pairs = [(cpu(one.epoch), cpu(alone)) for _ in range(rounds)]
                whole, core = (statistics.median(part) for part in zip(*pairs, strict=True))
                rows.append([one.name, f"{whole:.2f}", f"{core:.2f}", f"{core / whole:.0%}"])
            print(name)
            table("model | CPU s an epoch | forward and backward alone | share", rows)


def drawn(users: int, items: int, length: int, seed: int = 0) -> Histories:
    """Histories of ``length`` on average (geometric, at least 2), items by a Zipf-like law; made a million interactions
    at a time, so that 100 million take 0.8 GB and no more."""
    random = np.random.default_rng(seed)
    lengths = 1 + random.geometric(1 / (length - 1), users)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    chosen = np.empty(indptr[-1], np.int64)
    for at in range(0, len(chosen), 1_000_000):
        part = chosen[at : at + 1_000_000]
        part[:] = (items ** random.random(len(part))).astype(np.int64) % items  # density falls as 1 / rank
    return Histories(indptr, chosen, np.broadcast_to(np.float64(0), len(chosen)))


@app.command()
def one(model: str, users: int, items: int, length: int, steps: int, override: str = "") -> None:
    """One cell of `scale`, in a process of its own; prints JSON."""
    from demure.baselines import sasrec
    from demure.model import denoiser as denoiser_module

    torch.set_num_threads(1)
    began = time.process_time()
    history = drawn(users, items, length)
    made = time.process_time() - began
    generator = torch.Generator().manual_seed(0)
    random = np.random.default_rng(1)
    data_gib = history.items.nbytes / 2**30
    began = time.process_time()
    if override:
        sasrec.FULL_UP_TO = denoiser_module.LARGE = 10**12 if override == "full" else 0
    if model == "demure":
        recipe = load_recipe("default", [])
        spaces = {
            name: Latent(random.standard_normal((items, 20), np.float32), np.ones(20, np.float32), np.ones(items, bool))
            for name in ("image", "text")
        }
        denoiser = Denoiser.from_latents(spaces, history.count_items(items), recipe.denoiser, ordered=True, seed=0)
        rivals = Rivals(Histories(history.indptr, history.items), items, 0)
        descent = Optimizer(denoiser_loop._groups(denoiser, recipe.training), (), ProcessGroup())
        rows = np.arange(users)
        s = recipe.training

        def step() -> int:
            chosen = torch.randint(users, (s.batch_users,), generator=generator).numpy()
            read = pieces(history, rows[chosen], s.history, generator)
            read = read[: max(1, s.batch_pairs // read.shape[1] ** 2)]
            read = read[:, : max(int((read >= 0).sum(1).max()), 1)]
            known = hide(read, s.held_out, generator)
            loss = denoiser_loop.loss_of(denoiser, rivals, read, known, generator, ProcessGroup())
            descent.step(loss, "", "", clip=1.0)
            return int((read >= 0).sum())
    else:
        options = replace(learned_options(model, {}), batch=64) if model == "sasrec" else learned_options(model, {})
        module: Learned = build_learned(model, options, Task(history, items), 0, torch.device("cpu"))
        groups = [{"params": list(module.parameters()), "lr": 1e-3}]
        descent = Optimizer(groups, module.rowwise(), ProcessGroup())
        batches = module.batches(generator)
        module.train()
        todo = iter(batches)

        def step() -> int:
            batch = next(todo)
            descent.step(module.loss_of(batch, generator), "", "")
            if model != "sasrec":
                return len(batch)
            return int((history.padded(batch.numpy(), 101)[:, 1:] >= 0).sum())

    ready = time.process_time() - began
    for _ in range(2):
        step()
    taken = [(cpu_of(step)) for _ in range(steps)]
    seconds, positions = (sum(part) for part in zip(*taken, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {
                "made": made,
                "ready": ready,
                "step": seconds / steps,
                "per_position": seconds / positions,
                "peak": peak,
                "data": data_gib,
                "interactions": len(history.items),
            }
        )
    )


def cpu_of(step: Callable[[], int]) -> tuple[float, int]:
    """CPU seconds of a step, and the positions it read."""
    began = time.process_time()
    positions = step()
    return time.process_time() - began, positions


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
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            if found.returncode:
                rows.append([model, users, items, length, found.stderr.strip().splitlines()[-1][:60], "", "", "", ""])
                continue
            told = json.loads(found.stdout.splitlines()[-1])
            size = (f"{int(users):,}", f"{int(items):,}", f"{told['interactions'] / 1e6:.1f} M")
            pace = (f"{told['ready']:.1f}", f"{told['step']:.3f}", f"{told['per_position'] * 1e6:.0f}")
            rows.append([model, *size, *pace, f"{told['data']:.2f}", f"{told['peak']:.2f}"])
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
