"""
Tests for L{post.relay.session}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.errors import BadSignature, PeerError
from post.ids import Contact, Id, NodeId
from post.relay.messages import Greeting, Hail, Sealed
from post.relay.proof import CertifiedProof
from post.relay.session import WINDOW, Hailing, Heard, Session, Window
from post.wire import decode, encode, pack
from tests.net.members import AUTHORITY, DAY, NOW

ENTROPY = SeededEntropy(b"sessions")
CLOCK = Clock()
CLOCK.advance(NOW)


def contact(number: int) -> Contact:
    """
    How to reach a node.
    """
    return Contact(NodeId(Id(number)), (f"host{number}:1",), 1)


def proof(number: int, not_after: int = NOW + 90 * DAY) -> CertifiedProof:
    """
    That of a member.
    """
    key, chain = AUTHORITY.member(number, not_after=not_after)
    return CertifiedProof(key, chain, AUTHORITY.root, CLOCK)


ONE, TWO, THREE = contact(1), contact(2), contact(3)
PROOFS = {number: proof(number) for number in (1, 2, 3)}


def agreed() -> tuple[Session, Session]:
    """
    What node 1, who hailed, and node 2 have after that.
    """
    hailing = Hailing(PROOFS[1], ENTROPY, ONE, TWO.id)
    heard = Heard(PROOFS[2], hailing.message, ONE.id, TWO.id)
    answer = Hailing(PROOFS[2], ENTROPY, TWO, ONE.id, heard.digest)
    back = Heard(PROOFS[1], answer.message, TWO.id, ONE.id)
    return hailing.agree(back, True, NOW), answer.agree(heard, False, NOW)


class SessionTests(SynchronousTestCase):
    """
    Tests for L{Session}, L{Hailing} and L{Heard}.
    """

    def test_both_ways(self) -> None:
        """
        Each opens what the other seals, and neither what it sealed itself: nothing can be sent back to its origin.
        """
        one, two = agreed()
        self.assertEqual(one.id, two.id)
        self.assertEqual(b"question", two.open(one.seal(b"question")))
        self.assertEqual(b"answer", one.open(two.seal(b"answer")))
        with self.assertRaises(BadSignature):
            one.open(one.seal(b"question"))

    def test_once(self) -> None:
        """
        A frame that comes again is nothing.
        """
        one, two = agreed()
        sealed = one.seal(b"question")
        self.assertEqual(b"question", two.open(sealed))
        self.assertIsNone(two.open(sealed))

    def test_number_is_sealed(self) -> None:
        """
        An old frame under a new number is not authentic, and does not use that number up.
        """
        one, two = agreed()
        first, second = one.seal(b"first"), one.seal(b"second")
        with self.assertRaises(BadSignature):
            two.open(Sealed(first.session, second.number, first.data))
        self.assertEqual(b"second", two.open(second))

    @given(st.data())
    def test_altered(self, data: st.DataObject) -> None:
        """
        Whichever bit is turned on the way, the frame is not believed.
        """
        one, two = agreed()
        sealed = one.seal(b"question")
        place = data.draw(st.integers(0, 8 * len(sealed.data) - 1))
        altered = bytearray(sealed.data)
        altered[place // 8] ^= 1 << place % 8
        with self.assertRaises(BadSignature):
            two.open(Sealed(sealed.session, sealed.number, bytes(altered)))

    def test_another_session(self) -> None:
        """
        Two sessions of the same two nodes have nothing in common.
        """
        (one, _), (_, two) = agreed(), agreed()
        self.assertNotEqual(one.id, two.id)
        with self.assertRaises(BadSignature):
            two.open(one.seal(b"question"))

    def test_who_greets(self) -> None:
        """
        A greeting counts from its signer to whom it is for, with what was signed.
        """
        message = Hailing(PROOFS[1], ENTROPY, ONE, TWO.id).message
        other = Hailing(PROOFS[1], ENTROPY, ONE, TWO.id).message
        as_one = Hailing(PROOFS[3], ENTROPY, ONE, TWO.id).message  # Node 3 calls itself node 1.
        for hail, origin, local in (
            (message, ONE.id, THREE.id),
            (message, THREE.id, TWO.id),
            (as_one, ONE.id, TWO.id),
            (Hail(message.greeting, other.signature, message.chain), ONE.id, TWO.id),
            (Hail(message.greeting, message.signature, PROOFS[3].chain), ONE.id, TWO.id),
            (Hail(message.greeting, message.signature, ()), ONE.id, TWO.id),
            (Hail(b"", message.signature, message.chain), ONE.id, TWO.id),
            (Hail(pack(Greeting(2, ONE, TWO.id, bytes(32), b"")), b"", ()), ONE.id, TWO.id),
        ):
            with self.assertRaises(PeerError):
                Heard(PROOFS[2], hail, origin, local)
        self.assertEqual(ONE, Heard(PROOFS[2], message, ONE.id, TWO.id).greeting.origin)

    def test_expired(self) -> None:
        """
        Whoever has no valid certificate greets in vain.
        """
        message = Hailing(proof(1, NOW - 1), ENTROPY, ONE, TWO.id).message
        with self.assertRaises(PeerError):
            Heard(PROOFS[2], message, ONE.id, TWO.id)

    def test_low_order(self) -> None:
        """
        With a key for which everybody knows the secret nothing is agreed.
        """
        greeting = pack(Greeting(1, ONE, TWO.id, bytes(32), b""))
        heard = Heard(PROOFS[2], Hail(greeting, PROOFS[1].sign(greeting), PROOFS[1].chain), ONE.id, TWO.id)
        with self.assertRaises(PeerError):
            Hailing(PROOFS[2], ENTROPY, TWO, ONE.id, heard.digest).agree(heard, False, NOW)

    @given(st.binary(max_size=300), st.binary(max_size=100), st.lists(st.binary(max_size=100), max_size=2))
    def test_garbage(self, greeting: bytes, signature: bytes, chain: list[bytes]) -> None:
        """
        What is no greeting raises nothing but L{PeerError}.
        """
        hail = decode(encode(Hail(greeting, signature, tuple(chain))))
        assert isinstance(hail, Hail)
        with self.assertRaises(PeerError):
            Heard(PROOFS[2], hail, ONE.id, TWO.id)


class WindowTests(SynchronousTestCase):
    """
    Tests for L{Window}.
    """

    @given(st.lists(st.integers(0, 3 * WINDOW), max_size=200))
    def test_like_a_set(self, numbers: list[int]) -> None:
        """
        It is a set of all that came, and takes what is new and less than L{WINDOW} below the highest.
        """
        window, come = Window(), set[int]()
        for number in numbers:
            is_new = number not in come and number > max(come, default=-1) - WINDOW
            self.assertEqual(is_new, window.take(number))
            if is_new:
                come.add(number)
