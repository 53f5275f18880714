"""The embedded catalogue: a shop of imaginary books, and readers of whom some judge a book by its cover.

A book's cover has one of nine styles, its title and blurb one of nine topics, and the two know nothing of each other. A
reader likes a few styles and a few topics, and relies on the cover, on the text, or on both; now and then a book is
taken for no reason, or for its cover and its text at once. So for every choice it is known which modality caused it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.blurbs import NAMES, TOPICS, write_blurb, write_title
from demure.demo.choices import Choices, choose
from demure.demo.covers import STYLES, draw_cover
from demure.demo.tastes import cluster_tastes, pick_interests, zipf_popularity
from demure.errors import DemureError
from demure.files import atomic_folder, write_json
from demure.progress import Listener, Progress, silent

MODALITIES = ("image", "text")
MOST_ITEMS = 5000  # beyond it there are hardly titles left that no other book has


@dataclass(frozen=True)
class CatalogueOptions:
    """Sizes and shares, as in ``planted.Knobs``.

    ``no_cover`` is the share of books whose picture is missing (no path, no file, or a file cut short), ``no_text`` of
    those with neither title nor blurb; ``no_blurb`` of those with a title alone.
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
    seed: int = 7

    def __post_init__(self) -> None:
        if self.users < 1 or not self.length[1] <= self.items <= MOST_ITEMS:
            raise DemureError(
                f"{self.users} users and {self.items} items",
                where="catalogue",
                remedy=f"give 1 user or more and {self.length[1]} to {MOST_ITEMS} items",
            )


@dataclass(frozen=True)
class Catalogue:
    """Where the rendered catalogue lies: raw input for ``demure prepare``, and the answers."""

    folder: Path
    interactions: Path
    items: Path
    images: Path
    truth: Path
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
    item_truth.csv (each book's style and topic) and planted.json. Raises ``DemureError`` where the folder exists.
    """
    options = options or CatalogueOptions()
    shelf, desk, street = (np.random.default_rng(seed) for seed in np.random.SeedSequence(options.seed).spawn(3))
    folder = Path(folder)
    with atomic_folder(folder, overwrite=overwrite) as part:
        styles, topics = _deal(list(STYLES), options.items, shelf), _deal(list(TOPICS), options.items, shelf)
        item_ids = np.array([f"b{k:03d}" for k in range(1, options.items + 1)], dtype=object)
        gaps = _gaps(options, shelf)
        images = _draw_covers(part / "images", item_ids, styles, gaps == "cover", shelf, listener)
        items = pd.DataFrame({"item_id": item_ids, **_write_texts(topics, gaps, desk), "image": images})
        items.to_csv(part / "items.csv", index=False)
        pd.DataFrame({"item_id": item_ids, "style": styles, "topic": topics}).to_csv(
            part / "item_truth.csv", index=False
        )

        drawn = _visit(options, styles, topics, gaps, street)
        user_ids = _reader_ids(options.users)
        drawn.interactions(user_ids, item_ids).to_csv(part / "interactions.csv", index=False)
        drawn.truth(user_ids, item_ids, MODALITIES).to_csv(part / "truth.csv", index=False)
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
        n_users=options.users,
        n_items=options.items,
        n_interactions=len(drawn.users),
    )


def _deal(kinds: list[str], count: int, random: np.random.Generator) -> np.ndarray:
    """(count,) as many of each kind as can be, in random order."""
    return np.array(kinds, dtype=object)[random.permutation(np.arange(count) % len(kinds))]


def _gaps(options: CatalogueOptions, random: np.random.Generator) -> np.ndarray:
    """(I,) "", "cover", "text" or "blurb": what each book lacks; none lacks two things."""
    shares = {"cover": options.no_cover, "text": options.no_text, "blurb": options.no_blurb}
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
    """Draw the covers and return each book's path; those that lack one take turns at how it went missing."""
    folder.mkdir()
    paths, lost = [], 0
    for k, (item_id, style) in enumerate(zip(item_ids, styles, strict=True)):
        path = folder / f"{item_id}.jpg"
        draw_cover(style, random).save(path, quality=88)
        if lacking[k]:
            lost += 1
            if lost % 3 == 0:
                path.write_bytes(path.read_bytes()[:200])
            else:
                path.unlink()
        paths.append("" if lacking[k] and lost % 3 == 1 else f"images/{path.name}")
        listener(Progress("draw covers", k + 1, len(item_ids)))
    return paths


def _write_texts(topics: np.ndarray, gaps: np.ndarray, random: np.random.Generator) -> dict[str, list[str]]:
    """A title, unlike any other, and a blurb for each book."""
    titles: list[str] = []
    blurbs: list[str] = []
    taken: set[str] = set()
    for topic, gap in zip(topics, gaps, strict=True):
        title = write_title(topic, random)
        while title in taken:
            title = write_title(topic, random)
        taken.add(title)
        blurb = write_blurb(topic, random)
        titles.append("" if gap == "text" else title)
        blurbs.append("" if gap in ("text", "blurb") else blurb)
    return {"title": titles, "description": blurbs}


def _visit(
    options: CatalogueOptions, styles: np.ndarray, topics: np.ndarray, gaps: np.ndarray, random: np.random.Generator
) -> Choices:
    """Let the readers choose: styles and topics are the clusters of the two modalities."""
    kinds = (list(STYLES), list(TOPICS))
    cluster = np.stack([[kinds[0].index(name) for name in styles], [kinds[1].index(name) for name in topics]])
    liked = [pick_interests(options.users, len(known), options.interests, random) for known in kinds]
    present = np.stack([gaps != "cover", gaps != "text"])
    return choose(
        cluster_tastes(cluster, liked, present),
        zipf_popularity(options.items, options.zipf, random),
        random.dirichlet(np.full(len(MODALITIES), options.alpha), options.users),
        random.integers(options.length[0], options.length[1] + 1, options.users),
        random,
        p_none=options.p_none,
        p_two=options.p_two,
    )


def _reader_ids(count: int) -> np.ndarray:
    """(count,) such as ada-01, bruno-01, ... ada-02."""
    return np.array([f"{NAMES[k % len(NAMES)].lower()}-{k // len(NAMES) + 1:02d}" for k in range(count)], dtype=object)
