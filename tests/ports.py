"""Ports for servers that cannot be asked which one they took."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 20_000  # Ray gives its workers ports from 10,002 to 19,999


def free_port() -> int:
    """A free port that the system gives to nobody who asks for any port or connects to somewhere.

    One that was asked for by `bind(("", 0))` and released may be given to the next process before the server takes it.
    """
    highest = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768
    while True:
        port = random.SystemRandom().randrange(min(_LOWEST, highest - 1000), highest)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
