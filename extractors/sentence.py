"""The encoder ``sentence``: text models as the library ``sentence-transformers`` builds them from their own files.

The library does pooling, normalisation, projection and truncation. Three things are decided here, since the library
does them otherwise: which prompt a text gets (its ``encode_document`` misses prompts called ``passage`` and default
ones), where texts are cut (it counts two positions too many for RoBERTa and its like), and what must not be loaded
(``sentence_layout``).

Shapes: n texts, D dimensions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentence_transformers
import torch
import transformers
from demure_extractors import hub
from demure_extractors.devices import TorchSettings
from demure_extractors.sentence_layout import SentenceLayout, choose_prompt, read_layout
from demure_extractors.table import FAMILIES
from demure_extractors.weights import quiet_loading

from demure.errors import ExtractorError

MOST_TOKENS = 8192
"""Texts are cut here where a model's files do not state a limit, as the cost grows with the square of the length."""
USUAL_TOKENS = 512
"""Texts are cut here where not even the model's shape has a limit."""
_NO_LIMIT = 10**9  # tokenizers without a limit state 1e30


class Sentence:
    """A text encoder: a model of ``sentence-transformers``.

    ``prompt``: the name of one of the model's prompts; ``prompt_text``: the prompt itself, as :meth:`identity` has it.
    """

    def __init__(
        self,
        model: str,
        revision: str | None,
        device: str,
        precision: str = "auto",
        *,
        trust_remote_code: bool = False,
        prompt: str | None = None,
        prompt_text: str | None = None,
    ) -> None:
        where = f"sentence:{model}"
        source = _source(model, revision, code=trust_remote_code)
        self.folders = [source.folder]
        layout = read_layout(source.folder, where, trust_remote_code=trust_remote_code)
        self.prompt, assumed = choose_prompt(layout, prompt, where)
        if prompt_text not in (None, self.prompt):
            self.prompt, assumed = prompt_text, []
        self.layout = layout
        self.settings = TorchSettings(device, precision)
        self.device, self.batch = self.settings.device, self.settings.batch
        self.model = _load(source.folder, layout, self.device, trust_remote_code, where)
        self.pooling = [mode for module in self.model for mode in _modes(module)]
        self.normalize = not layout.stated or any(type(module).__name__ == "Normalize" for module in self.model)
        if not layout.stated:
            assumed = [*_assumptions(self.pooling), *assumed]
        self.max_tokens: int | None = None
        for part in self.model.modules():
            if hasattr(part, "auto_model") and getattr(part, "tokenizer", None) is not None:
                assumed += _prepare_tokenizer(part, where)
                self.max_tokens, notes = _cut(part, layout)
                assumed += notes
        # A multi-modal model would take a text that looks like a path or an address for an image, and open it.
        self.wrapped = any(kind != "text" for kind in self.model.modalities if kind != "message")
        self.dim = self.encode(["a"]).shape[1]
        self._check_cut(where)
        self.facts = {
            "library": f"sentence-transformers {sentence_transformers.__version__}, "
            f"transformers {transformers.__version__}",
            "precision": self.settings.precision,
            **source.facts,
            "files_sha256": hub.fingerprint(source.folder),
            "assumed": [*assumed, *layout.code],
        }
        if trust_remote_code:
            self.facts |= {"trust_remote_code": True, "code_sha256": hub.code_fingerprint(source.folder)}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n, D) float32."""
        return self.submit(texts)()

    def submit(self, texts: Sequence[str]) -> Callable[[], np.ndarray]:
        inputs: list[Any] = [{"text": text} for text in texts] if self.wrapped else list(texts)
        try:
            with self.settings.inference():
                vectors = self.model.encode_document(
                    inputs,
                    prompt=self.prompt,
                    batch_size=len(inputs),
                    show_progress_bar=False,
                    normalize_embeddings=not self.layout.stated,
                    convert_to_tensor=True,  # where it was computed: nothing waits for it yet
                )
                return self.settings.deliver(vectors)
        except IndexError as error:
            raise ExtractorError(
                f"its tokenizer does not fit its weights ({error})", where="sentence", remedy="use another model"
            ) from error

    def identity(self) -> dict[str, Any]:
        preprocessing = {"max_tokens": self.max_tokens, "lower_case": self.layout.lower, "prompt": self.prompt}
        return {
            **self.facts,
            "dim": self.dim,
            "modules": [type(module).__name__ for module in self.model],
            "pooling": " + ".join(self.pooling) or None,
            "normalize": self.normalize,
            "truncate_dim": self.model.truncate_dim,
            "preprocessing": preprocessing,
        }

    def _check_cut(self, where: str) -> None:
        """Raise ``ExtractorError`` if the model's own settings let a long text through: it would end the run."""
        if self.max_tokens is None:
            return
        long = "a b " * self.max_tokens
        features = self.model.preprocess(
            [{"text": long} if self.wrapped else long], prompt=self.prompt, task="document"
        )
        tokens = int(features["input_ids"].shape[-1])
        if tokens > self.max_tokens:
            raise ExtractorError(
                f"its files ask for texts of {tokens:,} tokens, and it reads {self.max_tokens:,}",
                where=where,
                remedy="correct processing_kwargs in sentence_bert_config.json",
            )


def _load(
    folder: Path, layout: SentenceLayout, device: torch.device, trust_remote_code: bool, where: str
) -> sentence_transformers.SentenceTransformer:
    """Return the model in float32; nothing is downloaded, and no pickle is read."""
    default = layout.default_prompt
    with quiet_loading() as loaded:
        model = sentence_transformers.SentenceTransformer(
            str(folder),
            device=str(device),
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            model_kwargs={"dtype": "float32", "use_safetensors": True},
            # The library refuses a default prompt that is not among the prompts; `choose_prompt` says so instead.
            prompts=None if default is None or default in layout.prompts else {default: ""},
        )
    # What is pooled are the states of the tokens; only a model with an output of its own needs its pooler.
    outputs = {part.module_output_name for part in model.modules() if hasattr(part, "auto_model")}
    loaded.check(where, unused=("pooler",) if outputs <= {"token_embeddings"} else ())
    return model.eval()


def _modes(module: Any) -> list[str]:
    """Return the pooling modes of a module; none if it does not pool."""
    modes: Any = getattr(module, "pooling_mode", ())
    return [modes] if isinstance(modes, str) else list(modes)


def _assumptions(pooling: list[str]) -> list[str]:
    """Return what is assumed of a model that has no ``modules.json``."""
    reason = "(the model has no modules.json)"
    named = {"mean": "mean of the token states", "lasttoken": "state of the last token"}
    kind = " + ".join(named.get(mode, mode) for mode in pooling) or "the model's own output"
    return [f"{kind} {reason}", "vectors scaled to length 1"]


def _prepare_tokenizer(part: Any, where: str) -> list[str]:
    """Make padding possible, on the right, so that no token's position depends on the batch; return what is assumed."""
    tokenizer = part.tokenizer
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is not None:
        return []
    if tokenizer.eos_token is None:
        raise ExtractorError("its tokenizer has no padding token", where=where, remedy="use another model")
    tokenizer.pad_token = tokenizer.eos_token
    return ["padding with the end token (masked)"]


def _cut(part: Any, layout: SentenceLayout) -> tuple[int, list[str]]:
    """Set the number of tokens at which a transformer's texts are cut; return it, and what is assumed."""
    limits = [part.tokenizer.model_max_length, _positions(part.auto_model)]
    most = min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=USUAL_TOKENS)
    stated = layout.max_tokens
    if stated is None:
        most = min(most, MOST_TOKENS)
        notes = [f"texts cut at {most} tokens"]
    else:
        notes = [] if most >= stated else [f"texts cut at {most} tokens, all that the model reads (stated: {stated})"]
    part.max_seq_length = most
    return most, notes


def _positions(model: Any) -> int | None:
    """Return the number of tokens that a model has positions for; None if its positions have no end.

    RoBERTa, XLM-R, CamemBERT, MPNet and others count positions from padding_idx + 1: 514 positions hold 512 tokens.
    """
    for part in model.modules():
        table = getattr(part, "position_embeddings", None)
        if isinstance(table, torch.nn.Embedding):
            before = getattr(part, "padding_idx", None)
            return table.num_embeddings - (before + 1 if isinstance(before, int) else 0)
    stated = getattr(model.config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def _source(model: str, revision: str | None, *, code: bool = False) -> hub.ModelFiles:
    """Find the model; an installed package replaces a model that the hub's cache lacks, also by its short name."""
    family = FAMILIES["sentence"]
    if revision or Path(model).exists():
        return hub.find_model(model, revision, "sentence", family.model_names, code=code)
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
        return hub.find_model(name, None, "sentence", family.model_names, code=code)
    facts = {"model": name, "from": f"installed package {package.replace('_', '-')}"}
    return hub.ModelFiles(Path(spec.origin).parent / "model", facts)
