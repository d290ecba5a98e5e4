"""`mmpr view OUT`: a web page over a dataset's shards, served to this machine only.

What is shown was written by models and strangers, and other pages in the same browser may try to reach this server:
the page writes text as text and a content policy forbids every script but its own; requests must name this server in
their Host header (no DNS rebinding); what changes anything must carry the page's token and come from its own origin.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from mmpr_pipeline.core.errors import ConfigError, MmprError
from mmpr_pipeline.dataset.files.marks import Mark
from mmpr_pipeline.report.browse import Filter, Library, Place, Verdict
from mmpr_pipeline.report.detail import pair_detail, question_detail
from mmpr_pipeline.report.gallery import MEDIA_TYPES

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

ROOM = Path(__file__).parent
STATIC = {
    "theme.css": "text/css", "viewer.css": "text/css", "theme.js": "text/javascript", "viewer.js": "text/javascript",
    "viewer_parts.js": "text/javascript",
}  # fmt: skip
PAGE_ROWS = 40
MOST_BODY = 16_384
"""Bytes of a request that changes something."""
_OWN_NAME = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
"""Host headers of requests meant for this machine; any port, since a tunnel may end at another one."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def view(
    out: str | Path, host: str = "127.0.0.1", port: int = 0, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serve the viewer until stopped (Ctrl-C); `ready` is called with its address. Port 0 takes a free one.

    Raises DatasetError where no shard is finished, ConfigError where the address cannot be used.
    """
    import uvicorn

    library = Library(out)
    listener = listen(host, port)
    bound = listener.getsockname()[1]
    app = make_app(library)
    if ready:
        ready(f"http://{f'[{host}]' if ':' in host else host}:{bound}/")
    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",  # a page that asks for a socket gets a plain answer
        timeout_graceful_shutdown=3,  # a client that holds a request does not keep the viewer from ending
    )
    uvicorn.Server(settings).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on this machine only. Raises ConfigError where the address is another or taken."""
    if host != "localhost" and not _is_loopback(host):
        raise ConfigError(
            f"The viewer serves this machine only, not {host}: whoever reached it could read the data and mark it.",
            remedy="Use 127.0.0.1, and from elsewhere a tunnel: ssh -L 8000:127.0.0.1:8000 MACHINE",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # a browser may come before the server runs: it waits
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(f"Cannot listen on {host}:{port}: {error}", remedy="Give another --port, or 0.") from None
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_app(library: Library) -> Starlette:
    """The application, for a server that listens on this machine only."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    desk = _Desk(library, secrets.token_urlsafe(32))
    routes = [
        Route("/", desk.page),
        Route("/static/{name}", desk.static),
        Route("/favicon.ico", lambda request: Response(status_code=204)),
        Route("/api/overview", desk.overview),
        Route("/api/questions", desk.questions),
        Route("/api/question", desk.question),
        Route("/api/pair", desk.pair),
        Route("/api/find", desk.find),
        Route("/api/marks", desk.mark, methods=["POST"]),
        Route("/image/{shard:int}/{sha256}", desk.image),
    ]
    app = Starlette(routes=routes, exception_handlers={MmprError: _told, KeyError: _missing, IndexError: _missing})
    app.add_middleware(_Guard)
    return app


class _Guard:
    """Refuses requests that another site made, and gives every response its protective headers."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        if scope["type"] != "http":
            return

        async def protected(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not _OWN_NAME.fullmatch(host):
            answer = PlainTextResponse("This server answers to its own name only.", 421)
            await answer(scope, receive, protected)
        elif scope["method"] not in ("GET", "HEAD") and headers.get("origin") != f"http://{host}":
            await PlainTextResponse("Only the viewer's own page may do that.", 403)(scope, receive, protected)
        else:
            await self._app(scope, receive, protected)


class _Desk:
    """Answers the page's requests; blocking ones run in threads, as starlette does with plain functions."""

    def __init__(self, library: Library, token: str) -> None:
        self._library, self._token = library, token

    def page(self, request: Request) -> Response:
        from jinja2 import Environment, PackageLoader
        from starlette.responses import HTMLResponse

        jinja = Environment(loader=PackageLoader("mmpr_pipeline.report"), autoescape=True)
        name = self._library.store.url.rstrip("/").rpartition("/")[2]
        html = jinja.get_template("viewer.html").render(name=name, token=self._token)
        return HTMLResponse(html, headers={"Cache-Control": "no-store"})

    def static(self, request: Request) -> Response:
        from starlette.responses import Response

        name = request.path_params["name"]
        kind = STATIC[name]  # before the file is touched: no other name is one
        return Response((ROOM / "static" / name).read_bytes(), media_type=kind)

    def overview(self, request: Request) -> Response:
        return _json(self._library.overview())

    def questions(self, request: Request) -> Response:
        asked = request.query_params
        verdict = asked.get("verdict", "")
        wanted = Filter(
            **{name: asked.get(name, "")[:500] for name in ("source", "strategy", "status", "reason", "text")},
            verdict=verdict if verdict in get_args(Verdict) else "",  # type: ignore[arg-type]
            marked=asked.get("marked") == "1",
        )
        found = self._library.search(wanted, Place(_number(asked, "shard"), _number(asked, "row")), PAGE_ROWS)
        following = found.following
        return _json({"items": found.items, "next": [following.shard, following.row] if following else None})

    def question(self, request: Request) -> Response:
        asked = request.query_params
        files = self._library.shard(_number(asked, "shard"))
        row = files.row_of[asked["id"]] if "id" in asked else _number(asked, "row")
        marks = self._library.marks_on(files.question(row)["question_id"] or "")
        return _json(question_detail(files, row, marks))

    def pair(self, request: Request) -> Response:
        asked = request.query_params
        files = self._library.shard(_number(asked, "shard"))
        return _json(pair_detail(files, asked["question"], asked["id"]))

    def find(self, request: Request) -> Response:
        found = self._library.find(request.query_params["id"][:64])
        return _json(found and {"shard": found[0].shard, "row": found[0].row, "pair": found[1]})

    async def mark(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse

        if not secrets.compare_digest(request.headers.get("x-mmpr-token", "").encode(), self._token.encode()):
            return PlainTextResponse("Reload the page: the server was started anew.", 403)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                return PlainTextResponse("Too long.", 413)
        try:
            mark = Mark.model_validate_json(body)
        except ValidationError as error:
            return PlainTextResponse(f"Not a mark: {error.errors()[0]['msg']}", 422)
        await run_in_threadpool(self._library.mark, mark)
        return _json({"marks": len(self._library.marks)})

    def image(self, request: Request) -> Response:
        from starlette.responses import Response

        found = self._library.shard(request.path_params["shard"]).image(request.path_params["sha256"])
        if found is None or found[0] not in MEDIA_TYPES:  # nothing else is an image that cannot run anything
            raise KeyError(request.path_params["sha256"])
        return Response(
            found[1], media_type=MEDIA_TYPES[found[0]], headers={"Cache-Control": "private, max-age=3600, immutable"}
        )


def _number(asked: Any, name: str) -> int:
    value = asked.get(name, "0")
    if not (value.isascii() and value.isdecimal() and len(value) < 12):
        raise KeyError(name)
    return int(value)


def _json(data: Any) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(data, headers={"Cache-Control": "no-store"})


def _told(request: Request, error: Exception) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse(str(error), 500)


def _missing(request: Request, error: Exception) -> Response:
    from starlette.responses import PlainTextResponse

    return PlainTextResponse("There is no such thing here.", 404)
