"""The product of mass on items or users with a fixed matrix, on the device of the model.

Shape suffixes: B histories, N entries of sparse mass, J rows and I columns of the matrix.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

CPU = torch.device("cpu")
_BY_SCIPY = ("cpu",)
"""Types of devices on which SciPy computes the sparse products: on one thread those of sparse mass take a third to a
half of torch's time there, those of dense mass as long (benchmarks/LOG.md)."""


@dataclass(frozen=True)
class SparseMass:
    """Mass (B, J) with few entries: ``weight_N`` in the places ``row_N`` and ``column_N``; of one place they add up."""

    row_N: np.ndarray
    column_N: np.ndarray
    weight_N: np.ndarray
    shape: tuple[int, int]

    def tocsr(self) -> sparse.csr_array:
        """Return the mass as a sparse matrix of the host."""
        return sparse.csr_array((self.weight_N, (self.row_N, self.column_N)), shape=self.shape)

    def dense(self, device: torch.device) -> Tensor:
        """Return the whole mass (B, J) on the device."""
        place_N = torch.as_tensor(self.row_N * self.shape[1] + self.column_N).to(device)
        weight_N = torch.as_tensor(self.weight_N).to(device)
        flat = torch.zeros(self.shape[0] * self.shape[1], dtype=weight_N.dtype, device=device)
        return flat.index_add_(0, place_N, weight_N).view(self.shape)


class MassProduct:
    """Products with ``matrix`` (J, I), sparse or dense, for mass on ``device``; ``by_scipy``: who computes them.

    ``single``: those of dense mass with a sparse matrix are float32, at 50,000 items in a third of the time.
    ``transposed``: the transposed sparse matrix in float64, where there is one already.
    """

    def __init__(
        self,
        matrix: sparse.csr_array | np.ndarray,
        device: torch.device = CPU,
        *,
        single: bool = False,
        transposed: sparse.csr_array | None = None,
    ) -> None:
        self.matrix, self.device = matrix, device
        self.by_scipy = device.type in _BY_SCIPY
        self._dense_JI: Tensor | None = None
        self._transposed: sparse.csr_array | None = None
        if isinstance(matrix, np.ndarray):
            self._dense_JI = _as_tensor(matrix).to(device)
            return
        self._transposed = transposed
        if transposed is None:
            self._transposed = matrix.T.tocsr().astype(np.float32 if single else np.float64)
        self._dtype = torch.float32 if single else torch.float64
        if not self.by_scipy:
            self._transposed_IJ = _to_torch(self._transposed, device)

    def of_sparse(self, mass: SparseMass) -> Tensor:
        """Return mass @ matrix (B, I). Of the matrix only the rows that the mass has are read, on a CPU."""
        if not self.by_scipy:
            return self(mass.dense(self.device))
        reached = mass.tocsr() @ self.matrix
        return torch.as_tensor(reached.toarray() if isinstance(reached, sparse.sparray) else reached)

    def __call__(self, mass_BJ: Tensor) -> Tensor:
        """Return ``mass_BJ`` @ matrix (B, I); it may lie in memory column by column."""
        if self._dense_JI is not None:
            return mass_BJ @ self._dense_JI
        mass_BJ = mass_BJ.to(self._dtype)
        if self.by_scipy:
            return torch.as_tensor(self._transposed @ mass_BJ.numpy().T).T
        return (self._transposed_IJ @ mass_BJ.T).T


def _as_tensor(array: np.ndarray) -> Tensor:
    """Return a view of the array, which may be one that other processes read, too; it is not written to."""
    with warnings.catch_warnings(category=UserWarning, action="ignore"):  # that it is not writable
        return torch.as_tensor(array)


def _to_torch(matrix: sparse.csr_array, device: torch.device) -> Tensor:
    parts = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data)
    row_starts, columns, values = (torch.as_tensor(part) for part in parts)
    with warnings.catch_warnings(category=UserWarning, action="ignore"):  # that such tensors are in beta
        matrix_IJ = torch.sparse_csr_tensor(row_starts, columns, values, size=matrix.shape, check_invariants=False)
    return matrix_IJ.to(device)
