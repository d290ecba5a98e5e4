"""An OpenAI-compatible server whose replies are written down in the test: a judge that behaves, or does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class JudgeServer(ThreadingHTTPServer):
    """Serves the model `judge`. `reply(text, body)` gives the text of an answer, or a status to refuse with."""

    daemon_threads = True

    def __init__(self, reply: Callable[[str, dict[str, Any]], str | int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.logprobs: list[dict[str, Any]] | None = None
        """The likeliest first tokens, told where they are asked for."""
        self.asked: list[dict[str, Any]] = []
        """Bodies of the judgements asked for; questions about the server itself left out."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> JudgeServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JudgeServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": "judge", "owned_by": "test"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            return self._send(404, {})
        text = _text(body)
        if body.get("max_tokens") == 1 and not body.get("logprobs"):  # the engine asks what the server is
            found: str | int = "."
        else:
            self.server.asked.append(body)
            found = self.server.reply(text, body)
        if isinstance(found, int):
            return self._send(found, {"error": {"message": "refused by the test"}})
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": found},
            "finish_reason": "stop",
        }
        if body.get("logprobs") and self.server.logprobs is not None:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": -1, "top_logprobs": self.server.logprobs}]}
        self._send(200, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}})

    def _send(self, status: int, data: dict[str, Any]) -> None:
        raw = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def _text(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
