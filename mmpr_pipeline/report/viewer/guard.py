"""Who may ask the viewer: requests that another site made are refused; where others can reach it, strangers too.

On this machine alone, a request must name it in its Host header (no DNS rebinding). Elsewhere the address carries a
key, which the browser keeps as a cookie that no other site can send (SameSite=Strict).
"""

from __future__ import annotations

import re
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

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
