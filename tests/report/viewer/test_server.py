from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.marks import read_marks
from mmpr_pipeline.dataset.files.summary import summarise
from mmpr_pipeline.report.assets import STATIC
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.server import is_loopback, listen, make_app
from mmpr_pipeline.storage.store import open_store
from tests.dataset.conftest import make_outcome, write_shard
from tests.report.conftest import ATTACK

HERE = "http://127.0.0.1:8123"
MARK = {"question_id": "a" * 32, "index": 0, "outcome": "incorrect", "note": "wrong bar"}


def client(out: Path) -> TestClient:
    return TestClient(make_app(Library(out)), base_url=HERE)


def token_of(browser: TestClient) -> str:
    return re.findall(r'name="mmpr-token" content="([^"]+)"', browser.get("/").text)[0]


def test_the_page_loads_nothing_from_elsewhere_and_runs_only_its_own_scripts(out: Path) -> None:
    browser = client(out)
    page = browser.get("/")
    assert "'unsafe" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.findall(r"<script>|<style|style=|\son\w+=", page.text), "nothing inline"
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        answer = browser.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["x-content-type-options"] == "nosniff"
    own = [*(STATIC / "viewer").glob("*.js"), STATIC / "markup.js", STATIC / "theme.js"]
    assert len(own) > 10
    script = "".join(path.read_text("utf-8") for path in own)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|srcdoc", script)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "localhost:8123@evil.example", "127.0.0.1:x", ""],
)
def test_another_name_for_this_server_is_refused(out: Path, host: str) -> None:
    answer = client(out).get("/api/overview", headers={"host": host})
    assert answer.status_code == 421
    assert "questions" not in answer.text


def test_its_own_names_are_served(out: Path) -> None:
    for host in ("127.0.0.1:8123", "localhost:9000", "[::1]:8123", "localhost"):
        assert client(out).get("/api/overview", headers={"host": host}).json()["questions"] == 40


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "http://localhost:8123"}, 403),
        ({"origin": "http://localhost:9000", "host": "localhost:9000"}, 200),
        ({"origin": None}, 403),
        ({"x-mmpr-token": "guessed"}, 403),
        ({"x-mmpr-token": None}, 403),
    ],
)
def test_only_the_page_itself_can_mark(out: Path, changed: dict[str, str | None], status: int) -> None:
    browser = client(out)
    headers = {"origin": HERE, "x-mmpr-token": token_of(browser), **changed}
    answer = browser.post("/api/marks", json=MARK, headers={k: v for k, v in headers.items() if v is not None})
    assert answer.status_code == status
    kept = read_marks(open_store(out))
    assert kept == ({("a" * 32, 0): "incorrect"} if status == 200 else {})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (json.dumps(MARK | {"outcome": "perhaps"}), 422),
        (json.dumps(MARK | {"index": -1}), 422),
        (json.dumps(MARK | {"note": "x" * 2000}), 422),
        (json.dumps(MARK | {"extra": 1}), 422),
        ("no json", 422),
        ("x" * 100_000, 413),
    ],
)
def test_what_is_no_mark_is_refused(out: Path, body: str, status: int) -> None:
    browser = client(out)
    answer = browser.post("/api/marks", content=body, headers={"origin": HERE, "x-mmpr-token": token_of(browser)})
    assert answer.status_code == status
    assert not (out / layout.MARKS).exists()


def test_what_the_page_asks_for_is_answered(out: Path) -> None:
    browser = client(out)
    block = browser.get("/api/index")
    assert block.content.startswith(b"MMPRIDX1")
    assert (block.headers["x-mmpr-reached"], block.headers["x-mmpr-next"]) == ("3", "")
    assert browser.get("/api/index?from=3").headers["x-mmpr-reached"] == "3"
    assert browser.get("/api/doubts").content.startswith(b"MMPRIDX1")
    listed = browser.get("/api/rows?at=2.0,0.1").json()
    assert [row["source_id"] for row in listed] == ["q2", "q3"]
    assert browser.get("/api/search?text=bar+7").json() == {"found": [[1, [2]]], "next": None}
    assert browser.get("/api/search?text=blindly&in=responses").json()["found"]
    assert browser.get("/api/marked").json()["summary"]["rollouts"] == 0
    one = browser.get("/api/question?shard=0&row=0").json()
    again = browser.get("/api/question", params={"shard": 0, "id": one["question"]["question_id"]}).json()
    assert again == one
    pair = one["pairs"][0]
    where = {"shard": 0, "question": one["question"]["question_id"], "id": pair["pair_id"]}
    assert {"chosen", "rejected"} <= set(browser.get("/api/pair", params=where).json())
    assert browser.get("/api/find", params={"id": pair["pair_id"]}).json()["pair"] == pair["pair_id"]


@pytest.mark.parametrize(
    "path",
    ["/api/question?shard=9&row=0", "/api/question?shard=0&row=999", "/api/question?shard=0&row=-1",
     "/api/question?shard=0&id=x", "/image/0/abc", "/static/../server.py", "/static/server.py",
     "/static/%2e%2e%2fassets.py", "/static/vendor/temml.LICENSE", "/api/rows?at=0",
     "/api/question?shard=x", "/api/pair?shard=0"],
)  # fmt: skip
def test_what_is_not_there_is_404(out: Path, path: str) -> None:
    assert client(out).get(path).status_code == 404


def test_images_are_served_as_what_they_are_and_svg_never(tmp_path: Path) -> None:
    store = open_store(tmp_path / "out")
    outcome = make_outcome(0)
    drawing = outcome.images[0].model_copy(
        update={"format": "svg", "data": b"<svg onload='attack()'/>", "sha256": "f" * 64}
    )
    row = outcome.row.model_copy(update={"images": (*outcome.row.images, "f" * 64)})
    changed: Any = outcome.__class__(row, (*outcome.images, drawing), outcome.rollouts, outcome.pairs)
    write_shard(store, 0, 1, [changed])
    store.write(layout.SUMMARY, json_bytes(summarise(store, 1)))
    browser = client(tmp_path / "out")
    answer = browser.get(f"/image/0/{outcome.images[0].sha256}")
    assert (answer.content, answer.headers["content-type"]) == (outcome.images[0].data, "image/png")
    assert browser.get(f"/image/0/{'f' * 64}").status_code == 404


def test_hostile_text_travels_as_json_only(hostile: Path) -> None:
    browser = client(hostile)
    answer = browser.get("/api/rows?at=0.0")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()[0]["text"] == ATTACK[:240]
    assert ATTACK not in browser.get("/").text


REFUSED = ("/", "/?key=", f"/?key={'j' * 24}", "/api/overview", f"/api/overview?key={'k' * 24}", "/static/theme.js")


def test_from_elsewhere_nobody_is_answered_without_the_key(out: Path) -> None:
    app = make_app(Library(out), key="k" * 24)
    for name in ("host.example:8123", "127.0.0.1:8123"):
        browser = TestClient(app, base_url=f"http://{name}", follow_redirects=False)
        for path in (
            "/",
            "/?key=",
            "/?key=" + "j" * 24,
            "/api/overview",
            "/api/overview?key=" + "k" * 24,
            "/static/theme.js",
        ):
            assert browser.get(path).status_code == 401, path
        entered = browser.get("/?key=" + "k" * 24)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert browser.get("/api/overview").json()["questions"] == 40
    stranger = TestClient(app, base_url="http://host.example", cookies={"mmpr-view": "guessed"})
    assert stranger.get("/api/overview").status_code == 401


@pytest.mark.parametrize(
    ("host", "alone"), [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("192.168.1.4", False), ("::", False)]
)
def test_only_this_machine_needs_no_key(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone


def test_two_hundred_clients_at_once_are_served(out: Path) -> None:
    browser = client(out)
    with ThreadPoolExecutor(200) as pool:
        paths = ["/api/overview", "/api/index", "/api/rows?at=0.0,1.0,2.0", "/api/question?shard=1&row=2"] * 50
        answers = list(pool.map(browser.get, paths))
    assert [answer.status_code for answer in answers] == [200] * 200
    assert len({answer.content for answer in answers[0::4]}) == 1


def test_a_taken_port_is_named() -> None:
    listener = listen("127.0.0.1", 0)
    with pytest.raises(ConfigError, match="Cannot listen"):
        listen("127.0.0.1", listener.getsockname()[1])
    listener.close()


def test_the_viewer_ends_on_sigterm_while_a_client_holds_a_request(out: Path) -> None:
    code = "from mmpr_pipeline.report.viewer.server import view\n"
    code += f"view({str(out)!r}, ready=lambda at: print(at, flush=True))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rsplit(":", 1)[1].strip("/\n"))
            with socket.create_connection(("127.0.0.1", port)) as held:
                held.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhalf")
                upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                with socket.create_connection(("127.0.0.1", port)) as socketed:
                    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    socketed.sendall(b"GET /api/none HTTP/1.1\r\nHost: 127.0.0.1\r\n" + upgrade + key + b"\r\n")
                    assert b" 404 " in socketed.recv(100)
                process.terminate()
                assert process.wait(timeout=60) is not None
        finally:
            process.kill()
