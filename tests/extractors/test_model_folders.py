"""Model folders as people have them: with odd configurations, damaged, or hostile. Each works, or is one plain line."""

import contextlib
import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.tiny_models import (
    OWN_CODE,
    add_dense,
    bert_folder,
    bring_code,
    roberta_folder,
    t5_folder,
    vit_folder,
    word_tokenizer,
)

from demure.errors import DemureError, ExtractorError
from demure.extraction.loading import load_encoder, resolve_encoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from demure_extractors.sentence import Sentence  # noqa: E402

LONG = "the cat sat on the red mat and " * 40
CONFIG, LIMITS = "config_sentence_transformers.json", "sentence_bert_config.json"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return add_dense(bert_folder(tmp_path_factory.mktemp("models") / "sound", {"pooling_mode": "mean"}, normalize=True))


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "model")


def edit(file, **changes):
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**content, **changes}))


def edit_module(folder, number, **changes):
    modules = json.loads((folder / "modules.json").read_text())
    modules[number].update(changes)
    (folder / "modules.json").write_text(json.dumps(modules))


def load(folder, family="sentence", kind="text", **keywords):
    spec, resolved = resolve_encoder(f"{family}:{folder}", kind)
    return load_encoder(spec, resolved, kind, "cpu", keywords=keywords)


def test_a_projection_is_applied(folder):
    from safetensors.torch import load_file

    vectors, encoder = Sentence(str(folder), None, "cpu").encode(["a cat"]), load(folder)
    shutil.rmtree(folder / "3_Dense")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:-1]))
    assert encoder.identity()["modules"] == ["Transformer", "Pooling", "Normalize", "Dense"]
    weights = load_file(add_dense(folder) / "3_Dense" / "model.safetensors")
    shutil.rmtree(folder / "3_Dense")
    (folder / "modules.json").write_text(json.dumps(modules[:-1]))
    before = Sentence(str(folder), None, "cpu").encode(["a cat"])
    np.testing.assert_allclose(
        vectors, before @ weights["linear.weight"].numpy().T + weights["linear.bias"].numpy(), atol=1e-5
    )


def test_truncate_dim_is_kept_to(folder):
    whole = load(folder).encode(["a cat"])
    edit(folder / CONFIG, truncate_dim=4)
    encoder = load(folder)
    assert (encoder.dim, encoder.identity()["truncate_dim"]) == (4, 4)
    np.testing.assert_allclose(encoder.encode(["a cat"]), whole[:, :4], atol=1e-6)


@pytest.mark.parametrize(("stated", "cut"), [(None, 33), (500, 33), (20, 20)])
def test_roberta_reads_as_many_tokens_as_it_has_positions_for(tmp_path, stated, cut):
    folder = roberta_folder(tmp_path / "model")
    if stated is not None:
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
        modules.append({"idx": 1, "name": "1", "path": "1", "type": "sentence_transformers.models.Pooling"})
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1").mkdir()
        edit(folder / "1" / "config.json", embedding_dimension=16, pooling_mode="mean")
        edit(folder / LIMITS, max_seq_length=stated)
    encoder = load(folder)
    assert encoder.identity()["preprocessing"]["max_tokens"] == cut
    note = {
        20: "",
        None: "texts cut at 33 tokens",
        500: "texts cut at 33 tokens, all that the model reads (stated: 500)",
    }
    assert encoder.identity()["assumed"][-1:] == [note[stated]] * (note[stated] != "")
    words = LONG.split()
    np.testing.assert_allclose(
        encoder.encode([LONG]), encoder.encode([" ".join(words[: cut - 2])]), atol=1e-6
    )  # [CLS] and [SEP] are two tokens


@pytest.mark.parametrize(("limit", "cut"), [(32, 32), (None, 512)])
def test_of_t5_the_encoder_is_taken(tmp_path, limit, cut):
    folder = t5_folder(tmp_path / "model", limit)
    encoder = load(folder)
    assert encoder.max_tokens == cut
    theirs = transformers.T5EncoderModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        tokens = tokenizer(LONG, truncation=True, max_length=cut, return_tensors="pt")
        states = theirs(input_ids=tokens["input_ids"]).last_hidden_state[0].numpy()
    expected = states.mean(axis=0) / np.linalg.norm(states.mean(axis=0))
    np.testing.assert_allclose(encoder.encode([LONG])[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("prompts", "default", "wanted", "prompt", "note"),
    [
        ({"query": "star ", "passage": "story of "}, "query", None, "story of ", None),
        ({"query": "star "}, "query", None, "star ", None),
        ({"query": "star ", "document": ""}, "query", None, "", None),
        ({"search_query": "star ", "search_document": "story of "}, None, None, "story of ", "'search_document'"),
        ({"Retrieval-document": "story of ", "STS": "star "}, None, None, "story of ", "'Retrieval-document'"),
        ({"query": "star "}, None, None, "", None),
        ({"query": None, "document": None}, None, None, "", None),
        ({"STS": "star ", "Classification": "war "}, None, None, "", "for documents (STS, Classification); --prompt"),
        ({"doc": "star "}, "docs", None, "", "default prompt 'docs' is not among its prompts (doc)"),
        ({"STS": "star ", "Classification": "war "}, None, "STS", "star ", None),
        ({"query": "star ", "document": "story of "}, None, "query", "star ", None),
    ],
)
def test_prompts_of_any_name(folder, prompts, default, wanted, prompt, note):
    plain = load(folder).encode([f"{prompt}a cat"])
    edit(folder / CONFIG, prompts=prompts, default_prompt_name=default)
    encoder = load(folder, **({} if wanted is None else {"prompt": wanted}))
    np.testing.assert_allclose(encoder.encode(["a cat"]), plain, atol=1e-6)
    assert encoder.identity()["preprocessing"]["prompt"] == prompt
    assert [note in assumed for assumed in encoder.identity()["assumed"]] == [True] * (note is not None)


def symlink_out(folder):
    shutil.move(folder / "1_Pooling", folder.parent / "elsewhere")
    os.symlink(folder.parent / "elsewhere", folder / "1_Pooling")


def pickled(folder):
    (folder / "3_Dense" / "model.safetensors").unlink()
    (folder / "3_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04N.")


def own_tokenizer(folder):
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]}, tokenizer_class="Evil")


def set_file(name, text):
    return lambda folder: (folder / name).write_text(text)


BRINGS_CODE = "brings its own code"
REFUSED = {
    "a path out of the folder": (lambda f: edit_module(f, 1, path="../elsewhere"), "leads out of the model's folder"),
    "an absolute path": (lambda f: edit_module(f, 1, path="/etc"), "leads out of the model's folder"),
    "a link out of the folder": (symlink_out, "leads out of the model's folder"),
    "a module of its own": (lambda f: edit_module(f, 1, type="evil.Pooling"), BRINGS_CODE),
    "an architecture of its own": (bring_code, BRINGS_CODE),
    "an activation of its own": (lambda f: edit(f / "3_Dense/config.json", activation_function="evil.A"), BRINGS_CODE),
    "an activation that is none": (
        lambda f: edit(f / "3_Dense/config.json", activation_function="torch.hub.load"),
        BRINGS_CODE,
    ),
    "a pickle": (pickled, "only pickled ones (pytorch_model.bin)"),
    "a tokenizer elsewhere": (lambda f: edit(f / LIMITS, tokenizer_name_or_path="../x"), "its tokenizer is elsewhere"),
    "another kind of model": (lambda f: edit(f / CONFIG, model_type="CrossEncoder"), "is a CrossEncoder"),
    "no dimension left": (lambda f: edit(f / CONFIG, truncate_dim=0), "truncate_dim is 0"),
    "a dimension in words": (lambda f: edit(f / CONFIG, truncate_dim="8"), "truncate_dim is '8'"),
    "a negative limit": (lambda f: edit(f / LIMITS, max_seq_length=-1), "max_seq_length is -1"),
    "a limit overruled": (
        lambda f: edit(f / LIMITS, processing_kwargs={"text": {"max_length": 41}}, max_seq_length=40),
        "its files ask for texts of 41 tokens, and it reads 40",
    ),
    "prompts in a list": (lambda f: edit(f / CONFIG, prompts=["a"]), "prompts must be texts by name"),
    "a prompt that is a number": (lambda f: edit(f / CONFIG, prompts={"document": 1}), "prompts must be texts by name"),
    "a default of another type": (lambda f: edit(f / CONFIG, default_prompt_name=[]), "default_prompt_name is []"),
    "a pooling that nobody knows": (lambda f: edit(f / "1_Pooling/config.json", pooling_mode="best"), "'best'"),
    "modules in an object": (set_file("modules.json", "{}"), "is not a list of modules"),
    "no modules": (set_file("modules.json", "[]"), "is not a list of modules"),
    "modules in words": (set_file("modules.json", '["Pooling"]'), "is not a list of modules"),
    "a module without a path": (set_file("modules.json", '[{"type": "sentence_transformers.models.Pooling"}]'), "path"),
    "a module that is not in the library": (
        set_file("modules.json", '[{"path": "", "type": "sentence_transformers.models.Telepathy"}]'),
        "names the module 'sentence_transformers.models.Telepathy', which sentence-transformers",
    ),
    "a cut file": (set_file("modules.json", '[{"idx": 0'), "cannot be read"),
    "deep nesting": (set_file(CONFIG, "[" * 100_000), "cannot be read"),
    "a list for an object": (set_file(LIMITS, "[]"), "is not a JSON object"),
}


@pytest.mark.parametrize("change", REFUSED)
def test_a_folder_that_is_refused_is_one_plain_line(folder, change, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # nobody is asked
    (folder / "evil.py").write_text(OWN_CODE)
    make, message = REFUSED[change]
    make(folder)
    with pytest.raises(ExtractorError) as refused:
        load(folder)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(folder.rglob("*.ran"))
    if message == BRINGS_CODE:
        assert "--trust-remote-code" in str(refused.value)


def test_code_runs_with_the_option_and_is_on_record(folder):
    bring_code(folder)
    trusted = load(folder, trust_remote_code=True).identity()
    assert trusted["trust_remote_code"] is True
    (folder / "evil.py").write_text(OWN_CODE + "# changed\n")
    assert load(folder, trust_remote_code=True).identity()["code_sha256"] != trusted["code_sha256"]


def test_code_that_is_not_needed_is_not_run_and_this_is_reported(folder):
    own_tokenizer(folder)
    (folder / "evil.py").write_text(OWN_CODE)
    note = "transformers' own classes, not the code that model/tokenizer_config.json names"
    assert load(folder).identity()["assumed"] == [note]
    assert not list(folder.rglob("*.ran"))


def test_an_image_model_with_code_of_its_own_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = bring_code(vit_folder(tmp_path / "vit"))
    with pytest.raises(ExtractorError, match=BRINGS_CODE):
        load(folder, "vision", "image")


def test_a_text_tower_with_a_tokenizer_of_its_own_is_refused(tmp_path, monkeypatch):
    """open_clip hands the tokenizer's options of its configuration on, trust in the folder's code among them."""
    from support.tiny_models import clip_folder

    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = clip_folder(tmp_path / "clip")
    word_tokenizer(folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"trust_remote_code": True}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    own_tokenizer(folder)
    (folder / "evil.py").write_text(OWN_CODE)
    with pytest.raises(ExtractorError, match=BRINGS_CODE) as refused:
        load(folder, "clip")
    assert "--trust-remote-code" not in str(refused.value)
    assert not list(folder.rglob("*.ran"))


VALUES = st.none() | st.booleans() | st.integers(-2, 50) | st.sampled_from(["", "mean", "../x", "Lé", [], {}, ["cls"]])
FILES = {
    "modules.json": ["type", "path", "name", "idx", "kwargs"],
    "1_Pooling/config.json": ["word_embedding_dimension", "pooling_mode", "include_prompt", "unknown"],
    "3_Dense/config.json": ["in_features", "out_features", "bias", "activation_function", "module_input_name"],
    CONFIG: ["prompts", "default_prompt_name", "truncate_dim", "similarity_fn_name", "model_type", "__version__"],
    LIMITS: ["max_seq_length", "do_lower_case", "model_args", "tokenizer_args", "processing_kwargs", "modality_config"],
    "config.json": ["hidden_size", "max_position_embeddings", "vocab_size", "model_type", "num_attention_heads"],
    "tokenizer_config.json": ["model_max_length", "pad_token", "padding_side", "tokenizer_class", "truncation_side"],
}


@example(edits=[(LIMITS, "processing_kwargs", {"text": {"max_length": 100}})])
@example(edits=[("tokenizer_config.json", "model_max_length", -2)])
@given(
    edits=st.lists(
        st.sampled_from([(file, key) for file, keys in FILES.items() for key in keys]).flatmap(
            lambda place: st.tuples(*map(st.just, place), VALUES)
        ),
        min_size=1,
        max_size=2,
    )
)
@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_in_any_file_gives_vectors_or_one_plain_line(sound, tmp_path, edits):
    folder = tmp_path / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    for file, key, value in edits:
        if file == "modules.json":
            edit_module(folder, 1, **{key: value})
        else:
            edit(folder / file, **{key: value})
    with contextlib.suppress(DemureError):
        encoder = load(folder)
        vectors = encoder.encode(["a cat", LONG, ""])
        assert vectors.shape == (3, encoder.dim)
        assert vectors.dtype == np.float32
        assert json.dumps(encoder.identity())
