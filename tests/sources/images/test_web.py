"""Images by URL, from a hostile little web on the loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources.images import MAX_BYTES, web
from mmpr_pipeline.sources.images.web import WebImages, is_public
from tests.sources.conftest import Declare
from tests.sources.made import png_bytes

RAW = png_bytes(9)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        port = self.server.server_port  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        if path.startswith("/ok"):
            self.answer(200, RAW)
        elif path == "/gone":
            self.answer(404)
        elif path == "/forbidden":
            self.answer(403)
        elif path == "/broken":
            self.answer(500)
        elif path == "/once":
            self.answer(503 if self.server.seen.count("/once") < 1 else 200, RAW)  # type: ignore[attr-defined]
        elif path == "/here":
            self.answer(302, Location="/ok?from=here")
        elif path == "/round":
            self.answer(302, Location="/round")
        elif path == "/away":
            self.answer(302, Location=f"http://localhost:{port}/ok")
        elif path == "/cloud":
            self.answer(302, Location="http://169.254.169.254/latest/meta-data/")
        elif path == "/file":
            self.answer(302, Location="file:///etc/passwd")
        elif path == "/claims":
            self.answer(200, b"x", **{"Content-Length": str(10 * MAX_BYTES)})
        elif path == "/endless":
            self.endless()
        elif path == "/drip":
            self.drip()
        elif path == "/short":
            self.answer(200, RAW, **{"Content-Length": str(len(RAW) + 5)})
            self.close_connection = True

    def endless(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        except OSError:
            pass

    def drip(self) -> None:
        """One byte of a header at a time, for as long as anyone reads."""
        try:
            for sign in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
                self.wfile.write(bytes([sign]))
                time.sleep(0.05)
        except OSError:
            pass


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    found: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.seen = []
    found.handle_error = lambda *_: None
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def host(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    server.seen.clear()
    monkeypatch.setattr(time, "sleep", lambda seconds, real=time.sleep: real(min(seconds, 0.05)))
    return f"127.0.0.1:{server.server_port}"


def reason_of(images: WebImages, url: str) -> str:
    with pytest.raises(ItemRejected) as caught:
        images.read(url)
    return caught.value.reason


def test_an_image_of_an_allowed_host_and_a_redirect_within_it(host: str, server: Any) -> None:
    images = WebImages((host,), private=True)
    assert images.read(f"http://{host}/ok.png") == RAW
    assert images.read(f"  HTTP://{host}/ok/größe a.png?x=1#part\n") == RAW
    assert images.read(f"http://{host}/here") == RAW
    assert server.seen == ["/ok.png", "/ok/gr%C3%B6%C3%9Fe%20a.png?x=1", "/here", "/ok?from=here"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone", "missing_image"),
        ("forbidden", "image_unreachable"),
        ("broken", "image_unreachable"),
        ("short", "image_unreachable"),
        ("round", "image_redirect"),
        ("away", "image_redirect"),
        ("cloud", "image_redirect"),
        ("file", "image_redirect"),
        ("claims", "image_too_large"),
        ("endless", "image_too_large"),
    ],
)
def test_answers_that_are_no_image(path: str, reason: str, host: str) -> None:
    assert reason_of(WebImages((host,), private=True), f"http://{host}/{path}") == reason


def test_a_passing_failure_is_tried_again_and_a_lasting_one_three_times(host: str, server: Any) -> None:
    assert WebImages((host,), private=True).read(f"http://{host}/once") == RAW
    reason_of(WebImages((host,), private=True), f"http://{host}/broken")
    assert server.seen == ["/once"] * 2 + ["/broken"] * 3


def test_a_server_that_drips_is_cut_off_in_time(host: str) -> None:
    # Without a limit the drip, which goes on for much longer, would end as another reason.
    assert reason_of(WebImages((host,), private=True, seconds=0.7), f"http://{host}/drip") == "image_timeout"


def test_a_server_that_says_nothing_is_cut_off_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        for scheme in ("http", "https"):  # the second waits in the handshake
            assert reason_of(WebImages((host,), private=True, seconds=0.4), f"{scheme}://{host}/") == "image_timeout"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost/a.png", "image_host"),
        ("http://169.254.169.254/latest/meta-data", "image_host"),
        ("http://example.org/a.png", "image_host"),
        ("http://a.example.com.evil.org/a.png", "image_host"),
        ("http://evilexample.com/a.png", "image_host"),
        ("http://a.example.com:8080/a.png", "image_host"),
        ("http://a.example.com@127.0.0.1/a.png", "image_url"),
        ("http://user:secret@a.example.com/a.png", "image_url"),
        ("http:///a.png", "image_url"),
        ("http://[::1/a.png", "image_url"),
        ("http://a.example.com:99999/", "image_url"),
        ("http://a.example.com/a\nHost: b", "image_url"),
        ("ftp://a.example.com/a.png", "image_url"),
        ("file:///etc/passwd", "image_url"),
    ],
)
def test_urls_that_are_not_fetched(url: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was asked of the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert reason_of(WebImages(("*.example.com",)), url) == reason


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
     "2002:7f00:1::", "255.255.255.255", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::1", "64:ff9b:1::7f00:1",
     "fec0::1", "2001::1", "2001:db8::1", "100::1", "4000::1", "::8.8.8.8"],
)  # fmt: skip
def test_addresses_that_are_not_of_the_internet(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of an allowed host that leads into the machine or its network, as by a rebound DNS entry."""
    assert not is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(family, 1, 6, "", (address, 80))])
    assert reason_of(WebImages(("images.example.com",)), "http://images.example.com/a.png") == "image_host"


def test_addresses_of_the_internet_and_the_address_checked_is_the_one_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(map(is_public, ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34")))
    answers = iter(["93.184.216.34", "127.0.0.1"])  # the second look-up of a rebinding name
    used = []

    def connect(address: tuple[str, int], **_: Any) -> Any:
        used.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (next(answers), 80))])
    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(web, "ATTEMPTS", 1)
    assert reason_of(WebImages(("images.example.com",)), "http://images.example.com/a.png") == "image_unreachable"
    assert used == [("93.184.216.34", 80)]


def test_hosts_by_name_by_domain_and_by_port() -> None:
    allowed = WebImages(("Images.Example.com", "*.cdn.org", "local:8080"))._allowed
    for url in ("https://images.example.com/a", "http://x.cdn.org/a", "http://cdn.org/a", "http://local:8080/a"):
        allowed(url)
    for url in ("http://x.images.example.com/a", "http://acdn.org/a", "http://local/a", "http://x.cdn.org:81/"):
        with pytest.raises(ItemRejected):
            allowed(url)


def rows(host: str, paths: list[str]) -> str:
    lines = [{"id": str(i), "question": f"What is {i}?", "image": path, "answer": "1"} for i, path in enumerate(paths)]
    return "\n".join(map(json.dumps, lines))


def test_rows_with_urls_in_order_several_at_once(host: str, declare: Declare, tmp_path: Path) -> None:
    paths = [f"http://{host}/ok/{i}" if i % 9 else f"http://{host}/gone" for i in range(60)]
    paths[3] = "http://169.254.169.254/"
    paths[5] = "file:///etc/passwd"
    (tmp_path / "rows.jsonl").write_text(rows(host, paths))
    columns = {"id": "id", "question": "question", "image": "image", "answer": "answer"}
    told = {"files": "rows.jsonl", "columns": columns, "kind": "number", "answer_form": None}
    source = declare(**told, image_hosts=host, private_hosts=True)
    index = source.index()
    items = list(source.read(index, 0, 60))
    assert [item.source_id for item in items] == [str(i) for i in range(60)]
    reasons = ["missing_image" if i % 9 == 0 else "" for i in range(60)]
    reasons[3], reasons[5] = "image_host", "image_url"
    assert [getattr(item, "reason", "") for item in items] == reasons
    assert all(item.images[0].data == RAW for item in items if isinstance(item, Question))
    assert list(source.read(index, 10, 13)) == items[10:13]
    closed = declare(**told, image_hosts=host)
    assert {getattr(item, "reason", "") for item in closed.read(closed.index(), 0, 9)} == {"image_host", "image_url"}
    without = declare(**told)
    assert {getattr(item, "reason", "") for item in without.read(without.index(), 0, 9)} == {"image_url"}


def test_a_reader_that_is_left_early_leaves_no_work_behind(
    host: str, server: Any, declare: Declare, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(rows(host, [f"http://{host}/ok/{i}" for i in range(500)]))
    columns = {"id": "id", "question": "question", "image": "image", "answer": "answer"}
    source = declare(
        files="rows.jsonl", columns=columns, kind="number", answer_form=None, image_hosts=host, private_hosts=True
    )
    items = source.read(source.index(), 0, 500)
    assert isinstance(next(items), Question)
    items.close()  # type: ignore[attr-defined]
    assert len(server.seen) < 60
