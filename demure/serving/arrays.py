"""The contents of an export: arrays from which a run's scores follow, and how they follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from demure.baselines.ease import Ease
from demure.baselines.item_knn import ItemKNN
from demure.baselines.learned import Learned
from demure.baselines.pairwise import Pairwise
from demure.baselines.popularity import Popularity
from demure.baselines.registry import make_baseline
from demure.baselines.sasrec import SASRec
from demure.baselines.sparse import history_matrix
from demure.errors import DemureError
from demure.evaluation.ranking import as_array
from demure.model.recommender import Recommender
from demure.serving.item_item import Arrays, item_item_arrays, score_item_item, sparse_arrays, sparse_matrix

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.runs.load import LoadedRun

_USERS_AT_ONCE = 256


@dataclass(frozen=True)
class IndexInput:
    """What an approximate index is built from and measured with.

    ``keys`` (n,): positions of the items in item_ids.json. ``vectors`` (n, D): their vectors. ``queries`` (Q, D).
    """

    keys: np.ndarray
    vectors: np.ndarray
    queries: np.ndarray


@dataclass
class ExportContents:
    """What an export of a run contains.

    ``arrays`` by file name, and ``numbers`` that go with them. ``holds`` and ``lacks``: sentences for export.json.
    ``scores``: scores of users (B,) from the arrays alone; ``reference``: the run's own. ``index_inputs`` by the name
    of the index.
    """

    arrays: dict[str, np.ndarray]
    holds: list[str]
    lacks: list[str]
    scores: Callable[[Arrays, np.ndarray], np.ndarray]
    reference: Callable[[np.ndarray], np.ndarray]
    numbers: dict[str, Any] = field(default_factory=dict)
    index_inputs: dict[str, IndexInput] = field(default_factory=dict)


def export_contents(loaded: LoadedRun, histories: Histories) -> ExportContents:
    """Return the contents of an export; users are scored by ``histories``, all their interactions."""
    if loaded.learned is not None:
        return _learned_contents(loaded, loaded.learned, histories)
    if loaded.recommender is not None:
        return _demure_contents(loaded.recommender, histories, len(loaded.new_item_ids))
    return _closed_form_contents(loaded, histories)


def _learned_contents(loaded: LoadedRun, module: Learned, histories: Histories) -> ExportContents:
    module.eval()
    lacks = []
    with torch.no_grad():
        if isinstance(module, SASRec):
            items = module.vectors()
            users = np.concatenate([_states(module, histories, block) for block in _user_blocks(histories)])
            lacks = [
                "npy and safetensors hold vectors of the users in the dataset; for the history of any user take onnx"
            ]
        elif not isinstance(module, Pairwise):
            raise _not_exportable(loaded)
        else:
            user_vectors, items = module.vectors()
            users = user_vectors.detach().cpu().numpy()
            lacks = ["users who came after the training: this model knows users by their ids"]
        vectors = items.detach().cpu().numpy().astype(np.float32)
    return ExportContents(
        arrays={"user_vectors": users.astype(np.float32), "item_vectors": vectors},
        holds=["user_vectors (users, dim) and item_vectors (items, dim): the score is their inner product"],
        lacks=lacks,
        scores=lambda arrays, users_B: arrays["user_vectors"][users_B] @ arrays["item_vectors"].T,
        reference=loaded.array_scorer_of(histories),
        index_inputs={"items": IndexInput(np.arange(len(vectors)), vectors, users.astype(np.float32))},
    )


def _not_exportable(loaded: LoadedRun) -> DemureError:
    """Return the error for a baseline of another package whose scores do not follow from arrays that demure writes."""
    remedy = "`demure recommend` writes lists of it"
    return DemureError(f"{loaded.recipe.model!r} cannot be exported", where=loaded.path, remedy=remedy)


def _states(module: SASRec, histories: Histories, users: np.ndarray) -> np.ndarray:
    """Return the vectors (B, D) of ``users`` after their whole history."""
    device = module.items.weight.device
    items = torch.as_tensor(histories.padded(users, module.options.longest))
    last = (items >= 0).sum(1).clamp(min=1) - 1
    states = module.states(items.to(device), module.vectors())[torch.arange(len(items)), last.to(device)]
    vectors: np.ndarray = states.cpu().numpy()
    return vectors


def _user_blocks(histories: Histories) -> list[np.ndarray]:
    users = np.arange(len(histories.indptr) - 1)
    return [users[start : start + _USERS_AT_ONCE] for start in range(0, len(users), _USERS_AT_ONCE)]


def _closed_form_contents(loaded: LoadedRun, histories: Histories) -> ExportContents:
    n_items = loaded.dataset.n_items
    baseline = make_baseline(loaded.recipe.model, **loaded.recipe.baseline)
    baseline.fit(loaded.dataset.histories("train"), n_items)
    reference = baseline.scorer(histories)
    if not isinstance(baseline, Ease | ItemKNN | Popularity):
        raise _not_exportable(loaded)
    if isinstance(baseline, Popularity):
        return ExportContents(
            arrays={"item_scores": reference(np.zeros(1, np.int64))[0]},
            holds=["item_scores (items,): the same for every user"],
            lacks=[],
            scores=lambda arrays, users_B: np.tile(arrays["item_scores"], (len(users_B), 1)),
            reference=reference,
        )
    decay = baseline.options.decay
    weights = history_matrix(histories, n_items, decay=decay)
    weighting = "each item of the history weighs 1"
    if decay:
        weighting = f"an item of the history weighs its distance to the end ** -{decay:g}, by its latest occurrence"
    if isinstance(baseline, Ease):
        return ExportContents(
            arrays={"item_item": baseline.weights.astype(np.float32)},
            holds=[f"item_item (items, items): scores are history weights times it; {weighting}"],
            lacks=[],
            scores=lambda arrays, users_B: weights[users_B].toarray() @ arrays["item_item"],
            reference=reference,
            numbers={"decay": decay},
        )
    return ExportContents(
        arrays=sparse_arrays("item_item", baseline.kernel()),
        holds=[f"item_item as CSR (indptr, indices, data): scores are history weights times it; {weighting}"],
        lacks=[],
        scores=lambda arrays, users_B: (weights[users_B] @ sparse_matrix("item_item", arrays, n_items)).toarray(),
        reference=reference,
        numbers={"decay": decay},
    )


def _demure_contents(model: Recommender, histories: Histories, new_items: int) -> ExportContents:
    denoiser = model.denoiser
    arrays: dict[str, np.ndarray] = {}
    index_inputs: dict[str, IndexInput] = {}
    with torch.no_grad():
        for name, expert, view in zip(denoiser.modalities, denoiser.experts(), denoiser.views(), strict=True):
            vectors = view.z_IE[:, :-1].cpu().numpy().astype(np.float32)
            present = expert.present_I.cpu().numpy()
            arrays |= {
                f"{name}.item_vectors": np.ascontiguousarray(vectors),
                f"{name}.item_themes": view.q_IC.cpu().numpy().astype(np.float32),  # the name of the file format
                f"{name}.present": present.astype(np.uint8),
            }
            # The items nearest to c by Euclidean distance have the largest <(c, 1), (z, -|z|^2 / 2)>.
            keys = np.flatnonzero(present)
            targets = view.z_IE.cpu().numpy().astype(np.float32)[keys]
            queries = np.column_stack([vectors[keys], np.ones(len(keys), np.float32)]).astype(np.float32)
            index_inputs[name] = IndexInput(keys, targets, queries)
    arrays["popularity"] = np.exp(model.log_popularity).astype(np.float32)
    contents = ExportContents(
        arrays,
        holds=[
            "NAME.item_vectors (items, dim): where the items lie in each modality's learned space, 0 where .present is "
            "0; the smaller the Euclidean distance, the more similar the items",
            "NAME.item_themes (items, clusters): membership of the items in the soft clusters of each modality, rows "
            "sum to 1",
            "popularity (items,): sums to 1",
        ],
        lacks=["the scores of a user's history by its content, denoised: take onnx for that"],
        scores=lambda arrays, users_B: np.tile(np.log(arrays["popularity"]), (len(users_B), 1)),
        reference=lambda users_B: np.tile(model.log_popularity, (len(users_B), 1)),
        numbers={"pool": asdict(model.fusion)},
        index_inputs=index_inputs,
    )
    if new_items:
        contents.lacks.append(
            f"what ranks the {new_items} new items for a user: they have no interactions, so only their content sets "
            "them apart, which onnx scores"
        )
    if model.item_item is None:
        return contents
    parameters = model.item_item.parameters
    arrays |= item_item_arrays(model.item_item)
    contents.numbers["walk"] = asdict(parameters)
    contents.holds.append(
        "id.steps as CSR, id.share (and id.linear where walk.linear is above 0): channel `id`, exactly; "
        "demure.serving.item_item computes its scores in NumPy"
    )
    contents.scores = lambda arrays, users_B: score_item_item(arrays, parameters, histories.padded(users_B))

    def reference(users_B: np.ndarray) -> np.ndarray:
        log_density_BI: np.ndarray = as_array(model.collaborative(histories.padded(users_B))) + model.log_popularity
        return log_density_BI

    contents.reference = reference
    return contents
