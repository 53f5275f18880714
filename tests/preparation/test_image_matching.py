"""Which picture belongs to which item: never another item's, and what is found in another way is counted."""

import json
import tempfile
import unicodedata
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, write

from demure.images.files import ImageFolder
from demure.preparation.fetch.log import LOG, hashed_stem, image_stem
from demure.preparation.image_matching import match_images
from demure.preparation.image_spellings import find_other_spellings
from demure.preparation.problems import Findings

CDN = "https://cdn.example"


def prepared(folder, items, files, *, header="item_id,title,image", log=(), **options):
    """Prepare ``items`` (id, cell) with image ``files``; return item -> image, and the report."""
    for name in files:
        write(folder, f"photos/{name}", name.encode())
    if log:
        write(folder, f"photos/{LOG}", list(log))
    table = write(folder, "items.csv", csv_of([(item, "t", cell) for item, cell in items], header))
    clicks = options.pop("clicks", None) or csv_of([("u", item, k) for k, (item, _) in enumerate(items)])
    dataset, report = made(folder, write(folder, "x.csv", clicks), items=table, images=folder / "photos", **options)
    return dict(zip(dataset.items["item_id"], dataset.items["image"], strict=True)), report


def fetched(item, url, file):
    return {"item_id": item, "url": url, "file": file, "bytes": 1, "reason": "", "final": True}


def test_numbers_of_pictures_are_no_ids(tmp_path):
    items = [(str(k), f"{CDN}/p/{k}0/{1 + k % 3}.jpg") for k in range(1, 7)]
    images, report = prepared(tmp_path, items, ["1.jpg", "2.jpg", "5.jpg"])
    urls = dict(items)
    assert images == {item: f"{item}.jpg" if item in "125" else urls[item] for item in urls}
    assert report.problems["image is a URL"].count == 3
    assert report.problems["image is a URL"].action == "kept without image"
    assert any("the last parts of the URLs do not tell the items apart" in note for note in report.notes)


def test_one_name_for_all(tmp_path):
    items = [(item, f"{CDN}/{item}/cover.jpg") for item in "abc"]
    images, report = prepared(tmp_path, items, ["cover.jpg"])
    assert images == dict(items)
    assert report.problems["image is a URL"].count == 3


def test_an_item_that_a_filter_drops_still_owns_its_picture(tmp_path):
    """Item 7 is dropped by the core; its picture must not become the picture of the item whose URL ends in 7.jpg."""
    items = [("a", f"{CDN}/7.jpg"), ("b", f"{CDN}/b.jpg"), ("7", f"{CDN}/x.jpg")]
    clicks = csv_of([(user, item, k) for k, user in enumerate("uvw") for item in "ab"] + [("u", "7", 9)])
    images, _ = prepared(tmp_path, items, ["7.jpg", "b.jpg"], clicks=clicks, item_core=2)
    assert images == {"a": f"{CDN}/7.jpg", "b": "b.jpg"}


def test_last_parts_that_differ_for_all_items_are_used(tmp_path):
    items = [("a", f"{CDN}/p/x1.jpg?size=9"), ("b", f"{CDN}/q/x%202.png"), ("c", f"{CDN}/p/x1.jpg?size=9"), ("d", "")]
    images, report = prepared(tmp_path, items, ["x1.webp", "sub/x 2.png"])
    assert images == {"a": "x1.webp", "b": "sub/x 2.png", "c": "x1.webp", "d": None}  # a and c have the same address
    assert any("3 of 4 images found" in note for note in report.notes)


def test_two_files_of_the_last_part_are_no_match(tmp_path):
    images, _ = prepared(tmp_path, [("a", f"{CDN}/x.jpg")], ["hats/x.jpg", "shoes/x.jpg"])
    assert images == {"a": f"{CDN}/x.jpg"}


def test_a_whole_path_is_stronger_than_its_last_part(tmp_path):
    images, report = prepared(tmp_path, [("a/b", ""), ("b", ""), ("c.jpg", ""), ("c", "")], ["a/b.jpg", "c.jpg"])
    assert images == {"a/b": "a/b.jpg", "b": None, "c.jpg": "c.jpg", "c": None}
    assert any("2 items get no image, since theirs could as well be another item's" in note for note in report.notes)


def test_lists_of_images_give_their_first(tmp_path):
    items = [("a", "\"['a1.jpg', 'a2.jpg']\""), ("b", "b1.jpg"), ("c", "[REC].jpg"), ("d", "[]")]
    images, report = prepared(tmp_path, items, ["a1.jpg", "a2.jpg", "b1.jpg", "[REC].jpg"])
    assert images == {"a": "a1.jpg", "b": "b1.jpg", "c": "[REC].jpg", "d": None}
    assert any("2 cells of images are lists: the first image of each is taken" in note for note in report.notes)


def test_an_address_without_scheme_is_one(tmp_path):
    images, _ = prepared(tmp_path, [("x", "//cdn.example/p/7.jpg"), ("7", "//cdn.example/p/x.jpg")], ["x.jpg"])
    assert images == {"x": "x.jpg", "7": "//cdn.example/p/x.jpg"}


def test_the_whole_address_is_stronger_than_the_id(tmp_path):
    """The ids were dealt anew since the download: the log still says which address each file came from."""
    log = [fetched("1", f"{CDN}/red.jpg", "1.jpg"), fetched("2", f"{CDN}/blue.jpg", "2.jpg")]
    items = [("2", f"{CDN}/red.jpg"), ("1", f"{CDN}/green.jpg"), ("3", f"{CDN}/blue.jpg")]
    images, report = prepared(tmp_path, items, ["1.jpg", "2.jpg"], log=log)
    assert images == {"2": "1.jpg", "1": f"{CDN}/green.jpg", "3": "2.jpg"}
    assert any("1 items get no image, since theirs could as well be another item's" in note for note in report.notes)


def test_a_file_of_an_older_address_is_not_taken_for_it(tmp_path):
    """1.jpg came from `old`, then from `new`: it is no picture of the item that has the address `old` now."""
    log = [fetched("1", f"{CDN}/old.jpg", "1.jpg"), fetched("1", f"{CDN}/new.jpg", "1.jpg")]
    images, _ = prepared(tmp_path, [("1", f"{CDN}/new.jpg"), ("2", f"{CDN}/old.jpg")], ["1.jpg"], log=log)
    assert images == {"1": "1.jpg", "2": f"{CDN}/old.jpg"}


def test_the_newest_of_two_files_of_an_item_is_the_one_of_its_address(tmp_path):
    log = [fetched("1", f"{CDN}/a", "1.jpg"), fetched("1", f"{CDN}/b", "1.png")]
    images, _ = prepared(tmp_path, [("1", f"{CDN}/b")], ["1.jpg", "1.png"], log=log)
    assert images == {"1": "1.png"}


def test_an_address_is_found_where_wget_writes_it(tmp_path):
    items = [("a", f"{CDN}/p/1/1.jpg"), ("b", f"{CDN}/p/2/1.jpg")]
    images, _ = prepared(tmp_path, items, ["cdn.example/p/1/1.jpg", "cdn.example/p/2/1.jpg"])
    assert images == {"a": "cdn.example/p/1/1.jpg", "b": "cdn.example/p/2/1.jpg"}


def test_a_file_that_one_item_names_is_not_taken_by_another(tmp_path):
    images, _ = prepared(tmp_path, [("a", "b.jpg"), ("b", f"{CDN}/y.jpg")], ["b.jpg"])
    assert images == {"a": "b.jpg", "b": f"{CDN}/y.jpg"}


def test_a_link_to_itself_is_no_picture_of_its_id(tmp_path):
    write(tmp_path, "photos/b.jpg", b"")
    (tmp_path / "photos" / "a.jpg").symlink_to("a.jpg")
    (tmp_path / "photos" / "c.jpg").mkdir()
    images, report = prepared(tmp_path, [("a", f"{CDN}/x"), ("b", ""), ("c", "")], [])
    assert images == {"a": f"{CDN}/x", "b": "b.jpg", "c": None}
    assert any("1 of 3 images found" in note for note in report.notes)


def test_several_files_of_an_id_are_counted(tmp_path):
    images, report = prepared(tmp_path, [("a", ""), ("b", "")], ["large/a.jpg", "small/a.jpg", "b.png"])
    assert images == {"a": "large/a.jpg", "b": "b.png"}
    assert any("1 items have several files of their name" in note for note in report.notes)


def test_ids_in_another_form_of_unicode(tmp_path):
    names = [unicodedata.normalize(form, name) for form, name in (("NFC", "naïve"), ("NFD", "café"), ("NFC", "plain"))]
    files = [f"{unicodedata.normalize('NFD', name)}.jpg" for name in names[:1]]
    files += [f"{unicodedata.normalize('NFC', name)}.jpg" for name in names[1:]]
    images, _ = prepared(tmp_path, [(name, "") for name in names], files)
    assert images == dict(zip(names, files, strict=True))
    both = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]  # two items, one file: nobody's but its own
    images, _ = prepared(tmp_path / "two", [(name, "") for name in both], [f"{both[1]}.jpg"])
    assert images == {both[0]: None, both[1]: f"{both[1]}.jpg"}


IDS = st.sampled_from(["1", "2", "3", "a", "A", "b", "1a", "cover", "é", "e\u0301", "a/b", "con", image_stem("a/b")])
URLS = st.sampled_from([f"{CDN}{path}/{part}" for path in ("", "/p") for part in ("1.jpg", "a.jpg", "x.png", "x.jpg")])
FILES = st.sampled_from(
    ["1.jpg", "2.jpg", "a.jpg", "sub/a.jpg", "x.png", "sub/1.jpg", "cover.jpg", "é.jpg", "e\u0301.jpg", "A.jpg"]
    + [f"{hashed_stem(item)}.jpg" for item in ("a/b", "a", "1")]
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(IDS, st.none() | URLS | FILES, min_size=1, max_size=8),
    st.sets(FILES, max_size=6),
    st.lists(st.tuples(IDS, URLS), max_size=3),
)
def test_no_picture_is_given_by_a_guess_that_two_items_share(cells, files, log):
    ids, names = np.array(list(cells), dtype=object), np.array([*cells.values(), None], dtype=object)[:-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in files:
            write(folder, file, b"")
        lines = [fetched(item, url, f"{hashed_stem(item)}.jpg") for item, url in log]
        write(folder, LOG, lines)
        matches = match_images(ids, names, folder, Findings())
    urls = {item: cell for item, cell in cells.items() if cell is not None and "://" in cell}
    part_of = {url: Path(unquote(urlsplit(url).path)).stem for url in urls.values()}
    source = {line["file"]: line["url"] for line in lines}  # the last address of each file
    for k, file in matches.items():
        item, stem = ids[k], Path(file).stem
        assert names[k] is None or item in urls  # an item that names a file keeps it
        assert file in files
        sharing = [ids[other] for other, match in matches.items() if match == file and other != k]
        assert all(urls.get(other) is not None and urls.get(other) == urls.get(item) for other in sharing)
        assert file not in cells.values()
        by_address = item in urls and source.get(file) == urls[item]
        by_id = unicodedata.normalize("NFC", stem) == unicodedata.normalize("NFC", item) or stem == hashed_stem(item)
        if by_address or by_id:
            continue
        assert stem == part_of[urls[item]]
        assert not any(part == stem and url != urls[item] for url, part in part_of.items())
        assert not any(other == stem and urls.get(other) != urls[item] for other in ids)


SPELLINGS = {
    "naïve.jpg": "nai\u0308ve.jpg",
    "cafe\u0301.jpg": "café.jpg",
    "my%20photo.jpg": "my photo.jpg",
    "caf%C3%A9 2.jpg": "cafe\u0301 2.jpg",
    "sub\\bs.jpg": "sub/bs.jpg",
    "sub\\a%20b.jpg": "sub/a b.jpg",
    "as wget.jpg": "as%20wget.jpg",
    " edge.jpg ": "edge.jpg",
    "/rooted.jpg": "rooted.jpg",
    "capitals.JPG": "capitals.jpg",
    "small.png": "small.PNG",
    "without": "without.webp",
}


def test_other_spellings_of_a_name_are_found_and_counted(tmp_path):
    items = [(f"i{k}", f'"{name}"') for k, name in enumerate(SPELLINGS)] + [("exact", "x%20y.jpg"), ("no", "no%20.jpg")]
    images, report = prepared(tmp_path, items, [*SPELLINGS.values(), "x%20y.jpg", "x y.jpg"])
    assert list(images.values()) == [*SPELLINGS.values(), "x%20y.jpg", "no%20.jpg"]
    problem = report.problems["image file with another spelling"]
    assert (problem.count, problem.action) == (len(SPELLINGS), "found")
    assert problem.rows[0].value == "naïve.jpg found as 'nai\\u0308ve.jpg'"
    assert problem.rows[2].value == "my%20photo.jpg found as my photo.jpg"
    assert report.problems["image file not there"].count == 1
    manifest = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert manifest["problems"]["image file with another spelling"]["count"] == len(SPELLINGS)


@pytest.mark.parametrize("other", ["my photo.jpg", "my%2520photo.jpg"], ids=["its own name", "two guesses"])
def test_a_spelling_that_two_items_share_is_no_match(tmp_path, other):
    other = "my photo.jpg" if other == "my photo.jpg" else " my photo.jpg"
    images, report = prepared(tmp_path, [("a", "my%20photo.jpg"), ("b", f'"{other}"')], ["my photo.jpg"])
    own = other == "my photo.jpg"
    assert images == {"a": "my%20photo.jpg", "b": other}
    assert report.problems["image file not there"].count == (1 if own else 2)


def test_a_name_without_suffix_that_two_files_have_is_no_match(tmp_path):
    images, _ = prepared(tmp_path, [("a", "x"), ("b", "y.jpg")], ["x.jpg", "x.png", "y.jpg"])
    assert images == {"a": "x", "b": "y.jpg"}


@settings(max_examples=40, deadline=None)
@given(st.sets(st.text("aé%20\\/ e\u0301.", min_size=1, max_size=6), min_size=1), st.sets(FILES, max_size=4))
def test_spellings_lead_to_files_that_no_other_name_has(names, files):
    with tempfile.TemporaryDirectory() as name:
        for file in files | {"a b", "é"}:
            write(Path(name), file, b"")
        folder = ImageFolder(name)
        present = [name for name in names if folder.find(name)]
        spelled = find_other_spellings(folder, [name for name in names if not folder.find(name)], present)
        targets = [folder.find(spelling) for spelling in spelled.values()]
        assert None not in targets
        assert len(set(targets)) == len(targets)
        assert not set(targets) & {folder.find(name) for name in present}
