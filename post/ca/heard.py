"""
Where nodes were heard of lately, kept by the authority so that it can tell members of one another.

Format, version 1, MessagePack: a list of (node id, addresses, when, unix seconds).  Nothing rests on it: an address
that is wrong leads to nobody, since links prove who they are with.
"""

from __future__ import annotations

from pathlib import Path

from post.errors import PeerError
from post.files import read_secret, write_secret
from post.ids import Address, NodeId
from post.wire import Document, pack, unpack

VERSION = 1
AGAIN_S = 6 * 3600
"""A node that says the same again is written down only after so long."""
GIVEN = 20
"""Addresses told to one who asks: one node that is on-line is enough to enter the ring."""


class _Node(Document, frozen=True):
    node: NodeId
    addresses: tuple[str, ...]
    at: int


class _Heard(Document, frozen=True):
    version: int
    nodes: tuple[_Node, ...]


class Heard:
    """
    The file, in the authority's directory.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "heard"

    def note(self, node: NodeId, addresses: tuple[Address, ...], members: frozenset[NodeId], now: int) -> None:
        """
        A node has said where it is reached; whoever is no member any more is forgotten.
        """
        before = self._read()
        if any(each.node == node and each.addresses == addresses and now - each.at < AGAIN_S for each in before):
            return
        others = tuple(each for each in before if each.node != node and each.node in members)
        write_secret(self._path, pack(_Heard(VERSION, (_Node(node, addresses, now), *others))))

    def addresses(self, asker: NodeId | None) -> tuple[Address, ...]:
        """
        Those of the nodes heard of last, without the asker's own.
        """
        nodes = sorted(self._read(), key=lambda each: -each.at)
        found = dict.fromkeys(address for each in nodes if each.node != asker for address in each.addresses)
        return tuple(found)[:GIVEN]

    def _read(self) -> tuple[_Node, ...]:
        if not self._path.exists():
            return ()
        try:
            found = unpack(_Heard, read_secret(self._path))
        except PeerError:
            return ()  # It fills again.
        return found.nodes if found.version == VERSION else ()
