"""Imports go one way; the library neither prints nor parses; nothing is a pickle; modules have at most 400 lines."""

import ast

import pytest
from guards.tree import ROOT, imported, modules

LEVELS = [
    {
        *("demure.errors", "demure.progress", "demure.files", "demure.suggest", "demure"),
        *("demure.integrity", "demure.leftovers", "demure.locks", "demure.plugins", "demure.schema"),
    },
    {"demure.compute", "demure.images", "demure.recipe", "demure_recipes"},
    {"demure.storage"},
    {"demure.tracking", "demure.cluster", "demure.media"},
    {"demure.data"},
    {"demure.features"},
    {"demure.preparation"},
    {"demure.extraction", "demure.evaluation"},  # evaluation defines the scoring interface of models and baselines
    {"demure.baselines"},
    {"demure.model"},
    {"demure.runs"},
    {"demure.diagnosis"},  # below training, which assigns the verdicts that diagnosis defines
    {"demure.training"},
    {"demure.tuning", "demure.serving"},
    {"demure.report"},
    {"demure.web"},
    {"demure.api"},
    {"demure.demo"},
    {"demure_cli"},
]
ENCODERS_NEED = ("demure.errors", "demure.suggest", "demure.compute", "demure.features", "demure.extraction")
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}
OURS = ("demure", "demure_cli", "demure_extractors", "demure_recipes")
ALL = modules()


def part(module):
    """Return the part of the arrow to which a module belongs: demure.data.x -> demure.data."""
    package, _, rest = module.partition(".")
    return f"{package}.{rest.split('.')[0]}" if package == "demure" and rest else package


def ours(name, path):
    return [(module, line) for module, line in imported(name, path) if module.split(".")[0] in OURS]


# `demure` itself imports its public names when they are first used: tests/guards/test_start_up.py.
@pytest.mark.parametrize("name", [name for name in ALL if part(name) not in ("demure_extractors", "demure")])
def test_imports_follow_the_arrow(name):
    mine = part(name)
    assert mine in LEVEL, f"{mine} has no level: give it one here, in CONTRIBUTING.md and in docs/architecture.md"
    for module, line in ours(name, ALL[name]):
        other = part(module)
        where = f"{ALL[name].relative_to(ROOT)}:{line} imports {module}"
        assert other != "demure_extractors", f"{where}: extractors are loaded by name from their table"
        assert other == mine or LEVEL[other] < LEVEL[mine] or LEVEL[other] == LEVEL[mine] == 0, where


@pytest.mark.parametrize("name", modules("demure_extractors"))
def test_extractors_import_only_what_encoders_need(name):
    for module, line in ours(name, ALL[name]):
        assert part(module) in {*ENCODERS_NEED, "demure_extractors"}, f"{name}:{line} {module}"


@pytest.mark.parametrize("name", modules("demure", "demure_extractors", "demure_recipes"))
def test_the_library_does_not_print_nor_parse(name):
    for module, line in imported(name, ALL[name]):
        assert module.split(".")[0] not in {"typer", "click", "rich", "argparse", "tqdm"}, f"{name}:{line} {module}"
    for node in ast.walk(ast.parse(ALL[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name}:{node.lineno} prints"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in {"argv", "stdout", "stderr"}, f"{name}:{node.lineno} sys.{node.attr}"


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_a_pickle(name):
    for module, line in imported(name, ALL[name]):
        assert module.split(".")[0] not in {"pickle", "joblib", "dill", "cloudpickle", "shelve"}, f"{name}:{line}"
    for node in ast.walk(ast.parse(ALL[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called = f"{node.value.id}.{node.attr}"
            assert called not in {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle"}, name
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, f"{name}: allow_pickle"  # noqa: PT018


@pytest.mark.parametrize("name", ALL)
def test_no_module_is_longer_than_400_lines(name):
    assert len(ALL[name].read_text(encoding="utf-8").splitlines()) <= 400


def test_only_the_terminal_prints():
    for name, path in modules("demure_cli").items():
        if name == "demure_cli.output.terminal":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                called = ast.unparse(node.func)
                assert called not in {"print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}, (
                    name
                )


@pytest.mark.parametrize("path", [*ALL.values(), *(ROOT / "benchmarks").glob("*.py")], ids=lambda path: path.stem)
def test_no_image_is_opened_without_a_list_of_formats(path):
    """For some formats Pillow starts other programs, and Pillow tries all formats that it knows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and node.module == "PIL.Image":
            assert "open" not in {alias.name for alias in node.names}, f"{where}: use demure.images.opening"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Image.open", "PIL.Image.open", "PILImage.open"}:
            assert path == ALL["demure.images.opening"], f"{where}: use demure.images.opening"
            assert "formats" in {keyword.arg for keyword in node.keywords}, where


@pytest.mark.parametrize("path", [*ALL.values(), *(ROOT / "benchmarks").glob("*.py")], ids=lambda path: path.stem)
def test_no_audio_or_video_is_opened_without_a_list_of_formats(path):
    """FFmpeg follows playlists to other files and addresses."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in ("av", "av.container"):
            assert "open" not in {alias.name for alias in node.names}, path
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"av.open", "av.container.open"}:
            assert path == ALL["demure.media.opening"], (
                f"{path.relative_to(ROOT)}:{node.lineno}: use demure.media.opening"
            )
            assert "format_whitelist" in ast.unparse(node), path


@pytest.mark.parametrize("name", ALL)
def test_no_path_is_resolved_by_pathlib(name):
    """Before Python 3.13, ``Path.resolve`` raises RuntimeError for a link to itself; ``os.path.realpath`` does not."""
    for node in ast.walk(ast.parse(ALL[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr != "resolve", f"{name}:{node.lineno} use os.path.realpath"
