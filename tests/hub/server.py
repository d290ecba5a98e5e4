"""A Hub on the loopback that speaks enough of the real protocol for huggingface_hub and `datasets`: creating, uploading
(large files over LFS, in parts too), committing, listing, downloading by ranges; with faults to be switched on."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub.faults import Faults
from tests.hub.repository import Blob, Refused, Repository, entry, tree

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = r"(?P<name>[^/]+/[^/]+?)"
REVISION = r"(?P<revision>[^/]+)"


class HubServer(ThreadingHTTPServer):
    """Serves until `close`. Anyone may read what is public; `tokens` says which token may `read` or `write` more."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes] | None = None, repository: str = "made/rows") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.files = files or {}
        if files:
            self.repositories[repository] = Repository(repository)
            self.repositories[repository].put(files, "made", sha=COMMIT)
        self.tokens: dict[str, str] = {}
        self.faults = Faults()
        self.part_bytes: int | None = None
        """With a number, larger files are uploaded in parts of so many bytes."""
        self.parts: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()
        self.sent: dict[str, int] = {}
        """Bytes sent of each path."""
        self.received: list[str] = []
        """sha256 of each large file as it came in, again if it came again."""
        self.paths: list[str] = []
        """`METHOD /path` of each request."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed in the middle is no error here."""


class _Lost(Exception):
    """The connection is to be cut."""


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the other side's delayed acknowledgement

    def log_message(self, format: str, *args: Any) -> None:
        self.server.paths.append(f"{self.command} {self.path}")

    def _serve(self) -> None:
        self.body = self._read_body()
        fault = self.server.faults.next(f"{self.command} {unquote(self.path)}")
        if fault and fault.before:
            fault.before()
        self.muted = bool(fault and not fault.only_before)
        if not fault or fault.served or fault.only_before:
            try:
                with self.server.lock:
                    self._route()
            except Refused as refused:
                headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message} if refused.code else {}
                self._json({"error": refused.message}, refused.status, headers)
        if not fault or fault.only_before:
            return
        self.muted = False
        if fault.status is None:
            self.close_connection = True
            return
        text = fault.body.replace("{authorization}", self.headers.get("Authorization", ""))
        self._send(json.dumps({"error": text}).encode(), fault.status, {"X-Error-Message": text, **fault.headers})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _route(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, action in _ROUTES:
            if wanted == method and (match := re.fullmatch(pattern, url.path)):
                return action(self, **{key: unquote(value or "") for key, value in match.groupdict().items()})
        raise Refused(404, "not found", "RepoNotFound")

    # who may do what

    def _role(self) -> str | None:
        given = self.headers.get("Authorization")
        if given is None:
            return None
        role = self.server.tokens.get(given.removeprefix("Bearer "))
        if role is None:
            raise Refused(401, "Invalid credentials in Authorization header")
        return role

    def _may_write(self) -> None:
        role = self._role()
        if role is None:
            raise Refused(401, "Invalid username or password.")
        if role != "write":
            raise Refused(403, "You don't have the rights to create or change this data set")

    def _repository(self, name: str) -> Repository:
        role = self._role()
        found = self.server.repositories.get(name)
        if found is None or (found.private and role is None) or f"/{found.kind}s/" not in self.path:
            raise Refused(404 if role else 401, "Repository Not Found", "RepoNotFound")
        return found

    # repositories

    def _whoami(self) -> None:
        if self._role() is None:
            raise Refused(401, "Invalid username or password.")
        self._json({"type": "user", "name": "made", "orgs": []})

    def _create(self) -> None:
        self._may_write()
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'made'}/{asked['name']}"
        kind = asked.get("type")
        if kind not in ("dataset", "space"):
            raise Refused(400, "only data sets and Spaces live here")
        if kind == "space" and asked.get("sdk") not in ("static", "gradio", "docker"):
            raise Refused(400, "A Space needs an SDK")
        url = f"{self.server.endpoint}/{kind}s/{name}"
        if name in self.server.repositories:
            return self._json({"error": f"You already created this {kind} repo", "url": url}, 409)
        private = asked.get("private", asked.get("visibility") == "private")
        made = self.server.repositories[name] = Repository(name, private=bool(private), kind=kind)
        made.put({".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}, "initial commit")
        self._json({"url": url, "name": name, "id": name})

    def _branch(self, name: str, revision: str) -> None:
        self._may_write()
        self._repository(name).branch(revision, json.loads(self.body or b"{}").get("startingPoint"))
        self._json({})

    def _info(self, name: str, revision: str = "main") -> None:
        found = self._repository(name)
        head = found.head(revision or "main")
        siblings = [{"rfilename": file} for file in head.files]
        told = {"id": name, "sha": head.sha, "siblings": siblings, "private": found.private, "tags": []}
        if "README.md" in head.files:
            card = card_of(head.files["README.md"].data.decode())
            told |= {"cardData": card, "sdk": (card or {}).get("sdk")}
        self._json(told, headers={"X-Repo-Commit": head.sha})

    def _refs(self, name: str) -> None:
        branches = self._repository(name).branches.items()
        told = [{"name": b, "ref": f"refs/heads/{b}", "targetCommit": sha} for b, sha in branches]
        self._json({"branches": told, "tags": [], "converts": []})

    def _commits(self, name: str, revision: str) -> None:
        history = self._repository(name).history(revision)
        date = "2026-01-01T00:00:00.000Z"
        self._json([{"id": c.sha, "title": c.title, "message": "", "authors": [], "date": date} for c in history])

    # reading

    def _tree(self, name: str, revision: str, folder: str = "") -> None:
        files = self._repository(name).head(revision).files
        self._json(tree(files, folder, self.query.get("recursive", ["False"])[0].lower() == "true"))

    def _paths_info(self, name: str, revision: str) -> None:
        files = self._repository(name).head(revision).files
        text = self.body.decode()
        asked = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
        self._json([entry(path, files[path]) for path in asked if path in files])

    def _resolve(self, name: str, revision: str, path: str) -> None:
        head = self._repository(name).head(revision)
        blob = head.files.get(path)
        if blob is None:
            raise Refused(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": head.sha, "ETag": f'"{blob.etag}"'}
        if blob.lfs:  # large files lie elsewhere, as on the real Hub
            linked = {"X-Linked-Size": str(len(blob.data)), "X-Linked-Etag": f'"{blob.sha256}"'}
            elsewhere = f"http://localhost:{self.server.server_port}"  # clients follow to another host only on GET
            place = f"{elsewhere}/cdn/{name}/{blob.sha256}/{path}"
            return self._send(b"", 302, {**headers, **linked, "Location": place})
        self._content(path, blob, headers)

    def _cdn(self, name: str, oid: str, path: str) -> None:
        data = self.server.repositories[name].stored[oid]
        self._content(path, Blob(data, lfs=True), {"ETag": f'"{oid}"'})

    def _content(self, path: str, blob: Blob, headers: dict[str, str]) -> None:
        first, last, status = 0, len(blob.data) - 1, 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last, status = int(match[1]), min(int(match[2] or last), last), 206
            headers = {**headers, "Content-Range": f"bytes {first}-{last}/{len(blob.data)}"}
        body = blob.data[first : last + 1]
        if self.command == "GET":
            self.server.sent[path] = self.server.sent.get(path, 0) + len(body)
        self._send(body, status, {**headers, "Accept-Ranges": "bytes"})

    # writing

    def _validate_yaml(self) -> None:
        data = card_of(json.loads(self.body)["content"])
        if data is None:
            return self._json({"errors": [{"message": "no metadata"}], "warnings": []}, 400)
        self._json({"errors": [], "warnings": []})

    def _preupload(self, name: str, revision: str) -> None:
        self._may_write()
        found, files = self._repository(name), json.loads(self.body)["files"]
        if len(files) > 256:
            raise Refused(400, "at most 256 files")
        there = found.head(revision).files
        told = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if found.large(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": there[file["path"]].etag if file["path"] in there else None,
            }
            for file in files
        ]
        self._json({"files": told, "commitOid": found.head(revision).sha})

    def _lfs_batch(self, name: str) -> None:
        self._may_write()
        found, objects = self._repository(name), json.loads(self.body)["objects"]
        self._json({"transfer": "basic", "objects": [self._lfs_object(found, name, item) for item in objects]})

    def _lfs_object(self, found: Repository, name: str, item: dict[str, Any]) -> dict[str, Any]:
        oid, size = item["oid"], item["size"]
        if oid in found.stored:
            return {"oid": oid, "size": size}
        store = f"{self.server.endpoint}/lfs/{name}/{oid}"
        upload: dict[str, Any] = {"href": f"{store}/whole", "header": {}}
        part = self.server.part_bytes
        if part and size > part:
            numbers = range(1, -(-size // part) + 1)
            urls = {f"{number:05d}": f"{store}/part/{number}" for number in numbers}
            upload = {"href": f"{store}/complete", "header": {"chunk_size": str(part), **urls}}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": {"href": f"{store}/verify"}}}

    def _lfs_whole(self, name: str, oid: str) -> None:
        self._keep(name, oid, self.body)

    def _lfs_part(self, name: str, oid: str, number: str) -> None:
        self.server.parts.setdefault(oid, {})[int(number)] = self.body
        self._send(b"", 200, {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    def _lfs_complete(self, name: str, oid: str) -> None:
        parts, listed = self.server.parts.pop(oid, {}), json.loads(self.body)["parts"]
        if [part["partNumber"] for part in listed] != sorted(parts):
            raise Refused(400, "parts are missing")
        self._keep(name, oid, b"".join(parts[number] for number in sorted(parts)))

    def _keep(self, name: str, oid: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refused(422, "the content is not what its name says")
        self.server.repositories[name].stored[oid] = data
        self.server.received.append(oid)
        self._json({})

    def _lfs_verify(self, name: str, oid: str) -> None:
        self._may_write()
        if oid not in self.server.repositories[name].stored:
            raise Refused(404, "not uploaded")
        self._json({})

    def _commit(self, name: str, revision: str) -> None:
        self._may_write()
        made = self._repository(name).commit(revision, self.body)
        url = f"{self.server.endpoint}/{self._repository(name).kind}s/{name}/commit/{made.sha}"
        self._json({"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""})

    # answers

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        if self.muted:
            self.log_message("")
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def card_of(text: str) -> dict[str, Any] | None:
    """The metadata at the head of a card; None where there is none."""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    data = yaml.safe_load(match[1]) if match else None
    return data if isinstance(data, dict) else None


_H = _Handler
_API = f"/api/(?:dataset|space)s/{NAME}"
_LFS = rf"/lfs/{NAME}/(?P<oid>[0-9a-f]+)"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", _H._whoami),
    ("POST", "/api/repos/create", _H._create),
    ("POST", "/api/validate-yaml", _H._validate_yaml),
    ("POST", f"{_API}/branch/{REVISION}", _H._branch),
    ("POST", f"{_API}/preupload/{REVISION}", _H._preupload),
    ("POST", f"{_API}/commit/{REVISION}", _H._commit),
    ("POST", f"{_API}/paths-info/{REVISION}", _H._paths_info),
    ("GET", f"{_API}/tree/{REVISION}(?:/(?P<folder>.*))?", _H._tree),
    ("GET", f"{_API}/refs", _H._refs),
    ("GET", f"{_API}/commits/{REVISION}", _H._commits),
    ("GET", f"{_API}/revision/{REVISION}", _H._info),
    ("GET", _API, _H._info),
    ("GET", f"/(?:dataset|space)s/{NAME}/resolve/{REVISION}/(?P<path>.+)", _H._resolve),
    ("GET", rf"/cdn/{NAME}/(?P<oid>[0-9a-f]+)/(?P<path>.+)", _H._cdn),
    ("POST", rf"/(?:dataset|space)s/{NAME}\.git/info/lfs/objects/batch", _H._lfs_batch),
    ("PUT", f"{_LFS}/whole", _H._lfs_whole),
    ("PUT", rf"{_LFS}/part/(?P<number>\d+)", _H._lfs_part),
    ("POST", f"{_LFS}/complete", _H._lfs_complete),
    ("POST", f"{_LFS}/verify", _H._lfs_verify),
]
