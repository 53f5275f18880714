"""Every command and every Python block of README and of the pages for users runs, in its order, on a small shop."""

import os
import re
import shlex
import shutil
from contextlib import contextmanager
from functools import partial, reduce
from pathlib import Path

import pandas as pd
import pytest
from guards.tree import ROOT
from support import tiny_models
from support.manifests import rewrite
from support.media_files import greys, tone, write_sound, write_video
from support.small_catalogue import catalogue, picture
from support.small_sets import QUICK

from demure.recipe.load import load_recipe
from demure.tuning.space import search_space
from demure_cli.app import main

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {
    "make demo": "tests/demo",
    "make test": "this suite",
    "pip install .": "tests/guards/test_wheel.py",
    "demure ui run": "tests/web: it serves until it is stopped",
    "demure images fetch products.csv --out photos": "tests/preparation/fetch: it asks servers",
    "torchrun --nproc-per-node 2 -m demure_cli train DATASET --out RUN": "tests/training/test_distributed.py",
    "torchrun --nproc-per-node 4 -m demure_cli extract shop --image clip:ViT-B-32/laion2b_s34b_b79k": "tests/extraction"
    "/test_resumed_extraction.py",
    "accelerate launch --multi_gpu --num_processes 2 -m demure_cli train DATASET --out RUN": "needs two GPUs",
}
"""Commands that are not run here, and where they are."""
SHORTER = {
    "--trials 30": "--trials 1 --set baseline.epochs=2",
    "training.epochs=60": "training.epochs=2",
    "modalities=[text,dino]": " --set ".join(["modalities=[text,dino]", *QUICK]),
}
"""What only takes longer with the number of the page, and what is run in its place."""
CHECKPOINTS = {
    "sentence-transformers/all-MiniLM-L6-v2": ("tiny-bert", partial(tiny_models.bert_folder, pooling={})),
    "ViT-B-32/laion2b_s34b_b79k": ("tiny-clip", tiny_models.clip_folder),
    "facebook/dinov2-small": ("tiny-vit", tiny_models.vit_folder),
    "laion/clap-htsat-unfused": ("tiny-clap", tiny_models.clap_folder),
}
"""Checkpoints of a hub, and the folder of a random one that is run in their place, with what makes it."""
ON_ITS_OWN = {
    "docs/storage.md": "tests/storage, in a store of its own",
    "docs/extend.md": "tests/docs/test_extend.py",
    "docs/cluster.md": "tests/cluster, marker ray: it starts a cluster",
}
"""Pages whose blocks need what is not on this machine, and where their commands are tested."""
FOREIGN = {"from recbole": "RecBole's own code", "self.evaluate(": "a line for MMRec's code"}
"""What marks Python code of other tools."""
PAGES = [
    "docs/first-run.md",
    "docs/your-shop.md",
    "docs/formats.md",
    "docs/what-if.md",
    "docs/work-list.md",
    "docs/later-data.md",
    "docs/recipes.md",
    "docs/training.md",
    "docs/tuning.md",
    "docs/other-models.md",
]
SLOW_PAGES = ["docs/deploy.md"]
"""A graph of a demure model takes a minute."""


def commands(block):
    """Return the commands of a shell block as lists of words, without those that are run elsewhere."""
    lines = (line.partition("  #")[0].strip() for line in block.splitlines())
    changes = SHORTER | {name: folder for name, (folder, _) in CHECKPOINTS.items()}
    return [
        shlex.split(reduce(lambda text, pair: text.replace(*pair), changes.items(), line))
        for line in lines
        if line and line not in ELSEWHERE
    ]


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
            if language == "python" and not any(mark in block for mark in FOREIGN):
                exec(compile(block, name, "exec"), {"__name__": "__main__"})
            elif language == "yaml":
                check_yaml(block)
            if language:
                assert language in ("python", "yaml", "text"), f"a block of {name} that nothing runs"
                continue
            for program, *words in (command for command in commands(block) if command not in already):
                assert program == "demure", f"{program} in {name}: say in ELSEWHERE where it is run"
                assert main(words) == 0, words


def check_yaml(block):
    """Read a block as a recipe, or as a search space."""
    file = Path("block.yaml")
    file.write_text(block)
    recipe = load_recipe(file if "extends" in block else "default")
    assert "extends" in block or search_space(recipe, file)


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


@pytest.mark.parametrize("name", [*PAGES, *(pytest.param(page, marks=pytest.mark.slow) for page in SLOW_PAGES)])
def test_a_page_that_goes_on_where_readme_ends(name, shop, tmp_path):
    shutil.copytree(shop, tmp_path, dirs_exist_ok=True)
    (tmp_path / "demure-demo/runs").mkdir(parents=True)
    (tmp_path / "demure-demo/runs/demure").symlink_to(tmp_path / "run")
    lists = pd.read_parquet(tmp_path / "top.parquet")
    lists.to_parquet(tmp_path / "mgcn.parquet")
    for seed in (0, 1):
        lists.to_csv(tmp_path / f"seed{seed}.csv", index=False)
    already = [
        command
        for language, block in BLOCK.findall((ROOT / "README.md").read_text())
        if not language
        for command in commands(block)
    ]
    run_page(name, tmp_path, already)


def test_features(raw, tmp_path):
    """The page on a shop that has attributes, descriptions, sounds and films, too; the checkpoints are tiny."""
    for module in ("av", "open_clip", "sentence_transformers", "transformers"):
        pytest.importorskip(module)
    products = pd.read_csv(raw / "products.csv").head(40)
    products["description"] = products["title"].str[::-1]
    products["brand"], products["colour"] = products["title"].str[0], products["title"].str[-1]
    products.to_csv(tmp_path / "products.csv", index=False)
    for folder in ("sounds", "films"):
        (tmp_path / folder).mkdir()
    for k, item in enumerate(products["item_id"][:3]):
        write_sound(tmp_path / "sounds" / f"{item}.wav", tone(0.5, 200.0 + 100 * k))
        write_video(tmp_path / "films" / f"{item}.mp4", greys(4 + k, side=32))
    for folder, make in CHECKPOINTS.values():
        make(tmp_path / folder)
    clicks = pd.read_csv(raw / "clicks.csv")
    clicks[clicks["item_id"].isin(products["item_id"])].to_csv(tmp_path / "clicks.csv", index=False)
    prepare = f"prepare --interactions clicks.csv --items products.csv --images {raw / 'photos'} --out shop"
    with inside(tmp_path):
        assert main([*prepare.split(), "--audio", "sounds", "--video", "films"]) == 0
    run_page("docs/features.md", tmp_path)
    made = {path.parent.name for path in tmp_path.glob("shop/features/*/features.json")}
    assert made == {"text", "image", "dino", "title", "blurb", "attributes", "audio", "video"}


def test_every_page_with_blocks_is_run():
    with_blocks = {
        page.relative_to(ROOT).as_posix()
        for page in (ROOT / "docs").rglob("*.md")
        if {language for language, _ in BLOCK.findall(page.read_text(encoding="utf-8"))} - {"text"}
    }
    assert with_blocks == {*PAGES, *SLOW_PAGES, *ON_ITS_OWN, "docs/features.md"}


def test_a_command_that_fails_is_seen(tmp_path, capsys):
    (tmp_path / "page.md").write_text("```\ndemure inspect nowhere\n```\n")
    with pytest.raises(AssertionError):
        run_page(tmp_path / "page.md", tmp_path)
    assert "nowhere" in capsys.readouterr().err
