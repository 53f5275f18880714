"""Look at the page of `demure report` and `demure ui`, and measure how fast it is.

`python benchmarks/seeing.py speed --users 1000000`: how fast `demure ui` opens a user of a large run. The run folder is
synthetic (without a model), with the shape and row groups that a training writes.

`python benchmarks/seeing.py look page.html --out shots --axe axe.min.js`: pictures of the first screen and of every
section, light and dark, 1400 and 390 pixels wide, and what axe-core finds; it fails on a serious or critical violation.
The file axe.min.js is in the wheel of `pip download --no-deps axe-playwright-python`.
"""

from __future__ import annotations

import json
import resource
import shutil
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from demure.diagnosis.verdict import assign_verdicts
from demure.files import write_json
from demure.web.serve import site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

app = typer.Typer(add_completion=False, help=__doc__)

WORK = Path("/tmp/demure-seeing")
Scheme = Literal["light", "dark"]
WIDTHS, HEIGHT = (1400, 390), 900
_SERIOUS = ("serious", "critical")
_AXE = """async () => {
  const { violations, passes } = await axe.run();
  const shown = ({ id, impact, help, nodes }) => ({ id, impact, help, where: nodes.map((node) => node.html) });
  return { rules: violations.length + passes.length, violations: violations.map(shown) };
}"""
_ROWS = 1 << 20
_MODALITIES = ("image", "text")
_CHUNK = 100_000


def make(folder: Path, users: int, items: int, seed: int = 0) -> Path:
    """Write a dataset and a run of ``users`` with 4 to 16 choices each to ``folder``; two supports per verdict."""
    random = np.random.default_rng(seed)
    dataset, run = folder / "dataset", folder / "run"
    shutil.rmtree(folder, ignore_errors=True)
    dataset.mkdir(parents=True)
    run.mkdir()
    user_ids = pa.array([f"u{k:07}" for k in random.permutation(users)])
    item_ids = pa.array([f"i{k:06}" for k in range(items)])
    names = pa.array(_MODALITIES)
    writers: dict[str, pq.ParquetWriter] = {}

    def write(path: Path, table: pa.Table) -> None:
        if str(path) not in writers:
            writers[str(path)] = pq.ParquetWriter(path, table.schema)
        writers[str(path)].write_table(table, row_group_size=_ROWS)

    for first in range(0, users, _CHUNK):
        block = np.arange(first, min(first + _CHUNK, users))
        length = random.integers(4, 17, len(block))
        user = np.repeat(block, length)
        start = np.repeat(np.cumsum(length) - length, length)
        position = np.arange(len(user)) - start
        item = (items * random.uniform(size=len(user)) ** 2).astype(np.int64)
        n, M = len(user), len(_MODALITIES)
        probability = random.beta(0.5, 0.5, (n, M))
        base = {
            "user_id": user_ids.take(pa.array(np.repeat(user, M))),
            "modality": names.take(pa.array(np.tile(np.arange(M), n))),
        }
        base["item_id"] = item_ids.take(pa.array(np.repeat(item, M)))
        evidence = np.log(probability / (1 - probability))
        verdict = pa.array(assign_verdicts(probability, evidence, np.full(probability.shape, True)).ravel().tolist())
        numbers = {"poi_probability": probability.ravel(), "evidence": evidence.ravel()}
        order = ["user_id", "item_id", "modality", "poi_probability", "evidence", "verdict", "position"]
        table = pa.table(base | numbers | {"verdict": verdict, "position": np.repeat(position, M)}).select(order)
        write(run / "diagnosis.parquet", table)
        other = start[:, None] + random.integers(0, np.repeat(length, length)[:, None], (n, 2 * M))
        supports = {name: column.take(pa.array(np.repeat(np.arange(n * M), 2))) for name, column in base.items()}
        supports["position"] = pa.array(np.repeat(position, 2 * M))
        supports["support_rank"] = pa.array(np.tile([1, 2], n * M))
        supports["support_item_id"] = item_ids.take(pa.array(item[other].ravel()))
        supports["weight"] = pa.array(np.full(2 * n * M, 0.3))
        write(run / "supports.parquet", pa.table(supports))
        shares = random.dirichlet((2, 2, 0.3), len(block))
        reliance = pa.table(
            {
                "user_id": user_ids.take(pa.array(np.repeat(block, M + 1))),
                "modality": pa.array([*_MODALITIES, "none"]).take(pa.array(np.tile(np.arange(M + 1), len(block)))),
                "reliance": shares.ravel(),
            }
        )
        write(run / "reliance.parquet", reliance)
        interactions = {"user_id": user_ids.take(pa.array(user)), "item_id": item_ids.take(pa.array(item))}
        interactions |= {"timestamp": 1.6e9 + 86_400.0 * position, "split": pa.array(["train"] * n)}
        write(dataset / "interactions.parquet", pa.table(interactions))
    for writer in writers.values():
        writer.close()
    pq.write_table(pa.table({"user_id": user_ids}), dataset / "users.parquet")
    titles = pa.array([f"Title {k}" for k in range(items)])
    genres = pa.array([f"genre {k % 20}" for k in range(items)])
    pq.write_table(pa.table({"item_id": item_ids, "title": titles, "genres": genres}), dataset / "items.parquet")
    write_json(dataset / "dataset.json", {"format_version": 1, "hashes": {}, "images_root": None})
    manifest = {"format_version": 1, "recipe": "synthetic", "dataset": {"path": str(dataset), "identity": {}}}
    write_json(run / "run.json", manifest)
    return run


@app.command()
def speed(users: int = 1_000_000, items: int = 100_000, queries: int = 200, work: Path = WORK) -> None:
    """Write the run if it is absent, open it, and time the queries that the page sends."""
    folder = work / f"{users}"
    run = folder / "run"
    if not (run / "run.json").is_file():
        run = make(folder, users, items)
    rows = pq.ParquetFile(run / "diagnosis.parquet").metadata.num_rows
    start = time.monotonic()
    server = site(run, port=0)
    ready = time.monotonic() - start
    threading.Thread(target=server.serve, daemon=True).start()
    random = np.random.default_rng(1)
    ids = pq.read_table(folder / "dataset" / "users.parquet").column("user_id").to_pylist()
    paths_of = {
        "a user": [f"api/user?id={ids[k]}" for k in random.integers(0, users, queries)],
        "a search for users": [f"api/users?wanted={k}&sort=choices" for k in random.integers(100, 9999, 30)],
        "an item": [f"api/item?id=i{k:06}" for k in random.integers(0, items, 30)],
        "a search for items": [f"api/items?wanted={k}&sort=choices" for k in random.integers(100, 9999, 30)],
    }
    lines = []
    for name, paths in paths_of.items():
        milliseconds = []
        for path in paths:
            start = time.monotonic()
            with urllib.request.urlopen(server.url + path) as answer:
                json.load(answer)
            milliseconds.append(1000 * (time.monotonic() - start))
        median, high = np.percentile(milliseconds, [50, 95])
        counts = {"query": name, "queries": len(milliseconds)}
        lines.append(counts | {"median ms": median, "95 % ms": high, "max ms": max(milliseconds)})
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{users:,} users, {rows:,} rows of verdicts; ready after {ready:.1f} s, peak {memory:.1f} GiB")
    print(pd.DataFrame(lines).to_string(index=False, float_format="%.0f"))


@app.command()
def look(
    page: Annotated[str, typer.Argument(help="The page: a file, or the address that `demure ui` prints.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("shots"),
    axe: Annotated[Path | None, typer.Option(help="The file axe.min.js; without it, only pictures are made.")] = None,
) -> None:
    """Take pictures of every section, and list what axe-core finds."""
    from playwright.sync_api import sync_playwright

    url = page if "://" in page else Path(page).resolve().as_uri()
    out.mkdir(parents=True, exist_ok=True)
    problems: list[dict[str, Any]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width in WIDTHS:
            for scheme in get_args(Scheme):
                opened = open_page(browser, url, width, scheme)
                photograph(opened, out, f"{width}-{scheme}")
                if axe is not None:
                    problems += violations(opened, axe.read_text(encoding="utf-8"), f"{width}-{scheme}")
                opened.context.close()
        browser.close()
    for violation in problems:
        print(f"{violation['view']}: {violation['impact']}, {violation['help']} ({violation['id']})")
        print("".join(f"    {html[:160]}\n" for html in violation["where"][:5]), end="")
    serious = sum(violation["impact"] in _SERIOUS for violation in problems)
    print(f"{len(problems)} violations, {serious} of them serious or critical; pictures are in {out}")
    raise typer.Exit(1 if serious else 0)


def open_page(browser: Browser, url: str, width: int, scheme: Scheme) -> Page:
    """Return the page when its charts are drawn, in a window of this ``width`` and colour ``scheme``."""
    # Without its content policy, which keeps out the script of axe-core.
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme=scheme,
        bypass_csp=True,
    )
    opened = context.new_page()
    opened.goto(url)
    opened.wait_for_selector("html[data-ready=true]", timeout=120_000)
    opened.evaluate("scrollTo(0, 0)")
    return opened


def photograph(opened: Page, out: Path, name: str) -> None:
    """Write the first screen and every section to ``out``. Raises ``AssertionError`` if something sticks out."""
    opened.screenshot(path=out / f"first-screen-{name}.png")
    for section in opened.query_selector_all("main section"):
        section.screenshot(path=out / f"{section.get_attribute('id')}-{name}.png")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}: wider than the window"


def violations(opened: Page, axe: str, view: str) -> Sequence[dict[str, Any]]:
    """Return what axe-core (the text of its script, ``axe``) finds on a page, each with the ``view``."""
    opened.evaluate(axe)
    result = opened.evaluate(_AXE)
    assert result["rules"], "axe-core checked nothing"
    return [{**violation, "view": view} for violation in result["violations"]]


if __name__ == "__main__":
    app()
