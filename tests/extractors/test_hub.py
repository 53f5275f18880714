"""A model that cannot be had costs one line, soon."""

import time

import pytest
from demure_extractors import hub

from demure.errors import ExtractorError

KNOWN = ["facebook/dinov2-small", "facebook/dinov2-base"]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


class Hub:
    """Stands for ``huggingface_hub.HfApi``."""

    answer: object = None

    def model_info(self, *args, **kwargs):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer()


def ask(monkeypatch, answer, name="facebook/dinov2-smal", revision=None):
    import huggingface_hub

    monkeypatch.setattr(Hub, "answer", answer)
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    with pytest.raises(ExtractorError) as error:
        hub.find_model(name, revision, "vision", KNOWN)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_offline_names_the_attempts_the_nearest_name_and_the_remedy(monkeypatch):
    line = ask(monkeypatch, ConnectionError("no route\nto host"), revision="abc")
    assert "not a folder, not in the hub's cache, and the hub cannot be reached (ConnectionError)" in line
    assert "did you mean 'facebook/dinov2-small'?" in line
    assert "hf download facebook/dinov2-smal --revision abc" in line


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.2)
    before = time.monotonic()
    line = ask(monkeypatch, staticmethod(lambda: time.sleep(5)), "facebook/dinov2-small")
    assert time.monotonic() - before < 3
    assert "TimeoutError" in line
    assert "did you mean" not in line


def test_only_pickled_weights_on_the_hub(monkeypatch):
    from types import SimpleNamespace

    files = [SimpleNamespace(rfilename="pytorch_model.bin")]
    line = ask(monkeypatch, staticmethod(lambda: SimpleNamespace(siblings=files, sha="1")))
    assert "the hub has no safetensors weights of it" in line


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("RepositoryNotFoundError", "no such model"),
        ("RevisionNotFoundError", "no revision 'v9'"),
        ("GatedRepoError", "asks for a login"),
    ],
)
def test_what_the_hub_refuses(monkeypatch, kind, message):
    from huggingface_hub import errors

    class Refused(getattr(errors, kind)):
        def __init__(self):
            Exception.__init__(self, "refused")

    assert message in ask(monkeypatch, Refused(), revision="v9")


def test_an_interrupted_download_is_not_a_model(tmp_path):
    snapshot = tmp_path / "cache" / "models--a--b" / "snapshots" / "f00d"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("f00d")
    (snapshot / "config.json").write_text("{}")
    assert hub.cached("a/b", None) is None
    (snapshot / "model.safetensors").write_bytes(b"")
    assert hub.cached("a/b", None) == snapshot
    assert hub.cached("a/b", "other") is None


def test_a_name_that_is_no_name(tmp_path):
    with pytest.raises(ExtractorError, match="neither a folder here nor a hub name"):
        hub.find_model("what is this?", None, "vision", KNOWN)
    (tmp_path / "file").write_text("")
    with pytest.raises(ExtractorError, match="is a file"):
        hub.find_model(str(tmp_path / "file"), None, "vision", KNOWN)


def test_the_fingerprint_changes_with_weights_and_configuration(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"1")
    (tmp_path / "config.json").write_text("{}")
    first = hub.fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("words")
    assert hub.fingerprint(tmp_path) == first
    (tmp_path / "config.json").write_text("{ }")
    second = hub.fingerprint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert len({first, second, hub.fingerprint(tmp_path)}) == 3
