"""The knobs of planted sets, and the kinds that the project is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from demure.errors import DemureError


def require(holds: bool, name: str, value: Any, remedy: str) -> None:
    """Raise ``DemureError`` with ``name``, ``value`` and ``remedy`` unless the condition holds."""
    if not holds:
        raise DemureError(f"{name} is {value}", where="planted", remedy=remedy)


Rival = Literal["hidden", "trend", "habit", "junk"]


@dataclass(frozen=True)
class Knobs:
    """What a planted set is made of.

    ``length`` and ``interests`` (per modality) are ranges, both ends included. ``alpha`` is the Dirichlet concentration
    of a user's reliance on the modalities: below 1 most users rely on one. ``noise`` is how far items spread around
    their cluster's centre, whose own spread is 1; ``feature_noise`` is added to every feature. ``nats`` is
    how much an interest tells about an item where there are no clusters. Popularity falls as rank ** -``zipf``.
    ``missing`` is the share of items without a modality, drawn for each modality apart: such a modality causes nothing
    and its feature row is zero.

    ``rival`` names what else causes choices beside the given content, at times spread over a year:

    - ``hidden``: one more modality, which is not among ``modalities`` and whose features are withheld;
    - ``trend``: what is popular at the time, with probability ``p_rival``; the features of the last modality also
      encode an item's release date;
    - ``habit``: one of six items linked to the previous choice, with probability ``p_rival``;
    - ``junk``: the features of the first modality are dealt among the items, and the truth calls it never a cause.
    """

    users: int = 1000
    items: int = 2000
    modalities: tuple[str, ...] = ("image", "text")
    length: tuple[int, int] = (8, 30)
    clusters: int = 20
    interests: tuple[int, int] = (1, 3)
    alpha: float = 0.5
    noise: float = 0.5
    nats: float = 3.0
    feature_noise: float = 0.3
    dimensions: int = 64
    p_none: float = 0.0
    p_two: float = 0.0
    zipf: float = 0.6
    missing: float = 0.0
    rival: Rival | None = None
    p_rival: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = {"p_none": self.p_none, "p_two": self.p_two, "missing": self.missing, "p_rival": self.p_rival}
        for name, share in shares.items():
            require(0 <= share <= 1, name, share, "give a share from 0 to 1")
        require(self.missing < 1, "missing", self.missing, "leave some items with the modality")
        require(self.p_none + self.p_two <= 1, "p_none + p_two", self.p_none + self.p_two, "keep the sum at 1 or below")
        require(len(self.modalities) > 0, "modalities", "empty", "name one or more")
        require(len(self.modalities) > 1 or not self.p_two, "p_two", self.p_two, "two causes need two modalities")
        require(1 <= self.length[0] <= self.length[1], "length", self.length, "give a rising range from 1")
        require(self.length[1] <= self.items, "length", self.length, f"there are {self.items} items, each chosen once")
        require(1 <= self.interests[0] <= self.interests[1], "interests", self.interests, "give a rising range from 1")
        require(self.clusters == 0 or self.interests[1] <= self.clusters, "interests", self.interests, "add clusters")
        for name in ("users", "alpha", "nats", "dimensions"):
            require(getattr(self, name) > 0, name, getattr(self, name), "give a value above 0")
        self._check_rival()

    def _check_rival(self) -> None:
        rivals = get_args(Rival)
        require(self.rival in (None, *rivals), "rival", repr(self.rival), f"there are: {', '.join(rivals)}")
        shared = self.rival in ("trend", "habit")
        require(shared or not self.p_rival, "p_rival", self.p_rival, "set rival to trend or habit")
        if self.rival is None:
            return
        require(self.clusters > 0, "clusters", self.clusters, "a set with a rival needs clusters")
        for name in ("p_none", "p_two"):
            require(not getattr(self, name), name, getattr(self, name), "leave it at 0 where there is a rival")
        require(
            self.rival != "junk" or len(self.modalities) > 1, "modalities", self.modalities, "junk needs two or more"
        )
        require(self.rival != "habit" or self.items > 6, "items", self.items, "a habit needs more than six items")


# What the kinds share in which content has rivals.
_RIVALLED = Knobs(
    users=2000, items=2500, length=(10, 35), clusters=12, alpha=0.8, noise=0.6, feature_noise=0.4, zipf=0.9
)

# As hard as the sets that the project was measured on; a seed and a size of your own make them yours.
KINDS: dict[str, Knobs] = {
    "clear": Knobs(),
    "hard": Knobs(length=(7, 24), clusters=10, interests=(1, 4), alpha=1.0, noise=0.9, feature_noise=0.5),
    "rich": Knobs(
        users=2000,
        items=3000,
        modalities=("image", "text", "audio"),
        length=(8, 40),
        clusters=12,
        alpha=0.7,
        noise=0.8,
        feature_noise=0.4,
        p_none=0.1,
        p_two=0.15,
        missing=0.1,
        zipf=1.0,
    ),
    "smooth": Knobs(
        users=2000, items=2500, clusters=0, interests=(2, 4), alpha=0.8, feature_noise=0.5, p_none=0.05, zipf=0.9
    ),
    "hidden": replace(_RIVALLED, rival="hidden"),
    "trend": replace(_RIVALLED, rival="trend", p_rival=0.4),
    "habit": replace(_RIVALLED, rival="habit", p_rival=0.35),
    "junk": replace(_RIVALLED, rival="junk"),
}
