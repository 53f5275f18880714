"""How an encoder is named, found and refused."""

import sys
import types

import pytest

from demure.errors import ExtractorError, MachineError
from demure.extraction.available import list_extractors
from demure.extraction.loading import encoder_families, load_encoder, resolve_encoder
from demure.extraction.protocol import EncoderFamily, EncoderSpec, parse_encoder


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("tfidf", EncoderSpec("tfidf")),
        ("clip:ViT-B-32/laion2b_s34b_b79k", EncoderSpec("clip", "ViT-B-32/laion2b_s34b_b79k")),
        ("vision:facebook/dinov2-small@4a1b", EncoderSpec("vision", "facebook/dinov2-small", "4a1b")),
        ("sentence:a/b@refs/pr/1", EncoderSpec("sentence", "a/b", "refs/pr/1")),
        ("tfidf:256,keep-numbers", EncoderSpec("tfidf", "256,keep-numbers")),
    ],
)
def test_names_are_taken_apart_and_put_together(text, spec):
    assert parse_encoder(text) == spec
    assert str(spec) == text


def test_a_path_may_hold_colons_and_ats(tmp_path, monkeypatch):
    for name in ("C:model", "me@home", "a:b@c:d@e"):
        (tmp_path / name).mkdir()
        assert parse_encoder(f"clip:{tmp_path / name}") == EncoderSpec("clip", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    assert parse_encoder("clip:me@home") == EncoderSpec("clip", "me@home")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_encoder("clip:~/me@home") == EncoderSpec("clip", str(tmp_path / "me@home"))


def test_columns_stand_in_brackets_after_everything_else(tmp_path):
    assert parse_encoder("tfidf[title]") == EncoderSpec("tfidf", columns=("title",))
    assert parse_encoder("tfidf:256[title, product type]") == EncoderSpec(
        "tfidf", "256", None, ("title", "product type")
    )
    assert parse_encoder("sentence:a/b@v1[title,title]") == EncoderSpec("sentence", "a/b", "v1", ("title",))
    assert str(parse_encoder("sentence:a/b@v1[title]")) == "sentence:a/b@v1"
    (tmp_path / "plain").mkdir()
    (tmp_path / "with[1]").mkdir()
    assert parse_encoder(f"clip:{tmp_path}/plain[title]") == EncoderSpec("clip", f"{tmp_path}/plain", None, ("title",))
    assert parse_encoder(f"clip:{tmp_path}/with[1]") == EncoderSpec("clip", f"{tmp_path}/with[1]")
    assert parse_encoder(f"clip:{tmp_path}/with[1][title]") == EncoderSpec(
        "clip", f"{tmp_path}/with[1]", None, ("title",)
    )


def test_a_local_folder_has_no_revision(tmp_path):
    with pytest.raises(ExtractorError, match="revision 'v1' of a local folder"):
        parse_encoder(f"clip:{tmp_path}@v1")


@pytest.mark.parametrize("text", ["", ":", "clip:", ":model", "clip:@v1", "clip:model@", "tfidf[]", "tfidf[a,]", "[a]"])
def test_what_is_no_name(text):
    with pytest.raises(ExtractorError, match="is not an encoder"):
        parse_encoder(text)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("sentense:x", "text", "unknown encoder 'sentense:x'; did you mean 'sentence'?"),
        ("color", "text", "'color' does not encode texts"),
        ("tfidf", "image", "'tfidf' does not encode images"),
        ("tfidf:big", "text", "'big' is not an option of tfidf; write a number of dimensions"),
        ("tfidf:0", "text", "'0' is not an option of tfidf"),
        ("tfidf:64,128", "text", "'128' is not an option of tfidf"),
        ("tfidf:256@v1", "text", "'tfidf' takes no revision, got 'v1'"),
        ("color:big", "image", "'color' takes no model, got 'big'"),
        ("color[title]", "image", "names columns, and images have only one; write --image color"),
        ("attributes", "text", "'attributes' does not encode texts"),
        ("tfidf", "attributes", "'tfidf' does not encode attributes; use attributes"),
        ("vision", "image", "names no model; for example vision:facebook/dinov2-small"),
        ("sentence:./nowhere", "text", "'./nowhere' is not there"),
    ],
)
def test_refusals_name_the_choices(name, kind, message):
    with pytest.raises(ExtractorError) as error:
        resolve_encoder(name, kind)
    assert message in str(error.value)


def encoder_that(monkeypatch, raises):
    module = types.ModuleType("an_encoder")

    def make(model, revision, device, precision):
        raise raises

    module.Encoder = make
    monkeypatch.setitem(sys.modules, "an_encoder", module)
    return load_encoder(EncoderSpec("x", "y"), EncoderFamily("x", "", "x:y", text="an_encoder:Encoder"), "text", "cpu")


@pytest.mark.parametrize("kind", [RuntimeError, ImportError])
def test_torch_and_torchvision_that_do_not_fit_are_named(monkeypatch, kind):
    with pytest.raises(MachineError) as error:
        encoder_that(monkeypatch, kind("operator torchvision::nms does not exist"))
    assert "torch 2" in str(error.value)
    assert "do not fit together" in str(error.value)
    assert "pip install --upgrade --force-reinstall torch torchvision" in str(error.value)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    with pytest.raises(MachineError, match="'open_clip' is not installed"):
        encoder_that(monkeypatch, ModuleNotFoundError("No module named 'open_clip'", name="open_clip"))


def test_whatever_a_model_raises_is_one_line(monkeypatch):
    with pytest.raises(ExtractorError) as error:
        encoder_that(monkeypatch, KeyError("weird\nmultiline"))
    assert str(error.value).startswith("x:y: cannot be loaded: KeyError")
    assert "\n" not in str(error.value)


def test_every_family_can_be_imported_and_the_built_in_ones_run_here():
    pytest.importorskip("torch")
    import importlib

    for family in encoder_families().values():
        for kind in ("text", "image"):
            if family.target(kind):
                module, _, name = family.target(kind).partition(":")
                assert callable(getattr(importlib.import_module(module), name))
    listed = {listed.family: listed for listed in list_extractors()}
    assert listed["tfidf"].here == ["tfidf"]
    assert listed["color"].encodes == ["image"]
    assert listed["clip"].encodes == ["text", "image"]


def test_models_in_the_hubs_cache_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name, file in (("a--clip", "open_clip_config.json"), ("b--vit", "preprocessor_config.json")):
        snapshot = tmp_path / f"models--{name}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        (snapshot / file).write_text("{}")
        (snapshot / "model.safetensors").write_bytes(b"")
    listed = {family.family: family.here for family in list_extractors()}
    assert listed["clip"] == ["clip:a/clip"]
    assert listed["vision"] == ["vision:b/vit"]
