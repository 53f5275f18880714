"""Item features: the encoders' protocol, the store in the dataset folder, extraction and import."""

from demure.features.preparing import prepare_with_features

__all__ = ["prepare_with_features"]
