"""`demure extract` as a user runs it: names, Ctrl-C, several processes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from support.small_sets import prepared_set

from demure import extract
from demure.extraction import encoding
from demure.extraction.shards import ShardFolder
from demure.features import store
from demure_cli.app import main

N = 40
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def shop(tmp_path):
    titles = [
        f"{color} {thing} number {k}" for k in range(10) for color in ("red", "blue") for thing in ("chair", "cup")
    ]
    root = tmp_path / "shop-raw"
    folder = prepared_set(
        tmp_path / "shop",
        items={
            "item_id": [f"i{k}" for k in range(N)],
            "title": [*titles[:-1], "red cup of 1990"],
            "brand": ["acme", "zeta"] * (N // 2),
            "price": [f"{k + 0.5}" for k in range(N)],
            "image": [f"{k}.png" for k in range(N)],
        },
    )
    for k, dots in enumerate(np.random.default_rng(0).integers(0, 255, (N, 8, 8, 3), dtype=np.uint8)):
        Image.fromarray(dots).save(root / f"{k}.png")
    (root / "3.png").write_bytes(b"")
    return folder


def test_two_encoders_of_the_texts_and_what_a_training_takes(shop, capsys, tmp_path):
    arguments = ["extract", str(shop), "--text", "tfidf", "--text", "again=tfidf", "--image", "color"]
    assert main([*arguments, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["modalities"]
    assert [(feature["name"], feature["kind"], feature["present"]) for feature in made] == [
        ("text", "text", N),
        ("again", "text", N),
        ("image", "image", N - 1),
    ]
    assert main(arguments) == 0
    report = capsys.readouterr()
    assert "empty file" in report.out
    assert "again: up to date" in report.err
    assert main(["extract", str(shop), "--text", "tfidf", "--text", "tfidf"]) == 2
    assert "name one of them: --text text-tfidf=tfidf" in capsys.readouterr().err


def test_columns_and_attributes_as_modalities(shop, capsys):
    arguments = ["extract", str(shop), "--text", "name=tfidf:3[title]", "--attributes", "all"]
    assert main([*arguments[:-2], "--attributes", "maker=brnad"]) == 2
    report = capsys.readouterr().err
    assert report.count("\n") == 1
    assert (
        "--attributes maker=brnad: the items have no column 'brnad'; did you mean 'brand'? there are: title" in report
    )
    assert store.names(shop) == []
    assert main([*arguments, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["modalities"]
    assert [
        (feature["name"], feature["kind"], feature["encoder"], feature["dim"], feature["columns"]) for feature in made
    ] == [
        ("name", "text", "tfidf:3", 3, ["title"]),
        ("attributes", "attributes", "attributes", 4, ["brand", "price"]),
    ]
    assert main([*arguments, "--no-resume"]) == 0
    shown = capsys.readouterr()
    assert "tfidf:3 of title" in " ".join(shown.out.split())
    assert "name: left out as no content: 1 words that are years" in shown.err
    assert main(["extractors", "--json"]) == 0
    listed = {family["family"]: family for family in json.loads(capsys.readouterr().out)["extractors"]}
    assert listed["attributes"]["encodes"] == ["attributes"]
    assert listed["attributes"]["here"] == ["attributes"]


def test_processes_cannot_all_start_over(shop, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main(["extract", str(shop), "--no-resume"]) == 2
    assert "2 processes cannot all start over" in capsys.readouterr().err
    monkeypatch.setenv("RANK", "2")
    assert main(["extract", str(shop)]) == 2
    assert "RANK 2 of WORLD_SIZE 2" in capsys.readouterr().err


def test_only_the_first_process_speaks(shop, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["extract", str(shop)]) == 0
    assert capsys.readouterr() == ("", "")
    assert store.names(shop) == ["image", "text"]


def test_ctrl_c_prints_what_is_kept_and_how_to_continue(shop):
    code = (
        "import sys, time; from demure_extractors.builtin import Color; from demure.extraction import encoding; "
        "encoding.SHARD_SIZE = 8; Color.batch = 4; real = Color.encode; "
        "slow = float(sys.argv.pop()); "
        "Color.encode = lambda self, x: (time.sleep(slow), real(self, x))[1]; "
        "from demure_cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "extract", str(shop), "--image", "color"]
    process = subprocess.Popen(
        [*command, "1"], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    )
    began = time.monotonic()
    while not list(shop.glob("features/.work-image/shard-*.safetensors")) and time.monotonic() - began < 60:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    report = process.communicate(timeout=60)[1].splitlines()[-1]
    assert process.returncode == 130
    assert report.startswith("demure: interrupted; ")
    kept = int(report.split()[2])
    assert kept in {8, 16, 24, 32}
    assert f"of 39 images is kept in {shop}/features; the same command continues from there" in report
    done = subprocess.run([*command, "--json", "0"], capture_output=True, text=True, env=ENVIRONMENT)
    assert json.loads(done.stdout)["modalities"][0]["resumed"] == kept


def test_ctrl_c_counts_a_shard_that_has_just_been_written(shop, monkeypatch):
    monkeypatch.setattr(encoding, "SHARD_SIZE", 8)
    real = ShardFolder.save

    def interrupted(self, number, shard):
        real(self, number, shard)
        raise KeyboardInterrupt

    monkeypatch.setattr(ShardFolder, "save", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^8 of 39 images"):
        extract(shop, image="color")


@pytest.mark.slow
def test_torchrun(shop):
    pytest.importorskip("torch")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "demure_cli", "extract", str(shop), "--json"], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["modalities"]
    assert [(feature["name"], feature["present"]) for feature in made] == [("text", N), ("image", N - 1)]
    assert not list(shop.glob("features/.work*"))


@pytest.mark.parametrize(
    ("option", "name"), [(["--trust-remote-code"], "--trust-remote-code"), (["--prompt", "x"], "--prompt")]
)
def test_an_option_that_no_encoder_takes_is_refused(shop, capsys, option, name):
    assert main(["extract", str(shop), "--text", "tfidf", *option]) == 2
    assert f"{name}: none of these encoders takes it; leave {name} out" in capsys.readouterr().err


def test_a_model_with_code_of_its_own_is_refused_and_a_prompt_chosen(shop, tmp_path, capsys, monkeypatch):
    pytest.importorskip("transformers")
    from support.tiny_models import bert_folder, bring_code

    monkeypatch.setattr("builtins.input", lambda *_: "y")  # a piped `yes`
    model = bert_folder(tmp_path / "model", {"pooling_mode": "mean"})
    prompts = {"prompts": {"STS": "story of ", "Clustering": "war "}}
    (model / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    arguments = ["extract", str(shop), "--text", f"sentence:{model}"]
    assert main([*arguments, "--prompt", "STSS"]) == 2
    assert "has no prompt 'STSS'; did you mean STS?" in capsys.readouterr().err
    assert main(arguments) == 0
    assert "no prompt: none of its prompts is for documents (STS, Clustering)" in " ".join(
        capsys.readouterr().err.split()
    )
    assert main([*arguments, "--prompt", "STS"]) == 0
    assert store.read_manifest(shop, "text").provenance["preprocessing"]["prompt"] == "story of "
    capsys.readouterr()
    bring_code(model)
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.splitlines()[-1].endswith("use another model, or read its code and say --trust-remote-code")
    assert main([*arguments, "--trust-remote-code"]) == 0
    assert store.read_manifest(shop, "text").provenance["trust_remote_code"] is True
