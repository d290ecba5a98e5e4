"""Ports for servers that cannot be asked which one they took."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []


def free_port(beside: int = 0) -> int:
    """A free port of this process for as long as it lives; with `beside`, the one that many numbers above it is too.

    The socket that holds it does not listen: a server that sets SO_REUSEADDR, as all of the tests do, binds the port
    beside it, before and after each restart, and nobody else is given it.
    """
    while True:
        held = [hold(0)]
        port = held[0].getsockname()[1] - beside
        try:
            held += [hold(port)] if beside else []
        except OSError:
            held[0].close()
            continue
        _HELD.extend(held)
        return port


def hold(port: int) -> socket.socket:
    """A bound socket; 0 takes any free port. Raises OSError where another has it, or holds it as this does.

    SO_REUSEADDR is set after it is bound: set before, two that only hold a port would both get it.
    """
    held = socket.socket()
    try:
        held.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        raise
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return held
