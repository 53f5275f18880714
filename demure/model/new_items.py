"""A trained model with further items, which came after the training and have content but no interactions.

The result is the model that would have the same parameters and had seen the items without any interaction.

Shape suffixes: I items of the training, N new items, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from demure.model.clusters import cluster_space
from demure.model.content_items import ContentItemModel
from demure.model.denoiser import Denoiser
from demure.model.nearest_items import add_nearest
from demure.model.recommender import Recommender
from demure.model.stored_names import attribute_name


@dataclass(frozen=True)
class NewContent:
    """Content of N new items in one modality.

    ``coordinates_ND`` latent; ``present_N`` bool; ``spread_D``: standard deviations of the latent space before
    whitening. ``vectors_Id``, ``present_I`` and ``new_vectors_Nd``: scaled features of the old and the new items, None
    where the model does not compare items by them.
    """

    coordinates_ND: np.ndarray
    present_N: np.ndarray
    spread_D: np.ndarray
    vectors_Id: np.ndarray | None = None
    present_I: np.ndarray | None = None
    new_vectors_Nd: np.ndarray | None = None


def add_items(model: Recommender, content: Mapping[str, NewContent]) -> Recommender:
    """Return the recommender with the new items after its own; ``content`` by modality, all of the same N."""
    n_new = len(next(iter(content.values())).present_N)
    counts_I = np.concatenate([model.train_counts_I, np.zeros(n_new, model.train_counts_I.dtype)])
    content_items = model.content_items
    if content_items is not None:
        nearest = {}
        for name, neighbors in content_items.nearest.items():
            new = content[name]
            assert new.vectors_Id is not None
            assert new.present_I is not None
            assert new.new_vectors_Nd is not None
            nearest[name] = add_nearest(neighbors, new.vectors_Id, new.present_I, new.new_vectors_Nd, new.present_N)
        counts = model.fusion.expected_counts(counts_I)
        content_items = ContentItemModel(nearest, counts, content_items.parameters, model.device)
    return Recommender(
        add_to_denoiser(model.denoiser, content, float(model.train_counts_I.sum())),
        None if model.item_item is None else model.item_item.with_new_items(counts_I),
        model.fusion,
        counts_I,
        max_history=model.max_history,
        content_items=content_items,
    )


def add_to_denoiser(denoiser: Denoiser, content: Mapping[str, NewContent], interactions: float) -> Denoiser:
    """Return the denoiser with the new items; ``interactions``: number of those it was trained on.

    Nothing but its features is known of a new item: it has no offset and no messages of users.
    """
    device, n_items = denoiser.popularity_I.device, len(denoiser.popularity_I)
    n_new = len(next(iter(content.values())).present_N)
    tensors = {attribute_name(name): tensor.cpu() for name, tensor in denoiser.state_dict().items()}
    # Popularity is (n_i + 1) / (n + I) over I items: a new item has n_i = 0.
    counts_I = torch.cat([tensors["popularity_I"] * (interactions + n_items), torch.ones(n_new)])
    tensors["popularity_I"] = counts_I / counts_I.sum()
    for m, name in enumerate(denoiser.modalities):
        new = content[name]
        rows = {
            "coordinates_ID": new.coordinates_ND,
            "cluster_space_ID": cluster_space(new.coordinates_ND, new.spread_D),
            "present_I": new.present_N,
        }
        for key in ("coordinates_ID", "cluster_space_ID", "present_I", "kernel.offset_ID", "clusters.offset_IC"):
            tensor = tensors[f"modality_experts.m{m}.{key}"]
            added = torch.as_tensor(rows[key], dtype=tensor.dtype) if key in rows else None
            zeros = tensor.new_zeros((n_new, *tensor.shape[1:]))
            tensors[f"modality_experts.m{m}.{key}"] = torch.cat([tensor, zeros if added is None else added])
    extended = Denoiser.from_tensors(tensors, denoiser.modalities, denoiser.settings, ordered=denoiser.ordered)
    return extended.to(device).eval().requires_grad_(False)
