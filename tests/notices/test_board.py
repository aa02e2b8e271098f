"""
Tests for L{post.notices.board}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError, Refused
from post.ids import Contact, Id, NodeId
from post.notices.board import CLAIMS_LIMIT, DEAF_S, FETCHES, PATIENCE_S, Notice
from post.notices.messages import NOTICE_LIMIT, Posted, Show, Shown
from tests.notices.boards import Place, Places

KIND = 9


def signed(serial: int, filling: int = 0) -> bytes:
    """
    A notice that passes for authentic.
    """
    return b"signed %d " % serial + bytes(filling)


class Paper:
    """
    A notice of which only the serial matters.

    @ivar taken: the serials of all that came and were authentic.
    """

    kind = KIND

    def __init__(self) -> None:
        self.serial = 0
        self.data = b""
        self.taken: list[int] = []

    def take(self, data: bytes) -> bool:
        word, _, rest = data.partition(b" ")
        if word != b"signed":
            raise PeerError("signed by nobody")
        serial = int(rest.split(b" ")[0])
        self.taken.append(serial)
        if serial <= self.serial:
            return False
        self.serial, self.data = serial, data
        return True


class BoardTests(SynchronousTestCase):
    """
    Five nodes, each linked with the next.
    """

    def setUp(self) -> None:
        self.places = Places(5)
        self.papers: list[Paper] = []
        for place in self.places.all:
            paper = Paper()
            notice: Notice = paper
            place.board.add(notice)
            self.papers.append(paper)
        self.addCleanup(self.places.stop)

    def advance(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.places.clock.advance(seconds)

    def publish(self, place: int, serial: int, filling: int = 0) -> None:
        """
        A node gets a newer notice from the authority.
        """
        self.papers[place].take(signed(serial, filling))
        self.places.all[place].board.post(KIND)

    def serials(self) -> list[int]:
        """
        What each node has.
        """
        return [paper.serial for paper in self.papers]

    def answers(self, place: Place, *data: bytes) -> list[bytes]:
        """
        Let a node that goes by no rule answer with C{data}, one after the other, and for ever with the last.
        """
        left = list(data)

        def shown(peer: object, message: Show) -> Shown:
            return Shown(KIND, left.pop(0) if len(left) > 1 else left[0])

        place.rpc.serve(Show, shown)
        return left

    def test_spread(self) -> None:
        """
        A newer notice reaches all, hop by hop, and each takes it once; a notice as large as may be does too.
        """
        self.places.link(*self.places.all)
        self.publish(0, 1)
        self.advance(2)
        self.assertEqual([1] * 5, self.serials())
        self.publish(4, 2, NOTICE_LIMIT - 100)
        self.advance(10)
        self.assertEqual([2] * 5, self.serials())
        self.assertEqual([[1, 2]] * 5, [paper.taken for paper in self.papers])

    def test_later(self) -> None:
        """
        Whoever was off is told at the first link, and tells on.
        """
        self.places.link(*self.places.all[1:])
        self.publish(0, 3)
        self.advance(2)
        self.assertEqual([3, 0, 0, 0, 0], self.serials())
        self.places.link(*self.places.all[:2])
        self.advance(2)
        self.assertEqual([3] * 5, self.serials())

    def test_older(self) -> None:
        """
        Who says to have something older is not asked; what is older and comes unasked changes nothing, and is not told
        on.
        """
        one, two = self.places.all[:2]
        self.places.link(one, two)
        self.publish(0, 5)
        self.advance(1)
        asked = self.answers(two, signed(4), signed(3))
        two.claim(one, KIND, 4)
        two.claim(one, KIND, 5)
        two.tell(one, Shown(KIND, signed(4)))
        self.advance(2)
        self.assertEqual(([5, 5, 0, 0, 0], 2), (self.serials(), len(asked)))
        self.assertEqual([5, 4], self.papers[0].taken)
        self.assertEqual({}, dict(one.complaints.counts))

    def test_wrong_signer(self) -> None:
        """
        Who shows what is signed by somebody else is complained of, and not heeded for a while; others are.
        """
        one, liar, honest = self.places.all[:3]
        self.places.link(liar, one, honest)
        self.answers(liar, b"forged 9 ")
        liar.claim(one, KIND, 9)
        self.advance(1)
        self.assertEqual(([0] * 5, 1), (self.serials(), one.complaints.counts["a notice that is none"]))
        liar.tell(one, Shown(KIND, signed(8)))  # Even what is authentic.
        liar.claim(one, KIND, 8)
        self.advance(1)
        self.assertEqual(0, self.papers[0].serial)
        self.publish(2, 7)
        self.advance(1)
        self.assertEqual(7, self.papers[0].serial)
        self.advance(DEAF_S)
        liar.tell(one, Shown(KIND, signed(8)))
        self.advance(1)
        self.assertEqual(8, self.papers[0].serial)

    def test_empty_promise(self) -> None:
        """
        Who says to have something newer and shows what is not is asked once, and not again for a while.
        """
        one, liar = self.places.all[:2]
        self.places.link(one, liar)
        self.publish(0, 5)
        self.advance(1)
        left = self.answers(liar, signed(1), signed(2), signed(3), signed(4))
        for _ in range(10):
            liar.claim(one, KIND, 1 << 50)
            self.advance(1)
        self.assertEqual((3, 5), (len(left), self.papers[0].serial))

    def test_too_large(self) -> None:
        """
        A notice over the limit is refused before it is looked at.
        """
        one, two = self.places.all[:2]
        self.places.link(one, two)
        self.answers(two, signed(6, NOTICE_LIMIT))
        two.tell(one, Shown(KIND, signed(6, NOTICE_LIMIT)))
        two.claim(one, KIND, 6)
        self.advance(3)
        self.assertEqual((0, []), (self.papers[0].serial, self.papers[0].taken))

    def test_silent(self) -> None:
        """
        Peers that promise and never answer do not keep others' notices away for longer than they may take.
        """
        one, *others = self.places.all
        for other in others:
            self.places.link(one, other)
        for other in others[:-1]:
            self.places.network.block(one.contact.id, other.contact.id)
            other.claim(one, KIND, 9)
        self.assertEqual(FETCHES, len(others) - 1)
        self.advance(1)
        self.publish(4, 2)
        self.advance(FETCHES * PATIENCE_S + 2)
        self.assertEqual(2, self.papers[0].serial)

    def test_unknown_kind(self) -> None:
        """
        A kind that is not known here, as a newer program may have, is passed over; asked for, there is none.
        """
        one, two = self.places.all[:2]
        self.places.link(one, two)
        two.claim(one, KIND + 1, 5)
        two.tell(one, Shown(KIND + 1, b"whatever"))
        self.advance(2)
        self.assertEqual({}, dict(one.complaints.counts))
        asked = two.rpc.ask(one.contact, Show(KIND + 1), 1)
        self.advance(1)
        self.failureResultOf(asked, Refused)

    def test_claims(self) -> None:
        """
        However much is promised, few promises are remembered.
        """
        one = self.places.all[0]
        for number in range(2 * CLAIMS_LIMIT):
            stranger = Contact(NodeId(Id(number)), (f"nobody{number}:1",), 1)
            one.board._posted(stranger, Posted(KIND, 5))
        self.assertLessEqual(len(one.board._claims[KIND]), CLAIMS_LIMIT)
        self.advance(2 * CLAIMS_LIMIT * PATIENCE_S)
        self.assertEqual(({}, 0), (dict(one.board._claims[KIND]), one.board._fetching[KIND]))
