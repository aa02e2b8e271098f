"""
Nodes of different age in one ring.  There is only one version yet; a shim makes the next one.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Refused
from post.ids import Contact
from post.rpc import ASK, MORE
from post.sim.world import World
from post.wire import FRAME_LIMIT, Message, Priority, RefusalCode, message
from tests.sim.test_offline_mail import MESSAGE

HEAD, DEADLINE, TAG = 5, 4, 2


@message(0x7F)
class FromTheFuture(Message, frozen=True):
    """
    What no node of today knows.
    """

    number: int


def newer(frame: bytes) -> bytes:
    """
    C{frame} as a later version would send it: its message has gained a field.
    """
    start = HEAD + TAG + (DEADLINE if frame[0] & ~MORE == ASK else 0)
    if frame[0] & MORE:
        return frame
    try:
        fields = msgspec.msgpack.decode(frame[start:])
    except msgspec.DecodeError:
        return frame  # The last piece of something longer.
    if not isinstance(fields, list):
        return frame
    longer = frame[:start] + msgspec.msgpack.encode([*fields, {"gained": [1, 2, 3]}])
    return longer if len(longer) <= FRAME_LIMIT else frame


class VersionTests(SynchronousTestCase):
    """
    Tests of version N+1 beside version N.
    """

    def setUp(self) -> None:
        self.world = World(3)
        self.grown = 0
        network = self.world.network
        make, new = network.transport, self.world.machines["node1"].node_id

        def transport(contact: Contact, *certificate: Any) -> Any:
            made = make(contact, *certificate)
            return _Newer(made, self) if contact.id == new else made

        network.transport = transport  # type: ignore[method-assign, assignment]
        self.world.start()

    def test_mail(self) -> None:
        """
        They form one ring, store for each other, and carry each other's mail.
        """
        self.world.finish(self.world.send("alice", ["bob"], MESSAGE))
        self.world.finish(self.world.send("bob", ["alice"], MESSAGE.replace(b"alice", b"bob")))
        for user in ("alice", "bob"):
            self.world.wait(lambda user=user: len(self.world.folder(user)) == 1, user)  # type: ignore[misc]
        self.assertGreater(self.grown, 30)

    def test_unknown(self) -> None:
        """
        A question that a node does not know is answered so, and the link goes on.
        """
        rpc, other = self.world.node("node2").rpc, self.world.node("node3")
        with self.assertRaises(Refused) as refused:
            self.world.finish(rpc.ask(other.pastry.local, FromTheFuture(1)))
        self.assertEqual(RefusalCode.UNSUPPORTED, refused.exception.code)
        self.assertIn(other.node_id, [contact.id for contact in rpc.transport.links()])


class _Newer:
    """
    A transport whose messages have gained a field.
    """

    def __init__(self, transport: Any, test: VersionTests) -> None:
        self._transport = transport
        self._test = test

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def send(self, peer: Contact, frame: bytes, priority: Priority) -> bool:
        """
        What the node says, in the words of the next version.
        """
        longer = newer(frame)
        self._test.grown += longer != frame
        sent: bool = self._transport.send(peer, longer, priority)
        return sent
