"""A proxy before an S3 server that answers wrongly, late or not at all, at moments drawn from a seed."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

ERRORS = {
    "500": (b"500 Internal Server Error", b"InternalError"),
    "503": (b"503 Slow Down", b"SlowDown"),
}
KINDS = ("500", "503", "reset", "lost", "cut", "slow", "damage")
"""What it does to a request: refuses it with a status; drops it unanswered; lets it through and drops the answer, or
half of its body; makes it wait; changes a byte of an object on its way down (which the checksum must find)."""


@dataclass
class Request:
    """One HTTP request as it came."""

    line: bytes
    headers: list[bytes]
    body: bytes

    @property
    def is_object_read(self) -> bool:
        method, target, _ = self.line.split(b" ", 2)
        return method == b"GET" and b"?" not in target


class FaultyProxy:
    """Forwards to `upstream`, one request a connection; `shares` gives the share of requests that meet each fault."""

    def __init__(self, upstream: str, seed: int, shares: Mapping[str, float]) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._random = random.Random(seed)
        self.shares = dict(shares)
        self.faults: Counter[str] = Counter()
        self.requests = 0
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="faulty-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._handle, "127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()

    def _draw(self, request: Request) -> str:
        """The fault of this request, or an empty string."""
        self.requests += 1
        point = self._random.random()
        for kind, share in self.shares.items():
            point -= share
            if point < 0:
                if kind == "damage" and not request.is_object_read:
                    return ""
                self.faults[kind] += 1
                return kind
        return ""

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read_request(reader, writer)
            fault = self._draw(request)
            if fault in ERRORS:
                writer.write(_error(*ERRORS[fault]))
            elif fault == "reset":
                _reset(writer)
            else:
                if fault == "slow":
                    await asyncio.sleep(self._random.uniform(0.2, 1.0))
                _answer(writer, await self._forwarded(request), fault)
            if not writer.transport.is_closing():
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()

    async def _forwarded(self, request: Request) -> bytes:
        """The whole answer of the server; 502 where it is away, as a load balancer says."""
        try:
            reader, writer = await asyncio.open_connection(*self._upstream)
            headers = b"\r\n".join([request.line, *request.headers, b"Connection: close"])
            writer.write(headers + b"\r\n\r\n" + request.body)
            await writer.drain()
            answer = await reader.read(-1)
            writer.close()
        except OSError:
            answer = b""
        return answer or _error(b"502 Bad Gateway", b"BadGateway")


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:])}
    if fields.get(b"expect", b"").lower() == b"100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    assert b"transfer-encoding" not in fields, "boto3 states the length of what it sends over http"
    body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    kept = [line for line in head[1:] if line.partition(b":")[0].lower() not in (b"expect", b"connection")]
    return Request(head[0], kept, body)


def _answer(writer: asyncio.StreamWriter, answer: bytes, fault: str) -> None:
    if fault == "lost":
        _reset(writer)
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    if fault == "cut":
        body = body[: len(body) // 2]
    if fault == "damage" and body and b"x-amz-checksum" in head.lower():
        body = bytes([body[0] ^ 1]) + body[1:]
    writer.write(head + b"\r\n\r\n" + body)


def _error(status: bytes, code: bytes) -> bytes:
    body = b"<?xml version='1.0'?><Error><Code>" + code + b"</Code><Message>by the proxy</Message></Error>"
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    return head + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side sees a reset, not an end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
