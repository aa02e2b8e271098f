"""
How far apart the nodes of an imaginary network are.

Each model gives every node a place, by chance from a seed and the node's id, so that a node that comes again is where
it was.  A sphere is the model of the Pastry paper (section 3.1), a square is that of many others, and a measured matrix
is the Internet as somebody once found it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from math import acos, hypot, isfinite, pi
from pathlib import Path
from random import Random

from post.errors import ConfigError
from post.ids import NodeId
from post.sim.network import Delay

FARTHEST_S = 0.1
"""One way between two nodes that are as far apart as can be, on the sphere and in the square: half around the world."""
NEAREST_S = 0.0005
"""One way between two nodes in one place."""
HOSTS_LIMIT = 5000
"""Rows of a matrix: 25 million numbers are as many as one wants to read."""


def sphere(seed: int, farthest_s: float = FARTHEST_S) -> Delay:
    """
    Nodes evenly on a sphere; the delay grows with the way along its surface.
    """
    places: dict[NodeId, tuple[float, float, float]] = {}

    def place(node: NodeId) -> tuple[float, float, float]:
        chance = _chance(seed, node)
        x, y, z = chance.gauss(0, 1), chance.gauss(0, 1), chance.gauss(0, 1)
        size = hypot(x, y, z) or 1.0
        found = places[node] = (x / size, y / size, z / size)
        return found

    def delay(source: NodeId, target: NodeId) -> float:
        x, y, z = places.get(source) or place(source)
        u, v, w = places.get(target) or place(target)
        return NEAREST_S + farthest_s * acos(max(-1.0, min(1.0, x * u + y * v + z * w))) / pi

    return delay


def square(seed: int, farthest_s: float = FARTHEST_S) -> Delay:
    """
    Nodes evenly in a square; the delay grows with the straight way.
    """
    places: dict[NodeId, tuple[float, float]] = {}

    def place(node: NodeId) -> tuple[float, float]:
        chance = _chance(seed, node)
        found = places[node] = (chance.random(), chance.random())
        return found

    def delay(source: NodeId, target: NodeId) -> float:
        x, y = places.get(source) or place(source)
        u, v = places.get(target) or place(target)
        return NEAREST_S + farthest_s * hypot(x - u, y - v) / 2**0.5

    return delay


def matrix(path: Path, seed: int) -> Delay:
    """
    Measured round trips: line C{i} of the file has those from host C{i} to each host, in milliseconds, separated by
    spaces or commas; what starts with C{#} is a remark.  Each node is at one of the hosts.

    @raise ConfigError: if it is no square of numbers that are at least 0; says which line is wrong.
    """
    rows = _read(path)
    hosts: dict[NodeId, int] = {}

    def host(node: NodeId) -> int:
        found = hosts[node] = _chance(seed, node).randrange(len(rows))
        return found

    def delay(source: NodeId, target: NodeId) -> float:
        here = hosts[source] if source in hosts else host(source)
        there = hosts[target] if target in hosts else host(target)
        return NEAREST_S + rows[here][there] / 2000

    return delay


MODELS: dict[str, Callable[[int], Delay]] = {"sphere": sphere, "square": square}
"""Those that need no file."""


def _chance(seed: int, node: NodeId) -> Random:
    return Random(sha256(b"%d %s" % (seed, node.packed())).digest())


def _read(path: Path) -> list[list[float]]:
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].replace(",", " ").split()
        if not text:
            continue
        try:
            row = [float(each) for each in text]
        except ValueError:
            raise ConfigError(f"{path}, line {number}", "what stands there is no number") from None
        if len(rows) >= HOSTS_LIMIT or (rows and len(row) != len(rows[0])):
            raise ConfigError(f"{path}, line {number}", f"{len(row)} numbers, where the first line has {len(rows[0])}")
        if not all(isfinite(each) and each >= 0 for each in row):
            raise ConfigError(f"{path}, line {number}", "a round trip takes at least 0 ms, and not for ever")
        rows.append(row)
    if not rows or len(rows) != len(rows[0]):
        width = len(rows[0]) if rows else 0
        raise ConfigError(str(path), f"{len(rows)} lines of {width} numbers: a matrix has as many of both")
    return rows
