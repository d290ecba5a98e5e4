"""Images that rows name by URL, fetched only from hosts that the declaration allows.

A URL in a data set is a request that a stranger has this machine make. So: http and https only, hosts named
beforehand, addresses that are public (checked on the very address that is then connected to), no redirect to another
host, a limit of bytes and one of seconds that holds for the whole exchange. Proxies of the environment are not used.
"""

from __future__ import annotations

import functools
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from mmpr_pipeline.core.backoff import seconds_to_wait
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.sources.images import MAX_BYTES

SECONDS = 20.0
"""Longest time for one image, redirects included."""

ATTEMPTS = 3
LONGEST_WAIT = 4.0
REDIRECTS = 3
_PORTS = {"http": 80, "https": 443}
_SAFE = "%/:=&?~#+!$,;'@()*[]"
_HEADERS = {"User-Agent": f"mmpr/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class WebImages:
    """Images by URL. `hosts` are HOST, HOST:PORT or *.DOMAIN; `private` lets them be on this machine or network."""

    hosts: tuple[str, ...]
    private: bool = False
    seconds: float = SECONDS

    def read(self, url: str) -> bytes:
        """The image behind a URL.

        Raises ItemRejected: image_url (no URL of the web), image_host (not allowed, or not public), image_redirect,
        image_timeout, image_too_large, missing_image (404, 410) or image_unreachable, after three attempts.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._fetched(url.strip())
            except _Again as error:
                if attempt == ATTEMPTS - 1:
                    raise ItemRejected("image_unreachable", f"{url[:200]}: {error}") from None
                time.sleep(seconds_to_wait(attempt, first=1.0, longest=LONGEST_WAIT))
        raise AssertionError("unreachable")

    def _fetched(self, url: str) -> bytes:
        end = time.monotonic() + self.seconds
        origin = target = self._allowed(url)
        for _ in range(REDIRECTS + 1):
            found = self._answer(target, end)
            if isinstance(found, bytes):
                return found
            url = urljoin(target.geturl(), found)
            if urlsplit(url).hostname != origin.hostname:
                raise ItemRejected("image_redirect", f"{origin.hostname} leads to {url[:200]}")
            target = self._allowed(url)
        raise ItemRejected("image_redirect", f"more than {REDIRECTS} redirects")

    def _allowed(self, url: str) -> SplitResult:
        """The URL in parts, if it may be fetched at all."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower().rstrip("."), parts.port
        except ValueError:
            raise ItemRejected("image_url", url[:200]) from None
        if parts.scheme not in _PORTS or not host or "@" in parts.netloc or not url.isprintable():
            raise ItemRejected("image_url", url[:200])
        if not any(_matches(allowed, host, port or _PORTS[parts.scheme], parts.scheme) for allowed in self.hosts):
            raise ItemRejected("image_host", f"{parts.netloc[:100]} is not one of {', '.join(self.hosts)}"[:200])
        return parts

    def _answer(self, url: SplitResult, end: float) -> bytes | str:
        """The body, or where a redirect leads to."""
        host = url.hostname or ""
        port = url.port or _PORTS[url.scheme]
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _Again(f"{host}: {error}") from None
        addresses = [str(entry[4][0]) for entry in entries]
        for address in addresses:
            if not self.private and not is_public(address):
                raise ItemRejected("image_host", f"{host} is {address}, which is not a public address")
        left = end - time.monotonic()
        if left <= 0:
            raise _late(url)
        with _unfailing(url, end), _connection(url.scheme, host, port, addresses[0], left) as connection:
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("GET", quote(path, safe=_SAFE), headers=_HEADERS)
            return _body(connection.getresponse(), url)


class _Again(Exception):
    """What another attempt may mend."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, also where it wraps an address of the older kind."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.sixtofour is not None:
            return is_public(str(ip.sixtofour))
        if any(ip in network for network in _WRAPPING):
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in _UNICAST or ip in _TEREDO:  # Python calls some ranges global that no route leads to
            return False
    return ip.is_global and not ip.is_multicast


_WRAPPING = [ipaddress.IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96")]
"""Addresses of version 4 in the last 32 bits, mapped and translated (RFC 4291 and 6052)."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that has ever been given to the internet (RFC 4291, section 4)."""

_TEREDO = ipaddress.IPv6Network("2001::/32")
"""Tunnels to hosts of version 4 behind a router, of which the address says little (RFC 4380)."""


def _matches(allowed: str, host: str, port: int, scheme: str) -> bool:
    parts = urlsplit(f"//{allowed.replace('*.', '', 1)}")
    name = (parts.hostname or "").lower()
    if port != (parts.port or _PORTS[scheme]):
        return False
    return host == name or (allowed.startswith("*.") and host.endswith(f".{name}"))


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextmanager
def _connection(
    scheme: str, host: str, port: int, address: str, seconds: float
) -> Iterator[http.client.HTTPConnection]:
    """A connection to that address and no other; it is cut when the time is over, however slowly bytes drip."""
    lines = [socket.create_connection((address, port), timeout=seconds)]
    alarm = threading.Timer(seconds, _cut, [lines])
    alarm.daemon = True
    alarm.start()
    try:
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
        if scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=_tls())
            lines.append(_tls().wrap_socket(lines[0], server_hostname=host, do_handshake_on_connect=False))
            lines[-1].do_handshake()  # type: ignore[attr-defined]
        connection.sock = lines[-1]
        yield connection
    finally:
        alarm.cancel()
        lines[-1].close()


def _cut(lines: list[socket.socket]) -> None:
    """End the connection beneath whoever reads from it; TLS has taken over the first socket, where there is one."""
    with suppress(OSError):
        socket.socket.shutdown(lines[-1], socket.SHUT_RDWR)


@contextmanager
def _unfailing(url: SplitResult, end: float) -> Iterator[None]:
    """What a network raises, as a reject or as another attempt."""
    try:
        yield
        if time.monotonic() >= end:  # what was cut looks like an end
            raise _late(url)
    except (OSError, http.client.HTTPException, ValueError, _Again) as error:
        if time.monotonic() >= end or isinstance(error, TimeoutError):
            raise _late(url) from None
        if isinstance(error, _Again):
            raise
        raise _Again(f"{type(error).__name__}: {error}"[:150]) from None


def _late(url: SplitResult) -> ItemRejected:
    return ItemRejected("image_timeout", url.geturl()[:200])


def _body(response: http.client.HTTPResponse, url: SplitResult) -> bytes | str:
    status = response.status
    if status in (301, 302, 303, 307, 308):
        return response.getheader("Location") or ""
    if status in (404, 410):
        raise ItemRejected("missing_image", f"{status}: {url.geturl()[:200]}")
    if status == 429 or status >= 500:
        raise _Again(f"status {status}")
    if status != 200:
        raise ItemRejected("image_unreachable", f"{status}: {url.geturl()[:200]}")
    if (response.length or 0) > MAX_BYTES:
        raise ItemRejected("image_too_large", f"{response.length} bytes, at most {MAX_BYTES}")
    data = response.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ItemRejected("image_too_large", f"more than {MAX_BYTES} bytes")
    if response.length:
        raise _Again(f"{response.length} bytes are missing")
    return data


Item = TypeVar("Item")


def run_ahead(work: Iterator[Callable[[], Item]], threads: int = 8, most: int = 32) -> Iterator[Item]:
    """The results of the work in its order, with up to `most` of it under way: it waits for the network."""
    waiting: deque[Future[Item]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in work:
                waiting.append(pool.submit(item))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
