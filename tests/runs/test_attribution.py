"""What mattered in the text and in the picture: consistent with the diagnosis, and shown in every output."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.small_models import small_denoiser, small_histories

from demure import Run
from demure.diagnosis.attribution import GRID, explain_choice
from demure.diagnosis.content_effects import word_parts
from demure.errors import DemureError
from demure.images.unusable import UnusableInput
from demure.model.variants import ChoiceVariants


def test_the_ratio_of_the_content_as_it_is_is_that_of_the_model():
    """The other choices as sources with given weights, straight from the experts."""
    denoiser, items = small_denoiser(missing=0.0), small_histories([9])
    observed = torch.ones(1, 9, dtype=torch.bool)
    observed[0, 4] = False
    batch, views = denoiser.make_batch(items, observed), denoiser.views()
    weight = torch.rand(9, 2, generator=torch.Generator().manual_seed(1))
    variants = ChoiceVariants(denoiser, items[0], weight, 4)
    for m, (expert, view) in enumerate(zip(denoiser.experts(), views, strict=True)):
        state = expert.init_state(view, batch)
        for shifted in (False, True):
            for _ in range(denoiser.settings.rounds):
                ratio = expert.ratio(state, weight[None, :, m])
            if not shifted:
                expert.shift_centres(state, view, batch, weight[None, :, m])
        expected = expert.content_only_ratio(state, view, batch, ratio)[0, 4]
        assert variants.ratio(m) == pytest.approx(float(expected), rel=1e-4)
        other = int(items[0, 0])  # the content of another item, and nothing at all
        coordinates = expert.coordinates_ID[[int(items[0, 4]), other, other]]
        ratios = variants.ratios(m, coordinates, torch.tensor([1.0, 1.0, 0.0]))
        assert ratios[0] == pytest.approx(float(expected), rel=1e-4)
        assert ratios[2] == pytest.approx(float(torch.sigmoid(expert.absence)))


@pytest.fixture(scope="module")
def choice(catalogue_run):
    """A choice whose text was a point of interest, and a choice whose item has no text."""
    frame = pd.read_parquet(catalogue_run / "diagnosis.parquet")
    row = frame[frame["modality"] == "text"].sort_values("evidence").iloc[-1]
    return str(row["user_id"]), str(row["item_id"])


def test_words_and_parts_of_the_picture(informative_run, choice, tmp_path):
    explained = explain_choice(informative_run, *choice, out=tmp_path / "heat.png", device="cpu")
    noted = {note.split(":")[0] for note in explained.notes}
    for effects in explained.texts:
        assert {effect.word for effect in effects.words} == set(effects.text.lower().split())
        left = [effect.left for effect in effects.words]
        assert left == sorted(left)
        assert min(left) > 0
    for effects in explained.pictures:
        assert np.array(effects.grid).shape == (GRID, GRID)
        assert np.isfinite(effects.grid).all()
        with Image.open(tmp_path / "heat.png") as image:
            assert image.format == "PNG"
            assert image.width == 2 * 32 + 8
    shown = {effects.modality for effects in (*explained.texts, *explained.pictures)}
    assert shown | noted >= set(Run.load(informative_run).modalities)
    assert shown == {"text", "image"}


def test_what_cannot_be_explained_is_refused(catalogue_run, choice, tmp_path):
    user, item = choice
    for wrong, message in (
        (("nobody", item), "no user 'nobody'"),
        ((user, "no such item"), "no item 'no such item'"),
        ((user, "n0"), "has no training choice of item 'n0'"),
    ):
        with pytest.raises(DemureError, match=message):
            explain_choice(catalogue_run, *wrong, device="cpu")
    with pytest.raises(DemureError, match=r"ends in \.png"):
        explain_choice(catalogue_run, user, item, out=tmp_path / "heat.jpg", device="cpu")
    assert not list(tmp_path.iterdir())


def test_imported_vectors_have_nothing_to_show(run):
    frame = pd.read_parquet(run / "diagnosis.parquet")
    row = frame[frame["verdict"] == "poi"].iloc[0]
    explained = explain_choice(run, str(row["user_id"]), str(row["item_id"]), device="cpu")
    assert not explained.texts
    assert not explained.pictures
    assert any("nothing to show" in note for note in explained.notes)


def test_the_command_and_python(catalogue_run, choice, capsys):
    from demure_cli.app import main

    user, item = choice
    run = str(catalogue_run)
    assert main(["inspect", run, "--user", user, "--item", item, "--explain", "--json", "--quiet"]) == 0
    printed = json.loads(capsys.readouterr().out)
    loaded = Run.load(catalogue_run, device="cpu").explain(user, item)
    assert printed["texts"][0]["words"][0]["word"] == loaded.texts[0].words[0].word
    assert main(["inspect", run, "--user", user, "--item", item, "--explain", "--quiet"]) == 0
    shown = capsys.readouterr().out
    strong = [effect for effect in loaded.texts[0].words if effect.matters]
    assert all(f"[{effect.word}]" in shown for effect in strong)
    assert "as much evidence" in shown or "No single word matters" in shown
    assert main(["inspect", run, "--user", user, "--item", item]) == 2
    assert main(["inspect", run, "--user", user, "--explain"]) == 2
    assert main(["inspect", run, "--explain-out", "x.png"]) == 2


def test_a_choice_of_a_later_history(catalogue_run, choice, tmp_path, capsys):
    """The explanation is that of the training where the history is the same; another user's is like it."""
    from demure_cli.app import main

    user, item = choice
    loaded = Run.load(catalogue_run, device="cpu")
    train = loaded.dataset.histories("train")
    code = list(loaded.dataset.user_ids).index(user)
    own = train.slice_users(code, code + 1)
    frame = pd.DataFrame({"item_id": loaded.dataset.item_ids[own.items], "timestamp": own.times})
    trained = loaded.explain(user, item)
    assert loaded.explain(user, item, history=frame.assign(user_id=user)).texts == trained.texts
    file = tmp_path / "new.csv"
    frame.assign(user_id="new").to_csv(file, index=False)
    new = loaded.explain("new", item, history=file)
    assert new.user_id == "new"
    assert {effect.word for effect in new.texts[0].words} == {effect.word for effect in trained.texts[0].words}
    arguments = ["inspect", str(catalogue_run), "--history", str(file), "--explain", "--quiet"]
    assert main([*arguments, "--user", "new", "--item", item, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["texts"][0]["text"] == trained.texts[0].text
    assert main([*arguments, "--user", "new", "--item", "n0"]) == 2
    assert f"{file}: user 'new' has no choice of item 'n0'" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_noted(informative_run, monkeypatch):
    frame = pd.read_parquet(informative_run / "diagnosis.parquet")
    row = frame[(frame["modality"] == "image") & (frame["verdict"] != "missing")].iloc[0]

    def out_of_time(*_):
        raise UnusableInput("takes too long")

    monkeypatch.setattr("demure.images.decoders.ImageDecoders.thumbnail", out_of_time)
    explained = explain_choice(informative_run, str(row["user_id"]), str(row["item_id"]), device="cpu")
    assert not explained.pictures
    assert "image: the picture cannot be read" in explained.notes


def test_words_of_a_text():
    assert word_parts("don't, stop") == ["", "don't", ", ", "stop", ""]
