"""The package on docs/extend.md is built, installed, and found by the commands that the page names."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
from docs.test_blocks import commands, inside
from guards.tree import ROOT
from support.packages import install

from demure.features import store
from demure_cli.app import main

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
FILE = re.compile(r"^File `letters-plugin/(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.search(r"^```\n(pip.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]
LINES = ["ann > hat > shoe > bag", "bob > shoe > bag > coat > tie", "eve > hat > shoe > bag > tie"] * 3


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the installed package."""
    folder = tmp_path_factory.mktemp("extend")
    files = dict(FILE.findall(PAGE))
    assert len(files) == 5
    for name, text in {**files, "letters_plugin/__init__.py": "", "letters_plugin/recipes/__init__.py": ""}.items():
        file = folder / "letters-plugin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    install(folder / "letters-plugin", folder / "site")
    return folder / "site"


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in sys.modules if name.startswith("letters_plugin")]:  # those of another test
        monkeypatch.delitem(sys.modules, name)


def test_every_command_of_the_page_runs(installed, tmp_path, capsys):
    lines = [line.replace(line[:3], f"{line[:3]}{k}") for k, line in enumerate(LINES)]
    (tmp_path / "log.arrows").write_text("\n".join(lines))
    items = pd.DataFrame({"item_id": ["hat", "shoe", "bag", "coat", "tie"]})
    items.assign(title=[f"a {name} of cotton" for name in items["item_id"]]).to_csv(tmp_path / "products.csv")
    pip, *rest = commands(COMMANDS)
    assert pip == ["pip", "install", "./letters-plugin"]  # the fixture
    with inside(tmp_path):
        for program, *words in rest:
            assert program == "demure"
            assert main(words) == 0, (words, capsys.readouterr().err)
        output = capsys.readouterr().out
        assert "baseline.popularity" in output
        assert "weight of an item's popularity" in " ".join(output.split())
        assert main(["eval", "run", "--k", "1", "--json"]) == 0
    # In training, a bag follows a shoe and a shoe a hat; so ann, whose last item is a shoe, gets the bag that is held
    # out for her. Nothing follows the coat of bob and the bag of eve: they get popular items, not the tie.
    assert json.loads(capsys.readouterr().out)["metrics"]["recall@1"] == pytest.approx(1 / 3)
    assert json.loads((tmp_path / "shop/dataset.json").read_text())["created_by"]["format"] == "arrows"
    a_and_b = store.load(tmp_path / "shop", "text").vectors[:, :2]
    np.testing.assert_array_equal(a_and_b, [[2, 0], [1, 0], [2, 1], [2, 0], [1, 0]])  # "a hat of cotton", ...
