"""`demure extract`: turn the texts, images, attributes, audio and video of a dataset folder into features.

The path from a text or an image to a vector, by module:

- ``extract`` (this module) and ``sources``: which encoder reads which content;
- ``inputs`` (texts and attributes), ``images`` or ``media`` (with ``image_cache``): the distinct inputs, by hash;
- ``request_key``: whether there is anything to do;
- ``encoding``: one modality; ``reuse`` finds the vectors that an earlier run made;
- ``shard_encoder``: the encoder; ``workers`` decodes files (``decoding``, ``demure.media``) and prepares them beside
  it, ``decoding_elsewhere`` on the other machines of a cluster;
- ``shards``: unfinished work on disk;
- ``assemble``: vectors by item, into ``demure.features.store``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from demure.cluster.executor import LOCAL, Executor
from demure.compute.launcher import ProcessRanks, process_ranks
from demure.errors import ExtractorError, NothingUsable
from demure.extraction.encoding import EncodingResult, ExecutionOptions, encode_modality
from demure.extraction.inputs import EncodingTask, Inputs
from demure.extraction.loading import load_encoder, resolve_encoder
from demure.extraction.on_cluster import extract_by_workers
from demure.extraction.protocol import EncoderFamily
from demure.extraction.request_key import RequestKey
from demure.extraction.shards import delete_shards, extraction_lock
from demure.extraction.sources import (
    EncoderNames,
    Request,
    columns_of,
    made_by_another,
    read_inputs,
    requested_modalities,
)
from demure.extraction.summary import ExtractedModality, ExtractReport, summarize
from demure.features import store
from demure.features.kinds import BUILT_IN, MEDIA, plural
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import pandas as pd

UP_TO_DATE = "up to date"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExtractOptions:
    """Options of ``extract``.

    Attributes:
        device: where the encoders compute; ``"auto"`` prefers an accelerator.
        precision: ``"auto"`` (16 bits on CUDA, else float32), ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        resume: reuse the vectors of an interrupted run, or of a run on other items with the same encoder, and keep
            features that are up to date.
        workers: processes that decode files; None chooses by the device and the cores.
        image_seconds: time limit for one image, sound or video; a file that takes longer is given up.
        trust_remote_code: let the models of ``sentence`` and ``vision`` run the code in their folders.
        prompt: name of the model's own prompt that goes before every text; None chooses the prompt for documents.
    """

    device: str = "auto"
    precision: str = "auto"
    resume: bool = True
    workers: int | None = None
    image_seconds: float = 20.0
    trust_remote_code: bool = False
    prompt: str | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        """The options for encoders alone, without those that were not given."""
        keywords = {"trust_remote_code": self.trust_remote_code, "prompt": self.prompt}
        return {name: value for name, value in keywords.items() if value}


class ExtractKeywords(TypedDict, total=False):
    """The same as keyword arguments."""

    device: str
    precision: str
    resume: bool
    workers: int | None
    image_seconds: float
    trust_remote_code: bool
    prompt: str | None


def extract(
    dataset_path: Path,
    text: EncoderNames = None,
    image: EncoderNames = None,
    listener: Listener = silent,
    *,
    attributes: EncoderNames = None,
    audio: EncoderNames = None,
    video: EncoderNames = None,
    executor: Executor = LOCAL,
    **options: Unpack[ExtractKeywords],
) -> ExtractReport:
    """Turn item texts, images, attributes, audio and video into features in the dataset folder.

    An encoder is ``family:model[@revision]``; ``family:model[title,description]`` reads only these columns. Its
    features are called ``text``, ``image``, ``audio`` or ``video``; ``NAME=family:model`` gives them another name, so
    that there can be several. Without any of these arguments the built-in encoders run on the texts and images that
    the dataset has, and leave features alone that were imported or made by another encoder.

    Content that cannot be encoded is missing, and listed in ``features/NAME/problems.csv``.

    Args:
        dataset_path: the dataset folder.
        text: encoders for texts.
        image: encoders for images.
        listener: receives progress.
        attributes: columns of categories and numbers, ``"brand,price"`` or ``"NAME=brand,price"``; ``"all"`` takes the
            columns that ``demure.extraction.columns.attribute_columns`` returns.
        audio: encoders for audio files.
        video: encoders for video files: those of images, whose vectors of a few frames are averaged.
        executor: where the inputs are encoded; on a cluster, its workers share the shards.
        options: see ``ExtractOptions``.

    Raises ``DatasetError``, ``ExtractorError``, ``MachineError`` or ``FeatureError``; ``KeyboardInterrupt`` with the
    number of inputs that are kept.
    """
    encoders = {"text": text, "image": image, "attributes": attributes, "audio": audio, "video": video}
    if not executor.is_local:
        return extract_by_workers(Path(dataset_path), encoders, ExtractOptions(**options), executor, listener)
    return extract_dataset(Path(dataset_path), encoders, ExtractOptions(**options), listener)


def extract_dataset(
    dataset_path: Path,
    encoders: Mapping[str, EncoderNames],
    options: ExtractOptions,
    listener: Listener = silent,
    ranks: ProcessRanks | None = None,
    helpers: Executor = LOCAL,
) -> ExtractReport:
    """Do the work of ``extract`` in this process; arguments as in ``extract_items``."""
    from demure.data.dataset import Dataset

    dataset = Dataset.load(dataset_path)
    return extract_items(
        dataset.path,
        dataset.items,
        dataset.text_columns,
        dataset.images_root,
        encoders,
        options,
        listener,
        ranks,
        media_roots=dataset.media_roots,
        helpers=helpers,
    )


def extract_items(
    folder: Path,
    items: pd.DataFrame,
    text_columns: Sequence[str],
    images_root: Path | None,
    encoders: Mapping[str, EncoderNames],
    options: ExtractOptions = ExtractOptions(),
    listener: Listener = silent,
    ranks: ProcessRanks | None = None,
    *,
    media_roots: Mapping[str, Path] = MappingProxyType({}),
    helpers: Executor = LOCAL,
) -> ExtractReport:
    """Do the work of ``extract`` for items in memory.

    Args:
        folder: the dataset folder; row k of ``items`` is its item k.
        items: the items table, with ``item_id``.
        text_columns: columns that a text encoder reads by default.
        images_root: folder of the image files, or None.
        encoders: kind of content, one of ``KINDS`` -> values of the option.
        options: see ``ExtractOptions``.
        listener: receives progress.
        ranks: this process among those that share the work; None reads them from the environment.
        media_roots: kind of ``MEDIA`` -> folder of its files.
        helpers: see ``ExecutionOptions``.
    """
    roots = {**media_roots, **({} if images_root is None else {"image": images_root})}
    ranks = ranks or process_ranks()
    execution = ExecutionOptions(options.resume, ranks, options.workers, options.image_seconds, helpers)
    with extraction_lock(folder):
        return _extract_items(folder, items, text_columns, roots, encoders, options, listener, execution)


def _extract_items(
    folder: Path,
    items: pd.DataFrame,
    text_columns: Sequence[str],
    roots: Mapping[str, Path],
    encoders: Mapping[str, EncoderNames],
    options: ExtractOptions,
    listener: Listener,
    execution: ExecutionOptions,
) -> ExtractReport:
    ranks = execution.ranks
    if ranks.world > 1 and not options.resume:
        raise ExtractorError(
            f"{ranks.world} processes cannot all start over",
            where="--no-resume",
            remedy="use one process, or resume",
        )
    requested = requested_modalities(encoders)
    requests = requested or _built_in_requests(items, text_columns, roots)
    if not requests:
        return _nothing_to_extract(folder, [kind for kind in MEDIA if kind in roots])
    # All names are understood before any work begins.
    store.check_spellings(folder, [request.name for request in requests])
    resolved = [(request, *resolve_encoder(request.encoder, request.kind)) for request in requests]
    _check_keywords(options.keywords, [family for _, _, family in resolved])
    readable = items.drop(columns=[kind for kind in MEDIA if kind in roots and kind in items.columns])
    columns = {
        request.name: columns_of(request.kind, request.name, spec, readable, text_columns)
        for request, spec, _ in resolved
    }
    ids = items["item_id"].tolist()
    inputs: dict[tuple[str, ...], Inputs] = {}  # by kind and columns: read once for all encoders that share them
    modalities: list[ExtractedModality] = []
    left_out: list[NothingUsable] = []
    for (kind, name, _), spec, family in resolved:
        other = None if requested else made_by_another(folder, name, spec, columns[name])
        if other is not None:
            kept = f"kept, made by {other}; say --{kind} {spec} to replace it"
            modalities.append(summarize(folder, name, kept=kept))
            continue
        started = time.perf_counter()
        source = (kind, *columns[name])
        if source not in inputs:
            listener(Progress(f"reading {plural(kind)}", 0, len(items)))
            inputs[source] = read_inputs(kind, items, columns[name], text_columns, folder, roots)
        decisive = {"device": options.device, "precision": options.precision, **options.keywords}
        key = RequestKey.of(folder, name, kind, spec, family, decisive, inputs[source])
        if options.resume and key.up_to_date(ids, options.image_seconds):
            delete_shards(folder, name)
            modalities.append(summarize(folder, name, EncodingResult(up_to_date=True), kept=UP_TO_DATE))
            logger.info("%s by %s is up to date", name, spec)
            continue
        device = options.device if family.built_in else ranks.device(options.device)
        encoder = load_encoder(spec, family, kind, device, options.precision, options.keywords)
        logger.info("encode %s of %d items by %s", name, len(items), spec, extra={"device": str(device)})
        task = EncodingTask(folder, ids, name, kind, str(spec), inputs[source])
        try:
            result = encode_modality(task, encoder, execution, listener)
        except NothingUsable as error:
            if requested:
                raise
            left_out.append(error)
            continue
        key.remember(getattr(encoder, "folders", []))
        del encoder  # frees its memory before the next one is loaded
        seconds = time.perf_counter() - started
        modalities.append(summarize(folder, name, result, seconds, UP_TO_DATE if result.up_to_date else None))
    if left_out and not modalities:
        raise left_out[0]
    return ExtractReport(Path(folder), modalities, [str(error) for error in left_out])


def _check_keywords(keywords: Mapping[str, Any], families: Sequence[EncoderFamily]) -> None:
    """Raise ``ExtractorError`` for an option that none of the encoders takes."""
    for name in keywords:
        if not any(name in family.keywords for family in families):
            option = "--" + name.replace("_", "-")
            raise ExtractorError("none of these encoders takes it", where=option, remedy=f"leave {option} out")


def _built_in_requests(items: pd.DataFrame, text_columns: Sequence[str], roots: Mapping[str, Path]) -> list[Request]:
    """Return the built-in encoders for the texts and images that the items have."""
    available = {"text": bool(text_columns), "image": "image" in roots and "image" in items.columns}
    return [Request(kind, kind, BUILT_IN[kind]) for kind, is_available in available.items() if is_available]


def _nothing_to_extract(folder: Path, media: Sequence[str]) -> ExtractReport:
    """Return the report on features that exist already. Raises ``ExtractorError`` if there are none."""
    names = store.names(folder)
    if not names:
        remedy = "prepare with --items, or with --features NAME=FILE.npy"
        if media:
            remedy = f"name an encoder of the {plural(media[0])}: --{media[0]} ENCODER"
        raise ExtractorError("the items have neither texts nor images", where=folder, remedy=remedy)
    kept = "kept, the items have nothing to extract from"
    return ExtractReport(Path(folder), [summarize(folder, name, kept=kept) for name in names])
