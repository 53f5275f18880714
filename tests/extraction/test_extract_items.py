"""The driver, with small encoders in place of real ones, and with the built-in ones."""

import csv
import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from demure.errors import ExtractorError
from demure.extraction import encoding, extract
from demure.extraction.extract import ExtractOptions, extract_items
from demure.extraction.protocol import EncoderFamily
from demure.features import store


class Letters:
    """A text is its counts of a, b and c. Remembers what it was asked."""

    dim, batch = 3, 4

    def __init__(self, model="", revision=None, device="cpu", precision="auto", fail_at=None):
        self.model, self.revision, self.asked, self.fail_at = model, revision, [], fail_at

    def identity(self):
        return {"model": self.model, "revision": self.revision}

    def encode(self, texts):
        if self.fail_at is not None and len(self.asked) >= self.fail_at:
            raise KeyboardInterrupt
        self.asked += texts
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)


class Mean:
    """An image is its mean colour."""

    dim, batch = 3, 2

    def __init__(self, *_):
        self.asked = 0

    def identity(self):
        return {}

    def prepare(self, image):
        if image.width == 13:
            raise ValueError("13 is unlucky")
        return np.asarray(image, dtype=np.float32).mean(axis=(0, 1))

    def encode(self, prepared):
        self.asked += len(prepared)
        return np.stack(prepared)


@pytest.fixture
def use(monkeypatch):
    """Make every name mean this encoder."""

    def use(encoder):
        monkeypatch.setattr(extract, "load_encoder", lambda *_: encoder)
        return encoder

    monkeypatch.setattr(encoding, "SHARD_SIZE", 8)
    monkeypatch.setattr(
        "demure.extraction.loading.encoder_families",
        lambda: {
            name: EncoderFamily(name, "", name, text="x:X", image="x:X", built_in=name != "f")
            for name in ["f", "tfidf", "color"]
        },
    )
    return use


def words(n):
    return [f"item {k} " + "a" * (k % 5) + "b" * (k % 3) + "c" * (k // 7) for k in range(n)]


def dataset(folder, **columns):
    folder.mkdir(exist_ok=True)
    n = len(next(iter(columns.values())))
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(n)], **columns})
    items.to_parquet(folder / "items.parquet")
    return items


def run(folder, items, images=None, resume=True, **named):
    columns = [name for name in items.columns if name not in {"item_id", "image"}]
    options = ExtractOptions("cpu", resume=resume)
    return extract_items(folder, items, columns, images, named, options).modalities


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_every_item_gets_the_vector_of_its_text(tmp_path, use):
    texts = words(30)
    items = dataset(tmp_path / "d", title=texts)
    use(Letters())
    [made] = run(tmp_path / "d", items, text="f:m")
    assert (made.encoded, made.resumed, made.dim, made.kept) == (30, 0, 3, None)
    loaded = store.load(tmp_path / "d", "text")
    expected = [[text.count(letter) for letter in "abc"] for text in texts]
    np.testing.assert_array_equal(loaded.vectors, expected)
    assert loaded.provenance["input"]["columns"] == ["title"]
    assert loaded.provenance["encoder"] == "f:m"


def test_on_cuda_a_batch_is_submitted_before_the_one_before_it_is_awaited(tmp_path, use):
    class Submitting(Letters):
        device = SimpleNamespace(type="cuda")

        def __init__(self):
            super().__init__()
            self.order = []

        def submit(self, texts):
            vectors, number = self.encode(texts), len(self.asked) // self.batch
            self.order.append(f"submit {number}")
            return lambda: (self.order.append(f"await {number}"), vectors)[1]

    items = dataset(tmp_path / "d", title=words(12))
    encoder = use(Submitting())
    [made] = run(tmp_path / "d", items, text="f:m")
    assert encoder.order == ["submit 1", "submit 2", "await 1", "submit 3", "await 2", "await 3"]
    use(Letters())
    dataset(tmp_path / "e", title=words(12))
    run(tmp_path / "e", items, text="f:m")
    assert made.encoded == 12
    ahead, in_turn = (store.load(tmp_path / name, "text").vectors for name in "de")
    np.testing.assert_array_equal(ahead, in_turn)


def test_identical_texts_are_encoded_once_and_empty_ones_listed(tmp_path, use):
    items = dataset(tmp_path / "d", title=["a", "", "a", "b", None, "zzz"])
    encoder = use(Letters())
    [made] = run(tmp_path / "d", items, text="f:m")
    assert sorted(encoder.asked) == ["a", "b", "zzz"]
    assert store.load(tmp_path / "d", "text").present.tolist() == [True, False, True, True, False, False]
    assert made.problems == {"empty text": 2, "the encoder knows nothing in it": 1}
    assert (made.present, made.missing, made.distinct) == (3, 3, 3)
    with open(made.folder / "problems.csv", newline="") as file:
        rows = [(row["item_id"], row["problem"]) for row in csv.DictReader(file)]
    assert rows == [("i1", "empty text"), ("i4", "empty text"), ("i5", "the encoder knows nothing in it")]
    assert [row["item_id"] for row in made.first] == ["i1", "i5"]


def test_bad_pictures_are_missing_and_never_stop_the_run(tmp_path, use):
    root = tmp_path / "images"
    root.mkdir()
    for name, size in (("red", 4), ("unlucky", 13)):
        Image.new("RGB", (size, 4), "red").save(root / f"{name}.png")
    (root / "bad.png").write_bytes(b"nothing")
    (root / "empty.png").write_bytes(b"")
    cells = ["red.png", "bad.png", None, "bad.png", "empty.png", "unlucky.png", "../red.png", "red.png"]
    items = dataset(tmp_path / "d", image=cells)
    encoder = use(Mean())
    [made] = run(tmp_path / "d", items, root, image="f:m")
    assert encoder.asked == 1
    assert store.load(tmp_path / "d", "image").present.tolist() == [True, *[False] * 6, True]
    assert made.problems == {
        "not an image": 2,
        "no image given": 1,
        "empty file": 1,
        "cannot be prepared": 1,
        "outside the images folder": 1,
    }
    assert made.first[0]["value"].startswith("bad.png: ")


def test_nothing_usable_is_refused_and_leaves_nothing(tmp_path, use):
    items = dataset(tmp_path / "d", image=[None, "x.png"], title=["", ""])
    (tmp_path / "images").mkdir()
    use(Mean())
    with pytest.raises(
        ExtractorError, match=r"no item has a usable image .1 times: no image given, 1 times: no such file"
    ):
        run(tmp_path / "d", items, tmp_path / "images", image="f:m")
    with pytest.raises(ExtractorError, match="no item has a usable text"):
        run(tmp_path / "d", items, text="f:m")
    assert list(files(tmp_path / "d")) == ["items.parquet"]


def test_what_nobody_asked_for_and_nobody_has_is_left_out(tmp_path):
    items = dataset(tmp_path / "d", image=["x.png"] * 12, title=words(12))
    (tmp_path / "images").mkdir()
    report = extract_items(tmp_path / "d", items, ["title"], tmp_path / "images", {})
    assert [made.name for made in report.modalities] == store.names(tmp_path / "d") == ["text"]
    assert ["no item has a usable image (12 times: no such file)" in words for words in report.left_out] == [True]


def test_an_interrupted_run_goes_on_and_ends_with_the_same_files(tmp_path, use):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    items = dataset(whole, title=words(40))
    dataset(cut, title=words(40))
    use(Letters())
    run(whole, items, text="f:m")
    use(Letters(fail_at=20))
    with pytest.raises(KeyboardInterrupt):
        run(cut, items, text="f:m")
    assert store.names(cut) == []
    second = use(Letters())
    [made] = run(cut, items, text="f:m")
    assert (made.encoded, made.resumed) == (24, 16)
    assert len(second.asked) == 24
    assert files(cut) == files(whole)


def test_chosen_columns_are_resumed_as_others_are(tmp_path, use):
    items = dataset(tmp_path / "d", title=words(40), description=["b"] * 40)
    use(Letters(fail_at=20))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "d", items, text="t=f:m[title]")
    use(Letters())
    [made] = run(tmp_path / "d", items, text="t=f:m[title]")
    assert (made.name, made.columns, made.encoded, made.resumed) == ("t", ["title"], 24, 16)
    [made] = run(tmp_path / "d", items, text="t=f:m[title,description]")
    assert (made.encoded, made.resumed) == (40, 0)


def test_a_killed_process_goes_on_and_ends_with_the_same_files(tmp_path):
    """SIGKILL in the middle of a shard, in a process of its own, with the built-in encoder of images."""
    root = tmp_path / "images"
    root.mkdir()
    random = np.random.default_rng(0)
    for k in range(40):
        Image.fromarray(random.integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(root / f"{k}.png")
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            from pathlib import Path
            import pandas as pd
            from demure.extraction import encoding
            from demure.extraction import inputs
            from demure.extraction.extract import ExtractOptions, extract_items
            encoding.SHARD_SIZE = 8
            folder, root, kill = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "kill"
            def listener(progress):
                if kill and progress.stage.startswith("encoding") and progress.done >= 20:
                    os.kill(os.getpid(), signal.SIGKILL)
            items = pd.read_parquet(folder / "items.parquet")
            made = extract_items(folder, items, [], root, {"image": "color"}, listener=listener).modalities[0]
            print(made.encoded, made.resumed)
            """
        )
    )

    def process(folder, mode):
        command = [sys.executable, str(script), str(folder), str(root), mode]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    for name in ("whole", "cut"):
        dataset(tmp_path / name, image=[f"{k}.png" for k in range(40)])
    assert process(tmp_path / "whole", "run").stdout.split() == ["40", "0"]
    assert process(tmp_path / "cut", "kill").returncode == -signal.SIGKILL
    assert process(tmp_path / "cut", "run").stdout.split() == ["16", "24"]
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize("change", ["revision", "no resume"])
def test_what_invalidates_unfinished_work(tmp_path, use, change):
    items = dataset(tmp_path / "d", title=words(40))
    use(Letters(fail_at=20))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "d", items, text="f:m")
    use(Letters(revision="2" if change == "revision" else None))
    [made] = run(tmp_path / "d", items, text="f:m", resume=change != "no resume")
    assert (made.encoded, made.resumed) == (40, 0)


def test_only_what_is_new_is_encoded(tmp_path, use):
    """A text that changed, ten that came, one that went: of finished features, and of unfinished work."""
    folder, texts = tmp_path / "d", [f"a {text}" for text in words(40)]
    use(Letters())
    run(folder, dataset(folder, title=texts), text="f:m")
    second = use(Letters())
    changed = [*texts[:5], "another aab", *texts[7:], *(f"more {k} {'abc' * k}" for k in range(1, 11))]
    [made] = run(folder, dataset(folder, title=changed), text="f:m")
    assert set(second.asked) == {"another aab", *changed[-10:]}
    assert (made.encoded, made.resumed) == (11, 38)
    expected = [[text.count(letter) for letter in "abc"] for text in changed]
    np.testing.assert_array_equal(store.load(folder, "text").vectors, expected)
    use(Letters(fail_at=8))
    later = [f"later {k} {'a' * (k + 1)}" for k in range(30)]
    with pytest.raises(KeyboardInterrupt):
        run(folder, dataset(folder, title=[*changed, *later]), text="f:m")
    fourth = use(Letters())
    [made] = run(folder, dataset(folder, title=[*changed[:20], *later, "latest a"]), text="f:m")
    assert len(fourth.asked) == made.encoded == 23
    assert made.resumed == 20 + 8
    assert set(fourth.asked) == {*sorted(later, key=len)[:22], "latest a"}
    expected = [[text.count(letter) for letter in "abc"] for text in [*changed[:20], *later, "latest a"]]
    np.testing.assert_array_equal(store.load(folder, "text").vectors, expected)


def test_an_encoder_that_learns_from_the_catalogue_starts_over_with_another(tmp_path):
    folder, texts = tmp_path / "d", words(40)
    run(folder, dataset(folder, title=texts), text="tfidf")
    [made] = run(folder, dataset(folder, title=[*texts, "one more"]), text="tfidf")
    assert (made.encoded, made.resumed) == (41, 0)


def test_a_damaged_shard_is_made_again(tmp_path, use):
    items = dataset(tmp_path / "d", title=words(40))
    use(Letters(fail_at=20))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "d", items, text="f:m")
    shard = sorted((tmp_path / "d" / "features" / ".work-text").glob("shard-*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:40])
    use(Letters())
    [made] = run(tmp_path / "d", items, text="f:m")
    assert (made.encoded, made.resumed) == (32, 8)


def test_features_that_are_up_to_date_are_kept(tmp_path, use):
    items = dataset(tmp_path / "d", title=words(10))
    use(Letters())
    run(tmp_path / "d", items, text="f:m")
    before = files(tmp_path / "d")
    (tmp_path / "d" / "features" / ".text.killed.part").mkdir()
    encoder = use(Letters())
    [made] = run(tmp_path / "d", items, text="f:m")
    assert made.kept == "up to date"
    assert [path.name for path in (tmp_path / "d" / "features").iterdir()] == ["text"]
    assert encoder.asked == []
    assert files(tmp_path / "d") == before
    [made] = run(tmp_path / "d", items, text="f:m", resume=False)
    assert (made.kept, made.encoded) == (None, 10)
    (tmp_path / "d" / "features" / "text" / "features.safetensors").write_bytes(b"damaged")
    [made] = run(tmp_path / "d", items, text="f:m")
    assert made.encoded == 10
    assert files(tmp_path / "d") == before


def test_without_names_others_features_are_left_alone(tmp_path, use):
    items = dataset(tmp_path / "d", title=words(10))
    store.save(tmp_path / "d", store.Features("text", np.ones((10, 2)), np.ones(10, bool), {"encoder": "import"}))
    use(Letters())
    [made] = run(tmp_path / "d", items)
    assert made.kept == "kept, made by import; say --text tfidf to replace it"
    [made] = run(tmp_path / "d", items, text="tfidf")
    assert (made.kept, made.encoder) == (None, "tfidf")


def test_nothing_to_extract_from(tmp_path):
    items = dataset(tmp_path / "d", number=[1, 2])
    with pytest.raises(ExtractorError, match="neither texts nor images"):
        extract_items(tmp_path / "d", items, [], None, {})
    store.save(tmp_path / "d", store.Features("sound", np.ones((2, 2)), np.ones(2, bool), {"encoder": "import"}))
    [made] = extract_items(tmp_path / "d", items, [], None, {}).modalities
    assert made.kept == "kept, the items have nothing to extract from"


def test_both_names_are_checked_before_any_work(tmp_path):
    items = dataset(tmp_path / "d", title=words(5))
    with pytest.raises(ExtractorError, match="unknown encoder 'colour'; did you mean 'color'"):
        run(tmp_path / "d", items, text="tfidf", image="colour")
    assert store.names(tmp_path / "d") == []
