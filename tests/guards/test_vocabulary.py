"""One word, one meaning: names, docstrings, comments, messages, help and pages use the words of the field.

The words that are out are in tests/guards/vocabulary.py. `python tests/guards/test_vocabulary.py` counts them per
package; with packages as arguments it lists the places.
"""

from __future__ import annotations

import ast
import json
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guards.tree import ROOT, modules
from guards.vocabulary import ALLOWED_NAMES, MODULES, replacement, words_out

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
SCRIPTS = (path for folder in ("benchmarks", "docs", "tests") for path in sorted((ROOT / folder).rglob("*.py")))
CODE = {**modules(), **{".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SCRIPTS}}
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs").glob("*.ipynb")),
    *sorted((ROOT / "demure").rglob("*.j2")),
]


KINDS = frozenset({"names", "docstrings", "comments", "messages"})
NOT_CHECKED = {"demure.demo": {"messages"}}  # its books have blurbs, in the words of novels


def package(module: str) -> str:
    """demure.data.dataset -> demure.data."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in ("demure", "tests") else parts[0]


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) for every name that the code binds; names of other libraries do not count."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield node.lineno, name


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (first line, text) for every docstring."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and node.body:
            first = node.body[0]
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for every comment."""
    with tokenize.open(path) as file:
        tokens = tokenize.generate_tokens(file.readline)
        yield from ((token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT)


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for every string of several words that is not a docstring."""
    documented = {text for _, text in docstrings(tree)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if " " in text and text not in documented:
                yield node.lineno, text


def of_module(name: str, path: Path) -> list[str]:
    """Return every word that is out in a module: ``path:line: word -> words to use``."""
    tree, place = ast.parse(path.read_text(encoding="utf-8")), path.relative_to(ROOT)
    part = package(name)
    kinds = KINDS - NOT_CHECKED.get(part, {"messages"} if part.startswith("tests") else set())
    stem = name.rpartition(".")[2]
    out = [f"{place}:1: module {stem} -> {MODULES[stem]}"] if stem in MODULES else []
    if "names" in kinds:
        bound = {(line, word) for line, word in names(tree) if word not in ALLOWED_NAMES.get(name, ())}
        bound = ((line, word, replacement(word)) for line, word in sorted(bound))
        out += [f"{place}:{line}: {word} -> {instead}" for line, word, instead in bound if instead]
    prose = {"docstrings": docstrings(tree), "comments": comments(path), "messages": messages(tree)}
    for kind in sorted(prose.keys() & kinds):
        for start, text in prose[kind]:
            out += [f"{place}:{start + line}: {word} -> {instead}" for line, word, instead in words_out(text)]
    return out


def of_page(path: Path) -> list[str]:
    """Return the same for the prose of a page; for a notebook without the output of its cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return [f"{path.relative_to(ROOT)}:{line + 1}: {word} -> {instead}" for line, word, instead in words_out(text)]


def of_help() -> list[str]:
    """Return the same for the text of `--help` of every command."""
    import typer

    from demure_cli.app import app

    out = []

    def descend(command, path):
        texts = [command.help, command.epilog, *(getattr(option, "help", None) for option in command.params)]
        for text in texts:
            out.extend(f"{path} --help: {word} -> {instead}" for _, word, instead in words_out(text or ""))
        for name, below in getattr(command, "commands", {}).items():
            descend(below, f"{path} {name}")

    descend(typer.main.get_command(app), "demure")
    return out


@pytest.mark.parametrize("name", CODE)
def test_names_and_docstrings_use_the_vocabulary(name):
    assert of_module(name, CODE[name]) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_the_vocabulary(page):
    assert of_page(page) == []


def test_help_uses_the_vocabulary():
    assert of_help() == []


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        *((name, False) for name in ("found", "_found", "said_at", "JudgedRun", "watched_users", "Care")),
        *(
            (name, True)
            for name in (
                "at_least",
                "one_hot",
                "found_files",
                "essay",
                "stopwatch",
                "care",
                "cannot_tell",
                "CANNOT_TELL",
            )
        ),
    ],
)
def test_a_name_is_out_as_a_whole_or_by_a_part(name, fine):
    assert (replacement(name) is None) is fine


@pytest.mark.parametrize(
    ("text", "out"),
    [("Return what items hear.\n\nUsers told it.", [(0, "hear"), (2, "told")]), ("`--watch` is an alias.", [])],
)
def test_prose_is_read_line_by_line(text, out):
    assert [(line, word) for line, word, _ in words_out(text)] == out


def main(wanted: list[str]) -> None:
    """Count per package, or list what is out in the packages ``wanted``."""
    places = []
    for name, path in CODE.items():
        try:
            places += [(package(name), place) for place in of_module(name, path)]
        except (SyntaxError, OSError) as error:
            places.append((package(name), f"{path.relative_to(ROOT)}: {error}"))
    places += [("pages", place) for page in PAGES for place in of_page(page)]
    places += [("help", place) for place in of_help()]
    for part, count in sorted(Counter(part for part, _ in places).items()):
        sys.stdout.write(f"{count:5} {part}\n")
    sys.stdout.writelines(f"{place}\n" for part, place in places if part in wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
