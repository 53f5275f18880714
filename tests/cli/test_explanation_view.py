from PIL import Image

from demure.diagnosis.attribution import ChoiceExplanation
from demure.diagnosis.content_effects import PictureEffects, TextEffects, WordEffect
from demure.diagnosis.user import Choice
from demure.diagnosis.verdict import ModalityVerdict, Verdict
from demure_cli.output.terminal import terminal
from demure_cli.views.explanation import show_explanation


def explanation(picture, grid, place, words):
    verdicts = {name: ModalityVerdict(Verdict.POI, 0.9, 2.0) for name in ("image", "text")}
    return ChoiceExplanation(
        "run",
        "ann",
        "i1",
        Choice(0, "i1", "A title", float("nan"), verdicts),
        [TextEffects("text", "The detective\nand her dog", words)],
        [PictureEffects("image", picture, grid, place, 0.25, None)],
        ["nothing else is known"],
    )


def shown(capsys, view):
    terminal.reset()
    show_explanation(view)
    terminal.flush()
    return " ".join(capsys.readouterr().out.split())


def test_words_and_parts_that_matter(capsys, tmp_path):
    file = tmp_path / "i1.png"
    Image.new("RGB", (8, 8)).save(file)
    words = [WordEffect("detective", 1, 0.05), WordEffect("dog", 1, 1.1)]
    text = shown(capsys, explanation(str(file), [[0.0, 2.0], [-1.0, 1.0]], "at the top right", words))
    assert "The [detective] and her dog" in text
    assert "detective 5.0 % as much evidence" in text
    assert "What matters most is at the top right: without it, the picture is 25.0 % as much evidence." in text
    assert ". 9 . " in text


def test_nothing_matters(capsys, tmp_path):
    text = shown(capsys, explanation("absent.png", [[0.0, 0.0]], "", [WordEffect("dog", 1, 1.0)]))
    assert "No single word matters" in text
    assert "No single part matters" in text
