from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import ItemRejected, SourceError
from mmpr_pipeline.core.masking import BLOT, PART, logger, masked, without_secrets

SECRET = 'x9/K"Qw+72hT=vvR4zz8Lm0p'
QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.fixture(params=["HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MY_PASSWORD"])
def known(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(request.param, SECRET)
    return SECRET


def test_a_secret_of_the_environment_is_masked_however_it_is_written(known: str) -> None:
    assert masked(f"a {known} b {known}{known}") == "a *** b ******"
    assert masked(json.dumps({"said": known})) == '{"said": "***"}'
    assert masked("https://h/x?q=x9%2FK%22Qw%2B72hT%3DvvR4zz8Lm0p") == "https://h/x?q=***"


@pytest.mark.parametrize("kept", range(PART, len(SECRET) + 1))
def test_a_secret_that_a_message_cuts_off_is_masked(kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert masked(f"sent {SECRET[:kept]}") == "sent ***"
    assert masked(f"sent {SECRET[:kept]}...") == "sent ***..."
    assert masked(f"{SECRET[-kept:]} was sent") == "*** was sent"


def test_what_is_no_secret_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HF_TOKEN": "short",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token-of-pod",
        "RAY_AUTH_MODE": "token-required",
        "SECRET_TOKEN": "/home/user/a-path",
        "TOKENIZERS_PARALLELISM": "falsefalse",
    }.items():
        monkeypatch.setenv(name, value)
    for text in (
        "short words, /var/run/token-of-pod, token-required, /home/user/a-path, falsefalse",
        "https://host/a?id=5&page=2 is basic, and https://host:80/@x",
        "the folder hf_saved, pip install hf_transfer, hf_hub_download and load_hf_datasets",
        "shf_tower hf_ a sk-1 risk-averse-people Basic ideas",
        "",
    ):
        assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "403 for url https://s.example/a/b?X-Amz-Signature=abc&Expires=9 now",
            "403 for url https://s.example/a/b?*** now",
        ),
        (
            "with hf_abcdefgh, hf_data1234, hf_models_secret and sk-proj-ABCDEFGH12345",
            "with hf_***, hf_***, hf_*** and sk-***",
        ),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer ***"),
        ("at http://user:pass@host:8000/v1", "at http://user:***@host:8000/v1"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, kept: str) -> None:
    assert masked(text) == kept


def test_the_token_of_a_login_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("tok_" + SECRET + "\n")
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert without_secrets(f"sent tok_{SECRET}.") == "sent ***."


def test_a_secret_that_is_given_is_known() -> None:
    assert masked(f"sent {SECRET}", SECRET, None) == "sent ***"


def test_long_hostile_texts_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "aaaaaaaaaaaaaaaaaaaaab")
    for text in ("a" * 50_000, "https://" * 6_000, "https://x?" * 5_000, "?sig" * 10_000, "Bearer " * 7_000):
        masked(text)


def test_errors_rejects_and_logs_hold_no_secret(known: str, caplog: pytest.LogCaptureFixture) -> None:
    error = SourceError(f"the Hub said {known}", remedy=f"send {known}")
    reject = ItemRejected("prompt_refused", f"400 {known}")
    for one in (error, reject, pickle.loads(pickle.dumps(error)), pickle.loads(pickle.dumps(reject))):
        assert known not in f"{one} {one!r} {vars(one)}"
    assert reject.detail == "400 ***"
    with caplog.at_level("WARNING"):
        logger("mmpr.storage").warning("the store said %s", known)
        logging.getLogger("mmpr.storage").warning("again %s", known)
    assert known not in caplog.text
    assert "the store said ***" in caplog.text


class Echo(BaseHTTPRequestHandler):
    """Answers everything with 400, 403 or 500 and the token that it was sent, as badly made proxies do."""

    status = 500

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        said = json.dumps({"error": {"message": f"you sent {self.headers['Authorization']}"}}).encode()
        self.send_response(self.status)
        self.send_header("X-Error-Message", f"you sent {self.headers['Authorization']}")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else said)

    do_HEAD = do_POST = do_GET


@pytest.fixture(params=[400, 403, 500])
def proxy(request: pytest.FixtureRequest) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Echo,), {"status": request.param}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_proxy_that_repeats_the_token_does_not_bring_it_to_the_terminal(proxy: str, tmp_path: Path) -> None:
    token = "hf_" + "Q7" * 17
    environment = {
        **os.environ,
        **QUIET,
        "HF_ENDPOINT": proxy,
        "HF_TOKEN": token,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
    }
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "sources", "check", "chartqa"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Hub" in said
    assert "Q7Q7Q7" not in said


@pytest.mark.slow
def test_a_proxy_that_repeats_the_token_does_not_bring_it_into_an_output(tmp_path: Path) -> None:
    """A build looks at benchmarks on the Hub, and writes into config.json which of them it could not reach, and why."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Echo,), {"status": 400}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    token = "hf_" + "Q7" * 17
    (tmp_path / "rows.jsonl").write_text('{"id": "1", "question": "How many?", "answer": "3"}\n')
    (tmp_path / "made.yaml").write_text(
        "{name: made, description: d, files: rows.jsonl, kind: number, text_only: true,"
        " columns: {id: id, question: question, answer: answer}}"
    )
    environment = {
        **os.environ, **QUIET, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}", "HF_TOKEN": token,
        "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "build", "--sources", str(tmp_path / "made.yaml")]
    command += ["--engine", "scripted", "--shards", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    assert "Q7Q7Q7" not in done.stdout + done.stderr
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    config = files[tmp_path / "out" / "config.json"].decode()
    assert config.count("***") > 5, "it says what the proxy answered"
    assert not [path for path, data in files.items() if b"Q7Q7Q7" in data]


def test_a_traceback_of_an_unforeseen_error_holds_no_secret() -> None:
    code = (
        "import importlib, os\n"
        "module = importlib.import_module('mmpr_pipeline.cli.app')\n"
        "def fail(**_): raise RuntimeError('sent ' + os.environ['HF_TOKEN'])\n"
        "module.app = fail\n"
        "module.main()"
    )
    environment = {**os.environ, "HF_TOKEN": SECRET}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "RuntimeError: sent ***" in done.stderr
    assert SECRET not in done.stderr


def test_the_cut_off_secret_is_masked_at_either_end_of_a_text() -> None:
    secret = "s3cr3t-Abcdefgh-ijklmnop-qrstuvwx"
    for part in (secret[:20], secret[-20:]):
        for text in (part, f"{part} and more", f"more and {part}"):
            assert part not in without_secrets(text, secret), text
            assert without_secrets(text, secret).replace(BLOT, "") in ("", " and more", "more and ")
