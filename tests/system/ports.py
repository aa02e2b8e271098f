"""
Ports for processes that are started later.
"""

from __future__ import annotations

import os
import socket

PORTS = range(4_000, 10_000)
"""Below those that a system lends to outgoing connections, and below those of C{post ring}: a port that is free
when it is chosen is still free when its process starts."""
APART = 211
"""Ports between where two test processes with neighboring numbers begin to look."""

_given = 0


def free_ports(count: int) -> list[int]:
    """
    Ports that nobody has, and that this process has not been given before.
    """
    global _given
    ports: list[int] = []
    while len(ports) < count:
        port = PORTS[(os.getpid() * APART + _given) % len(PORTS)]
        _given += 1
        assert _given < len(PORTS), "no port is free"
        with socket.socket() as trying:
            try:
                trying.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
    return ports
