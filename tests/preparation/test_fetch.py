"""Images from a faulty server: fetched, tried again, given up, continued; and never more requests than allowed."""

import json
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest
from PIL import Image
from support.data_by_hand import csv_of, made, write
from support.faulty_server import serving

from demure.errors import DataError, DemureError
from demure.preparation.fetch.fetch_images import FetchOptions, fetch_images
from demure.preparation.fetch.log import LOG, FetchLog, FetchOutcome, image_stem
from demure_cli.app import main


@pytest.fixture
def server():
    with serving() as server:
        yield server


def items(folder, urls):
    path = folder / "items.csv"
    pd.DataFrame({"item_id": list(urls), "title": "t", "image_url": list(urls.values())}).to_csv(path, index=False)
    return path


def run(folder, urls, **options):
    quick = {"rate": 1000.0, "pause": 0.01, "timeout": 1.5, "tries": 3, **options}
    return fetch_images(FetchOptions(items(folder, urls), folder / "images", **quick))


FAULTS = {
    # path: (suffix of the image, reason, whether it is final, number of requests)
    "good": (".png", "", True, 1),
    "jpeg": (".jpg", "", True, 1),
    "moved": (".png", "", True, 1),
    "flaky": (".png", "", True, 3),
    "short": (".png", "", True, 2),
    "missing": (None, "HTTP 404", True, 1),
    "page": (None, "not an image", True, 1),
    "empty": (None, "not an image", True, 1),
    "cut": (None, "damaged image", True, 1),
    "huge": (None, "larger than 1 MB", True, 1),
    "round": (None, "too many redirects", True, 6),
    "away": (None, "leads to no http or https URL", True, 1),
    "broken": (None, "HTTP 502", False, 3),
    "hang": (None, "timed out", False, 3),
}


def test_every_fault(tmp_path, server):
    report = run(tmp_path, {name: f"{server.url}/{name}/1" for name in FAULTS}, max_megabytes=1.0)
    had = {name for name, fault in FAULTS.items() if fault[0]}
    images = {path.stem: path.suffix for path in (tmp_path / "images").iterdir() if path.name not in (LOG, "dead.csv")}
    assert images == {name: FAULTS[name][0] for name in had}
    for name in had:
        with Image.open(tmp_path / "images" / f"{name}{images[name]}") as image:
            image.load()
    table = pd.read_csv(tmp_path / "images" / "dead.csv")
    assert {row.item_id: (row.reason.split(":")[0], row.final) for row in table.itertuples()} == {
        name: fault[1:3] for name, fault in FAULTS.items() if not fault[0]
    }
    assert {name: server.asked[f"/{name}/1"] for name in FAULTS} == {name: fault[3] for name, fault in FAULTS.items()}
    assert (report.wanted, report.fetched, report.there) == (len(FAULTS), len(had), 0)
    assert (report.dead, report.failed) == (7, 2)
    assert sum(report.reasons.values()) == 9


def test_a_drip_ends_when_its_time_is_up(tmp_path, server, monkeypatch):
    monkeypatch.setattr("demure.preparation.fetch.request._WHOLE", 0.5)
    began = time.monotonic()
    report = run(tmp_path, {"a": f"{server.url}/drip/1"}, tries=1, timeout=3.0)
    assert report.reasons == {"timed out": 1}
    assert time.monotonic() - began >= 1.5  # its bytes kept coming, so no single wait was too long


def test_it_goes_on_where_it_was(tmp_path, server):
    urls = {f"i{k}": f"{server.url}/good/{k}" for k in range(6)} | {"gone": f"{server.url}/missing/1"}
    urls["later"] = f"{server.url}/broken/1"
    first = run(tmp_path, dict(list(urls.items())[:3]), tries=1)
    assert (first.fetched, first.there) == (3, 0)
    second = run(tmp_path, urls, tries=1)
    assert (second.fetched, second.there, second.dead, second.failed) == (3, 3, 1, 1)
    (tmp_path / "images" / "i4.png").unlink()
    with open(tmp_path / "images" / LOG, "a") as handle:
        handle.write('{"item_id": "i5", "ur')  # a run killed while it wrote
    third = run(tmp_path, urls, tries=1)
    assert (third.fetched, third.there, third.dead, third.failed) == (1, 5, 1, 1)
    assert server.asked["/good/4"] == 2
    assert max(server.asked[f"/good/{k}"] for k in (0, 1, 2, 3, 5)) == 1
    assert (server.asked["/missing/1"], server.asked["/broken/1"]) == (1, 2)
    assert run(tmp_path, urls, tries=1).there == 6
    run(tmp_path, urls, tries=1, retry_dead=True)
    assert server.asked["/missing/1"] == 2
    changed = run(tmp_path, urls | {"i0": f"{server.url}/good/new"}, tries=1)
    assert changed.fetched == 1


def test_a_picture_of_several_items_is_asked_for_once(tmp_path, server):
    report = run(tmp_path, dict.fromkeys(("a", "b", "c"), f"{server.url}/good/1"))
    assert report.fetched == 3
    assert server.asked["/good/1"] == 1
    assert len({(tmp_path / "images" / f"{name}.png").read_bytes() for name in "abc"}) == 1


def test_a_host_is_asked_no_faster_than_it_may(tmp_path, server):
    began = time.monotonic()
    run(tmp_path, {f"i{k}": f"{server.url}/good/{k}" for k in range(12)}, rate=20.0, per_host=8)
    assert len(server.times) == 12
    # A slow machine may be late, but none may be early.
    assert all(time_ - began >= k / 20 for k, time_ in enumerate(sorted(server.times)))


@pytest.mark.parametrize(("options", "most"), [({"per_host": 2}, 2), ({"per_host": 9, "parallel": 3}, 3)])
def test_no_more_at_a_time_than_allowed(tmp_path, server, options, most):
    run(tmp_path, {f"i{k}": f"{server.url}/slow/{k}" for k in range(12)}, timeout=5.0, **options)
    assert 1 < server.most_open <= most


def test_hosts_do_not_wait_for_each_other(tmp_path, server):
    with serving() as other:
        urls = {f"slow{k}": f"{server.url}/good/{k}" for k in range(6)} | {"quick": f"{other.url}/good/1"}
        run(tmp_path, urls, rate=4.0)
        assert min(other.times) < max(server.times)
        assert max(server.times) - min(server.times) > 1.0


def test_retry_after_is_kept_to(tmp_path, server):
    report = run(tmp_path, {"a": f"{server.url}/busy/1"})
    assert report.fetched == 1
    assert server.times[1] - server.times[0] >= 1.0


def test_a_host_that_does_not_answer_is_left_for_another_time(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    report = run(tmp_path, {f"i{k}": f"http://127.0.0.1:{port}/{k}" for k in range(40)}, per_host=1)
    assert report.reasons == {"host does not answer": 37, "no connection": 3}
    assert (report.failed, report.dead) == (40, 0)


def test_prepare_finds_the_images_whatever_the_ids_are(tmp_path, server):
    ids = ["0007", "a/b", "../up", "ä ö", "x" * 300, "a.b", "CON"]
    urls = {item_id: f"{server.url}/good/{k}" for k, item_id in enumerate(ids)}
    assert run(tmp_path, urls).fetched == len(ids)
    path = write(tmp_path, "x.csv", csv_of([("u", item_id, k) for k, item_id in enumerate(ids)]))
    dataset, _ = made(tmp_path, path, items=tmp_path / "items.csv", images=tmp_path / "images")
    assert dataset.items["image"].tolist() == [f"{image_stem(item_id)}.png" for item_id in ids]
    assert all((tmp_path / "images" / name).is_file() for name in dataset.items["image"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "items.csv", "out", "x.csv"]


def test_what_cannot_be_fetched_from(tmp_path):
    with pytest.raises(DataError, match="has no column image"):
        fetch_images(FetchOptions(write(tmp_path, "a.csv", "item_id,title\na,A\n"), tmp_path / "images"))
    path = write(tmp_path, "b.csv", "item_id,image\na,local.png\nb,ftp://x/y.png\nc,http://[bad\n")
    with pytest.raises(DataError, match=r"no item has a URL in column 'image' \(the first value is 'local.png'\)"):
        fetch_images(FetchOptions(path, tmp_path / "images"))
    for name in ("rate", "tries", "parallel"):
        with pytest.raises(DataError, match=f"--{name}: must be above 0"):
            fetch_images(FetchOptions(path, tmp_path / "images", **{name: 0}))
    assert not (tmp_path / "images").exists()
    write(tmp_path, "images", b"a file")
    with pytest.raises(DemureError, match="images: cannot write"):
        fetch_images(FetchOptions(write(tmp_path, "c.csv", "item_id,image\na,http://x/1\n"), tmp_path / "images"))


def test_a_full_disk_is_one_line(tmp_path, server, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("demure.files.os.replace", full)
    with pytest.raises(DemureError, match="cannot write: No space left on device"):
        run(tmp_path, {f"i{k}": f"{server.url}/good/{k}" for k in range(4)})


def test_the_log_outlives_what_is_no_line(tmp_path):
    log = FetchLog(tmp_path)
    log.add(FetchOutcome("a", "u", "a.png", 3))
    log.close()
    with open(tmp_path / LOG, "a") as handle:
        handle.write("[1, 2]\nrubbish")
    again = FetchLog(tmp_path)
    again.add(FetchOutcome("b", "u", None, 0, "HTTP 404", True))
    again.close()
    assert {item: outcome.file for (item, _), outcome in FetchLog(tmp_path).read().items()} == {"a": "a.png", "b": None}


def test_the_command(tmp_path, server, capsys):
    path = write(tmp_path, "items.csv", f"sku,photo\na,{server.url}/good/1\nb,{server.url}/missing/1\nc,\n")
    asked = ["images", "fetch", str(path), "--out", str(tmp_path / "images"), "--columns", "item=sku,image=photo"]
    assert main(["--quiet", *asked]) == 0
    shown = capsys.readouterr().out
    assert "1 for good, 0 can be tried again" in shown
    assert "HTTP 404" in shown
    assert main([*asked, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["wanted"], report["fetched"], report["there"], report["dead"]) == (2, 0, 1, 1)


def test_ctrl_c_keeps_what_there_is(tmp_path, server):
    items(tmp_path, {f"i{k}": f"{server.url}/good/{k}" for k in range(500)})
    command = [sys.executable, "-m", "demure_cli", "-q", "images", "fetch", "items.csv", "--out", "images"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while len(server.times) < 5 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    message = process.communicate(timeout=30)[1]
    assert process.returncode == 130, message
    assert message.strip() == "demure: interrupted; what was downloaded is kept in images; the same command continues"
    kept = FetchLog(tmp_path / "images").read()
    assert kept
    assert all((tmp_path / "images" / outcome.file).is_file() for outcome in kept.values())
