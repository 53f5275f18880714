"""A run as an ONNX graph: from a user's history, or from the user, to a vector and to the scores of all items."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from demure.baselines.pairwise import Pairwise
from demure.baselines.sasrec import SASRec
from demure.errors import DemureError, MachineError
from demure.model.content_items import ContentItemModel, mix_content_items
from demure.model.item_item_density import ItemItemParameters, item_item_density
from demure.model.recommender import Recommender
from demure.serving.item_item import Arrays, item_item_arrays, sparse_matrix

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.runs.load import LoadedRun

MAX_DENSE_ITEMS = 5_000
"""Items up to which the graph contains the item-item model: its dense matrices have 100 MB each."""
MAX_LENGTH = 1_024
"""Interactions of a history that a graph reads: the last ones."""
_USERS_AT_ONCE = 8  # a graph may hold users x history x items
OPSET = 18
FIRST_TORCH = "2.8"
"""torch 2.4 has no such export, and that of 2.7 kills the process; 2.14 is measured, 2.8 to 2.13 are not."""


class Graph(nn.Module):
    """A graph to export.

    ``input_name``: ``user``, or ``history`` of ``length`` items; ``outputs``: names of the outputs. ``holds`` and
    ``lacks``: sentences for export.json.
    """

    input_name = "history"
    outputs: tuple[str, ...] = ("scores",)
    length = 0
    holds = ""
    lacks = ""

    def example(self) -> Tensor:
        """Return an input for two users."""
        by_history = self.input_name == "history"
        return torch.full((2, self.length), -1) if by_history else torch.zeros(2, dtype=torch.int64)


class UserGraph(Graph):
    """A model that knows its users by their index."""

    input_name, outputs = "user", ("vector", "scores")
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


class SequenceGraph(Graph):
    """SASRec, over the end of a history."""

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


class DemureGraph(Graph):
    """The whole model where the items are few, else its content alone."""

    content_weight_I: Tensor
    log_popularity_I: Tensor

    def __init__(self, model: Recommender, histories: Histories, max_length: int = MAX_LENGTH) -> None:
        super().__init__()
        self.denoiser, self.recent = model.denoiser.cpu().eval().requires_grad_(False), model.max_history
        self.fusion = model.fusion
        self.register_buffer("content_weight_I", torch.as_tensor(self.fusion.content_weights(model.train_counts_I)))
        self.register_buffer("log_popularity_I", torch.as_tensor(model.log_popularity))
        with torch.no_grad():
            self.views = self.denoiser.views()
        longest = int(histories.lengths.max(initial=1))
        self.length = max(self.recent, min(longest, max_length))
        self.item_item: nn.Module | None = None
        whole = model.item_item is None or len(model.train_counts_I) <= MAX_DENSE_ITEMS
        if whole and model.item_item is not None:
            self.item_item = DenseItemItem(item_item_arrays(model.item_item), model.item_item.parameters)
        self.content_items: DenseContentItems | None = None
        if whole and model.content_items is not None:
            self.content_items = DenseContentItems(model.content_items)
        self.outputs = ("content", "scores") if whole else ("content",)
        self.holds = (
            f"history (batch, {self.length}) int64, places in item_ids.json, oldest first, -1 after the end -> content "
            f"(batch, items), log p(item | history) / p(item) of the denoised content, from the last {self.recent}"
            + ("; scores (batch, items), the whole model's" if whole else "")
        )
        self.lacks = "" if whole else _lacks_of_large(model)
        if longest > self.length:
            self.lacks += f"{'; ' if self.lacks else ''}a user's history before the last {self.length} interactions"

    def forward(self, history: Tensor) -> tuple[Tensor, ...]:
        count = (history >= 0).sum(1, keepdim=True)
        column = (count - self.recent).clamp(min=0) + torch.arange(self.recent)
        recent = torch.where(column < count, history.gather(1, column.clamp(max=self.length - 1)), -1)
        batch = self.denoiser.make_batch(recent)
        inference = self.denoiser.infer(batch, self.views)
        total, _ = self.denoiser.catalogue_ratios(batch, self.views, inference)
        content = total.clamp(min=1e-12).log()
        if "scores" not in self.outputs:
            return (content,)
        share = self.log_popularity_I
        collaborative = self.item_item(history) - share if self.item_item is not None else torch.zeros_like(content)
        if self.content_items is not None:
            weight_BTM = self.denoiser.source_weights(inference)
            modality_share_BM = self.denoiser.modality_shares(inference, batch)
            collaborative = self.content_items(collaborative, recent, weight_BTM, modality_share_BM, share.exp())
        return content, self.fusion.collaborative * collaborative + self.content_weight_I * content + share


def _lacks_of_large(model: Recommender) -> str:
    """Return what the graph of a large catalogue lacks."""
    lacks = f"channel `id`: above {MAX_DENSE_ITEMS} items it is in safetensors and npy alone"
    if model.content_items is None:
        return lacks
    return f"{lacks}; items similar by content to those of the history, which only `demure recommend` mixes into it"


class DenseItemItem(nn.Module):
    """The item-item model with dense matrices: histories (B, T) -> log p_id (B, I).

    ``arrays`` and ``parameters`` as in :func:`demure.serving.item_item.score_item_item`.
    """

    steps_II: Tensor
    share_I: Tensor

    def __init__(self, arrays: Arrays, parameters: ItemItemParameters) -> None:
        super().__init__()
        self.item_item_parameters = parameters  # `parameters` is a method of modules
        n_items = len(arrays["id.share"])
        self.register_buffer("steps_II", torch.as_tensor(sparse_matrix("id.steps", arrays, n_items).toarray()))
        self.register_buffer("share_I", torch.as_tensor(arrays["id.share"]))
        linear = arrays.get("id.linear")
        self.linear_II = None if linear is None else nn.Parameter(torch.as_tensor(linear), requires_grad=False)

    def forward(self, history: Tensor) -> Tensor:
        valid_BT = history >= 0
        age_BT = (valid_BT.sum(1, keepdim=True) - torch.arange(history.shape[1])).clamp(min=1).float()
        weight_BT = valid_BT * age_BT**-self.item_item_parameters.fading
        items_BT = history.clamp(min=0)
        zero_BI = torch.zeros_like(weight_BT[:, :1]) * self.share_I
        reached_BI = zero_BI.scatter_add(1, items_BT, weight_BT) @ self.steps_II
        score_BI = None
        if self.linear_II is not None:
            history_BI = zero_BI.scatter_add(1, items_BT, valid_BT.float()).clamp(max=1.0)
            score_BI = (history_BI @ self.linear_II).clamp(min=0)
        density_BI = item_item_density(
            reached_BI,
            lambda mass_BI: mass_BI @ self.steps_II,
            weight_BT,
            self.share_I,
            self.item_item_parameters,
            score_BI,
        )
        return density_BI.log()


class DenseContentItems(nn.Module):
    """The content-based item-item model with dense matrices, mixed with log p_id / p_0 (B, I)."""

    steps_MII: Tensor
    has_step_MI: Tensor

    def __init__(self, model: ContentItemModel) -> None:
        super().__init__()
        self.model_parameters = model.parameters
        steps = np.stack([step_II.toarray() for step_II in model.steps()])
        self.register_buffer("steps_MII", torch.as_tensor(steps, dtype=torch.float32))
        self.register_buffer("has_step_MI", torch.as_tensor(steps.any(2), dtype=torch.float32))

    def forward(
        self,
        collaborative_BI: Tensor,
        items_BT: Tensor,
        weight_BTM: Tensor,
        modality_share_BM: Tensor,
        popularity_I: Tensor,
    ) -> Tensor:
        valid_BT, index_BT = (items_BT >= 0).float(), items_BT.clamp(min=0)
        zero_BI = torch.zeros_like(valid_BT[:, :1]) * popularity_I
        content_BI = zero_BI
        for m, (step_II, has_step_I) in enumerate(zip(self.steps_MII, self.has_step_MI, strict=True)):
            weight_BT = weight_BTM[..., m].clamp(min=1e-6) ** self.model_parameters.denoised
            weight_BT = weight_BT * valid_BT * has_step_I[index_BT]
            total_B1 = weight_BT.sum(1, keepdim=True).clamp(min=1e-12)
            start_BI = zero_BI.scatter_add(1, index_BT, weight_BT)
            content_BI = content_BI + start_BI @ step_II * (modality_share_BM[:, m : m + 1] / total_B1)
        return mix_content_items(collaborative_BI.exp(), content_BI, self.model_parameters.share, popularity_I).log()


def build_graph(loaded: LoadedRun, histories: Histories, max_length: int = MAX_LENGTH) -> Graph:
    """Return the graph of a run, which reads at most the last ``max_length`` interactions of a history.

    (It reads more where the model's content does.) Raises ``DemureError`` for a model that has no graph.
    """
    if isinstance(loaded.learned, SASRec):
        return SequenceGraph(loaded.learned)
    if isinstance(loaded.learned, Pairwise):
        return UserGraph(loaded.learned)
    if loaded.recommender is not None:
        return DemureGraph(loaded.recommender, histories, max_length)
    raise DemureError(
        f"{loaded.recipe.model!r} has no layers to make a graph of",
        where="--format onnx",
        remedy="use safetensors or npy",
    )


def write_onnx(graph: Graph, file: Path) -> None:
    """Export ``graph`` with a batch of any size. Raises ``MachineError`` where the packages for it are missing."""
    require_onnx()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX lacks the fast path's fused operator
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph.eval(),
                (graph.example(),),
                str(file),
                input_names=[graph.input_name],
                output_names=list(graph.outputs),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def run_onnx(file: Path, graph: Graph, histories: Histories, users: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of the graph in ``file`` by name, for users (B,)."""
    import onnxruntime

    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = users
    if graph.input_name == "history":
        padded = histories.padded(users, graph.length)
        inputs = np.full((len(users), graph.length), -1, np.int64)
        inputs[:, : padded.shape[1]] = padded
    blocks = [inputs[start : start + _USERS_AT_ONCE] for start in range(0, len(inputs), _USERS_AT_ONCE)]
    results = [session.run(list(graph.outputs), {graph.input_name: block}) for block in blocks]
    return {name: np.concatenate(parts) for name, *parts in zip(graph.outputs, *results, strict=True)}


def require_onnx() -> None:
    """Raise ``MachineError`` where a package for ONNX is missing or torch is too old."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            remedy = "pip install 'demure[onnx]', or use safetensors or npy"
            raise MachineError(f"the package {name} is not installed", where="--format onnx", remedy=remedy)
    if TorchVersion(torch.__version__) < FIRST_TORCH:
        remedy = f"install torch {FIRST_TORCH} or later, or use safetensors or npy"
        raise MachineError(f"torch {torch.__version__} cannot write graphs", where="--format onnx", remedy=remedy)
