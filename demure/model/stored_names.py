"""Names of a denoiser's tensors in model.safetensors: those of the first release, so that every run stays readable."""

from __future__ import annotations

_STORED = {
    "modality_experts": "channels",
    "kernel": "points",
    "clusters": "themes",
    "cluster_space_ID": "themes_ID",
    "two_causes_logit": "two",
    "log_side_prior_2": "log_content",
    "log_cause_prior_K": "log_reliance",
}
_ATTRIBUTES = {stored: attribute for attribute, stored in _STORED.items()}


def stored_name(name: str) -> str:
    """Return the stored name of the tensor that the module calls ``name`` (a path with dots)."""
    return ".".join(_STORED.get(part, part) for part in name.split("."))


def attribute_name(name: str) -> str:
    """Return what the module calls the tensor stored as ``name``; names of the module stay as they are."""
    return ".".join(_ATTRIBUTES.get(part, part) for part in name.split("."))
