"""
Tests for L{post.past.lookout}: whole nodes on wires in memory.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.crypto.keys import LogKey
from post.hashes import Purpose, handle_of
from post.ids import Handle, NodeId
from post.interfaces import Stored
from post.past.accord import ENOUGH, HOLDERS_LIMIT, Accord
from post.past.blocks import CONTENT, PUBLIC_KEY, sign_block
from post.past.lookout import Sighting
from post.past.messages import OFFER_LIMIT, Have, Having
from post.wire import StorageClass
from tests.past.ring import EXPIRES, MAIL, Ring, content

DATA = b"a message" * 100
HANDLE = content(DATA)
KEY = LogKey.derive(b"m" * 32, b"device", 0)
HEAD = handle_of(Purpose.PUBLIC_KEY_BLOCK, KEY.public)


class LookoutTests(SynchronousTestCase):
    """
    Tests of L{Lookout.look}.
    """

    def setUp(self) -> None:
        self.ring = Ring(9)
        self.near = self.ring.near(HANDLE)

    def look(self, *handles: Handle) -> list[Sighting]:
        """
        What the farthest node sees.
        """
        found = self.ring.outcome(self.near[-1].past.lookout.look(handles))
        assert isinstance(found, list)
        return found

    def test_holders(self) -> None:
        """
        Those who have an object are seen, also beyond its replica set; that nobody has one is seen too.
        """
        self.ring.outcome(self.near[0].past.insert(CONTENT, HANDLE, DATA, MAIL, EXPIRES))
        self.near[5].store.put(Stored(HANDLE, CONTENT, MAIL, EXPIRES, 0, DATA))
        missing = content(b"nowhere")
        found, nowhere = self.look(HANDLE, missing)
        self.assertEqual({self.near[place].contact.id for place in (0, 1, 2, 5)}, found.holders)
        self.assertEqual((frozenset(), set()), (nowhere.holders, nowhere.silent))

    def test_silent(self) -> None:
        """
        Who does not answer is not counted as a holder, nor taken for somebody who has nothing.
        """
        self.ring.outcome(self.near[0].past.insert(CONTENT, HANDLE, DATA, MAIL, EXPIRES))
        self.ring.down.add(self.near[1].contact.id)
        (found,) = self.look(HANDLE)
        self.assertEqual({self.near[1].contact.id}, found.silent)
        self.assertEqual({self.near[place].contact.id for place in (0, 2)}, found.holders)

    def test_older(self) -> None:
        """
        An older version of a head is no copy of it.
        """
        near = self.ring.near(HEAD)
        for member, number in zip(near, (2, 1, 2), strict=False):
            data = sign_block(KEY, number, 0, b"\0" * 32, b"")
            member.store.put(Stored(HEAD, PUBLIC_KEY, StorageClass.HEAD, EXPIRES, number, data))
        (found,) = self.look(HEAD)
        self.assertEqual({near[0].contact.id, near[2].contact.id}, found.holders)

    def test_unasked(self) -> None:
        """
        Where nobody knows whom to ask, that is said.
        """
        overlay = self.near[-1].overlay
        overlay.knows, overlay.lost = False, True
        (found,) = self.look(HANDLE)
        self.assertTrue(found.unasked)

    def test_many(self) -> None:
        """
        More handles than one question holds are asked for in several.
        """
        handles = [content(str(number).encode()) for number in range(OFFER_LIMIT + 5)]
        last = handles[-1]
        self.ring.outcome(self.near[0].past.insert(CONTENT, last, str(OFFER_LIMIT + 4).encode(), MAIL, EXPIRES))
        found = self.look(*handles)
        self.assertEqual([last], [each.handle for each in found if each.holders])

    def test_liar(self) -> None:
        """
        An answer to another number of questions is none.
        """
        self.near[0].rpc.serve(Have, lambda peer, message: Having((0, 0)))
        (found,) = self.look(HANDLE)
        self.assertIn(self.near[0].contact.id, found.silent)


class AccordTests(SynchronousTestCase):
    """
    Tests of L{Accord}.
    """

    def test_median(self) -> None:
        """
        One clock that is wrong moves nothing, and of one clock nothing is said.
        """
        accord = Accord()
        self.assertIsNone(accord.ahead_s())
        holders = [NodeId(content(str(number).encode())) for number in range(5)]
        accord.note(holders[0], 86400)
        self.assertIsNone(accord.ahead_s())
        for holder in holders[1:]:
            accord.note(holder, 2)
        self.assertEqual(2, accord.ahead_s())
        self.assertEqual(2, ENOUGH)

    def test_bounded(self) -> None:
        """
        Only so many are remembered, those heard last.
        """
        accord = Accord()
        for number in range(3 * HOLDERS_LIMIT):
            accord.note(NodeId(content(str(number).encode())), 0 if number < 2 * HOLDERS_LIMIT else 7)
        self.assertEqual(7, accord.ahead_s())

    def test_receipts(self) -> None:
        """
        Holders' receipts tell what their clocks say.
        """
        ring = Ring(5)
        member = ring.near(HANDLE)[-1]
        ring.outcome(member.past.insert(CONTENT, HANDLE, DATA, MAIL, EXPIRES))
        self.assertEqual(0, member.past.accord.ahead_s())
