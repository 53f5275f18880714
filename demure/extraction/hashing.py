"""Hashes of distinct inputs, by which vectors are kept and found again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HASH_BYTES = 16  # of SHA-256: enough that two inputs of one catalogue never share a hash


def hash_input(data: bytes) -> bytes:
    """Return the hash of one input."""
    return hashlib.sha256(data).digest()[:HASH_BYTES]


def hash_file(path: Path) -> tuple[bytes, int]:
    """Return the hash of a file's bytes, as ``hash_input`` gives it, and their number. Memory holds a part of it."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        return digest[:HASH_BYTES], file.tell()


def stack_hashes(hashes: Sequence[bytes]) -> np.ndarray:
    """Return the hashes as (n, 16) uint8."""
    return np.frombuffer(b"".join(hashes), dtype=np.uint8).reshape(len(hashes), HASH_BYTES)


def match_hashes(wanted: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Return for each hash of ``wanted`` (D, 16) its row in ``stored`` (N, 16), (D,), or -1."""
    if not len(stored):
        return np.full(len(wanted), -1, dtype=np.int64)
    # Search by the first 8 bytes as one number, then compare all 16.
    prefix = np.ascontiguousarray(stored[:, :8]).view(np.uint64).ravel()
    order = np.argsort(prefix, kind="stable")
    position = np.searchsorted(prefix[order], np.ascontiguousarray(wanted[:, :8]).view(np.uint64).ravel())
    row = order[np.minimum(position, len(order) - 1)]
    return np.where((stored[row] == wanted).all(axis=1), row, -1)
