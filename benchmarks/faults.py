"""Kill workers, raylets and commands in every stage that runs on Ray: `python benchmarks/faults.py run DEMO`.

DEMO is the folder of `demure demo --out DEMO`. Two raylets on this machine stand for two machines, with a worker on
each. A stage is disturbed at evenly spaced moments of its undisturbed time (SIGKILL). After a worker or a raylet was
lost, the command must end with the bytes of an undisturbed one in a single process. After the command was killed,
files under their own names must be whole, and the same command must end with the same bytes. `train` takes the first
users of the demo, and writes a checkpoint whenever it may; `prepare` takes its interactions as Parquet in small parts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from demure.cluster.choose import open_executor
from demure.cluster.executor import Executor

STAGES = ("recommend", "eval", "export", "report", "extract", "prepare", "train")
FAULTS = ("worker", "raylet", "driver")
_RECIPE = ["training.epochs=3", "training.offset_epochs=1", "modalities=[text]"]
_TRAINED_USERS = 60
_LONGEST = 900.0  # seconds; on a busy machine a training of half a minute took five
_OF_A_RUN = ("model.safetensors", "diagnosis.parquet", "supports.parquet", "reliance.parquet")
app = typer.Typer(add_completion=False)


def small_blocks() -> None:
    """Let a small set have many blocks."""
    from demure.diagnosis import history_export, suggest_many
    from demure.preparation.partitioned import prepare as in_parts
    from demure.report import user_bodies
    from demure.runs import ranking
    from demure.runs import recommend as recommending

    for module in (recommending, suggest_many, user_bodies, history_export):
        vars(module)["_USERS_AT_ONCE"] = 32
    in_parts.SIZES = in_parts.PartSizes(part=1000, bucket=1000, partition=1000)
    suggest_many._PAST_ITEMS_AT_ONCE = 32
    ranking._USERS_AT_ONCE = 32
    vars(ranking)["users_at_once"] = lambda _: 32


@app.command()
def drive(stage: str, demo: Path, out: Path, on: str) -> None:
    """Do a stage, and print a line when it is connected to the cluster: its workers start then."""
    small_blocks()
    helpers = stage == "extract"
    with open_executor(on, workers=2 if on == "ray" else None, device="cpu", helpers=helpers) as executor:
        print("begin", flush=True)
        _do(stage, demo, out, executor)


def _do(stage: str, demo: Path, out: Path, executor: Executor) -> None:
    run = next(folder for folder in sorted((demo / "runs").iterdir()) if (folder / "diagnosis.parquet").exists())
    options: dict[str, Any] = {"executor": executor}
    if stage == "recommend":
        from demure.runs.recommend import recommend

        recommend(run, out / "top.parquet", **options)
    elif stage == "eval":
        from demure.runs.evaluate import evaluate_runs

        report = evaluate_runs([run], per_user=out / "users.parquet", **options)
        (out / "metrics.json").write_text(json.dumps(report.runs[0].metrics, sort_keys=True))
    elif stage == "export":
        from demure.diagnosis.history_export import export_histories

        export_histories(run, demo / "histories.csv", out / "verdicts.parquet", device="cpu", **options)
    elif stage == "report":
        from demure.report.build import report as build_report

        build_report(run, out / "page.html", **options)
    elif stage == "extract":
        from demure.extraction.extract import extract

        if not (out / "dataset").exists():
            shutil.copytree(demo / "dataset", out / "dataset", ignore=shutil.ignore_patterns("features"))
        extract(out / "dataset", text="tfidf", image="color", executor=executor)
    elif stage == "prepare":
        from demure.preparation.prepare import PrepareOptions, prepare

        catalogue = demo / "catalogue"
        described: dict[str, Any] = {"items": catalogue / "items.csv", "images": catalogue}
        prepare(PrepareOptions(demo / "log.parquet", out / "dataset", **described, split="all", k_core=3), **options)
    else:
        from demure.training.on_cluster import train_on

        resume = (out / "run").exists()  # without it, an unfinished training is refused
        options |= {"overrides": _RECIPE, "seed": 0, "device": "cpu", "resume": resume, "checkpoint_minutes": 0.0}
        train_on(dataset=demo / "small", out=out / "run", **options)


def results(stage: str, out: Path) -> dict[str, str]:
    """Return file -> hash of the results of a stage that are there under their own names."""
    if stage == "extract":
        files = [path for path in (out / "dataset").rglob("features/*/*") if ".work" not in str(path)]
    elif stage == "prepare":
        files = list((out / "dataset").rglob("*"))
    elif stage == "train":
        files = [out / "run" / name for name in _OF_A_RUN]
    else:
        files = [path for path in out.iterdir() if not path.name.startswith(".") and ".part" not in path.name]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


def own_workers() -> list[int]:
    """Return the worker processes of the clusters that this process started: others may run on the machine."""
    parent, name = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                name[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")

    def is_own(number: int) -> bool:
        while number in parent:
            number = parent[number]
            if number == os.getpid():
                return True
        return False

    workers = ("ray::Worker", "ray::_do_part")  # of the last, also the children that decode
    return sorted(number for number in parent if name[number].startswith(workers) and is_own(number))


class Machines:
    """Two raylets with a core each, of which the second can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100_000_000})
        self.second = self._add()

    def _add(self) -> Any:
        for _ in range(5):  # on a busy machine a raylet may not start within Ray's half minute
            with contextlib.suppress(Exception):
                return self.cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
        raise RuntimeError("no raylet starts")

    def kill(self) -> None:
        """Kill the raylet of the second machine, and nothing else of it."""
        os.kill(self.second.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    def replace(self) -> None:
        """Put a machine in the place of the one that was killed."""
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self._add()


def start(stage: str, demo: Path, out: Path, on: str, address: str) -> subprocess.Popen[str]:
    """Start a command; its errors go to a file beside its results."""
    out.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, __file__, "drive", stage, str(demo), str(out), on]
    with (out.parent / f"{out.name}.err").open("a") as errors:
        environment = {**os.environ, "RAY_ADDRESS": address, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> str:
    """Return how a command ended: ``ended``, ``hung``, or its exit code."""
    try:
        code = process.wait(_LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "hung"
    return "ended" if code == 0 else f"exit code {code}"


def disturb(
    stage: str, fault: str, demo: Path, out: Path, machines: Machines, delay: float, expected: dict[str, str]
) -> str:
    """Return ``same``, or what went wrong, for one fault ``delay`` seconds after the work began."""
    process = start(stage, demo, out, "ray", machines.cluster.address)
    assert process.stdout is not None
    process.stdout.readline()
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(delay)
        return f"{_compare(stage, out, expected)} (it ended before the fault)" if code == 0 else f"exit code {code}"
    if fault == "driver":
        process.kill()
        process.wait()
        there = results(stage, out)
        if there == expected:  # a finished training is not resumed
            return "same (it ended before the fault)"
        damaged = {name for name, digest in there.items() if expected.get(name) != digest}
        if damaged and stage != "train":  # a checkpoint is a file of its own; weights change until the end
            return f"half-written: {sorted(damaged)}"
        ending = finish(start(stage, demo, out, "ray", machines.cluster.address))
    else:
        if fault == "worker":
            workers = own_workers()
            if not workers:
                finish(process)
                return f"{_compare(stage, out, expected)} (no worker was there yet, or any more)"
            os.kill(workers[int(1000 * delay) % len(workers)], signal.SIGKILL)
        else:
            machines.kill()
            if stage == "train":  # the group waits for a machine in its place
                time.sleep(2.0)
                machines.replace()
        ending = finish(process)
        if fault == "raylet" and stage != "train":
            machines.replace()
    return _compare(stage, out, expected) if ending == "ended" else ending


def _compare(stage: str, out: Path, expected: dict[str, str]) -> str:
    got = results(stage, out)
    return "same" if got == expected else f"differs: {sorted(set(got.items()) ^ set(expected.items()))[:4]}"


@app.command()
def run(
    demo: Path,
    stages: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(STAGES),
    faults: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(FAULTS),
    times: int = 10,
) -> None:
    """Disturb each stage ``times`` times by each fault."""
    _write_inputs(demo)
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    machines = Machines()
    with tempfile.TemporaryDirectory() as folder:
        for stage in stages.split(","):
            # Two processes train another model than one.
            on = "ray" if stage == "train" else "local"
            finish(start(stage, demo, Path(folder) / stage / "expected", on, machines.cluster.address))
            expected = results(stage, Path(folder) / stage / "expected")
            assert expected, "the undisturbed command failed"
            process = start(stage, demo, Path(folder) / stage / "timed", "ray", machines.cluster.address)
            assert process.stdout is not None
            process.stdout.readline()
            began = time.monotonic()
            assert finish(process) == "ended"
            seconds = time.monotonic() - began
            print(f"{stage}: {_compare(stage, Path(folder) / stage / 'timed', expected)}, {seconds:.1f} s", flush=True)
            for fault in faults.split(","):
                outcomes = []
                for k in [*range(0, times, 2), *range(1, times, 2)]:  # all moments in the first half, too
                    out = Path(folder) / stage / f"{fault}{k}"
                    outcome = disturb(stage, fault, demo, out, machines, seconds * (k + 0.5) / times, expected)
                    outcomes.append(outcome)
                    print(f"  {k}: {outcome}", flush=True)
                    if not outcome.startswith("same"):
                        print((out.parent / f"{out.name}.err").read_text()[-1500:], flush=True)
                counts = {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}
                print(f"{stage}, {fault}: {counts}", flush=True)
    machines.cluster.shutdown()


def _write_inputs(demo: Path) -> None:
    """Write what stages read beside the demo: the training histories under new names, as a file of new users; its
    interactions as Parquet; and a dataset of the first users, with features of the texts."""
    import pandas as pd

    from demure.extraction.extract import extract
    from demure.preparation.prepare import PrepareOptions, prepare

    frame = pd.read_parquet(demo / "dataset" / "interactions.parquet")
    frame = frame[frame["split"] == "train"][["user_id", "item_id", "timestamp"]]
    frame.assign(user_id="new-" + frame["user_id"]).to_csv(demo / "histories.csv", index=False)
    log = pd.read_csv(demo / "catalogue" / "interactions.csv")
    log.to_parquet(demo / "log.parquet", row_group_size=500)
    users = log["user_id"].drop_duplicates()[:_TRAINED_USERS]
    log[log["user_id"].isin(users)].to_parquet(demo / "small.parquet")
    shutil.rmtree(demo / "small", ignore_errors=True)
    prepare(PrepareOptions(demo / "small.parquet", demo / "small", items=demo / "catalogue" / "items.csv"))
    extract(demo / "small", text="tfidf")


if __name__ == "__main__":
    app()
