"""The encoder ``audio``: transformers audio models, CLAP and those of raw waveforms (wav2vec 2.0, HuBERT, WavLM).

Shapes: n sounds, E excerpts of a sound, m excerpts in all, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from demure_extractors import hub
from demure_extractors.devices import TorchSettings
from demure_extractors.table import FAMILIES
from demure_extractors.weights import load_model

from demure.errors import ExtractorError
from demure.extraction.protocol import Sound

EXCERPTS = 3
"""Most excerpts of a sound that are encoded."""
SECONDS = 10.0
"""Length of an excerpt where the model states none; CLAP states 10 seconds."""
_SHORTEST = 0.1  # seconds; shorter sounds are filled up with silence, since convolutions need some samples
_EXCERPTS_PER_IMAGE = 4  # an excerpt takes about as much memory as so many images


class Audio:
    """An audio encoder: the mean of the vectors of at most ``EXCERPTS`` excerpts, evenly spaced in the sound.

    The vector of an excerpt is CLAP's projection into the space of its texts, at length 1, or the mean over time of the
    last hidden states. Excerpts of one length are computed together, so that none is padded and a vector does not
    depend on the batch.
    """

    def __init__(self, model: str, revision: str | None, device: str, precision: str = "auto") -> None:
        where = f"audio:{model}"
        source = hub.find_model(model, revision, "audio", FAMILIES["audio"].model_names)
        self.folders = [source.folder]
        hub.require_transformers_files(source.folder, where, "audio")
        self.settings = TorchSettings(device, precision)
        self.device = self.settings.device
        self.batch = max(1, self.settings.batch // (EXCERPTS * _EXCERPTS_PER_IMAGE))
        extractors: Any = transformers.AutoFeatureExtractor  # transformers leaves it untyped
        self.extractor = extractors.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)
        self.is_clap = isinstance(self.extractor, transformers.ClapFeatureExtractor)
        if not self.is_clap and not isinstance(self.extractor, transformers.Wav2Vec2FeatureExtractor):
            raise ExtractorError(
                f"its feature extractor is {type(self.extractor).__name__}",
                where=where,
                remedy="use CLAP, wav2vec 2.0, HuBERT, WavLM or another model of raw waveforms",
            )
        kind: Any = transformers.ClapAudioModelWithProjection if self.is_clap else transformers.AutoModel
        # Training alone masks states, so that many files lack the vector for it.
        self.model, _ = load_model(kind, source.folder, where, unused=("masked_spec_embed",))
        self.model.to(self.device)
        self.rate = int(self.extractor.sampling_rate)
        self.seconds = float(self.extractor.max_length_s) if self.is_clap else SECONDS
        self.shape = self._read_excerpt(np.zeros(round(self.seconds * self.rate), np.float32)).shape
        silence = torch.zeros((1, *self.shape), device=self.device)
        with self.settings.inference():
            self.dim = self._forward(silence).shape[1]
        self.facts = {
            "library": f"transformers {transformers.__version__}",
            "precision": self.settings.precision,
            **source.facts,
            "files_sha256": hub.fingerprint(source.folder),
        }
        if notes := hub.unused_code(source.folder):
            self.facts["assumed"] = notes

    def __getstate__(self) -> dict[str, Any]:
        """Return what ``prepare`` needs: worker processes that are not forked get no copy of the model."""
        return {name: value for name, value in vars(self).items() if name not in ("model", "settings")}

    def prepare(self, sound: Sound) -> np.ndarray:
        """Return (E, ...) float32, what the model's own feature extractor makes of each excerpt; NaN where an excerpt,
        or the end of a waveform, is absent."""
        prepared = np.full((EXCERPTS, *self.shape), np.nan, np.float32)
        for k, excerpt in enumerate(sound.excerpts(self.rate, self.seconds, EXCERPTS)):
            features = self._read_excerpt(excerpt)
            prepared[k, : len(features)] = features
        return prepared

    def _read_excerpt(self, samples: np.ndarray) -> np.ndarray:
        """Return the model's input for one excerpt: the spectrogram of CLAP (1 or 4, time, mel bands), or a waveform.

        No excerpt is longer than CLAP reads, of which it would draw a part at random.
        """
        samples = np.pad(samples, (0, max(0, round(_SHORTEST * self.rate) - len(samples))))
        inputs = self.extractor(samples, sampling_rate=self.rate, return_tensors="np")
        features: np.ndarray = inputs["input_features" if self.is_clap else "input_values"][0]
        return features.astype(np.float32)

    def encode(self, prepared: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return (n, D) float32."""
        return self.submit(prepared)()

    def submit(self, prepared: Sequence[np.ndarray] | np.ndarray) -> Callable[[], np.ndarray]:
        arrays = np.ascontiguousarray(prepared)
        lengths = self._lengths(arrays)
        vectors = torch.zeros((len(arrays), EXCERPTS, self.dim), device=self.device)
        with self.settings.inference():
            for length in np.unique(lengths[lengths > 0]).tolist():
                sounds, excerpts = np.nonzero(lengths == length)
                batch = torch.from_numpy(arrays[sounds, excerpts][:, :length]).to(self.device)
                vectors[sounds, excerpts] = self._forward(batch).float()
            counts = torch.from_numpy((lengths > 0).sum(1, keepdims=True)).to(self.device)
            return self.settings.deliver(vectors.sum(1) / counts)

    def _lengths(self, arrays: np.ndarray) -> np.ndarray:
        """Return the length of each excerpt (n, E) along its first axis; 0 where it is absent."""
        first_of_rows = arrays.reshape(*arrays.shape[:3], -1)[..., 0]
        lengths: np.ndarray = (~np.isnan(first_of_rows)).sum(2)
        return lengths

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return (m, D) from (m, ...), inputs of one length."""
        if self.is_clap:
            # None is longer than a window, so that a model with fusion has nothing to fuse.
            is_longer = torch.zeros((len(batch), 1), dtype=torch.bool, device=batch.device)
            embeddings: torch.Tensor = self.model(input_features=batch, is_longer=is_longer).audio_embeds
            return torch.nn.functional.normalize(embeddings.float(), dim=1)
        states: torch.Tensor = self.model(batch).last_hidden_state
        return states.mean(1)

    def identity(self) -> dict[str, Any]:
        stated = {key: value for key, value in json.loads(self.extractor.to_json_string()).items() if value is not None}
        stated.pop("mel_filters", None)
        excerpts = {"seconds": self.seconds, "most": EXCERPTS, "pooling": "mean"}
        output = "projection, length 1" if self.is_clap else "mean over time"
        return {**self.facts, "dim": self.dim, "output": output, "excerpts": excerpts, "preprocessing": stated}
