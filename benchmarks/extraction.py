"""Measure `demure extract` against the encoder alone, its peak memory, and the cost of a run with nothing to do.

    python benchmarks/extraction.py images --posters ../shared/data/ml-100k-posters
    python benchmarks/extraction.py texts --posters ../shared/data/ml-100k-posters
    python benchmarks/extraction.py memory
    python benchmarks/extraction.py resume

Encoders are made here, with random weights of the real architecture (no hub is asked); MiniLM comes as a package. The
candidates run in turn, `--repeats` times, and the best run of each counts: by the clock, and by the CPU time of all
processes, which other programs of the machine disturb less.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from encoder_rates import WORDS, best_rates, big_clip, print_rates, run_once, through_loader, tiny

HERE = Path(__file__).resolve()


def images(arguments: argparse.Namespace) -> None:
    """Measure the encoding of images."""
    import torch
    from demure_extractors.clip import ClipImage

    torch.set_num_threads(arguments.threads)
    root = arguments.posters / "images"
    items = pd.read_csv(arguments.posters / "items.csv", dtype=str).dropna(subset="image")
    root = arguments.posters if (arguments.posters / items["image"].iloc[0]).is_file() else root
    items = items.head(arguments.images)[["item_id", "image"]].reset_index(drop=True)
    encoder = ClipImage(str(big_clip(arguments.scratch / "vit-b-32")), None, "cpu")

    from demure.extraction.images import image_inputs

    inputs = image_inputs(items, root)
    paths = [root / name for name in items["image"]]
    ready = np.stack([np.asarray(encoder.prepare(inputs.load(k))) for k in range(len(inputs.keys))])

    def bare() -> int:
        for start in range(0, len(ready), encoder.batch):
            encoder.encode(ready[start : start + encoder.batch])
        return len(ready)

    def prepared() -> int:
        for k in range(len(inputs.keys)):
            encoder.prepare(inputs.load(k))
        return len(inputs.keys)

    def one_after_the_other() -> int:
        for start in range(0, len(ready), encoder.batch):
            some = range(start, min(start + encoder.batch, len(ready)))
            encoder.encode([encoder.prepare(inputs.load(k)) for k in some])
        return len(ready)

    work: dict[str, Callable[[], int]] = {"encoder alone, preloaded tensors": bare}
    for count in arguments.workers:
        work[f"demure extract, {count} workers"] = functools.partial(run_once, items, root, encoder, count)
        work[f"DataLoader, {count} workers"] = functools.partial(through_loader, encoder, paths, count)
    work["decode, then encode, in turn"] = one_after_the_other
    work["decoding alone, one core"] = prepared
    bare()
    title = f"ViT-B-32, {len(ready)} posters, batch {encoder.batch}, {arguments.threads} threads"
    print_rates(title, best_rates(work, arguments.repeats), "encoder alone, preloaded tensors")


def texts(arguments: argparse.Namespace) -> None:
    """Measure the encoding of texts."""
    import torch
    from demure_extractors.sentence import Sentence

    torch.set_num_threads(arguments.threads)
    items = pd.read_csv(arguments.posters / "items.csv", dtype=str).drop(columns="image").head(arguments.texts)
    encoder = Sentence("sentence-transformers/all-MiniLM-L6-v2", None, "cpu")

    from demure.extraction.inputs import text_inputs

    inputs = text_inputs(items, [name for name in items.columns if name != "item_id"])
    distinct = [inputs.load(k) for k in range(len(inputs.keys))]
    distinct.sort(key=len, reverse=True)
    groups = [distinct[start : start + encoder.batch] for start in range(0, len(distinct), encoder.batch)]
    tokens = [encoder.model.preprocess(group) for group in groups]

    def bare() -> int:
        with torch.inference_mode():
            for batch in tokens:
                encoder.model(dict(batch))
        return len(distinct)

    def library() -> int:
        encoder.model.encode(distinct, show_progress_bar=False)
        return len(distinct)

    work = {
        "encoder alone, tokens made before": bare,
        "demure extract": lambda: run_once(items, None, encoder),
        "sentence-transformers' encode": library,
    }
    bare()
    title = f"all-MiniLM-L6-v2, {len(distinct)} texts of ML-100K, {arguments.threads} threads"
    print_rates(title, best_rates(work, arguments.repeats), "encoder alone, tokens made before")


def generated(folder: Path, number: int, pictures: bool) -> pd.DataFrame:
    """Make ``number`` items with different texts of 4 to 12 words and different pictures of 16 x 16 pixels."""
    from PIL import Image

    draw = np.random.default_rng(0)
    root = folder / "images"
    if pictures and not root.is_dir():
        root.mkdir(parents=True)
        for k in range(number):
            dots = np.frombuffer(k.to_bytes(4, "little") * 192, dtype=np.uint8).reshape(16, 16, 3)
            (root / f"{k // 1000}").mkdir(exist_ok=True)
            Image.fromarray(dots).save(root / f"{k // 1000}" / f"{k}.bmp")
    titles = [f"{k} {' '.join(draw.choice(WORDS, draw.integers(4, 12)))}" for k in range(number)]
    items = pd.DataFrame({"item_id": [f"item-{k}" for k in range(number)], "title": titles})
    items["image"] = [f"{k // 1000}/{k}.bmp" for k in range(number)]
    return items


def hash_vector(value: Any, dim: int) -> np.ndarray:
    """Return a vector that costs nothing, in place of a forward pass."""
    data = value.encode() if isinstance(value, str) else np.ascontiguousarray(value).tobytes()
    return np.resize(np.frombuffer(hashlib.sha512(data).digest(), np.uint8), dim).astype(np.float32) / 3


def times() -> np.ndarray:
    """Return seconds by the clock, and of this process's CPU time."""
    return np.array([time.perf_counter(), time.process_time()])


def one_run(arguments: argparse.Namespace) -> None:
    """Run `extract` in a process that ``measure_memory`` measures; print its seconds without loading."""
    from demure.extraction.extract import ExtractOptions, extract_items
    from demure.extraction.loading import load_encoder

    loading = np.zeros(2)

    def load(*request: Any) -> Any:
        began = times()
        made = load_encoder(*request)
        loading[:] += times() - began
        if arguments.cheap:
            made.encode = lambda inputs: np.stack([hash_vector(value, made.dim) for value in inputs])
        return made

    items = pd.read_parquet(arguments.scratch / "items.parquet")
    bert, clip = tiny(arguments.scratch.parent)
    encoders = {
        kind: f"{family}:{path}" for kind, family, path in (("text", "sentence", bert), ("image", "clip", clip))
    }
    encoders = {kind: encoders[kind] for kind in arguments.kinds}
    began = times()
    images_root, options = arguments.scratch / "images", ExtractOptions("cpu")
    with mock.patch("demure.extraction.extract.load_encoder", load):
        made = extract_items(arguments.scratch, items, ["title"], images_root, encoders, options)
    took = times() - began - loading
    print(json.dumps([*took, [modality.encoded for modality in made.modalities]]))


def measure_memory(arguments: argparse.Namespace, folder: Path) -> tuple[float, list[Any]]:
    """Return the peak memory of a run and its workers, each page once (PSS), in MiB; and the output of the run."""
    command = [sys.executable, str(HERE), "one", "--scratch", str(folder), "--kinds", ",".join(arguments.kinds)]
    command += ["--cheap"] * arguments.cheap
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0.0
    while process.poll() is None:
        pids, position = [process.pid], 0
        while position < len(pids):
            with contextlib.suppress(OSError):
                pid = pids[position]
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                pids += [int(child) for child in children]
            position += 1
        total = 0.0
        for pid in pids:
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
        peak = max(peak, total)
        time.sleep(0.25)
    output, _ = process.communicate()
    return peak, json.loads(output.splitlines()[-1])


def memory(arguments: argparse.Namespace) -> None:
    """Print the peak memory by the number of items."""
    peaks = {}
    print("| items | peak MiB | seconds |\n| ---: | ---: | ---: |")
    for number in arguments.items:
        folder = arguments.scratch / f"generated-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        generated(folder, number, "image" in arguments.kinds).to_parquet(folder / "items.parquet")
        for kind in arguments.kinds:
            shutil.rmtree(folder / "features" / kind, ignore_errors=True)
        peaks[number], (seconds, _, encoded) = measure_memory(arguments, folder)
        assert encoded == [number] * len(arguments.kinds), encoded
        print(f"| {number:,} | {peaks[number]:.0f} | {seconds:.0f} |", flush=True)
    print(f"ratio {peaks[max(peaks)] / peaks[min(peaks)]:.2f}; load {os.getloadavg()[0]:.1f}")


def nothing_to_do(arguments: argparse.Namespace) -> None:
    """Print the cost of a run with nothing to do, on the finished features that ``memory`` leaves."""
    print("| items | peak MiB | seconds, loading aside | CPU seconds |\n| ---: | ---: | ---: | ---: |")
    for number in arguments.items:
        peak, (seconds, used, encoded) = measure_memory(arguments, arguments.scratch / f"generated-{number}")
        assert not any(encoded), encoded
        print(f"| {number:,} | {peak:.0f} | {seconds:.2f} | {used:.2f} |", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=["images", "texts", "memory", "resume", "one"])
    parser.add_argument("--posters", type=Path, default=HERE.parents[2] / "shared" / "data" / "ml-100k-posters")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "demure-extraction")
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument(
        "--items", type=lambda text: [int(number) for number in text.split(",")], default=[2000, 200_000]
    )
    parser.add_argument("--workers", type=lambda text: [int(number) for number in text.split(",")], default=[1, 2])
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=["text", "image"])
    parser.add_argument("--cheap", action="store_true", help="hash inputs instead of encoding them: memory only")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    {"images": images, "texts": texts, "memory": memory, "resume": nothing_to_do, "one": one_run}[arguments.benchmark](
        arguments
    )


if __name__ == "__main__":
    main()
