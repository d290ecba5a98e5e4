"""The ports of the tests' servers are held: nobody else gets one, and the server itself does."""

from __future__ import annotations

import socket

import pytest

from tests.ports import free_port, hold


def test_a_port_is_held_once_and_its_server_binds_it() -> None:
    port = free_port()
    with pytest.raises(OSError, match="in use"):
        hold(port)
    for _ in range(2):  # a server that is started again, too
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port))
            server.listen()


def test_no_port_is_given_twice_with_the_ones_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[socket.socket] = []
    monkeypatch.setattr("tests.ports._HELD", held)
    try:
        ports = [free_port(beside=10_000) for _ in range(200)]
    finally:
        for each in held:
            each.close()
    taken = [number for port in ports for number in (port, port + 10_000)]
    assert len(set(taken)) == len(taken)
