"""A run as an ONNX graph: from a user's history, or from the user, to a vector and to the scores of all items."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from demure.baselines.pairwise import Pairwise
from demure.baselines.sasrec import SASRec
from demure.errors import DemureError, MachineError
from demure.serving.item_item import dense_walk, walk_arrays

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.runs.load import LoadedRun

MOST_DENSE = 5_000
"""Items up to which channel ``id`` is part of the graph: its matrices are dense there, 100 MB each at this number."""
_LONGEST = 1_024
_AT_ONCE = 8  # users: a graph may hold users x history x items
OPSET = 18


class Graph(nn.Module):
    """A graph to export: what goes in (``given``: user or history, of ``length``), what comes out (``outputs``)."""

    given = "history"
    outputs: tuple[str, ...] = ("scores",)
    length = 0
    holds = ""
    lacks = ""

    def example(self) -> Tensor:
        """An input of two users."""
        return torch.full((2, self.length), -1) if self.given == "history" else torch.zeros(2, dtype=torch.int64)


class OfUsers(Graph):
    """Users known by their index."""

    given, outputs = "user", ("vector", "scores")
    users_UD: Tensor
    items_ID: Tensor
    holds = "user (batch,) int64, the place in user_ids.json -> vector (batch, dim), scores (batch, items)"

    def __init__(self, module: Pairwise) -> None:
        super().__init__()
        with torch.no_grad():
            users, items = module.vectors()
        self.register_buffer("users_UD", users.detach().cpu())
        self.register_buffer("items_ID", items.detach().cpu())

    def forward(self, user: Tensor) -> tuple[Tensor, Tensor]:
        vector = self.users_UD[user]
        return vector, vector @ self.items_ID.T


class OfSequences(Graph):
    """SASRec: the end of a history."""

    outputs = ("vector", "scores")
    items_ID: Tensor

    def __init__(self, module: SASRec) -> None:
        super().__init__()
        self.module, self.length = module.cpu().eval(), module.options.longest
        self.holds = (
            f"history (batch, {self.length}) int64, places in item_ids.json, oldest first, -1 after the end -> vector "
            "(batch, dim) of the user, scores (batch, items)"
        )
        with torch.no_grad():
            self.register_buffer("items_ID", module.vectors().detach())

    def forward(self, history: Tensor) -> tuple[Tensor, Tensor]:
        last = (history >= 0).sum(1).clamp(min=1) - 1
        states = self.module.states(history, self.items_ID)
        vector = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
        return vector, vector @ self.items_ID.T


class OfDemure(Graph):
    """The whole model where the items are few, else its content alone."""

    content_I: Tensor

    def __init__(self, loaded: LoadedRun, histories: Histories) -> None:
        super().__init__()
        model = loaded.recommender
        assert model is not None
        self.denoiser, self.recent, self.pool = (
            model.denoiser.cpu().eval().requires_grad_(False),
            model.longest,
            model.fusion,
        )
        self.register_buffer("content_I", torch.as_tensor(self.pool.content_weights(model.train_counts_I)))
        with torch.no_grad():
            self.views = self.denoiser.views()
        longest = int(histories.lengths.max(initial=1))
        self.length = max(self.recent, min(longest, _LONGEST))
        self.walk: nn.Module | None = None
        whole = model.item_item is None or loaded.dataset.n_items <= MOST_DENSE
        if whole and model.item_item is not None:
            self.walk = dense_walk(walk_arrays(model.item_item), model.item_item.walk)
        self.outputs = ("content", "scores") if whole else ("content",)
        self.holds = (
            f"history (batch, {self.length}) int64, places in item_ids.json, oldest first, -1 after the end -> content "
            f"(batch, items), log p(item | history) / p(item) of the denoised content, from the last {self.recent}"
            + ("; scores (batch, items), the whole model's" if whole else "")
        )
        self.lacks = "" if whole else f"channel `id`: above {MOST_DENSE} items it is in safetensors and npy alone"
        if longest > self.length:
            self.lacks += f"{'; ' if self.lacks else ''}what a user had before the last {self.length} interactions"

    def forward(self, history: Tensor) -> tuple[Tensor, ...]:
        count = (history >= 0).sum(1, keepdim=True)
        column = (count - self.recent).clamp(min=0) + torch.arange(self.recent)
        recent = torch.where(column < count, history.gather(1, column.clamp(max=self.length - 1)), -1)
        total, _ = self.denoiser.catalogue_ratios(self.denoiser.make_batch(recent), self.views)
        content = total.clamp(min=1e-12).log()
        if "scores" not in self.outputs:
            return (content,)
        share = self.denoiser.popularity_I.log()
        v = self.pool.collaborative
        collaborative = v * (self.walk(history) - share) if self.walk is not None else 0.0
        return content, collaborative + self.content_I * content + share


def graph_of(loaded: LoadedRun, histories: Histories) -> Graph:
    """The graph of a run. Raises ``DemureError`` for a model that has none."""
    if isinstance(loaded.learned, SASRec):
        return OfSequences(loaded.learned)
    if isinstance(loaded.learned, Pairwise):
        return OfUsers(loaded.learned)
    if loaded.recommender is not None:
        return OfDemure(loaded, histories)
    raise DemureError(
        f"{loaded.recipe.model!r} has no layers to make a graph of",
        where="--format onnx",
        remedy="use safetensors or npy",
    )


def write_onnx(graph: Graph, file: Path) -> None:
    """Export ``graph`` with a batch of any size. Raises ``MachineError`` where the packages for it are missing."""
    need_onnx()
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operator is none of ONNX's
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph.eval(),
                (graph.example(),),
                str(file),
                input_names=[graph.given],
                output_names=list(graph.outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def run_onnx(file: Path, graph: Graph, histories: Histories, users: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs by name, from the file, for users (B,)."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    given = users
    if graph.given == "history":
        known = histories.padded(users, graph.length)
        given = np.full((len(users), graph.length), -1, np.int64)
        given[:, : known.shape[1]] = known
    blocks = [given[at : at + _AT_ONCE] for at in range(0, len(given), _AT_ONCE)]
    found = [session.run(list(graph.outputs), {graph.given: block}) for block in blocks]
    return {name: np.concatenate(parts) for name, *parts in zip(graph.outputs, *found, strict=True)}


def need_onnx() -> None:
    """Raises ``MachineError`` where a package for ONNX is missing."""
    import importlib.util

    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            remedy = "pip install 'demure[onnx]', or use safetensors or npy"
            raise MachineError(f"the package {name} is not installed", where="--format onnx", remedy=remedy)
