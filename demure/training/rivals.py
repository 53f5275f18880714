"""Rivals of content, fitted: what popularity, the choices before, and hidden taste tell of every choice.

EM: the responsibilities of all causes weigh the rivals' counts, the counts give the rivals' density ratios, and these
the responsibilities. The content's ratios stand still meanwhile and come first, so that a rival learns what the content
leaves. Counts fit the choices that they are made of far too well; therefore every user's ratios come from counts over
other users (cross-fitting, in ``_FOLDS`` parts), also those that tell the users' validation choices.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sparse
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from demure.errors import RunError
from demure.model.batch import Beside
from demure.model.denoiser import RIVALS, Denoiser
from demure.model.popularity import Periods, Popularity, by_period
from demure.model.taste import Taste
from demure.model.transition import WINDOW, Transition
from demure.training.checkpoint import under, write_tensors

if TYPE_CHECKING:
    from demure.data.histories import Histories

_FOLDS = 3
_FIRST, _STEPS, _APART = 10, 40, 12
_CLUSTERS = 24
_CELLS = 1_500_000
_LONGEST = 2000


class Rivals:
    """Periods of time and the rivals' density ratios of the training interactions ``train``.

    ``period_N`` int64, ``ratio_NR`` float32 (popularity, transition, taste), None before :meth:`fit`.
    """

    def __init__(self, train: Histories, n_items: int, seed: int) -> None:
        self.train, self.n_items, self._seed = train, n_items, seed
        self.n_users = len(train.indptr) - 1
        self.periods: Periods = by_period(train.items, train.times, n_items)
        self.period_N = self.periods.of(train.times, len(train.items))
        self.ratio_NR: np.ndarray | None = None
        self._user_N = train.owners
        rows = np.arange(len(train.items))
        self._by_user = sparse.csr_array((np.ones(len(rows)), (self._user_N, rows)), (self.n_users, len(rows)))
        self._fold_U = np.random.default_rng(seed).integers(_FOLDS, size=self.n_users)
        self._models: list[Any] | None = None
        self._r_NK = np.zeros((0, 0))

    def beside(self, at_BT: np.ndarray, device: torch.device | str = "cpu") -> Beside:
        """What is known of the training interactions with the numbers ``at_BT``, -1 for none."""
        at = np.maximum(at_BT, 0)
        period = torch.as_tensor(np.where(at_BT >= 0, self.period_N[at], 0)).to(device)
        return Beside(period, None if self.ratio_NR is None else torch.as_tensor(self.ratio_NR[at]).to(device))

    def beside_next(
        self,
        at_BT: np.ndarray,
        users_B: np.ndarray,
        items_B: np.ndarray,
        times_B: np.ndarray | None,
        device: torch.device | str = "cpu",
    ) -> Beside:
        """The same (B, T + 1) with one more choice at the end of each history: ``items_B`` of ``users_B``."""
        before = self.beside(at_BT)
        length = (at_BT >= 0).sum(1)
        rows = np.arange(len(at_BT))
        period = np.concatenate([before.period_BT.numpy(), np.zeros((len(rows), 1), np.int64)], 1)
        period_B = self.periods.of(times_B, len(rows))
        period[rows, length] = period_B
        if self._models is None or before.rival_BTR is None:
            return Beside(torch.as_tensor(period).to(device), None)
        ratio = np.concatenate([before.rival_BTR.numpy(), np.ones((len(rows), 1, 3), np.float32)], 1)
        last = np.full((len(rows), WINDOW), -1)
        for gap in range(WINDOW):
            there = length > gap
            last[there, gap] = self.train.items[at_BT[rows[there], length[there] - 1 - gap]]
        factor_B = self.periods.factor_IG[items_B, period_B]
        popularity, transition, _, *tastes = self._models
        taste_B = np.ones(len(rows))
        for number, taste in enumerate(tastes):
            mine = self._fold_U[users_B] == number
            taste_B[mine] = taste.after(users_B[mine], items_B[mine])
        told = popularity.after(items_B, period_B), transition.after(last, items_B, factor_B), taste_B
        ratio[rows, length] = np.stack(told, 1)
        return Beside(torch.as_tensor(period).to(device), torch.as_tensor(ratio).to(device))

    def fit(self, denoiser: Denoiser) -> None:
        """Fit the rivals beside the content as ``denoiser`` knows it."""
        ratio_NM = self._content(denoiser)
        shape = (len(ratio_NM), len(RIVALS))
        if self._models is None:
            self._models = self._start()
            self._r_NK = np.zeros((shape[0], shape[1] + ratio_NM.shape[1]))
            for _ in range(_FIRST):
                self._r_NK = self._expect(self._r_NK, np.ones(shape), ratio_NM, denoiser)
        taste = self._models[2]
        everyone = np.ones(shape[0])
        for _ in range(_STEPS):
            density_NR = self._tell(self._r_NK, taste, everyone)
            self._r_NK = self._expect(self._r_NK, density_NR, ratio_NM, denoiser)
        ratio_NR = density_NR.astype(np.float32)
        for number, apart in enumerate(self._models[3:]):
            r_NK, apart.part_NC = self._r_NK, taste.part_NC
            learn_N = (self._fold_U[self._user_N] != number).astype(np.float64)
            for _ in range(_APART):
                density_NR = self._tell(r_NK, apart, learn_N)
                r_NK = self._expect(r_NK, density_NR, ratio_NM, denoiser)
            mine = learn_N == 0
            ratio_NR[mine] = density_NR[mine]
        self.ratio_NR = ratio_NR

    def _tell(self, r_NK: np.ndarray, taste: Taste, learn_N: np.ndarray) -> np.ndarray:
        """Density ratios (N, R) from the responsibilities."""
        assert self._models is not None
        popularity, transition, *_ = self._models
        # A pair of choices would be its own witness if what it tells weighed it: what the content leaves does.
        left_N = 1 - r_NK[:, 3:].sum(1) / np.maximum(1 - r_NK[:, 1], 1e-6)
        told = popularity.update(r_NK[:, 0]), transition.update(left_N), taste.update(r_NK[:, 2], learn_N)
        return np.stack(told, 1)

    def save(self, path: Path) -> None:
        """Write what was fitted, for a training that is taken up again."""
        assert self._models is not None
        tensors = {"responsibilities": self._r_NK, "ratio": self.ratio_NR}
        for number, model in enumerate(self._models):
            tensors |= {f"{number}.{name}": array for name, array in model.state().items()}
        write_tensors(path, {name: torch.as_tensor(array) for name, array in tensors.items()})

    def load(self, path: Path) -> None:
        """Take up what :meth:`save` wrote. Raises ``RunError`` where it cannot be read."""
        try:
            arrays = {name: tensor.numpy() for name, tensor in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise RunError(f"cannot be read ({error})", where=path, remedy="train again with --overwrite") from error
        self._r_NK, self.ratio_NR = arrays["responsibilities"], arrays["ratio"]
        self._models = self._start()
        for number, model in enumerate(self._models):
            model.restore(under(arrays, f"{number}."))

    def _start(self) -> list[Any]:
        """Popularity, transition, taste, and the taste of all users but those of each fold."""
        train, factor_IG = self.train, self.periods.factor_IG
        factor_N = factor_IG[train.items, self.period_N]
        shape = (self.n_users, self.n_items)
        return [
            Popularity(train.items, self.period_N, self.periods),
            Transition(train, self._user_N, self.n_items, factor_N),
            *(
                Taste(self._user_N, train.items, shape, self.period_N, factor_IG, _CLUSTERS, self._seed)
                for _ in range(1 + _FOLDS)
            ),
        ]

    @torch.no_grad()
    def _content(self, denoiser: Denoiser) -> np.ndarray:
        """Density ratios of the modalities (N, M) as ``denoiser`` knows them."""
        views, device = denoiser.views(), denoiser.popularity_I.device
        ratio_NM = np.ones((len(self.train.items), len(denoiser.names)))
        for users in self.train.group_by_length(np.flatnonzero(self.train.lengths), _CELLS, _LONGEST):
            at_BT = self.train.positions(users, _LONGEST)
            items = torch.as_tensor(self.train.padded(users, _LONGEST)).to(device)
            found = denoiser.infer(denoiser.context(items, beside=self.beside(at_BT, device)), views)
            valid = at_BT >= 0
            ratio_NM[at_BT[valid]] = found.ratio_BTM.cpu().numpy()[valid]
        return ratio_NM

    @torch.no_grad()
    def _expect(self, r_NK: np.ndarray, rival_NR: np.ndarray, ratio_NM: np.ndarray, denoiser: Denoiser) -> np.ndarray:
        """Responsibilities (N, K) of single causes, one step of the fixed point; two causes at once are left to the
        denoiser."""
        counts_NK = np.zeros_like(r_NK)
        if denoiser.shape.denoise and denoiser.shape.reliance:
            counts_NK = (self._by_user @ r_NK)[self._user_N] - r_NK
        device = denoiser.log_reliance.device
        reliance_NK = denoiser.smoothed(torch.as_tensor(counts_NK).to(device)).cpu().numpy()
        joint_NK = reliance_NK * np.concatenate([rival_NR, ratio_NM], 1)
        found: np.ndarray = joint_NK / joint_NK.sum(1, keepdims=True)
        return found
