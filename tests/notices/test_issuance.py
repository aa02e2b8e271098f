"""
Tests for L{post.notices.issuance}: nodes compare the heads of the public log.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.crypto.issuance import Head, sign_head
from post.errors import PeerError
from post.notices.board import Notice
from post.notices.issuance import ISSUANCE, PROOF_LIMIT, IssuanceNotice
from post.notices.messages import Shown
from tests.crypto.issued import NOW
from tests.crypto.test_issuance import head, signer
from tests.notices.boards import Places


class IssuanceNoticeTests(SynchronousTestCase):
    """
    Four nodes, each linked with the next.
    """

    def setUp(self) -> None:
        self.places = Places(4)
        self.places.clock.advance(NOW - self.places.clock.seconds())
        self.signer = signer(b"notice")
        self.heard: list[list[Head]] = []
        self.notices = [self.watch(number) for number in range(4)]
        self.addCleanup(self.places.stop)

    def watch(self, number: int) -> IssuanceNotice:
        """
        What one node has, and hears.
        """
        place, heard = self.places.all[number], list[Head]()
        made = IssuanceNotice(self.signer.root, place.board, place.rpc, self.places.clock)
        notice: Notice = made
        self.assertEqual((ISSUANCE, 0, b""), (notice.kind, notice.serial, notice.data))
        made.heard.append(lambda data, head: heard.append(head))
        self.heard.append(heard)
        return made

    def signed(self, length: int, fill: bytes = b"l") -> bytes:
        """
        A head, as the authority signs it.
        """
        return sign_head(head(length, fill), self.signer.issuing, self.signer.key)

    def test_spread(self) -> None:
        """
        A higher head reaches all, and who watches the log is told of it.
        """
        self.places.link(*self.places.all)
        self.notices[0].use(self.signed(4))
        self.notices[0].use(self.signed(4))
        self.places.clock.advance(2)
        self.assertEqual([[head(4)]] * 3, self.heard[1:])
        self.notices[3].use(self.signed(5))
        self.places.clock.advance(2)
        self.assertEqual({5 << 24 | 0x6C6C6C}, {notice.serial for notice in self.notices})

    def test_same_length(self) -> None:
        """
        Of two heads of one length everybody sees the one with the higher hash, also who had been shown the other.
        """
        self.places.link(*self.places.all)
        self.notices[0].use(self.signed(4, b"a"))
        self.places.clock.advance(2)
        self.notices[3].use(self.signed(4, b"b"))
        self.places.clock.advance(2)
        self.assertEqual([[head(4, b"a"), head(4, b"b")]] * 4, self.heard)

    def test_contradiction(self) -> None:
        """
        What contradicts is shown to those who are there, and to whoever comes later, higher or not.
        """
        one, two, three, _ = self.places.all
        self.places.link(one, two)
        self.notices[1].use(self.signed(9))
        self.notices[0].spread((self.signed(4, b"a"), self.signed(3, b"b")))
        self.places.clock.advance(1)
        self.assertEqual([head(4, b"a"), head(3, b"b")], self.heard[1][1:])
        self.assertEqual(self.signed(9), self.notices[1].data)
        self.places.link(three, one)
        self.places.clock.advance(1)
        self.assertEqual({9, 4, 3}, {each.length for each in self.heard[2]})

    def test_forged(self) -> None:
        """
        A head that the authority has not signed is complained of, and nobody is told.
        """
        one, two = self.places.all[:2]
        self.places.link(one, two)
        other = signer(b"other")
        forged = sign_head(head(9), other.issuing, other.key)
        self.assertRaises(PeerError, self.notices[0].use, forged)
        two.tell(one, Shown(ISSUANCE, forged))
        self.places.clock.advance(1)
        self.assertEqual(([], 1), (self.heard[0], one.complaints.counts["a notice that is none"]))

    def test_bounded(self) -> None:
        """
        However many heads contradict, few are shown to whoever is met.
        """
        self.notices[0].spread(tuple(self.signed(length) for length in range(2 * PROOF_LIMIT)))
        self.places.link(*self.places.all[:2])
        self.places.clock.advance(2)
        self.assertEqual(PROOF_LIMIT, len(self.heard[1]))
