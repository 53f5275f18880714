"""Encoders with random weights, drawn pictures and texts, and the rates of `extract` and of what it is compared with.

The work of `extraction.py` and `gpu.py`: no hub is asked, and no file is read but those that are drawn here.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support import tiny_models

WORDS = tiny_models.WORDS.split()


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    usages = (resource.getrusage(scope) for scope in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(sum(usage[:2]) for usage in usages)


def best_rates(work: dict[str, Callable[[], int]], repeats: int) -> dict[str, tuple[float, float]]:
    """Return name -> inputs per second and per CPU second: the best of ``repeats`` turns, each name once a turn."""
    rates: dict[str, tuple[float, float]] = {}
    for _ in range(repeats):
        for name, run in work.items():
            began, before = time.perf_counter(), cpu_seconds()
            number = run()
            clock, used = number / (time.perf_counter() - began), number / (cpu_seconds() - before)
            rates[name] = (max(rates.get(name, (0, 0))[0], clock), max(rates.get(name, (0, 0))[1], used))
    return rates


def print_rates(title: str, rates: dict[str, tuple[float, float]], against: str) -> None:
    """Print a table of rates, and their shares of the candidate ``against``."""
    print(f"{title}; load {os.getloadavg()[0]:.1f}")
    print("| what | per second | share | per CPU second | share |\n| --- | ---: | ---: | ---: | ---: |")
    base = rates[against]
    for name, (clock, used) in rates.items():
        print(f"| {name} | {clock:.1f} | {clock / base[0]:.2f} | {used:.1f} | {used / base[1]:.2f} |", flush=True)


@contextlib.contextmanager
def using(encoder: Any) -> Iterator[None]:
    """Make `extract` load this encoder whatever it asks for."""
    with mock.patch("demure.extraction.extract.load_encoder", return_value=encoder):
        yield


def run_once(items: pd.DataFrame, root: Path | None, encoder: Any, workers: int | None = None) -> int:
    """Run `extract` into a new folder; return how many inputs it encoded."""
    from demure.extraction.extract import ExtractOptions, extract_items

    with tempfile.TemporaryDirectory() as name, using(encoder):
        folder = Path(name)
        items.to_parquet(folder / "items.parquet")
        encoders = {"text": "sentence:x/y"} if root is None else {"image": "clip:x/y"}
        columns = [name for name in items.columns if name not in ("item_id", "image")]
        report = extract_items(folder, items, columns, root, encoders, ExtractOptions(workers=workers))
        return report.modalities[0].encoded


def big_clip(folder: Path) -> Path:
    """Make open_clip's ViT-B-32 with random weights in ``folder``; return it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "open_clip_config.json").is_file():
        torch.manual_seed(0)
        model = open_clip.create_model("ViT-B-32", pretrained=None)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
        stated = open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")
        stated = {key: stated[key] for key in ("mean", "std", "interpolation", "resize_mode")}
        config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": stated}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def tiny(folder: Path) -> tuple[Path, Path]:
    """Make small encoders with vectors of a usual width, 384 for texts and 512 for images; return their folders."""
    if not (folder / "bert").is_dir():
        tiny_models.bert_folder(folder / "bert", {"pooling_mode": "mean"}, hidden=384, layers=1)
        tiny_models.clip_folder(folder / "clip", embed_dim=512)
    return folder / "bert", folder / "clip"


def minilm(folder: Path) -> Path:
    """Make a sentence encoder of the size of all-MiniLM-L6-v2 with random weights in ``folder``; return it."""
    if not folder.is_dir():
        shape = {"hidden": 384, "layers": 6, "heads": 12, "positions": 512}
        tiny_models.bert_folder(folder, {"pooling_mode": "mean"}, normalize=True, limit=256, **shape)
    return folder


def draw_pictures(folder: Path, number: int, side: int) -> list[str]:
    """Draw ``number`` JPEG files of ``side`` x ``side`` pixels, smooth as photographs are; return their names."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)

    def draw(k: int) -> str:
        dots = np.random.default_rng(k).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(dots).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{k}.jpg", quality=90)
        return f"{k}.jpg"

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(draw, range(number)))


def draw_texts(number: int, words: int) -> list[str]:
    """Draw ``number`` different texts of half to one and a half times ``words`` words."""
    random = np.random.default_rng(0)
    lengths = random.integers(words // 2, 3 * words // 2, number)
    return [f"{k} {' '.join(random.choice(WORDS, length))}" for k, length in enumerate(lengths)]


def encoder_alone(encoder: Any, batch: Any, number: int) -> int:
    """Encode ``number`` images by the model itself, from one batch that is on the device; return the number."""
    with encoder.settings.inference():
        vectors = [encoder.model.encode_image(batch, normalize=True) for _ in range(-(-number // len(batch)))]
        for some in vectors:
            some.float().cpu()
    return len(vectors) * len(batch)


def through_loader(encoder: Any, paths: Sequence[Path], workers: int) -> int:
    """Encode images without demure: a DataLoader, the library's own transform, the model; return how many."""
    import torch

    from demure.images.opening import open_image

    class Pictures(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, k: int) -> torch.Tensor:
            with open(paths[k], "rb") as file, open_image(file) as image:
                pixels: torch.Tensor = encoder.transform(image.convert("RGB"))
            return pixels

    pinned = encoder.device.type == "cuda"
    loader = torch.utils.data.DataLoader(Pictures(), encoder.batch, num_workers=workers, pin_memory=pinned)
    vectors = []
    with encoder.settings.inference():
        for batch in loader:
            pixels = batch.to(encoder.device, non_blocking=True)
            vectors.append(encoder.model.encode_image(pixels, normalize=True).float())
        return len(torch.cat(vectors).cpu())


def through_library(model: Any, texts: Sequence[str], batch: int) -> int:
    """Encode texts by sentence-transformers' own ``encode``; return how many."""
    return len(model.encode(list(texts), batch_size=batch, show_progress_bar=False))
