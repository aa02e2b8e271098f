"""
An authority, nodes with certificates of it, and somebody who listens to what a transport tells.
"""

from __future__ import annotations

import time
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import issue_issuing, issue_node, issue_root, make_request
from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.ids import Contact, Id, NodeId
from post.interfaces import IReceiver
from post.net.config import LinkConfig
from post.net.transport import TlsTransport
from post.wire import Priority

NOW = int(time.time())
"""OpenSSL judges certificates by the real time; ours begins with it and then stands still."""
DAY = 86_400


class Authority:
    """
    Issues certificates of nodes.
    """

    def __init__(self, seed: bytes = b"authority") -> None:
        self.entropy = SeededEntropy(seed)
        self._root_key, self._key = SigningKey.generate(self.entropy), SigningKey.generate(self.entropy)
        self.root = issue_root(self._root_key, "Example", NOW - 9 * DAY, NOW + 999 * DAY, self.entropy)
        self.issuing = issue_issuing(
            self.root, self._root_key, self._key, "example.org", NOW - 9 * DAY, NOW + 999 * DAY, self.entropy
        )

    def member(
        self,
        number: int,
        not_before: int = NOW - DAY,
        not_after: int = NOW + 90 * DAY,
        key: SigningKey | None = None,
    ) -> tuple[SigningKey, list[bytes]]:
        """
        The key and chain of node C{number}, which is also its id.
        """
        key = key or SigningKey.generate(self.entropy)
        leaf = issue_node(
            self.issuing,
            self._key,
            make_request(key),
            NodeId(Id(number)),
            f"owner{number}@example.org",
            "home",
            (),
            0,
            not_before,
            not_after,
            self.entropy,
        )
        return key, [leaf, self.issuing]


AUTHORITY = Authority()


@implementer(IReceiver)
class Listener:
    """
    Keeps what it is told, in order: C{("found", id)}, C{("lost", id)}, C{(id, frame)}.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[Any, Any]] = []

    def frame_received(self, peer: Contact, frame: bytes) -> None:
        self.heard.append((int(peer.id), frame))

    def peer_found(self, peer: Contact) -> None:
        self.heard.append(("found", int(peer.id)))

    def peer_lost(self, peer: NodeId) -> None:
        self.heard.append(("lost", int(peer)))

    def frames(self) -> list[bytes]:
        """
        All frames, in order.
        """
        return [frame for _, frame in self.heard if isinstance(frame, bytes)]

    def events(self) -> list[str]:
        """
        What was found and lost, in order.
        """
        return [kind for kind, _ in self.heard if isinstance(kind, str)]


class Member:
    """
    A transport with its listener.
    """

    def __init__(
        self,
        number: int,
        reactor: Any,
        clock: IReactorTime | None = None,
        authority: Authority = AUTHORITY,
        root: bytes | None = None,
        identity: tuple[SigningKey, list[bytes]] | None = None,
        port: int = 0,
        epoch: int = 1,
        config: LinkConfig | None = None,
    ) -> None:
        key, chain = identity or authority.member(number)
        self.complaints = Complaints(clock or Clock())
        self.heard = Listener()
        self.transport = TlsTransport(
            reactor,
            key,
            chain,
            root or authority.root,
            ("127.0.0.1", port),
            None,
            epoch,
            Random(number),
            self.complaints,
            clock,
            config,
        )
        self.transport.listen()

    @property
    def contact(self) -> Contact:
        """
        How to reach it.
        """
        return self.transport.local

    def start(self) -> Member:
        """
        Begin to serve.
        """
        self.transport.start(self.heard)
        return self

    def send(self, peer: Member, frame: bytes, priority: Priority = Priority.NORMAL) -> bool:
        """
        Send to another.
        """
        return self.transport.send(peer.contact, frame, priority)
