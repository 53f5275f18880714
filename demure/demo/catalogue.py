"""Render the embedded catalogue: imaginary books with covers and texts, and readers who choose by one or the other.

A book's cover has one of nine styles, its title and description one of nine topics, independently of each other. A
reader likes a few styles and a few topics, and relies on the cover, on the text, or on both; some books are chosen for
no reason, or for cover and text together. So the cause of every interaction is recorded.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.affinity import cluster_affinity, draw_interests, zipf_popularity
from demure.demo.book_covers import STYLES, draw_cover
from demure.demo.book_texts import NAMES, TOPICS, write_description, write_title
from demure.demo.simulation import ContentProcess, simulate
from demure.errors import DemureError
from demure.files import atomic_folder, write_json
from demure.progress import Listener, Progress, silent

MODALITIES = ("image", "text")
MAX_ITEMS = 5000  # with more books, new titles become too rare to draw


@dataclass(frozen=True)
class CatalogueOptions:
    """Sizes and shares; the fields are keys of ``planted.json``.

    Attributes:
        users, items, length, interests, alpha, p_none, p_two, zipf, seed: as in ``planted.PlantedOptions``.
        no_cover: share of books without a usable picture (no path, no file, or a truncated file).
        no_text: share of books with neither title nor description.
        no_blurb: share of books with a title and no description.
        wrong: share of books whose picture in the catalogue is the cover of another book. Readers saw the right one.
    """

    users: int = 1000
    items: int = 400
    length: tuple[int, int] = (10, 30)
    interests: tuple[int, int] = (1, 3)
    alpha: float = 0.5
    p_none: float = 0.05
    p_two: float = 0.1
    zipf: float = 0.5
    no_cover: float = 0.04
    no_text: float = 0.02
    no_blurb: float = 0.03
    wrong: float = 0.0
    seed: int = 7

    def __post_init__(self) -> None:
        if self.users < 1 or not self.length[1] <= self.items <= MAX_ITEMS:
            raise DemureError(
                f"{self.users} users and {self.items} items",
                where="catalogue",
                remedy=f"give 1 user or more and {self.length[1]} to {MAX_ITEMS} items",
            )


@dataclass(frozen=True)
class Catalogue:
    """The paths of a rendered catalogue: raw input for ``demure prepare``, and the truth.

    ``process``: what makes the readers choose; ``item_truth``: each book's style and topic, and whether its cover is
    wrong.
    """

    folder: Path
    interactions: Path
    items: Path
    images: Path
    truth: Path
    item_truth: Path
    process: ContentProcess
    n_users: int
    n_items: int
    n_interactions: int


def render(
    folder: Path,
    options: CatalogueOptions | None = None,
    *,
    overwrite: bool = False,
    listener: Listener = silent,
) -> Catalogue:
    """Render the catalogue into ``folder``; the same options give the same files.

    Writes interactions.csv, items.csv, images/, truth.csv (which modality caused each interaction, with the posterior),
    item_truth.csv (each book's style and topic, and whether its cover is wrong) and planted.json. Raises
    ``DemureError`` where the folder exists.
    """
    options = options or CatalogueOptions()
    # Three generators, so that a change of one part of the catalogue leaves the others as they are.
    seeds = np.random.SeedSequence(options.seed).spawn(3)
    item_random, text_random, user_random = (np.random.default_rng(seed) for seed in seeds)
    folder = Path(folder)
    with atomic_folder(folder, overwrite=overwrite) as part:
        styles = _balanced(list(STYLES), options.items, item_random)
        topics = _balanced(list(TOPICS), options.items, item_random)
        item_ids = np.array([f"b{k:03d}" for k in range(1, options.items + 1)], dtype=object)
        gaps = _gaps(options, item_random)
        images = _draw_covers(part / "images", item_ids, styles, gaps == "cover", item_random, listener)
        items = pd.DataFrame({"item_id": item_ids, **_write_texts(topics, gaps, text_random), "image": images})
        items.to_csv(part / "items.csv", index=False)
        wrong = _deal_covers(part, images, gaps, options)
        item_truth = pd.DataFrame({"item_id": item_ids, "style": styles, "topic": topics, "wrong": wrong.astype(int)})
        item_truth.to_csv(part / "item_truth.csv", index=False)

        process = _readers(options, styles, topics, gaps, user_random)
        simulation = simulate(process, user_random)
        user_ids = _reader_ids(options.users)
        simulation.interactions(user_ids, item_ids).to_csv(part / "interactions.csv", index=False)
        simulation.truth(user_ids, item_ids, MODALITIES).to_csv(part / "truth.csv", index=False)
        write_json(
            part / "planted.json",
            {"kind": "catalogue", "modalities": MODALITIES, "clusters": len(STYLES), **dataclasses.asdict(options)},
        )
    return Catalogue(
        folder=folder,
        interactions=folder / "interactions.csv",
        items=folder / "items.csv",
        images=folder,
        truth=folder / "truth.csv",
        item_truth=folder / "item_truth.csv",
        process=process,
        n_users=options.users,
        n_items=options.items,
        n_interactions=len(simulation.users),
    )


def _balanced(kinds: list[str], count: int, random: np.random.Generator) -> np.ndarray:
    """Return ``count`` kinds in random order, as many of each kind as possible."""
    balanced: np.ndarray = np.array(kinds, dtype=object)[random.permutation(np.arange(count) % len(kinds))]
    return balanced


def _gaps(options: CatalogueOptions, random: np.random.Generator) -> np.ndarray:
    """Return what each book lacks, (I,): "", "cover", "text" or "description"."""
    shares = {"cover": options.no_cover, "text": options.no_text, "description": options.no_blurb}
    gaps = np.full(options.items, "", dtype=object)
    order, start = random.permutation(options.items), 0
    for name, share in shares.items():
        count = round(share * options.items)
        gaps[order[start : start + count]] = name
        start += count
    return gaps


def _draw_covers(
    folder: Path,
    item_ids: np.ndarray,
    styles: np.ndarray,
    lacking: np.ndarray,
    random: np.random.Generator,
    listener: Listener,
) -> list[str]:
    """Draw the covers and return each book's path; covers are missing by path, by file, or by truncation in turn."""
    folder.mkdir()
    paths, missing = [], 0
    for k, (item_id, style) in enumerate(zip(item_ids, styles, strict=True)):
        path = folder / f"{item_id}.jpg"
        draw_cover(style, random).save(path, quality=88)
        if lacking[k]:
            missing += 1
            if missing % 3 == 0:
                path.write_bytes(path.read_bytes()[:200])
            else:
                path.unlink()
        paths.append("" if lacking[k] and missing % 3 == 1 else f"images/{path.name}")
        listener(Progress("draw covers", k + 1, len(item_ids)))
    return paths


def _write_texts(topics: np.ndarray, gaps: np.ndarray, random: np.random.Generator) -> dict[str, list[str]]:
    """Return a title, different from all others, and a description for each book."""
    titles: list[str] = []
    descriptions: list[str] = []
    taken: set[str] = set()
    for topic, gap in zip(topics, gaps, strict=True):
        title = write_title(topic, random)
        while title in taken:
            title = write_title(topic, random)
        taken.add(title)
        description = write_description(topic, random)
        titles.append("" if gap == "text" else title)
        descriptions.append("" if gap in ("text", "description") else description)
    return {"title": titles, "description": descriptions}


def _deal_covers(folder: Path, images: list[str], gaps: np.ndarray, options: CatalogueOptions) -> np.ndarray:
    """Deal the picture files of some books among them, each to another book; return which these are (I,) bool."""
    random = np.random.default_rng([options.seed, 1])  # of its own: a catalogue without wrong covers stays as it was
    count = round(options.wrong * options.items)
    books = random.choice(np.flatnonzero(gaps != "cover"), count, replace=False) if count > 1 else np.zeros(0, np.int64)
    contents = [(folder / images[k]).read_bytes() for k in books]
    for k, content in zip(books, contents[1:] + contents[:1], strict=True):
        (folder / images[k]).write_bytes(content)
    return np.isin(np.arange(options.items), books)


def _readers(
    options: CatalogueOptions, styles: np.ndarray, topics: np.ndarray, gaps: np.ndarray, random: np.random.Generator
) -> ContentProcess:
    """Draw the readers; styles and topics are the clusters of the two modalities."""
    kinds = (list(STYLES), list(TOPICS))
    cluster = np.stack([[kinds[0].index(name) for name in styles], [kinds[1].index(name) for name in topics]])
    interests = [draw_interests(options.users, len(names), options.interests, random) for names in kinds]
    present = np.stack([gaps != "cover", gaps != "text"])
    return ContentProcess(
        cluster_affinity(cluster, interests, present),
        zipf_popularity(options.items, options.zipf, random),
        random.dirichlet(np.full(len(MODALITIES), options.alpha), options.users),
        random.integers(options.length[0], options.length[1] + 1, options.users),
        options.p_none,
        options.p_two,
    )


def _reader_ids(count: int) -> np.ndarray:
    """Return ``count`` ids such as ada-01, bruno-01, ... ada-02."""
    return np.array([f"{NAMES[k % len(NAMES)].lower()}-{k // len(NAMES) + 1:02d}" for k in range(count)], dtype=object)
