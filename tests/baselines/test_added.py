"""Baselines of other packages: checked when they are named, and trained as our own are."""

import dataclasses
import json

import pytest
from support.packages import add_package

from demure.baselines import registry
from demure.baselines.options import option_keys
from demure.baselines.pairwise import Pairwise, PairwiseOptions
from demure.baselines.popularity import Popularity, PopularityOptions
from demure.baselines.registry import Entry, LearnedEntry, check_model, make_baseline
from demure.errors import DemureError
from demure_cli.app import main


@dataclasses.dataclass(frozen=True)
class Ranged:
    """Options with a range and a meaning of their own, and one that demure knows."""

    weight: float = dataclasses.field(default=0.5, metadata={"low": 0.0, "high": 1.0, "doc": "of anything"})
    decay: float = 0.0
    free: int = 3


@dataclasses.dataclass(frozen=True)
class Worded:
    kind: str = "fast"


MODULE = {
    "GOOD": Entry(Popularity, Ranged()),
    "LEARNS": LearnedEntry(Pairwise, PairwiseOptions(dim=4, epochs=2)),
    "WORDED": Entry(Popularity, Worded()),
    "CLASS": Entry(Popularity, Ranged),
    "UNLEARNED": LearnedEntry(Pairwise, PopularityOptions()),
    "NO_ENTRY": Popularity,
}


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Install a package that adds a model by the attribute of ``registry`` that ``target`` names."""
    for name, value in MODULE.items():
        monkeypatch.setattr(registry, name, value, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    def write(model, target, package="more-models"):
        entries = f"[demure.baselines]\n{model} = demure.baselines.registry:{target}\n"
        add_package(tmp_path / "site", entries, package)

    return write


@pytest.mark.parametrize(
    ("model", "target", "message"),
    [
        ("ease", "GOOD", "a package adds 'ease', which demure has; rename it in that package"),
        ("demure", "GOOD", "a package adds 'demure', which demure has"),
        ("mine", "NOTHING", "cannot be loaded .*; repair or uninstall the package more-models"),
        ("mine", "NO_ENTRY", "'mine' is .*; it must be an Entry or a LearnedEntry"),
        ("mine", "WORDED", "whose options are numbers"),
        ("mine", "CLASS", "whose options are numbers"),
        ("mine", "UNLEARNED", "whose options are numbers"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(add, model, target, message):
    add(model, target)
    with pytest.raises(DemureError, match=message):
        check_model("ease")


def test_two_packages_with_one_model(add):
    add("mine", "GOOD")
    add("mine", "GOOD", "other-models")
    with pytest.raises(DemureError, match="two packages add 'mine'"):
        check_model("mine")


def test_options_have_the_range_that_the_package_or_demure_states(add):
    add("mine", "GOOD")
    keys = {key.name: key for key in option_keys(Ranged())}
    assert (keys["baseline.weight"].range, keys["baseline.weight"].doc) == ("0 to 1", "of anything")
    assert keys["baseline.decay"].range == "0 to 100"
    assert keys["baseline.free"].range == "0 to inf"
    assert make_baseline("mine", weight=1, free=5).options == Ranged(1.0, free=5)
    for option, value, message in (
        ("weight", 1.5, "weight is 1.5; give 0 to 1"),
        ("free", 0.5, "whole number"),
        ("wait", 1, "did you mean weight"),
    ):
        with pytest.raises(DemureError, match=message):
            make_baseline("mine", **{option: value})


def test_a_model_with_weights_is_trained_as_ours_is(add, timed, tmp_path, capsys):
    add("small-bpr", "LEARNS")
    for name, options in (("small-bpr", ()), ("bpr", ("baseline.dim=4", "baseline.epochs=2"))):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(f"model: {name}\n")
        words = ["train", str(timed), "--recipe", str(recipe), "--out", str(tmp_path / name)]
        assert main([*words, *(word for option in options for word in ("--set", option))]) == 0
    capsys.readouterr()
    metrics = []
    for name in ("small-bpr", "bpr"):
        assert main(["eval", str(tmp_path / name), "--json"]) == 0
        metrics.append(json.loads(capsys.readouterr().out)["metrics"])
    assert metrics[0] == metrics[1]
    assert main(["tune", str(timed), "--recipe", str(tmp_path / "small-bpr.yaml"), "--out", str(tmp_path / "s")]) == 2
    assert "name the keys to search with --space FILE" in capsys.readouterr().err


def test_a_model_whose_scores_demure_cannot_write_is_not_exported(add, timed, tmp_path, capsys, monkeypatch):
    class Alone:
        def __init__(self, options):
            self.popularity = Popularity()
            self.fit, self.scorer = self.popularity.fit, self.popularity.scorer

    monkeypatch.setattr(registry, "GOOD", Entry(Alone, Ranged()))
    add("mine", "GOOD")
    (tmp_path / "mine.yaml").write_text("model: mine\n")
    assert main(["train", str(timed), "--recipe", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), "--format", "npy", "--out", str(tmp_path / "out")]) == 2
    assert "'mine' cannot be exported" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
