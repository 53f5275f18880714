"""The options of planted sets, and the kinds of sets that the project is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from demure.errors import DemureError


def require(holds: bool, name: str, value: Any, remedy: str) -> None:
    """Raise ``DemureError`` with ``name``, ``value`` and ``remedy`` unless the condition ``holds``."""
    if not holds:
        raise DemureError(f"{name} is {value}", where="planted", remedy=remedy)


Rival = Literal["hidden", "trend", "habit", "junk"]


@dataclass(frozen=True)
class PlantedOptions:
    """How a planted set is generated; the fields are keys of ``planted.json``.

    Attributes:
        users, items: how many there are.
        modalities: their names.
        length: range of interactions per user, both ends included.
        clusters: clusters of items per modality; 0 for interests that are points in feature space.
        interests: range of a user's interests per modality, both ends included.
        skew: an interest is the more often drawn the lower its number, as rank ** -skew; only with clusters.
        alpha: Dirichlet concentration of a user's reliance on the modalities; below 1 most users rely on one.
        noise: spread of items around the centre of their cluster; the centres have spread 1.
        nats: information of an interest about the item it causes, where there are no clusters.
        feature_noise: standard deviation of the noise added to every feature.
        dimensions: length of a feature vector.
        p_none, p_two: probability that nothing, or that two modalities together, cause an interaction.
        zipf: popularity falls as rank ** -zipf.
        missing: share of items without a modality, drawn for each modality separately. A missing modality causes
            nothing and its feature row is zero.
        rival: the cause beside the given content, if any; interactions are then spread over a year.
        p_rival: probability that a ``trend`` or a ``habit`` causes an interaction.
        seed: decides everything that is drawn.

    The rivals:

    - ``hidden``: one more modality, which is not among ``modalities`` and whose features are withheld;
    - ``trend``: popularity at that time; the features of the last modality also encode an item's release date;
    - ``habit``: one of six items linked to the previous interaction;
    - ``junk``: the features of the first modality are shuffled among the items, and by the truth never a cause.
    """

    users: int = 1000
    items: int = 2000
    modalities: tuple[str, ...] = ("image", "text")
    length: tuple[int, int] = (8, 30)
    clusters: int = 20
    interests: tuple[int, int] = (1, 3)
    skew: float = 0.0
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
        require(self.skew >= 0, "skew", self.skew, "give 0 or more")
        require(self.clusters > 0 or not self.skew, "skew", self.skew, "it needs clusters")
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


# Shared by the kinds in which content has rivals.
_WITH_RIVAL = PlantedOptions(
    users=2000, items=2500, length=(10, 35), clusters=12, alpha=0.8, noise=0.6, feature_noise=0.4, zipf=0.9
)

# As difficult as the sets that the project was measured on; set your own seed and size with dataclasses.replace.
KINDS: dict[str, PlantedOptions] = {
    "clear": PlantedOptions(),
    "hard": PlantedOptions(length=(7, 24), clusters=10, interests=(1, 4), alpha=1.0, noise=0.9, feature_noise=0.5),
    "rich": PlantedOptions(
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
    "smooth": PlantedOptions(
        users=2000, items=2500, clusters=0, interests=(2, 4), alpha=0.8, feature_noise=0.5, p_none=0.05, zipf=0.9
    ),
    "hidden": replace(_WITH_RIVAL, rival="hidden"),
    "trend": replace(_WITH_RIVAL, rival="trend", p_rival=0.4),
    "habit": replace(_WITH_RIVAL, rival="habit", p_rival=0.35),
    "junk": replace(_WITH_RIVAL, rival="junk"),
}
