"""What `demure extract` calls: encoders by name, over the texts and images of a dataset folder."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.compute.launcher import ranks
from demure.errors import ExtractorError, NothingUsable
from demure.extraction.assemble import PROBLEMS
from demure.extraction.encoding import Encoded, How, encode_modality
from demure.extraction.inputs import Inputs
from demure.extraction.loading import choose, load_encoder
from demure.extraction.sources import Named, columns_of, made_by_another, read, requested
from demure.features import store
from demure.features.kinds import BUILT_IN, plural
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Extracted:
    """What became of one modality, made from items' ``kind`` text or image. ``problems``: kind -> items; ``first``: an
    item of each kind, id and value.

    ``encoded`` of the ``distinct`` inputs went through the encoder now, ``resumed`` had been before, or did in another
    process; ``kept`` says why nothing was done at all; ``assumed`` what the model's files leave open. ``columns`` are
    those of the items that were encoded; ``notes`` say what of their content the encoder left out.
    """

    name: str
    encoder: str
    dim: int
    items: int
    present: int
    missing: int
    distinct: int
    encoded: int
    resumed: int
    problems: dict[str, int]
    first: list[dict[str, str]]
    seconds: float
    folder: Path
    assumed: list[str] = field(default_factory=list)
    kept: str | None = None
    kind: str | None = None
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ExtractReport:
    """Result of ``extract``. ``left_out``: what the items seemed to have, and why it could not be used."""

    dataset: Path
    modalities: list[Extracted]
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ExtractOptions:
    """``device`` and ``precision`` ("auto": 16 bits where an accelerator computes, float32 on a CPU) of the encoders;
    ``resume`` whether to go on where an earlier call stopped; ``workers`` processes that decode images (None: as many
    as help); ``image_seconds`` what one image may take before it is given up."""

    device: str = "auto"
    precision: str = "auto"
    resume: bool = True
    workers: int | None = None
    image_seconds: float = 20.0


def extract(
    dataset_path: Path,
    text: Named = None,
    image: Named = None,
    listener: Listener = silent,
    *,
    attributes: Named = None,
    **options: Any,
) -> ExtractReport:
    """Turn item texts, images and attributes into features in the dataset folder.

    ``text`` and ``image`` name encoders, ``family:model[@revision]``, whose features are called ``text`` and ``image``;
    ``NAME=family:model`` calls them otherwise, so that several can be there, and ``family:model[title,description]``
    reads only these columns. ``attributes`` are columns of categories and numbers, ``"brand,price"`` or
    ``"NAME=brand,price"``; ``"all"`` takes those that ``demure.extraction.columns.attribute_columns`` finds. Where all
    three are None the built-in encoders run on the dataset's texts and images, and leave alone features that were
    imported or made by another encoder. What cannot be encoded is missing, and listed in
    ``features/NAME/problems.csv``. With ``resume``, what an interrupted run or one on other items made with the same
    encoder is used, and features that are up to date are kept. ``options`` are those of ``ExtractOptions``. Raises
    ``DatasetError``, ``ExtractorError``, ``MachineError``, ``FeatureError``; ``KeyboardInterrupt`` says what is kept.
    """
    from demure.data.dataset import Dataset

    dataset = Dataset.load(Path(dataset_path))
    return extract_items(
        dataset.path,
        dataset.items,
        dataset.text_columns,
        dataset.images_root,
        {"text": text, "image": image, "attributes": attributes},
        ExtractOptions(**options),
        listener,
    )


def extract_items(
    folder: Path,
    items: pd.DataFrame,
    text_columns: Sequence[str],
    images_root: Path | None,
    given: Mapping[str, Named],
    options: ExtractOptions = ExtractOptions(),
    listener: Listener = silent,
) -> ExtractReport:
    """``extract`` for items in memory: row k of ``items`` is item k of ``folder``, ``given`` kind -> encoders."""
    together = ranks()
    if together.world > 1 and not options.resume:
        raise ExtractorError(
            f"{together.world} processes cannot all start over",
            where="--no-resume",
            remedy="use one process, or resume",
        )
    asked = chosen = requested(given)
    if not asked:
        has = {"text": bool(text_columns), "image": images_root is not None and "image" in items.columns}
        chosen = [(kind, kind, BUILT_IN[kind]) for kind, is_there in has.items() if is_there]
    there = [] if chosen else store.names(folder)
    if not chosen and not there:
        raise ExtractorError(
            "the items have neither texts nor images",
            where=folder,
            remedy="prepare with --items, or with --features NAME=FILE.npy",
        )
    # All names are understood before any work begins.
    resolved = [(kind, name, *choose(encoder, kind)) for kind, name, encoder in chosen]
    columns = {name: columns_of(kind, name, spec, items, text_columns) for kind, name, spec, _ in resolved}
    done = [_summary(folder, name, Encoded(), 0.0, "kept, the items have nothing to extract from") for name in there]
    ids = items["item_id"].tolist()
    how = How(options.resume, together, options.workers, options.image_seconds)
    found: dict[tuple[str, ...], Inputs] = {}
    left_out: list[NothingUsable] = []
    for kind, name, spec, family in resolved:
        other = None if asked else made_by_another(folder, name, spec, columns[name])
        if other is not None:
            kept = f"kept, made by {other}; say --{kind} {spec} to replace it"
            done.append(_summary(folder, kind, Encoded(), 0.0, kept))
            continue
        started = time.perf_counter()
        source = (kind, *columns[name])
        if source not in found:
            listener(Progress(f"reading {plural(kind)}", 0, len(items)))
            found[source] = read(kind, items, columns[name], text_columns, folder, images_root)
        device = options.device if family.built_in else together.device(options.device)
        encoder = load_encoder(spec, family, kind, device, options.precision)
        try:
            made = encode_modality(folder, ids, name, kind, spec, found[source], encoder, how, listener)
        except NothingUsable as error:
            if asked:
                raise
            left_out.append(error)
            continue
        del encoder
        seconds = time.perf_counter() - started
        done.append(_summary(folder, name, made, seconds, "up to date" if made.up_to_date else None))
    if left_out and not done:
        raise left_out[0]
    return ExtractReport(Path(folder), done, [str(error) for error in left_out])


def _summary(folder: Path, name: str, made: Encoded, seconds: float, kept: str | None) -> Extracted:
    facts, where = store.manifest(folder, name), Path(folder) / "features" / name
    provenance: dict[str, Any] = facts["provenance"]
    return Extracted(
        name=name,
        encoder=str(provenance.get("encoder")),
        dim=facts["dim"],
        items=facts["items"],
        present=facts["present"],
        missing=facts["missing"],
        distinct=provenance.get("distinct_inputs", facts["present"]),
        encoded=made.encoded,
        resumed=made.resumed,
        problems=provenance.get("problems", {}),
        first=_first(where / PROBLEMS),
        seconds=round(seconds, 3),
        folder=where,
        assumed=list(provenance.get("assumed", [])),
        kept=kept,
        kind=provenance.get("kind"),
        columns=list(provenance.get("input", {}).get("columns", [])),
        notes=[*_left_out(provenance.get("left_out")), *_shared(folder, provenance)],
    )


def _shared(folder: Path, provenance: dict[str, Any]) -> list[str]:
    """A line for each text that reads columns which are also attributes, as one content would then count twice."""
    columns, found = provenance.get("input", {}).get("columns", []), []
    for other in store.names(folder) if provenance.get("kind") == "attributes" else []:
        facts = store.manifest(folder, other)["provenance"]
        both = [one for one in columns if one in facts.get("input", {}).get("columns", [])]
        if facts.get("kind") == "text" and both:
            name = "" if other == "text" else f"{other}="
            remedy = f"--text '{name}{facts['encoder']}[COLUMNS]' with other columns keeps them apart"
            found.append(f"also read by {other}, so that they count twice: {', '.join(both)}; {remedy}")
    return found


def _left_out(left_out: dict[str, Any] | None) -> list[str]:
    """A line on what the encoder left out of the texts or attributes."""
    if not left_out or not left_out["distinct"]:
        return []
    shown = ", ".join(left_out["examples"]) + (", ..." if left_out["distinct"] > len(left_out["examples"]) else "")
    line = f"left out as no content: {left_out['distinct']:,} {left_out['what']} ({shown})"
    return [f"{line}; {left_out['remedy']}" if left_out["remedy"] else line]


def _first(listed: Path) -> list[dict[str, str]]:
    if not listed.is_file():
        return []
    first: dict[str, dict[str, str]] = {}
    with open(listed, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            first.setdefault(row["problem"], row)
    return list(first.values())
