"""
Mail from the Internet, on whole nodes in the simulator: accepted by a gateway, then the gateway is no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.errors import TooFewReplicas
from post.mail.arrival import ORIGIN
from post.mail.interfaces import IInbound, MessageTooLarge, RecipientOutside, RecipientUnknown
from post.mail.mime import HEADER_LIMIT
from post.sim.world import World

MAIL = b"From: Eve <eve@elsewhere.example>\r\nMessage-ID: <1@elsewhere.example>\r\n\r\nHello.\r\n"
TRACE = b"Authentication-Results: mx.example.org; spf=pass\r\nReceived: from elsewhere\r\n"
SEEN = ORIGIN + b"Return-Path: <eve@elsewhere.example>\r\n" + TRACE + MAIL


class InboundTests(SynchronousTestCase):
    """
    Alice and Bob, and two gateways on which nobody lives.
    """

    def setUp(self) -> None:
        self.world = World(23, machines=6, gateways=2)
        self.world.start()

    def accept(
        self, gateway: str, recipients: Sequence[str], message: bytes = MAIL, junk: bool = False
    ) -> Deferred[str]:
        """
        What a server outside does; fires with the C{250}.
        """
        inbound = self.world.node(gateway).inbound
        assert inbound is not None
        work = inbound.accept("eve@elsewhere.example", recipients, message, TRACE, junk)
        return Deferred.fromCoroutine(work)

    def flags(self, user: str, folder: str = "INBOX") -> list[set[str]]:
        """
        Of the messages in a folder.
        """
        node = self.world.home(user).node
        assert node is not None
        mailbox = node.accounts.mailbox(f"{user}@example.org")
        return [set(entry.flags) for entry in mailbox.folder(folder).entries()]

    def test_interface(self) -> None:
        """
        Only a gateway takes mail from outside.
        """
        self.assertTrue(verifyObject(IInbound, self.world.node("node6").inbound))
        self.assertIsNone(self.world.node("node1").inbound)

    def test_delivered(self) -> None:
        """
        It is in everybody's Inbox once, to the octet, behind lines that say where it came from; marked as not verified.
        """
        self.world.finish(self.accept("node6", ["alice@example.org", "bob+x@example.org", "Bob@Example.Org"]))
        for user in ("alice", "bob"):
            self.assertEqual([SEEN], self.world.folder(user))
            self.assertEqual([{"$Unverified"}], self.flags(user))

    def test_again(self) -> None:
        """
        A server that did not see the 250 doubles nothing, also if it turns to the other gateway.
        """
        for gateway in ("node6", "node6", "node5"):
            self.world.finish(self.accept(gateway, ["alice@example.org"]))
        self.assertEqual([SEEN], self.world.folder("alice"))

    def test_gateway_lost(self) -> None:
        """
        What was accepted for somebody who is away arrives, once, although the gateway is wiped right after.
        """
        self.world.home("alice").crash()
        self.world.finish(self.accept("node6", ["alice@example.org"]))
        self.world.machines["node6"].crash(wipe=True)
        self.world.start(self.world.home("alice").name)
        self.world.wait(lambda: bool(self.world.folder("alice")), "the mail")
        self.world.clock.run_until(lambda: False, 120)
        self.assertEqual([SEEN], self.world.folder("alice"))

    def test_junk(self) -> None:
        """
        What the gateway advises to file apart is in Junk.
        """
        self.world.finish(self.accept("node6", ["alice@example.org"], junk=True))
        self.assertEqual([[], [SEEN]], [self.world.folder("alice"), self.world.folder("alice", "Junk")])

    def test_forgeries(self) -> None:
        """
        What the message itself says about its origin, or in the gateway's name, is not shown.
        """
        forged = (
            b"X-POST-Origin: verified\r\nAuthentication-Results: mx.example.org; dkim=pass\r\n"
            b"Authentication-Results: example.org; auth=pass smtp.auth=alice@example.org\r\nx-post-origin: ours\r\n"
        )
        self.world.finish(self.accept("node6", ["alice@example.org"], forged + MAIL))
        self.assertEqual([SEEN], self.world.folder("alice"))

    def test_recipients(self) -> None:
        """
        Nobody outside the domain, nobody who does not exist; postmaster is whoever the settings name.
        """
        inbound = self.world.node("node6").inbound
        assert inbound is not None
        check = inbound.check_recipient
        self.assertRaises(RecipientOutside, self.world.do, check("alice@elsewhere.example"))
        for nobody in ("carol@example.org", "eve%elsewhere.example@example.org", "postmaster@example.org", "x"):
            self.assertRaises(RecipientUnknown, self.world.do, check(nobody))
        inbound.postmaster = "bob@example.org"
        for name in ("postmaster", "Postmaster@EXAMPLE.org"):
            self.world.do(check(name))
        self.assertRaises(RecipientOutside, self.world.do, check("postmaster@elsewhere.example"))
        self.world.finish(self.accept("node6", ["postmaster"]))
        self.assertEqual(([SEEN], []), (self.world.folder("bob"), self.world.folder("alice")))

    def test_endless_header(self) -> None:
        """
        A header that does not end within its limit is no header.
        """
        endless = b"X-A: " + b"b" * HEADER_LIMIT + b"\r\n"
        for message in (endless + MAIL, endless.removesuffix(b"\r\n")):
            self.assertRaises(MessageTooLarge, self.world.finish, self.accept("node6", ["alice@example.org"], message))
        self.assertEqual([], self.world.folder("alice"))

    def test_too_few(self) -> None:
        """
        While too few machines answer, it is not accepted.
        """
        for name in ("node1", "node2", "node3", "node4", "node5"):
            self.world.machines[name].crash()
        self.assertRaises(TooFewReplicas, self.world.finish, self.accept("node6", ["alice@example.org"]))
