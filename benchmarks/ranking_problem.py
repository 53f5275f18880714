"""Scores that are a product of random factors, and their full ranking, bare and by demure."""

from __future__ import annotations

import numpy as np
import torch

from demure.data.histories import Histories
from demure.evaluation.ranking import evaluate, users_at_once

KS = (5, 10, 20, 50)
FACTORS = 64


class Problem:
    """Random factors on a device, with five relevant and thirty past items for each user."""

    def __init__(self, users: int, items: int, device: str = "cpu") -> None:
        random = np.random.default_rng(0)
        self.users, self.items = users, items
        self.of_users = random.standard_normal((users, FACTORS), dtype=np.float32)
        self.of_items = random.standard_normal((items, FACTORS), dtype=np.float32)
        self.relevant = random.integers(0, items, (users, 5))
        self.past = random.integers(0, items, (users, 30))
        self.block = users_at_once(items)
        self.device = torch.device(device)
        self.tensors = [torch.from_numpy(factors).to(self.device) for factors in (self.of_users, self.of_items)]

    def product(self, users: np.ndarray) -> torch.Tensor:
        """Return the scores (B, I) where the factors are."""
        if self.device.type == "cpu":
            return torch.from_numpy(self.of_users[users] @ self.of_items.T)
        of_users, of_items = self.tensors
        return of_users[torch.from_numpy(users).to(self.device)] @ of_items.T

    def scorer(self, users: np.ndarray) -> np.ndarray:
        """Return the scores (B, I) as an array."""
        scores: np.ndarray = self.product(users).cpu().numpy()
        return scores

    def histories(self, items: np.ndarray) -> Histories:
        return Histories(np.arange(self.users + 1) * items.shape[1], items.ravel())

    def blocks(self, size: int) -> list[np.ndarray]:
        return [np.arange(start, min(start + size, self.users)) for start in range(0, self.users, size)]


def synchronize(device: torch.device) -> None:
    """Wait for the work that the device was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bare(problem: Problem) -> None:
    """Compute only the product and its top k, in the blocks that demure uses."""
    for block in problem.blocks(problem.block):
        torch.topk(problem.product(block), max(KS), dim=1)
    synchronize(problem.device)


def ours(problem: Problem) -> None:
    evaluate(problem.product, problem.histories(problem.relevant), problem.histories(problem.past), KS, problem.items)
