"""`mmpr view OUT`: the viewer served, to this machine only or, with a key, to whoever has it.

What is shown was written by models and strangers, and other pages in the same browser may try to reach this server:
the page writes text as text and a content policy forbids every script but its own, `Guard` refuses foreign requests,
and what changes anything must carry the page's token and come from its own origin.

Requests that another site made are refused; where others can reach the viewer, those of strangers too. On
this machine alone, a request must name it in its Host header (no DNS rebinding). Elsewhere the address carries a
key, which the browser keeps as a cookie that no other site can send (SameSite=Strict).
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from mmpr_pipeline.core.errors import ConfigError, MmprError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.desk import Desk, RunDesk, missing, shown
from mmpr_pipeline.report.viewer.live import Run, is_run
from mmpr_pipeline.storage import open_store

if TYPE_CHECKING:
    from starlette.applications import Starlette


def view(
    out: str | Path, host: str = "127.0.0.1", port: int = 0, *, ready: Callable[[str], None] | None = None
) -> None:
    """Serve the viewer until stopped (Ctrl-C); `ready` is called with its address. Port 0 takes a free one.

    `out` is the output of a build, unfinished ones too, or the folder of a training run. On any host but this machine
    the address carries a key, and nobody is answered without it.

    Raises DatasetError where there is neither build nor run, ConfigError where the address cannot be used.
    """
    import uvicorn

    await_build(out)
    shown_here: Library | Run = Run(out) if is_run(out) else Library(out)
    key = None if host == "localhost" or is_loopback(host) else secrets.token_urlsafe(18)
    listener = listen(host, port)
    bound = listener.getsockname()[1]
    app = make_app(shown_here, key)
    if ready:
        name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{bound}/{f'?key={key}' if key else ''}")
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


def await_build(out: str | Path) -> None:
    """Wait while a build at work reads its sources: how many shards it will have is not known before."""
    store = open_store(out)
    while not is_run(out) and not store.exists(layout.CONFIG) and store.is_held():
        time.sleep(0.5)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)  # a browser may come before the server runs: it waits
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error}", remedy="Give another --port, or 0; or another --host."
        ) from None
    return listener


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_app(subject: Library | Run, key: str | None = None) -> Starlette:
    """The application over a dataset or a run; with `key`, for those alone who have it."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    token = secrets.token_urlsafe(32)
    desk = RunDesk(subject) if isinstance(subject, Run) else Desk(subject, token)
    routes = [
        Route("/favicon.ico", lambda request: Response(status_code=204)),
        Route("/static/{name:path}", desk.static),
        *(Route(path, answer) for path, answer in desk.pages().items()),
    ]
    if isinstance(desk, Desk):
        routes += [
            Route("/api/marks", desk.mark, methods=["POST"]),
            Route("/image/{shard:int}/{sha256}", desk.image),
        ]
    app = Starlette(routes=routes, exception_handlers={MmprError: shown, KeyError: missing, IndexError: missing})
    app.add_middleware(Guard, key=key)
    return app


COOKIE = "mmpr-view"
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


class Guard:
    """ASGI middleware. `key` is asked for where others can reach the server; None on this machine alone."""

    def __init__(self, app: Any, key: str | None = None) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse, RedirectResponse

        if scope["type"] != "http":
            return

        async def protected(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "")
        answer: Any = self._app
        if self._key is None and not _OWN_NAME.fullmatch(host):
            answer = PlainTextResponse("This server answers to its own name only.", 421)
        elif self._key is not None and not self._known(headers.get("cookie", "")):
            key = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
            if scope["path"] == "/" and secrets.compare_digest(key.encode(), self._key.encode()):
                answer = RedirectResponse("/", 303)  # the key leaves the address, and with it the history
                answer.set_cookie(COOKIE, self._key, httponly=True, samesite="strict")
            else:
                answer = PlainTextResponse("Open the address that `mmpr view` printed, with its key.", 401)
        elif scope["method"] not in ("GET", "HEAD") and headers.get("origin") != f"http://{host}":
            answer = PlainTextResponse("Only the viewer's own page may do that.", 403)
        await answer(scope, receive, protected)

    def _known(self, cookies: str) -> bool:
        try:
            found = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        return found is not None and secrets.compare_digest(found.value.encode(), (self._key or "").encode())
