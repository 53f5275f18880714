"""What can be taken out of a run: arrays from which its scores follow, and how they follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.baselines.ease import Ease
from demure.baselines.item_knn import ItemKNN
from demure.baselines.pairwise import Pairwise
from demure.baselines.registry import make_baseline
from demure.baselines.sasrec import SASRec
from demure.baselines.sparse import history_matrix
from demure.serving.item_item import scores_of_walk, walk_arrays

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.runs.load import LoadedRun

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Searched:
    """For an approximate search: ``keys`` (n,) places of the items, their ``vectors`` (n, D), ``queries`` (Q, D)."""

    keys: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray


@dataclass
class Parts:
    """``arrays`` by file name; ``numbers`` that go with them; what the export ``holds`` and what it ``lacks``, in
    words; ``scores`` of users (B,) from the arrays alone, and ``reference`` the run's own; ``searched``: name of
    an index -> what it is made from."""

    arrays: dict[str, np.ndarray]
    holds: list[str]
    lacks: list[str]
    scores: Callable[[Arrays, np.ndarray], np.ndarray]
    reference: Callable[[np.ndarray], np.ndarray]
    numbers: dict[str, Any] = field(default_factory=dict)
    searched: dict[str, Searched] = field(default_factory=dict)


def parts_of(loaded: LoadedRun, histories: Histories) -> Parts:
    """The parts of a run; users are scored by ``histories``, all that they had."""
    if loaded.learned is not None:
        return _vectors(loaded, histories)
    if loaded.recommender is not None:
        return _demure(loaded, histories)
    return _closed_form(loaded, histories)


def _vectors(loaded: LoadedRun, histories: Histories) -> Parts:
    import torch

    module = loaded.learned
    assert module is not None
    module.eval()
    lacks = []
    with torch.no_grad():
        if isinstance(module, SASRec):
            items = module.vectors()
            users = np.concatenate([_states(module, histories, block) for block in _blocks(histories)])
            lacks = ["npy and safetensors: vectors of the users known now; for a history of any user take onnx"]
        else:
            assert isinstance(module, Pairwise)
            known, items = module.vectors()
            users = known.detach().cpu().numpy()
            lacks = ["users who came after the training: this model knows users by their ids"]
        vectors = items.detach().cpu().numpy().astype(np.float32)
    return Parts(
        arrays={"user_vectors": users.astype(np.float32), "item_vectors": vectors},
        holds=["user_vectors (users, dim) and item_vectors (items, dim): the score is their inner product"],
        lacks=lacks,
        scores=lambda arrays, which: arrays["user_vectors"][which] @ arrays["item_vectors"].T,
        reference=loaded.scorer_of(histories),
        searched={"items": Searched(np.arange(len(vectors)), vectors, users.astype(np.float32))},
    )


def _states(module: SASRec, histories: Histories, users: np.ndarray) -> np.ndarray:
    """Vectors (B, D) of ``users`` after all that they had."""
    import torch

    device = module.items.weight.device
    items = torch.as_tensor(histories.padded(users, module.options.longest))
    last = (items >= 0).sum(1).clamp(min=1) - 1
    states = module.states(items.to(device), module.vectors())[torch.arange(len(items)), last.to(device)]
    found: np.ndarray = states.cpu().numpy()
    return found


def _blocks(histories: Histories) -> list[np.ndarray]:
    users = np.arange(len(histories.indptr) - 1)
    return [users[at : at + 256] for at in range(0, len(users), 256)]


def _closed_form(loaded: LoadedRun, histories: Histories) -> Parts:
    n_items = loaded.dataset.n_items
    baseline = make_baseline(loaded.recipe.model, **loaded.recipe.baseline)
    baseline.fit(loaded.dataset.histories("train"), n_items)
    reference = baseline.scorer(histories)
    if not isinstance(baseline, Ease | ItemKNN):
        return Parts(
            arrays={"item_scores": reference(np.zeros(1, np.int64))[0]},
            holds=["item_scores (items,): the same for every user"],
            lacks=[],
            scores=lambda arrays, which: np.tile(arrays["item_scores"], (len(which), 1)),
            reference=reference,
        )
    decay = baseline.options.decay
    weights = history_matrix(histories, n_items, decay=decay)
    told = "each item of the history weighs 1"
    if decay:
        told = (
            f"an item of the history weighs its distance to the end ** -{decay:g}, the latest where it is there twice"
        )
    if isinstance(baseline, Ease):
        return Parts(
            arrays={"item_item": baseline.weights.astype(np.float32)},
            holds=[f"item_item (items, items): scores are history weights times it; {told}"],
            lacks=[],
            scores=lambda arrays, which: weights[which].toarray() @ arrays["item_item"],
            reference=reference,
            numbers={"decay": decay},
        )
    return Parts(
        arrays=sparse_arrays("item_item", baseline.kernel()),
        holds=[f"item_item as CSR (indptr, indices, data): scores are history weights times it; {told}"],
        lacks=[],
        scores=lambda arrays, which: (weights[which] @ sparse_of("item_item", arrays, n_items)).toarray(),
        reference=reference,
        numbers={"decay": decay},
    )


def sparse_arrays(name: str, matrix: Any) -> dict[str, np.ndarray]:
    """A CSR matrix as three arrays."""
    return {
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.data": matrix.data.astype(np.float32),
    }


def sparse_of(name: str, arrays: Arrays, n_items: int) -> Any:
    """The CSR matrix (I, I) of ``sparse_arrays``."""
    from scipy.sparse import csr_array

    return csr_array(
        (arrays[f"{name}.data"], arrays[f"{name}.indices"], arrays[f"{name}.indptr"]), shape=(n_items, n_items)
    )


def _demure(loaded: LoadedRun, histories: Histories) -> Parts:
    import torch

    model = loaded.recommender
    assert model is not None
    denoiser = model.denoiser
    arrays: dict[str, np.ndarray] = {}
    searched: dict[str, Searched] = {}
    with torch.no_grad():
        for name, channel, view in zip(denoiser.names, denoiser.experts(), denoiser.views(), strict=True):
            vectors = view.z_IE[:, :-1].cpu().numpy().astype(np.float32)
            arrays |= {
                f"{name}.item_vectors": np.ascontiguousarray(vectors),
                f"{name}.item_themes": view.q_IC.cpu().numpy().astype(np.float32),
                f"{name}.present": channel.present_I.cpu().numpy().astype(np.uint8),
            }
            # The nearest to c by Euclid have the largest <(c, 1), (z, -|z|^2 / 2)>.
            there = np.flatnonzero(channel.present_I.cpu().numpy())
            targets = view.z_IE.cpu().numpy().astype(np.float32)[there]
            asked = np.column_stack([vectors[there], np.ones(len(there), np.float32)]).astype(np.float32)
            searched[name] = Searched(there, targets, asked)
    arrays["popularity"] = denoiser.popularity_I.cpu().numpy().astype(np.float32)
    numbers: dict[str, Any] = {"pool": asdict(model.pool)}
    holds = [
        "NAME.item_vectors (items, dim): where the items lie in each modality's learned space, 0 where .present is 0; "
        "near by Euclid is alike",
        "NAME.item_themes (items, themes): the soft clusters of each modality, rows sum to 1",
        "popularity (items,): sums to 1",
    ]
    lacks = ["what a user's history says by its content (denoised, and who relies on what): take onnx for that"]
    if model.neighbours is None:
        return Parts(
            arrays,
            holds,
            lacks,
            scores=lambda arrays, which: np.tile(np.log(arrays["popularity"]), (len(which), 1)),
            reference=lambda which: np.tile(model.log_popularity, (len(which), 1)),
            numbers=numbers,
            searched=searched,
        )
    arrays |= walk_arrays(model.neighbours)
    numbers["walk"] = asdict(model.neighbours.walk)
    holds.append(
        "id.steps as CSR, id.share (and id.linear where walk.linear is above 0): channel `id`, exactly; "
        "demure.serving.item_item scores with them in 20 lines of NumPy"
    )
    walk = model.neighbours.walk
    return Parts(
        arrays,
        holds,
        lacks,
        scores=lambda arrays, which: scores_of_walk(arrays, walk, histories.padded(which)),
        reference=lambda which: model.collaborative(histories.padded(which)) + model.log_popularity,
        numbers=numbers,
        searched=searched,
    )
