"""The options of the baselines with meanings and ranges: the keys below ``baseline`` in a recipe."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from demure.recipe.reference import Key
from demure.recipe.schema import OURS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_MANY = 1_000_000
_BPR, _LIGHTGCN, _FREEDOM = "Rendle 2009", "He 2020, arXiv 2002.02126", "Zhou 2023, arXiv 2211.06924"
_ADT = "Wang 2021, arXiv 2006.04153"
_MGCN, _DA_MRS = "Yu 2023, arXiv 2308.03588", "Xv 2024, arXiv 2406.12501"
_LATTICE = "Zhang 2021, arXiv 2104.09036"
_UNISREC = "Hou 2022, arXiv 2206.05941"
_SASREC = "Kang 2018, arXiv 1808.09781"

OPTIONS: dict[str, tuple[float, float, str, str]] = {
    "dim": (1, 65_536, "dimensions of every embedding", OURS),
    "learning_rate": (0.0, 10.0, "of Adam", OURS),
    "batch": (1, 100_000_000, "pairs a step; for `sasrec`, `unisrec` and `mmmlp` users a step", OURS),
    "epochs": (1, 100_000, "most epochs", OURS),
    "every": (1, 100_000, "epochs between two validations", OURS),
    "patience": (1, 100_000, "validations without a better recall@20 before stopping", OURS),
    "truncation": (0.0, 0.99, "share of a step's largest losses left out, reached after 10 epochs", _ADT),
    "reweighting": (0.0, 100.0, "exponent: a loss -log p counts p ** reweighting; 0: all alike", _ADT),
    "regularisation": (0.0, 1e9, "weight of the squared length of the parameters", f"{_BPR}; EASE: Steck 2019"),
    "layers": (0, 64, "of propagation; of attention in `sasrec`, `unisrec`; of mixers", f"{_LIGHTGCN}; {_SASREC}"),
    "neighbours": (0, _MANY, "kept of an item, in graphs of content of each modality; 0 in `item-knn`: all", _FREEDOM),
    "shrink": (0.0, 1e9, "added below each similarity, to lower those of rare items", "Dacrema 2019"),
    "image_weight": (0.0, 1.0, "of the image's graph of items; the others share the rest", _FREEDOM),
    "pruned": (0.0, 0.99, "share of the interactions left out of an epoch's graph", _FREEDOM),
    "modal_weight": (0.0, 1e6, "of the losses on the features alone", f"{_FREEDOM}; Zhou 2023, arXiv 2207.05969"),
    "item_layers": (0, 64, "of propagation over the graphs of items", _MGCN),
    "contrast_weight": (0.0, 1e6, "of the contrastive loss", f"{_MGCN}; {_DA_MRS}"),
    "temperature": (1e-3, 1e3, "of the softmax in that loss", _MGCN),
    "align_weight": (0.0, 1e6, "of the loss between preferences by interactions and by content", _DA_MRS),
    "anchors": (1, _MANY, "users, and items, of a step that the losses of alignment compare", OURS),
    "kept_graph": (0.0, 1.0, "share of the item graph of the features themselves; the rest is learned", _LATTICE),
    "denoising": (0.0, 1.0, "with `denoise`: how far a weight lies from 1 towards that of the verdict", OURS),
    "attention": (0.0, 1.0, "above 0, modalities count by a softmax over vectors of user and item", "Chen 2017"),
    "longest": (1, 100_000, "the end of a history that is read", _SASREC),
    "heads": (1, 1024, "of attention; they must divide `dim`", _SASREC),
    "dropout": (0.0, 0.99, "share of the activations dropped while learning", _SASREC),
    "content": (0.0, 1.0, "above 0, an item is its embedding and its features side by side", OURS),
    "experts": (1, 1024, "that map the features of a modality", _UNISREC),
    "whitened": (1, 65_536, "most dimensions of a modality after whitening", _UNISREC),
    "candidates": (1, _MANY, "items drawn for a step's softmax where there are more than 20,000", "logQ, Bengio 2008"),
    "decay": (0.0, 100.0, "decay of the past: weight = distance ** -decay; 0: none", OURS),
    "window": (1, _MANY, "the widest gap of a pair that counts, where there is decay", "Ludewig and Jannach 2018"),
}
"""Option -> low, high, meaning, source."""


def option_range(field: dataclasses.Field[Any]) -> tuple[float, float, str, str]:
    """Return low, high, meaning and source of an option.

    A baseline of another package may state them as ``metadata`` of the field, by these names: ``low``, ``high``,
    ``doc``, ``source``.
    """
    low, high, doc, source = OPTIONS.get(field.name, (0.0, math.inf, "", ""))
    stated = field.metadata
    return stated.get("low", low), stated.get("high", high), stated.get("doc", doc), stated.get("source", source)


def option_keys(options: DataclassInstance) -> list[Key]:
    """Return the keys of a baseline with these default ``options``."""
    keys = []
    for field in dataclasses.fields(options):
        low, high, doc, source = option_range(field)
        default = getattr(options, field.name)
        kind = "whole number" if isinstance(default, int) else "number"
        keys.append(Key(f"baseline.{field.name}", kind, default, low, high, doc, source))
    return keys
