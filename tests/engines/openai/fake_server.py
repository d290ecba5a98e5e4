"""A small OpenAI-compatible server with faults, for tests: each fault is drawn from a list, in order of requests."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeServer(ThreadingHTTPServer):
    """Answers `texts(seed)`; `faults` are used up one for each chat request; `always` holds for some prompts."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        faults: tuple[str, ...] = (),
        *,
        takes_n: bool = True,
        ignores_n: bool = False,
        context: int | None = 4096,
        owner: str = "fake",
        key: str | None = None,
        capacity: int | None = None,
        always: dict[str, str] | None = None,
        port: int = 0,
        models_status: int = 200,
        handler: type[Handler] | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), handler or Handler)
        self.faults, self.takes_n, self.ignores_n = list(faults), takes_n, ignores_n
        self.context, self.owner, self.key, self.capacity = context, owner, key, capacity
        self.always = always or {}
        self.models_status = models_status
        self.asked: list[dict[str, Any]] = []
        self.busy, self.most_busy = 0, 0
        self.lock = threading.Lock()
        self.gone = False
        """Kept connections are closed as well."""
        self.armed = False
        """Faults begin when a test says so: not while the engine asks the server what it is."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are part of the tests."""


def text_of(seed: int) -> str:
    return f"It is {hashlib.sha256(str(seed).encode()).hexdigest()[:6]}. Final answer: {seed % 7}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.server.models_status != 200:
            self.reply(self.server.models_status, {"error": f"no, {self.headers.get('Authorization')}"})
            return
        model = {"id": "m", "owned_by": self.server.owner, "max_model_len": self.server.context}
        self.reply(200, {"data": [model]}) if self.path == "/v1/models" else self.reply(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        if server.gone:
            self.close_connection = True
            return
        if self.path != "/v1/chat/completions":
            self.reply(404, {"error": "no such path"})
            return
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            self.reply(401, {"error": "no key"})
            return
        with server.lock:
            server.asked.append(body)
            fault = server.faults.pop(0) if server.armed and server.faults else ""
            server.busy += body.get("n", 1)
            over = server.capacity is not None and server.busy > server.capacity
            server.most_busy = max(server.most_busy, server.busy)
        said = json.dumps(body["messages"])
        fault = next((f for words, f in server.always.items() if words in said), fault)
        try:
            if server.capacity is not None:
                time.sleep(0.05)  # the better part of an answer's time, also on a busy machine
            self.misbehave(fault) if fault else self.reply(429, {}) if over else self.complete(body)
        finally:
            with server.lock:
                server.busy -= body.get("n", 1)

    def misbehave(self, fault: str) -> None:
        if fault.isdecimal():
            self.reply(int(fault), {"error": {"message": "told to"}})
        elif fault == "torn":
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b'{"choices')
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif fault == "hang":
            time.sleep(3)
            self.close_connection = True
        else:
            self.reply(400, {"error": {"message": fault}})

    def complete(self, body: dict[str, Any]) -> None:
        server, n = self.server, body.get("n", 1)
        if n > 1 and not server.takes_n:
            self.reply(400, {"error": {"message": "only one choice"}})
            return
        # Like vLLM: the prompt of a continued message lacks the end of the turn and the next one's beginning.
        prompt = len(re.sub(r'data:[^"]*', "", json.dumps(body["messages"]))) // 10 - 3 * bool(
            body.get("continue_final_message")
        )
        if server.context is not None and prompt + body["max_tokens"] > server.context:
            self.reply(400, {"error": {"message": "This model's maximum context length is exceeded"}})
            return
        made = 1 if server.ignores_n else n
        choices = [
            {"index": i, "message": {"content": text_of(body.get("seed", 0) + i)}, "finish_reason": "stop"}
            for i in range(made)
        ]
        usage = {"prompt_tokens": prompt, "completion_tokens": 6 * made}
        self.reply(200, {"choices": choices[::-1], "usage": usage})

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
