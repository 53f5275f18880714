"""Every command and every Python block of README and of the pages for users runs, in its order, on a small shop."""

import os
import re
import shlex
import shutil
from contextlib import contextmanager

import pandas as pd
import pytest
from guards.tree import ROOT
from support.manifests import rewrite
from support.small_catalogue import catalogue, picture

from demure_cli.app import main

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {
    "make demo": "tests/demo",
    "make test": "this suite",
    "pip install .": "tests/guards/test_wheel.py",
    "demure ui run": "tests/web: it serves until it is stopped",
}
PAGES = ("docs/first-run.md", "docs/your-shop.md", "docs/what-if.md", "docs/work-list.md", "docs/later-data.md")


def commands(block):
    """Return the commands of a shell block as lists of words, without those that are run elsewhere."""
    lines = (line.partition("  #")[0].strip() for line in block.splitlines())
    return [shlex.split(line) for line in lines if line and line not in ELSEWHERE]


@contextmanager
def inside(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def run_page(name, folder, already=()):
    """Run the blocks of a page in ``folder``, where the commands ``already`` were run."""
    blocks = BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
    assert blocks
    with inside(folder):
        for language, block in blocks:
            if language == "python":
                exec(compile(block, name, "exec"), {})
                continue
            assert language == "", f"a block of {name} that nothing runs"
            for program, *words in (command for command in commands(block) if command not in already):
                assert program == "demure", f"{program} in {name}: say in ELSEWHERE where it is run"
                assert main(words) == 0, words


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """The files of a shop: clicks, products and photos, and some that came later."""
    folder = tmp_path_factory.mktemp("blocks")
    catalogue(folder / "made", users=250, items=130)
    clicks = pd.read_csv(folder / "made/raw/interactions.csv")
    products = pd.read_csv(folder / "made/raw/items.csv")
    first = clicks[clicks["user_id"] == "u17"].sort_values("timestamp")["item_id"].iloc[0]
    names = {"item_id": {"i42": first, first: "i42", "i5": "b181"}}
    clicks.replace(names).to_csv(folder / "clicks.csv", index=False)
    products.replace(names).to_csv(folder / "products.csv", index=False)
    (folder / "made/raw/images").rename(folder / "photos")
    shutil.rmtree(folder / "made")
    clicks[clicks["user_id"] == "u3"].assign(user_id="n1").to_csv(folder / "today.csv", index=False)
    new = products.tail(3)
    new.assign(item_id=["new0", "new1", "new2"], image=None).to_csv(folder / "new.csv", index=False)
    (folder / "photos-of-i42").mkdir()
    for group in range(3):
        picture(group, 200 + group).save(folder / "photos-of-i42" / f"{group}.png")
    picture(0, 300).save(folder / "new.jpg")
    return folder


@pytest.fixture(scope="module")
def shop(raw):
    """The shop after all that README says; its few texts explain nothing, but may be changed."""
    run_page("README.md", raw)
    above = {"mean_probability": 0.1, "excess": 0.2, "low": 0.1, "high": 0.3, "admitted": True}
    rewrite(raw / "run" / "run.json", lambda content: content["placebo"].update(text=above))
    return raw


def test_readme(shop):
    assert {"shop", "run", "knn", "list.csv", "top.parquet", "report.html"} <= set(os.listdir(shop))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_goes_on_where_readme_ends(name, shop, tmp_path):
    shutil.copytree(shop, tmp_path, dirs_exist_ok=True)
    (tmp_path / "demure-demo/runs").mkdir(parents=True)
    (tmp_path / "demure-demo/runs/demure").symlink_to(tmp_path / "run")
    already = [
        command
        for language, block in BLOCK.findall((ROOT / "README.md").read_text())
        if not language
        for command in commands(block)
    ]
    run_page(name, tmp_path, already)


def test_a_command_that_fails_is_seen(tmp_path, capsys):
    (tmp_path / "page.md").write_text("```\ndemure inspect nowhere\n```\n")
    with pytest.raises(AssertionError):
        run_page(tmp_path / "page.md", tmp_path)
    assert "nowhere" in capsys.readouterr().err
