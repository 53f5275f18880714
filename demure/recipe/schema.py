"""The keys of a recipe, with their meaning, default, range and source. This is the only place that holds them, but for
those of ``baseline``, which are ``demure.baselines.options``'s."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PAPER = "Yao et al. 2023, arXiv 2305.01915"
OURS = "ours"


def _number(default: float, low: float, high: float, doc: str, source: str = OURS) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "doc": doc, "source": source})


def _other(default: Any, doc: str, source: str = OURS) -> Any:
    return field(default=default, metadata={"doc": doc, "source": source})


@dataclass(frozen=True)
class DenoiserRecipe:
    """The content mixture."""

    denoise: bool = _other(True, "weigh each interaction by what caused it", PAPER)
    reliance: bool = _other(True, "let users differ in what they rely on")
    exclusive: bool = _other(False, "one cause at most: no two modalities at once")
    hard: bool = _other(False, "only the likeliest modality counts as evidence, in full")
    causal: bool = _other(False, "judge by what came before only, not by the whole history")
    rivals: bool = _other(True, "let popularity over time, earlier choices and hidden taste compete with the content")
    themes: int = _number(20, 1, 4096, "soft clusters per modality", "planted sets, benchmarks/LOG.md")
    max_dim: int = _number(
        20, 1, 1024, "most latent dimensions kept of a modality", "a cap on Gavish and Donoho's threshold, 2014"
    )
    rounds: int = _number(5, 1, 100, "fixed-point steps, before and again after the seeds move", "EM; CVB0, Teh 2006")
    candidates: int = _number(
        800, 16, 1_000_000, "items a softmax runs over while learning", "sampled softmax with logQ correction"
    )


@dataclass(frozen=True)
class CollaborativeRecipe:
    """The `id` channel."""

    enabled: bool = _other(True, "use what is taken together")
    window: int = _number(
        50, 1, 1000, "pairs further apart than this many interactions do not count", "Ludewig and Jannach 2018"
    )


@dataclass(frozen=True)
class TrainingRecipe:
    """The loop."""

    epochs: int = _number(25, 0, 100_000, "most epochs; 0 leaves everything as it starts")
    alone_epochs: int = _number(
        8, 0, 100_000, "epochs of these in which popularity alone competes with the content, before the other rivals"
    )
    epoch_steps: int = _number(8, 1, 1_000_000, "gradient steps an epoch")
    batch_cells: int = _number(640_000, 256, 1_000_000_000, "most users x history x history a step")
    batch_users: int = _number(256, 1, 1_000_000, "most users a step")
    history: int = _number(100, 2, 100_000, "longest piece of a history a step sees")
    held_out: float = _number(0.2, 0.01, 0.9, "share of a history that is hidden and to be told from the rest")
    patience: int = _number(3, 1, 100_000, "epochs without a better validation likelihood before stopping")
    learning_rate: float = _number(0.03, 0.0, 10.0, "of the few shape parameters")
    metric_rate: float = _number(0.01, 0.0, 10.0, "of the metric of a latent space: small, the encoder was right")
    theme_rate: float = _number(0.1, 0.0, 10.0, "of the soft clusters")
    offset_epochs: int = _number(
        12, 0, 100_000, "most epochs after those, of the items' own offsets; 0 leaves them out"
    )
    point_offset_rate: float = _number(0.01, 0.0, 10.0, "of the items' offsets in a latent space")
    hearings: int = _number(
        3, 0, 100, "most times that items hear what their users say of them, after those; 0 leaves it out", "Pearl 1988"
    )
    gate_rate: float = _number(0.15, 0.0, 10.0, "of the gates between experts")
    watched_users: int = _number(2000, 1, 10_000_000, "most users that validation looks at while training")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run but the data and the seed."""

    name: str = _other("default", "what the run is called in tables")
    about: str = _other("", "what it is for, in a line")
    model: str = _other("demure", "`demure`, or a baseline by its name")
    modalities: tuple[str, ...] = _other((), "those to use; none named: all that the dataset has features of")
    denoiser: DenoiserRecipe = DenoiserRecipe()
    collaborative: CollaborativeRecipe = CollaborativeRecipe()
    training: TrainingRecipe = TrainingRecipe()
    baseline: dict[str, float] = field(
        default_factory=dict, metadata={"doc": "options of the baseline `model`; the rest keep its defaults"}
    )
