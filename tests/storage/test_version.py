"""Lists of files that others may have written."""

import pytest

from demure.storage.version import StoredFile, Version

FILE = StoredFile("demure-files/ab/x.txt", 1, "ab")


def read(files=None, links=None):
    return Version.from_bytes(Version(1, files or {"x.txt": FILE}, links or {}).to_bytes())


@pytest.mark.parametrize(("name", "target"), [("a/features", "../features"), ("b", "a/c"), ("a/b/c", "../../d")])
def test_links_inside_the_folder_are_read(name, target):
    assert read(links={name: target}).links == {name: target}


@pytest.mark.parametrize(
    ("name", "target"),
    [("features", "/home/u"), ("features", "../other"), ("a/b", "../../x"), ("f", "C:/u"), ("f", "a\\..\\..\\x"),
     ("f", "."), ("../f", "x")],
)  # fmt: skip
def test_a_link_to_another_place_makes_no_version(name, target):
    """A later command would write there."""
    assert read(links={name: target}) is None


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "C:/x", ""])
def test_a_file_at_another_place_makes_no_version(name):
    assert read({name: FILE}) is None
    assert read({"x.txt": StoredFile(name, 1, "ab")}) is None
