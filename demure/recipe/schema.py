"""The keys of a recipe with their meaning, default, range and source; the only place that holds them.

The options below ``baseline`` are in ``demure.baselines.options``, former names of keys in ``demure.recipe.aliases``.
"""

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
    """The content mixture: what is fixed before training."""

    denoise: bool = _other(True, "weigh each interaction by its inferred causes; false: all count in full", PAPER)
    reliance: bool = _other(True, "let users differ in what they rely on")
    exclusive: bool = _other(False, "at most one cause per interaction: no two modalities at once")
    hard: bool = _other(False, "only the likeliest modality of an interaction counts as evidence, in full")
    causal: bool = _other(False, "use earlier interactions alone as evidence, not the whole history")
    rivals: bool = _other(True, "let popularity over time, earlier choices and hidden taste compete with the content")
    clusters: int = _number(
        20, 1, 4096, "maximum number of soft clusters per modality", "planted sets, benchmarks/LOG.md"
    )
    max_dim: int = _number(
        20, 1, 1024, "maximum number of latent dimensions per modality", "a cap on Gavish and Donoho's threshold, 2014"
    )
    rounds: int = _number(
        5, 1, 100, "fixed-point steps before, and again after, the kernel centres move", "EM; CVB0, Teh 2006"
    )
    candidates: int = _number(
        800, 16, 1_000_000, "items in a training step's softmax", "sampled softmax with logQ correction"
    )


@dataclass(frozen=True)
class CollaborativeRecipe:
    """The item-item model, channel `id`."""

    enabled: bool = _other(True, "use item-item co-occurrence beside the content")
    window: int = _number(
        50, 1, 1000, "maximum distance of a counted pair in a history, in interactions", "Ludewig and Jannach 2018"
    )


@dataclass(frozen=True)
class TrainingRecipe:
    """The training loop."""

    epochs: int = _number(25, 0, 100_000, "maximum number of epochs; 0 leaves the model untrained")
    popularity_only_epochs: int = _number(
        8, 0, 100_000, "epochs, of those, in which popularity alone competes with the content, before the other rivals"
    )
    epoch_steps: int = _number(8, 1, 1_000_000, "gradient steps per epoch")
    batch_pairs: int = _number(640_000, 256, 1_000_000_000, "maximum users x history x history per step")
    batch_users: int = _number(256, 1, 1_000_000, "maximum users per step")
    history: int = _number(100, 2, 100_000, "maximum length of the part of a history that a step reads")
    held_out: float = _number(0.2, 0.01, 0.9, "share of a history that is masked and predicted from the rest")
    patience: int = _number(3, 1, 100_000, "epochs without a better validation likelihood before stopping")
    learning_rate: float = _number(0.03, 0.0, 10.0, "learning rate of the few shape parameters")
    metric_rate: float = _number(
        0.01, 0.0, 10.0, "learning rate of a latent space's metric: small, as the encoder was right"
    )
    cluster_rate: float = _number(0.1, 0.0, 10.0, "learning rate of the soft clusters")
    offset_epochs: int = _number(
        12, 0, 100_000, "maximum number of further epochs that train the items' offsets; 0 leaves them out"
    )
    offset_rate: float = _number(0.01, 0.0, 10.0, "learning rate of the items' offsets in a latent space")
    belief_passes: int = _number(
        3, 0, 100, "maximum number of belief-propagation passes after training; 0 disables them", "Pearl 1988"
    )
    gate_rate: float = _number(0.15, 0.0, 10.0, "learning rate of the gates between experts")
    validation_users: int = _number(2000, 1, 10_000_000, "maximum users in the validation during training")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run except the data and the seed."""

    name: str = _other("default", "name of the run in tables")
    about: str = _other("", "its purpose in a line")
    model: str = _other("demure", "`demure`, or the name of a baseline")
    modalities: tuple[str, ...] = _other((), "modalities to use; empty: all with features in the dataset")
    denoise: str = _other(
        "", "a run whose verdicts weigh the features in `vbpr`, `freedom`, `mgcn`, `smore`, `sasrec` with `content`"
    )
    denoiser: DenoiserRecipe = DenoiserRecipe()
    collaborative: CollaborativeRecipe = CollaborativeRecipe()
    training: TrainingRecipe = TrainingRecipe()
    baseline: dict[str, float] = field(
        default_factory=dict, metadata={"doc": "options of the baseline `model`; the others keep their defaults"}
    )
