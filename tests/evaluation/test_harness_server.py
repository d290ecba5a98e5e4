"""The server that an evaluation harness asks: nobody else is given its port while it starts."""

from __future__ import annotations

import socket
import sys
import urllib.parse
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.evaluation.harness import serve

SERVER = """
import http.server, socket, sys
port = int(sys.argv[1])
taken = 0
try:
    socket.socket().bind(("127.0.0.1", port))
except OSError:
    taken = 1
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if taken else 500)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
"""Answers like vLLM's server, if a stranger could not take the port before it did."""


def started_by(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(serve, "server_command", lambda _, port: [sys.executable, "-c", program, str(port)])


def test_a_stranger_cannot_take_the_port_while_the_server_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started_by(monkeypatch, SERVER)
    monkeypatch.setattr(serve, "START_SECONDS", 60)
    with serve.served(EngineSettings(model="nano"), tmp_path / "log") as address:
        port = urllib.parse.urlsplit(address).port
        assert port is not None
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
    with socket.socket() as later:
        later.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        later.bind(("127.0.0.1", port))


def test_a_server_that_ends_is_shown_with_its_last_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started_by(monkeypatch, "raise SystemExit('no such model')")
    with (
        pytest.raises(EngineError, match="no such model"),
        serve.served(EngineSettings(model="nano"), tmp_path / "log"),
    ):
        pass
