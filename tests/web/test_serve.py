import gzip
import json
import signal
import socket
import threading
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest
from support.runs_by_hand import DiagnosisRow, small_run, write_run

from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.supports import read_supports
from demure.errors import DemureError, RunError
from demure.report.payload import PayloadBuilder
from demure.web.lookup import Lookup
from demure.web.serve import site
from demure_cli.app import main


@pytest.fixture
def served(tmp_path):
    opened = site(small_run(tmp_path), port=0)
    thread = threading.Thread(target=opened.serve, daemon=True)
    thread.start()
    yield opened
    opened.stop()
    thread.join(10)


def ask(site, path, **headers):
    with urllib.request.urlopen(urllib.request.Request(site.url + path, headers=headers)) as answer:
        return answer.status, answer.headers, answer.read()


def test_only_this_machine_by_default_and_no_other_name_for_it(served):
    assert served.loopback
    assert served.url.startswith("http://127.0.0.1:")
    assert ask(served, "", Host="localhost:8000")[0] == 200
    for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(served, "api/user?id=ann", Host=name)


def test_answers_have_their_content_type(served):
    status, headers, body = ask(served, "")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"connect-src 'self'" in body
    _, headers, body = ask(served, "api/user?id=ann")
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["user"]["id"] == "ann"
    _, headers, body = ask(served, "picture?id=i1")
    assert headers["Content-Type"] == "image/jpeg"
    assert body.startswith(b"\xff\xd8")
    assert json.loads(ask(served, "api/user?id=nobody")[2]) is None
    assert json.loads(ask(served, "api/item?id=%00")[2]) is None
    assert json.loads(ask(served, "api/recommended?id=ann")[2]) is None  # the run by hand has no model
    assert ask(served, "picture?id=../../etc/passwd")[0] == 204
    for path in ("etc/passwd", "../run/run.json", "api", "api/user/ann"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(served, path)
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(served.url, data=b"x")


def test_only_the_page_and_its_user_may_ask(served):
    def status(path, site, **headers):
        try:
            return ask(served, path, **{"Sec-Fetch-Site": site, **headers})[0]
        except urllib.error.HTTPError as error:
            return error.code

    link = {"Sec-Fetch-Mode": "navigate"}
    assert [status("api/users", site) for site in ("same-origin", "none")] == [200, 200]
    assert [status("api/users", site) for site in ("cross-site", "same-site", "odd")] == [403, 403, 403]
    assert status("picture?id=i1", "cross-site") == 403
    assert status("", "cross-site") == 403
    assert [status("", site, **link) for site in ("cross-site", "same-site")] == [200, 200]  # a link to the page
    assert status("api/users", "cross-site", **link) == 403


def test_large_answers_are_compressed_where_the_client_can(served):
    status, headers, packed = ask(served, "", **{"Accept-Encoding": "gzip"})
    assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, "gzip", "Accept-Encoding")
    _, headers, page = ask(served, "")
    assert headers["Content-Encoding"] is None
    assert gzip.decompress(packed) == page
    assert len(packed) < 0.8 * len(page)
    _, headers, packed = ask(served, "api/items", **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed)) == json.loads(ask(served, "api/items")[2])
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("accepted", ["gzip;q=0", "br, gzip; q=0.000", "GZIP;Q=0, *"])
def test_a_client_that_refuses_gzip_gets_none(served, accepted):
    for path in ("", "api/items"):
        _, headers, plain = ask(served, path, **{"Accept-Encoding": accepted})
        assert headers["Content-Encoding"] is None
        assert plain == ask(served, path)[2]
    assert ask(served, "", **{"Accept-Encoding": "gzip;q=0.1"})[1]["Content-Encoding"] == "gzip"


def test_head_has_the_length_and_no_body(served):
    request = urllib.request.Request(served.url, method="HEAD")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 1000
        assert answer.read() == b""


def test_ctrl_c_stops_the_server(tmp_path):
    opened = site(small_run(tmp_path), port=0)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        opened.serve()
    with socket.socket() as free:  # the port is free again
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", int(opened.url.rstrip("/").rpartition(":")[2])))


def test_an_address_that_is_taken_is_one_line(tmp_path, capsys):
    run = small_run(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemureError, match=r"cannot listen .*choose another --port"):
            site(run, port=port)
        assert main(["ui", str(run), "--port", str(port)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith(f"demure: 127.0.0.1:{port}: cannot listen")
    with pytest.raises(DemureError, match="cannot listen"):
        site(run, host="no.such.host.invalid", port=0)


def test_other_machines_may_ask_only_where_allowed(tmp_path):
    opened = site(small_run(tmp_path), host="0.0.0.0", port=0)
    assert not opened.loopback
    opened.close()


def test_the_command_serves_until_it_is_interrupted(tmp_path, capsys, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("demure.web.serve.Site.serve", interrupted)
    assert main(["ui", str(small_run(tmp_path)), "--port", "0"]) == 130
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert "the page is no longer served" in err


@pytest.fixture
def lookup(tmp_path):
    rows = [
        DiagnosisRow(user, position, f"i{position}", "image", "poi", 0.9)
        for user, length in (("u2", 1), ("u10", 3), ("x-u2", 2))
        for position in range(length)
    ]
    items = pd.DataFrame({"item_id": ["i0", "i1", "i2"], "title": ["Zebra", "apple", "i0 again"]})
    reliance = pd.DataFrame(
        [(user, name, share) for user, image in (("u2", 0.2), ("u10", 0.5), ("x-u2", 0.9))
         for name, share in (("image", image), ("none", 1 - image))],
        columns=["user_id", "modality", "reliance"],
    )  # fmt: skip
    return Lookup(DiagnosisReader.open(write_run(tmp_path, rows, items, reliance=reliance, pictures=False)))


def names(answer):
    return [row["id"] for row in answer["rows"]]


def test_users_are_found_and_sorted(lookup):
    assert names(lookup.users("", "id")) == ["u10", "u2", "x-u2"]
    assert names(lookup.users("", "choices")) == ["u10", "x-u2", "u2"]
    assert names(lookup.users("", "reliance:image")) == ["x-u2", "u10", "u2"]
    assert names(lookup.users("U2", "reliance:image")) == ["u2", "x-u2"]  # exact before contained
    assert lookup.users("nobody", "id") == {"total": 0, "rows": []}
    assert (
        names(lookup.users("", "reliance:sound")) == names(lookup.users("", "no such order")) == ["u10", "u2", "x-u2"]
    )


def test_unknown_sorts_keep_nothing(lookup):
    lookup.warm()
    default = names(lookup.users("", "id")), names(lookup.items("", "choices"))
    for sort in (
        "below²",
        "relies²",
        "reliance:sound",
        "below:sound",
        "reliance:",
        "",
        "x" * 1000,
        *map(str, range(200)),
    ):
        assert (names(lookup.users("", sort)), names(lookup.items("", sort))) == default
    assert set(lookup._orders) == {("users", "id"), ("items", "choices")}


def test_items_are_found_by_title_too(lookup):
    assert names(lookup.items("", "choices")) == ["i0", "i1", "i2"]
    assert names(lookup.items("", "title")) == ["i1", "i2", "i0"]
    assert names(lookup.items("APP", "choices")) == ["i1"]
    assert names(lookup.items("i0", "choices")) == ["i0", "i2"]


def test_supports_find_their_rows_whatever_their_order(tmp_path):
    run = small_run(tmp_path)
    table = DiagnosisReader.open(run).table
    path = run / "supports.parquet"
    files = DiagnosisReader.open(run).files
    before = read_supports(files, table)
    row = table.indptr[table.user_code["ann"]]
    image = table.modalities.index("image")
    assert before[row, image].tolist() == [table.item_code["i2"], table.item_code["i3"], -1]
    assert (before >= 0).sum() == 2
    frame = pd.read_parquet(path)
    odd = pd.DataFrame(
        [("nobody", "i1", 0, "image", 1, "i2", 0.5), ("ann", "i1", 99, "image", 1, "i2", 0.5)], columns=frame.columns
    )
    pd.concat([odd, frame.iloc[::-1]]).to_parquet(path, index=False)
    assert (read_supports(files, table) == before).all()
    path.write_bytes(b"not parquet")
    with pytest.raises(RunError, match=r"supports.parquet: cannot be read"):
        _ = PayloadBuilder(DiagnosisReader.open(run)).supports


def test_one_user_reads_as_in_the_whole_page(lookup):
    builder = lookup.builder
    answer = lookup.user("u10")
    assert answer["user"] == builder.user(builder.table.user_code["u10"])
    places = answer["body"]["history"]["item"]
    assert [answer["items"]["id"][place] for place in places] == ["i0", "i1", "i2"]
    item = lookup.item("i0")
    assert item["total"] == 3
    assert set(item["choosers"]["user"]) == {"u2", "u10", "x-u2"}
    assert np.ravel(list(answer["body"]["reliance_interval"].values())).min() >= 0
