"""The encoder ``sentence``: transformers text models with the pooling and normalisation that their own files state.

Shapes: n texts, T tokens, D dimensions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from demure_extractors import hub
from demure_extractors.devices import TorchSettings
from demure_extractors.table import FAMILIES
from demure_extractors.weights import load_model

from demure.errors import ExtractorError

# Before sentence-transformers 5.4 each mode had its own flag.
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
MODES = ("mean", "cls", "lasttoken")


@dataclass(frozen=True)
class SentenceLayout:
    """What a model's own files state.

    Attributes:
        transformer: folder of the transformer.
        pooling: one of ``MODES``: how token states become one vector.
        normalize: whether vectors are scaled to length 1.
        max_tokens: where texts are cut; None if it is not stated.
        lower: whether texts are turned into lower case.
        prompt: text that is put before each text.
        assumed: what the files do not state.
    """

    transformer: Path
    pooling: str
    normalize: bool
    max_tokens: int | None
    lower: bool
    prompt: str
    assumed: list[str]


class Sentence:
    """A text encoder: a transformer, and a pooling of its token states."""

    def __init__(self, model: str, revision: str | None, device: str, precision: str = "auto") -> None:
        self.where = f"sentence:{model}"
        source = _source(model, revision)
        layout = read_layout(source.folder, self.where)
        hub.require_weights(layout.transformer, self.where)
        self.settings = TorchSettings(device, precision)
        self.device, self.batch = self.settings.device, self.settings.batch
        self.layout = layout
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(layout.transformer, local_files_only=True)
        # Right padding, so that the first token is token 0 of every row.
        self.tokenizer.padding_side = "right"
        assumed = list(layout.assumed)
        if self.tokenizer.pad_token is None:
            if self.tokenizer.eos_token is None:
                raise ExtractorError("its tokenizer has no padding token", where=self.where, remedy="use another model")
            self.tokenizer.pad_token = self.tokenizer.eos_token
            assumed.append("padding with the end token (masked)")
        self.model, _ = load_model(transformers.AutoModel, layout.transformer, self.where, unused=("pooler",))
        self.model.to(self.device)
        config = self.model.config
        self.dim = int(config.hidden_size)
        self.max_tokens = layout.max_tokens or min(
            self.tokenizer.model_max_length, getattr(config, "max_position_embeddings", 512), 8192
        )
        if layout.max_tokens is None:
            assumed.append(f"texts cut at {self.max_tokens} tokens")
        self.facts = {
            "library": f"transformers {transformers.__version__}",
            "precision": self.settings.precision,
            **source.facts,
            "files_sha256": hub.fingerprint(source.folder),
            "assumed": assumed,
        }

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, D) float32."""
        prompted = [self.layout.prompt + (text.lower() if self.layout.lower else text) for text in texts]
        tokens = self.tokenizer(
            prompted, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.device)
        with self.settings.inference():
            states = self.model(**tokens).last_hidden_state.float()
            pooled = pool(states, tokens["attention_mask"], self.layout.pooling)
            if self.layout.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
        return pooled.cpu().numpy()

    def identity(self) -> dict[str, Any]:
        layout = self.layout
        preprocessing = {"max_tokens": self.max_tokens, "lower_case": layout.lower, "prompt": layout.prompt}
        return {
            **self.facts,
            "dim": self.dim,
            "pooling": layout.pooling,
            "normalize": layout.normalize,
            "preprocessing": preprocessing,
        }


def pool(states: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Pool token states (n, T, D) with their mask (n, T), padded on the right, to (n, D)."""
    if mode == "cls":
        return states[:, 0]
    if mode == "lasttoken":
        last = mask.sum(dim=1).clamp(min=1) - 1
        return states[torch.arange(len(states), device=states.device), last]
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-9)


def read_layout(folder: Path, where: str) -> SentenceLayout:
    """Read sentence-transformers' files; without them, mean pooling and length 1 are assumed and recorded.

    Raises ``ExtractorError`` for modules and pooling modes that demure does not know.
    """
    modules = folder / "modules.json"
    if not modules.is_file():
        if not (folder / "config.json").is_file():
            raise ExtractorError(f"no config.json in {folder}", where=where, remedy="give a transformers model")
        assumed = ["mean of the token states (the model has no modules.json)", "vectors scaled to length 1"]
        return SentenceLayout(folder, "mean", True, None, False, "", assumed)
    transformer, pooling, normalize = folder, "", False
    for module in hub.read_json_file(modules, where):
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if kind == "Transformer":
            transformer = folder / path
        elif kind == "Pooling":
            pooling = _pooling(hub.read_json_file(folder / path / "config.json", where), where)
        elif kind == "Normalize":
            normalize = True
        elif kind != "Dropout":
            raise ExtractorError(f"its module {kind!r} is not supported", where=where, remedy="use another model")
    assumed = []
    if not pooling:
        pooling, assumed = "mean", ["mean of the token states (modules.json has no Pooling)"]
    limits_file = transformer / "sentence_bert_config.json"
    limits = hub.read_json_file(limits_file, where) if limits_file.is_file() else {}
    file = folder / "config_sentence_transformers.json"
    prompt = _prompt(hub.read_json_file(file, where) if file.is_file() else {})
    return SentenceLayout(
        transformer,
        pooling,
        normalize,
        limits.get("max_seq_length"),
        bool(limits.get("do_lower_case")),
        prompt,
        assumed,
    )


def _prompt(config: dict[str, Any]) -> str:
    """Return the prompt of sentence-transformers' ``encode_document``: items are documents, not queries."""
    prompts = config.get("prompts") or {}
    names = [
        *(name for name in ("document", "passage", "corpus") if name in prompts),
        config.get("default_prompt_name"),
    ]
    return str(prompts.get(names[0] or "") or "")


def _pooling(config: dict[str, Any], where: str) -> str:
    stated = config.get("pooling_mode") or [mode for flag, mode in FLAGS.items() if config.get(flag)] or "mean"
    modes = [stated] if isinstance(stated, str) else list(stated)
    if len(modes) != 1 or modes[0] not in MODES:
        raise ExtractorError(
            f"pooling {' + '.join(modes)} is not supported", where=where, remedy=f"demure knows {', '.join(MODES)}"
        )
    if config.get("include_prompt") is False:
        raise ExtractorError("pooling without the prompt is not supported", where=where, remedy="use another model")
    return modes[0]


def _source(model: str, revision: str | None) -> hub.ModelFiles:
    """Find the model; an installed package replaces a model that the hub's cache lacks, also by its short name."""
    family = FAMILIES["sentence"]
    if revision or Path(model).exists():
        return hub.find_model(model, revision, "sentence", family.model_names)
    short = model.rpartition("/")[2].lower()
    name, package = next(
        (
            (full, package)
            for full, package in family.packaged
            if model == full or model.lower() == short == full.rpartition("/")[2].lower()
        ),
        (model, ""),
    )
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or not spec.origin or hub.cached(name, None) is not None:
        return hub.find_model(name, None, "sentence", family.model_names)
    facts = {"model": name, "from": f"installed package {package.replace('_', '-')}"}
    return hub.ModelFiles(Path(spec.origin).parent / "model", facts)
