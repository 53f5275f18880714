"""`images fetch` with odd URLs, damaged logs, hostile files and servers: the other images come all the same."""

import json
import socket
from urllib.parse import quote

import httpx2
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, write
from support.faulty_server import serving

from demure.preparation.fetch import download, fetch_images, request
from demure.preparation.fetch.addresses import AddressRules, PrivateAddress, is_public
from demure.preparation.fetch.fetch_images import FetchOptions
from demure.preparation.fetch.leftovers import sweep_unless_in_use
from demure.preparation.fetch.log import LOG, FetchLog, hashed_stem, image_stems


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


def run(folder, urls, **options):
    """Fetch ``urls`` (item -> URL) and return the report, and item -> (reason, final) of dead.csv."""
    path = folder / "items.parquet"
    folder.mkdir(exist_ok=True)
    pd.DataFrame({"item_id": list(urls), "image": list(urls.values())}).to_parquet(path)
    quick = {"rate": 1000.0, "pause": 0.0, "timeout": 3.0, "tries": 1, **options}
    report = fetch_images.fetch_images(FetchOptions(path, folder / "images", **quick))
    dead = pd.read_csv(report.report) if report.report else pd.DataFrame(columns=["item_id", "reason", "final"])
    return report, {row.item_id: (row.reason.split(":")[0], row.final) for row in dead.itertuples()}


ODD_URLS = (
    "http://\u2025/x", "http://a\u00adb/x", "http://a\u200db/x", "http://x/\x7f", "http://x/\x01", "http://x/\r\ny",
    "http://x/" + "y" * 70_000, "http://" + "a" * 300 + "/", "http://x..y/", "http://[::1/", "http://[v1.x]/",
    "http://x:99999/", "http://x:-1/", "http://x:0/", "http://%00/", "http://a b/", "http://\u202ex/", "http://xn--/",
    "http://@/", "http://x@/", "http://1.2.3.4.5/", "http://127.0.0.1:1/\ud83d", "https://127.0.0.1:1/", "HTTP://.",
)  # fmt: skip


def test_odd_urls_are_listed_and_the_others_fetched(tmp_path, server, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", local_names_only)
    urls = {f"odd{k}": url.encode("utf-8", "replace").decode() for k, url in enumerate(ODD_URLS)}
    report, missing = run(tmp_path, urls | {"good": f"{server.url}/good/1"})
    assert report.fetched == 1
    assert report.dead + report.failed == len(missing) == report.wanted - 1
    assert report.wanted + sum(int(note.split()[1]) for note in report.notes if "are not http" in note) == 1 + len(urls)
    assert missing["odd0"] == ("not a valid URL", True)
    again, _ = run(tmp_path, urls | {"good": f"{server.url}/good/1"})
    assert (again.there, again.dead) == (1, report.dead)


REAL_GETADDRINFO = socket.getaddrinfo


def local_names_only(host, *arguments, **options):
    """Resolve as usual, but no name of another machine: tests ask nobody outside."""
    name = host.decode() if isinstance(host, bytes) else host
    if name == "shop.example":
        name = "127.0.0.1"
    elif not all(sign in "0123456789.:" for sign in name):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return REAL_GETADDRINFO(name, *arguments, **options)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30) | st.text(".:/@[]%#?\\\x00\u00ad\u2025 a1", max_size=12), st.sampled_from(["", "x", "x/"]))
def test_no_url_raises_anything_but_its_own_error(text, host):
    try:
        url = request.parse_url(f"http://{host}{text}")
    except request.DownloadError:
        return
    rules = AddressRules([url])
    try:
        rules.check(url, url.host)
    except PrivateAddress:
        assert not is_public(url.host)


def answers(monkeypatch, reply):
    """Let ``reply`` (a function of the request) be all servers."""
    client = httpx2.AsyncClient
    monkeypatch.setattr(httpx2, "AsyncClient", lambda **_: client(transport=httpx2.MockTransport(reply)))


def test_whatever_a_client_raises_is_the_trouble_of_one_image(tmp_path, monkeypatch):
    errors = [RuntimeError("x"), UnicodeError("x"), KeyError("x"), RecursionError(), httpx2.DecodingError("x")]
    errors += [httpx2.LocalProtocolError("x"), ssl_error(), AssertionError(), OverflowError("x")]

    def reply(asked):
        raise errors[int(asked.url.path[1:])]

    answers(monkeypatch, reply)
    report, missing = run(tmp_path, {f"i{k}": f"http://8.8.8.8/{k}" for k in range(len(errors))})
    assert report.failed == len(missing) == len(errors)


def ssl_error():
    import ssl

    return ssl.SSLError(1, "x")


HEADERS = st.sampled_from(["Location", "Retry-After", "Content-Encoding", "Content-Length", "Content-Type"])
VALUES = st.sampled_from(
    ("", "nan", "inf", "-1", "1e400", "gzip", "br, gzip", "http://", "//", "/x", "http://[", "http://\u2025/", "data:x",
     "http://169.254.169.254/", "file:///etc/passwd", "Fri, 31 Dec 99999 23:59:59 GMT", "image/svg+xml", "\xff")
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([200, 204, 206, 301, 302, 307, 404, 429, 503]), st.dictionaries(HEADERS, VALUES), st.binary())
def test_no_answer_raises_anything_but_its_own_error(status, headers, body):
    import asyncio

    def reply(_):
        raw = {name: value.encode("utf-8") for name, value in headers.items()}
        return httpx2.Response(status, headers=raw, stream=httpx2.ByteStream(body))

    async def ask():
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(reply)) as client:
            url = request.parse_url("http://8.8.8.8/")
            options = FetchOptions(None, None, timeout=1.0)
            return await request.get_image(client, "http://8.8.8.8/", AddressRules([url]), options)

    waits = []
    try:
        assert asyncio.run(ask()) == body
    except request.DownloadError as error:
        waits.append(error.wait)
    assert all(0 <= wait <= 120 for wait in waits)


LINES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
FIELDS = ("item_id", "url", "file", "bytes", "reason", "final")
GOOD = {"item_id": "a", "url": "u", "file": "a.png", "bytes": 3, "reason": "", "final": True}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FIELDS), LINES, st.booleans())
def test_a_line_with_another_value_counts_only_if_demure_can_have_written_it(tmp_path_factory, key, value, lacks):
    line = {name: old for name, old in GOOD.items() if name != key} if lacks else {**GOOD, key: value}
    log = FetchLog(tmp_path_factory.getbasetemp())
    log.path.write_text(f"{json.dumps(line)}\n")
    for outcome in log.read().values():
        assert all(type(getattr(outcome, name)) in (type(GOOD[name]), bool, type(None)) for name in FIELDS)
        assert isinstance(outcome.item_id, str)
        assert outcome.file in (None, "a.png", f"{hashed_stem(outcome.item_id)}.png", f"{outcome.item_id}.png")


NO_LINES = [
    '{"item_id": "a", "url": "URL", "file": 5}', '{"item_id": [], "url": "x", "file": null}', "[" * 100_000, "null",
    '{"item_id": "a", "url": "URL", "file": "/etc/passwd"}', '{"item_id": "a", "url": "URL", "file": "../secret.png"}',
    '{"item_id": "a", "url": "URL", "file": ".."}', '{"item_id": "a", "url": "URL", "file": "b.png"}', "\\", "\x00",
    '{"item_id": "a", "url": "URL", "file": null, "reason": 5, "final": true}', '{"item_id": "a"}', "[]", "7", '"a"',
    '{"item_id": "a", "url": "URL", "file": "a.png\\u0000"}', '{"item_id": "a", "url": "URL", "file": ""}', "\xff",
]  # fmt: skip


def test_lines_that_are_no_outcome_are_as_if_they_had_never_been(tmp_path, server):
    url = f"{server.url}/good/log"
    (tmp_path / "secret.png").write_bytes(b"x")
    write(tmp_path, "images/b.png", b"x")
    write(tmp_path, f"images/{LOG}", "\n".join(NO_LINES).replace("URL", url).encode("latin-1"))
    report, _ = run(tmp_path, {"a": url})
    assert (report.fetched, report.there) == (1, 0)
    assert (tmp_path / "images" / "a.png").is_file()
    assert run(tmp_path, {"a": url})[0].there == 1


def test_an_image_that_another_address_has_replaced_is_fetched_again(tmp_path, server):
    for path in ("old", "new", "old"):
        report, _ = run(tmp_path, {"a": f"{server.url}/good/{path}"})
        assert (report.fetched, report.there) == (1, 0)


def test_ids_that_differ_in_case_alone_have_different_files(tmp_path, server):
    ids = ["m1", "M1", "con", "CON", "Nul", "com1", "b", "a/b", hashed_stem("a/b")]
    names = [stem.lower() for stem in image_stems(ids).values()]
    assert len(set(names)) == len(ids)
    assert not {"con", "nul", "com1"} & set(names)
    assert image_stems(["m1", "b"]) == {"m1": "m1", "b": "b"}
    report, _ = run(tmp_path, {item: f"{server.url}/good/{k}" for k, item in enumerate(ids)})
    assert report.fetched == len(ids)
    clicks = write(tmp_path, "x.csv", csv_of([("u", item, k) for k, item in enumerate(ids)]))
    dataset, _ = made(tmp_path, clicks, items=tmp_path / "items.parquet", images=tmp_path / "images")
    stems = image_stems(ids)
    assert dataset.items["image"].tolist() == [f"{stems[item]}.png" for item in ids]


def test_unfinished_files_of_a_killed_download_are_swept(tmp_path, server):
    for name in (".a.png.x1y2z3_w.part.png", ".dead.csv.abcdefgh.part.csv"):
        write(tmp_path, f"images/{name}", b"half")
    write(tmp_path, "images/.mine.part.png", b"not ours")
    run(tmp_path, {"a": f"{server.url}/good/1"})
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [".mine.part.png", "a.png", LOG]


def test_unfinished_files_of_a_running_download_stay(tmp_path, server):
    write(tmp_path, "images/.a.png.x1y2z3_w.part.png", b"half")
    with sweep_unless_in_use(tmp_path / "images"):
        part = write(tmp_path, "images/.b.png.x1y2z3_w.part.png", b"half")
        run(tmp_path, {"a": f"{server.url}/good/1"})
        assert part.exists()
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == [".b.png.x1y2z3_w.part.png", "a.png", LOG]


def test_no_answer_starts_a_program(tmp_path, server):
    _, missing = run(tmp_path, {"a": f"{server.url}/postscript/x.png"})
    assert missing == {"a": ("not an image", True)}  # that nothing is started: tests/images/test_decoders.py


def test_an_image_that_takes_too_long_to_decode_is_dead_and_delays_no_other(tmp_path, server, monkeypatch):
    whole = download.shared_decoders().check

    def check(data):
        return whole(data, 0.2)

    monkeypatch.setattr(download.shared_decoders(), "check", check)
    report, missing = run(tmp_path, {"slow": f"{server.url}/endless/1", "a": f"{server.url}/good/1"})
    assert missing == {"slow": ("takes too long", True)}
    assert report.fetched == 1


REFUSED = ("leads to a private address, see --allow-private", False)


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:{}/good/1", "http://localhost:{}/good/1", "http://0.0.0.0:{}/good/1", "http://127.1:{}/good/1",
     "http://2130706433:{}/good/1", "http://[::ffff:127.0.0.1]:{}/good/1", "http://shop.example:{}/good/1"],
)  # fmt: skip
def test_redirects_to_private_addresses_are_refused_unless_asked(tmp_path, server, monkeypatch, target):
    monkeypatch.setattr(socket, "getaddrinfo", local_names_only if "localhost" not in target else REAL_GETADDRINFO)
    with serving() as inside:
        urls = {"a": f"{server.url}/to/{quote(target.format(inside.server_port), safe='')}"}
        report, missing = run(tmp_path, urls)
        assert missing == {"a": REFUSED}
        assert (report.failed, report.dead) == (1, 0)  # with the option, the same command fetches it
        assert not inside.asked
        assert run(tmp_path, urls, allow_private=True)[0].fetched == 1
        assert inside.asked["/good/1"] == 1


def test_the_items_file_may_name_private_addresses(tmp_path, server):
    with serving() as other:
        urls = {"a": f"{server.url}/port/{other.server_port}", "b": f"{other.url}/good/2", "c": f"{server.url}/moved/1"}
        report, _ = run(tmp_path, urls)
        assert report.fetched == 3
        [note] = [note for note in report.notes if "names private addresses" in note]
        assert f"127.0.0.1:{server.server_port}" in note


def test_a_name_that_leads_to_a_private_address_is_refused_unless_asked(tmp_path, server, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", local_names_only)
    urls = {"a": f"http://shop.example:{server.server_port}/good/named"}
    _, missing = run(tmp_path, urls)
    assert missing == {"a": REFUSED}
    assert not server.asked["/good/named"]
    assert run(tmp_path, urls, allow_private=True)[0].fetched == 1


def test_link_local_addresses_are_never_named(tmp_path):
    _, missing = run(tmp_path, {"a": "http://169.254.169.254/latest/meta-data", "b": "http://[fe80::1]/x"})
    assert missing == {"a": REFUSED, "b": REFUSED}


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2001:4860:4860::8888", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True)]
    + [(address, False) for address in (
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "64:ff9b::7f00:1",
    )],
)  # fmt: skip
def test_public_addresses(address, public):
    assert is_public(address) == public
