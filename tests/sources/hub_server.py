"""A read-only Hub on the loopback: enough of its protocol for `datasets` and huggingface_hub to find and read files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves `files` (path in the repository -> bytes) as the data set `made/rows`; notes bytes sent for each path."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], repository: str = "made/rows") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.repository = repository
        self.sent: dict[str, int] = {}
        self.paths: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        self.server.paths.append(f"{self.command} {self.path}")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        name, path = self.server.repository, unquote(url.path)
        if match := re.fullmatch(rf"/datasets/{name}/resolve/([^/]+)/(.+)", path):
            return self._file(match[2])
        if re.fullmatch(rf"/api/datasets/{name}(/revision/[^/]+)?", path):
            siblings = [{"rfilename": file} for file in self.server.files]
            return self._json({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})
        if match := re.fullmatch(rf"/api/datasets/{name}/tree/([^/]+)(?:/(.*))?", path):
            return self._tree(match[2] or "", "true" in parse_qs(url.query.lower()).get("recursive", []))
        self._json({"error": "not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if "/paths-info/" not in self.path:
            return self._json({"error": "not found"}, 404)
        asked = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        self._json([self._entry(path) for path in asked if path in self.server.files])

    def _entry(self, path: str) -> dict[str, Any]:
        data = self.server.files[path]
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _tree(self, folder: str, recursive: bool) -> None:
        inside = [path for path in self.server.files if not folder or path.startswith(folder + "/")]
        if not inside:
            return self._json({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        start = len(folder) + 1 if folder else 0
        deep = {path[: path.index("/", start)] for path in inside if "/" in path[start:]}
        entries = [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(deep)]
        self._json(entries + [self._entry(path) for path in inside if recursive or "/" not in path[start:]])

    def _file(self, path: str) -> None:
        data = self.server.files.get(path)
        if data is None:
            return self._json({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        first, last, status = 0, len(data) - 1, 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last, status = int(match[1]), min(int(match[2] or last), last), 206
        body = data[first : last + 1]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if status == 206:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        if self.command == "GET":
            self.server.sent[path] = self.server.sent.get(path, 0) + len(body)
        self._send(body, status, headers)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
