"""From an encoder's name to the encoder: the table in ``demure_extractors``, and one line for each way to fail."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from demure.errors import DemureError, ExtractorError, MachineError
from demure.extraction.frames import FrameEncoder
from demure.extraction.protocol import EncoderFamily, EncoderSpec, parse_encoder
from demure.features import store
from demure.features.kinds import BUILT_IN, FILES, KINDS, plural, with_article
from demure.plugins import EXTRACTORS, load_plugins, refuse_taken
from demure.suggest import nearest

ALL = "all"


def encoder_families() -> dict[str, EncoderFamily]:
    """Return name -> family, in the order of the table, then those of other packages (``demure.plugins``).

    Raises ``DemureError`` for a package whose family cannot be used.
    """
    own = cast("dict[str, EncoderFamily]", importlib.import_module("demure_extractors.table").FAMILIES)
    added = load_plugins(EXTRACTORS)
    refuse_taken(EXTRACTORS, added, own)
    for name, family in added.items():
        if not isinstance(family, EncoderFamily) or family.name != name:
            problem = f"{name!r} is {family!r}"
            raise ExtractorError(problem, where=EXTRACTORS, remedy=f"it must be an EncoderFamily named {name!r}")
    return {**own, **added}


def resolve_encoder(text: str, kind: str) -> tuple[EncoderSpec, EncoderFamily]:
    """Parse an encoder's name and find its family.

    ``kind`` is one of ``KINDS``. Raises ``ExtractorError`` if no family of this kind is meant.
    """
    families, spec = encoder_families(), parse_encoder(text)
    family = families.get(spec.family)
    where = f"--{kind}"
    fitting = [candidate.name for candidate in families.values() if candidate.target(kind)]
    if family is None:
        near = nearest(spec.family, families, cutoff=0.5)
        hint = f"did you mean {near!r}? " if near else ""
        raise ExtractorError(
            f"unknown encoder {text!r}",
            where=where,
            remedy=f"{hint}there are: {', '.join(fitting)}",
        )
    if not family.target(kind):
        raise ExtractorError(
            f"{spec.family!r} does not encode {plural(kind)}", where=where, remedy=f"use {', '.join(fitting)}"
        )
    if spec.columns and kind in FILES:
        raise ExtractorError(
            f"{text!r} names columns, and {plural(kind)} have only one", where=where, remedy=f"write {where} {spec}"
        )
    if family.built_in and (spec.revision or (spec.model and not family.options)):
        refused = f"revision, got {spec.revision!r}" if spec.revision else f"model, got {spec.model!r}"
        raise ExtractorError(f"{spec.family!r} takes no {refused}", where=where, remedy=spec.family)
    if family.built_in and spec.model:
        load_encoder(spec, family, kind, "cpu")  # checks the options, and does nothing else yet
    if not family.built_in and not spec.model:
        raise ExtractorError(f"{text!r} names no model", where=where, remedy=f"for example {family.example}")
    return spec, family


def parse_encoder_options(kind: str, values: str | Sequence[str]) -> dict[str, str]:
    """Return modality -> encoder from the values of ``--text``, ``--image``, ``--audio`` or ``--video``.

    ``ENCODER`` makes the modality called ``kind``, ``NAME=ENCODER`` the modality ``NAME``. Raises ``ExtractorError`` if
    two encoders would make one modality.
    """
    encoders: dict[str, str] = {}
    for value in [values] if isinstance(values, str) else values:
        match = re.fullmatch(r"\s*([^=:/\\\s]+)=(.*)", value, re.DOTALL)
        name, encoder = match.groups() if match else (kind, value)
        store.check_name(name)
        if name in KINDS and name != kind:
            raise ExtractorError(
                f"{name!r} would name features of {with_article(kind)}", where=f"--{kind}", remedy="another name"
            )
        if name in encoders:
            other = f"{kind}-{encoder.partition(':')[0]}"
            raise ExtractorError(
                f"two encoders would both make {name!r}: {encoders[name]} and {encoder}",
                where=f"--{kind}",
                remedy=f"name one of them: --{kind} {other}={encoder}",
            )
        encoders[name] = encoder
    return encoders


def parse_attribute_options(values: str | Sequence[str]) -> dict[str, str]:
    """Return modality -> encoder from the values of ``--attributes``.

    A value is ``COLUMN,COLUMN`` or ``all``, with or without ``NAME=``. Raises ``ExtractorError`` if two values would
    make one modality, or if a value is not a list of columns.
    """
    encoders: dict[str, str] = {}
    for value in [values] if isinstance(values, str) else values:
        name, equals, columns = value.rpartition("=")
        name, columns = name.strip() if equals else "attributes", columns.strip()
        store.check_name(name)
        if name in KINDS and name != "attributes":
            raise ExtractorError(f"{name!r} would name attributes", where="--attributes", remedy="another name")
        if name in encoders:
            raise ExtractorError(
                f"two lists of columns would both make {name!r}",
                where="--attributes",
                remedy=f"name one of them: --attributes NAME={columns}",
            )
        if not columns or any(mark in columns for mark in "[]"):
            raise ExtractorError(
                f"{value!r} is not a list of columns",
                where="--attributes",
                remedy="write brand,colour or NAME=brand,colour",
            )
        encoders[name] = BUILT_IN["attributes"] if columns == ALL else f"{BUILT_IN['attributes']}[{columns}]"
    return encoders


def load_encoder(
    spec: EncoderSpec,
    family: EncoderFamily,
    kind: str,
    device: str,
    precision: str = "auto",
    keywords: Mapping[str, Any] | None = None,
) -> Any:
    """Return the encoder, ready to encode. ``keywords`` are those of ``EncoderFamily.keywords`` that the user gave.

    Raises ``ExtractorError`` if it cannot be loaded, ``MachineError`` if packages are absent or do not fit together.
    """
    module, _, name = (family.target(kind) or "").partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
        if family.built_in:
            encoder = make(spec.model) if spec.model else make()
        else:
            taken = {name: value for name, value in (keywords or {}).items() if name in family.keywords}
            encoder = make(spec.model, spec.revision, device, precision, **taken)
        return FrameEncoder(encoder) if kind == "video" else encoder
    except DemureError:
        raise
    except Exception as error:
        raise loading_error(error, spec, may_run_code="trust_remote_code" in family.keywords) from error


@contextlib.contextmanager
def without_download() -> Iterator[None]:
    """Let encoders be loaded from this machine alone: one that is not here is refused as where there is no network."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def loading_error(error: Exception, spec: EncoderSpec, *, may_run_code: bool = False) -> DemureError:
    """Return an error of one line for any exception that loading raised."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        allow = ", or read its code and say --trust-remote-code" if may_run_code else ""
        return ExtractorError(
            "the model brings its own code, which demure does not run",
            where=str(spec),
            remedy=f"use another model{allow}",
        )
    if "torchvision::" in text or ("torchvision" in text and "undefined symbol" in text):
        versions = " and ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision"))
        return MachineError(
            f"{versions} do not fit together",
            where=str(spec),
            remedy="install a matching pair: pip install --upgrade --force-reinstall torch torchvision",
        )
    if isinstance(error, ImportError):
        package = (error.name or "").split(".")[0]
        problem = f"package {package!r} is not installed" if package else f"an import failed ({text[:200]})"
        return MachineError(problem, where=str(spec), remedy="pip install 'demure' again, with all it depends on")
    return ExtractorError(
        f"cannot be loaded: {type(error).__name__}: {text[:300]}", where=str(spec), remedy="check the model's files"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(absent)"
