"""Links, files, modules and names in pages and docstrings exist; the arrow in the pages is the one that is tested."""

import ast
import functools
import re

import pytest
from guards.test_imports import LEVELS
from guards.test_vocabulary import docstrings
from guards.tree import FOLDERS, ROOT, modules

PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md")), *sorted((ROOT / "docs").glob("*.md"))]
LOGS = sorted((ROOT / "benchmarks").rglob("*.md"))  # only their links: the modules they name existed at the time
SOURCES = {**modules(), **{f"benchmarks.{path.stem}": path for path in sorted((ROOT / "benchmarks").glob("*.py"))}}
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDER = "demure|demure_cli|extractors|recipes|tests|docs|benchmarks"
FILE = re.compile(rf"(?<![\w./-])((?:{FOLDER})/[\w./*-]*[\w*/])|(?<![\w./-])([\w-]+\.md)\b")
KEY = re.compile(r"(?<![\w./-])((?:denoiser|collaborative|training|baseline)\.(?!(?:py|md)\b)\w+)")
DOTTED = re.compile(r"(?<![\w./-])((?:demure|demure_cli|demure_extractors|demure_recipes)(?:\.\w+)+)")
EXAMPLES = {"demure_extractors.letters"}  # a module that docs/features.md suggests to write
GROUPS = {"demure.extractors", "demure.recipes", "demure.baselines", "demure.readers"}  # of entry points


@functools.cache
def defined(module):
    """Return the names at the top level of a module; for ``demure`` also the names that it imports on first use."""
    text, out = modules()[module].read_text(encoding="utf-8"), set()
    for node in ast.parse(text).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                out.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                out |= {alias.asname or alias.name for alias in aliases}
            case _:
                stored = (name for name in ast.walk(node) if isinstance(name, ast.Name))
                out |= {name.id for name in stored if isinstance(name.ctx, ast.Store)}
    return out | set(re.findall(r'"(\w+)"', text)) if module == "demure" else out


def is_name(dotted):
    """Return whether ``dotted`` is a package, a module, or a name (or its attribute) at the top level of a module."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        if module in modules():
            return end == len(parts) or parts[end] in defined(module)
    return False


def is_file(name, page):
    """Return whether a file or pattern exists: from the root, beside the page, in docs/ or in benchmarks/."""
    places = (ROOT, page.parent, ROOT / "docs", ROOT / "benchmarks", ROOT / "benchmarks/results")
    return any(any(place.glob(name.rstrip("/"))) for place in places)


def absent(text, page):
    """Return the files, modules, and names in modules of this repository that ``text`` names and that do not exist."""
    files = {whole or short for whole, short in FILE.findall(text)}
    names = set(DOTTED.findall(text)) - EXAMPLES - GROUPS
    return sorted([name for name in files if not is_file(name, page)] + [name for name in names if not is_name(name)])


def anchors(page):
    """Return the anchors of the headings of a page, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *LOGS], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        other = (page.parent / target).resolve() if target else page
        if not other.exists() or (anchor and anchor not in anchors(other)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_what_exists(page):
    assert absent(page.read_text(encoding="utf-8"), page) == []


@pytest.mark.parametrize("name", SOURCES)
def test_docstrings_name_what_exists(name):
    path = SOURCES[name]
    for line, text in docstrings(ast.parse(path.read_text(encoding="utf-8"))):
        assert absent(text, path) == [], f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_keys_of_recipes(page):
    from demure.baselines.reference import keys_of
    from demure.baselines.registry import BASELINES, LEARNED

    keys = {key.name for model in ("demure", *BASELINES, *LEARNED) for key in keys_of(model)}
    assert sorted(set(KEY.findall(page.read_text(encoding="utf-8"))) - keys) == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_arrow_in_the_pages_is_the_tested_one(page):
    levels = [sorted(name.removeprefix("demure.") for name in level - {"demure", "demure_recipes"}) for level in LEVELS]
    arrow = " ← ".join(", ".join(level) for level in levels)
    assert arrow in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_the_glossary_has_one_sentence_per_term_in_alphabetical_order():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- \*\*(.+?)\*\*: (.+)$", text, re.MULTILINE)
    assert len(entries) == text.count("\n- ") >= 50
    terms = [term.lower() for term, _ in entries]
    assert terms == sorted(set(terms))
    assert [term for term, sentence in entries if sentence.count(". ") or not sentence.endswith(".")] == []


def test_every_page_is_linked_from_the_readme():
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall((ROOT / "README.md").read_text())}
    assert [page.name for page in PAGES if page.name != "README.md" and page.resolve() not in linked] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`demure/errors.py`, `tests/guards/`, [a](method.md)", []),
        ("`demure/no_module.py` and no_page.md", ["demure/no_module.py", "no_page.md"]),
        ("demure.files.atomic_file, demure.data", []),
        ("demure.files.no_name, demure.no_module.x", ["demure.files.no_name", "demure.no_module.x"]),
    ],
)
def test_absent_references_are_listed(text, expected):
    assert absent(text, ROOT / "docs" / "architecture.md") == expected


def test_folders_are_where_the_references_look():
    assert set(FOLDERS.values()) <= set(FOLDER.split("|"))
