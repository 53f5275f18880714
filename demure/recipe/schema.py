"""The keys of a recipe, with their meaning, default and range. This is the only place that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _number(default: float, low: float, high: float, doc: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "doc": doc})


@dataclass(frozen=True)
class DenoiserRecipe:
    """The content mixture."""

    denoise: bool = field(default=True, metadata={"doc": "weigh each interaction by what caused it"})
    reliance: bool = field(default=True, metadata={"doc": "let users differ in what they rely on"})
    exclusive: bool = field(default=False, metadata={"doc": "one cause at most: no two modalities at once"})
    hard: bool = field(default=False, metadata={"doc": "only the likeliest modality counts as evidence, in full"})
    causal: bool = field(default=False, metadata={"doc": "judge by what came before only, not by the whole history"})
    themes: int = _number(20, 1, 4096, "soft clusters per modality")
    max_dim: int = _number(20, 1, 1024, "most latent dimensions kept of a modality")
    rounds: int = _number(5, 1, 100, "fixed-point steps, before and again after the seeds move")
    candidates: int = _number(800, 16, 1_000_000, "items a softmax runs over while learning")


@dataclass(frozen=True)
class CollaborativeRecipe:
    """The `id` channel."""

    enabled: bool = field(default=True, metadata={"doc": "use what is taken together"})
    window: int = _number(50, 1, 1000, "pairs further apart than this many interactions do not count")


@dataclass(frozen=True)
class TrainingRecipe:
    """The loop."""

    epochs: int = _number(25, 0, 100_000, "most epochs; 0 leaves everything as it starts")
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
    theme_offset_rate: float = _number(0.05, 0.0, 10.0, "of the items' offsets among the soft clusters")
    gate_rate: float = _number(0.15, 0.0, 10.0, "of the gates between experts")
    watched_users: int = _number(2000, 1, 10_000_000, "most users that validation looks at while training")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run but the data and the seed."""

    name: str = "default"
    about: str = ""
    model: str = "demure"
    modalities: tuple[str, ...] = ()
    denoiser: DenoiserRecipe = DenoiserRecipe()
    collaborative: CollaborativeRecipe = CollaborativeRecipe()
    training: TrainingRecipe = TrainingRecipe()
    baseline: dict[str, float] = field(default_factory=dict)
