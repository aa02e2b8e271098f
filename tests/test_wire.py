"""
Tests for L{post.wire}.
"""

from __future__ import annotations

from typing import Annotated

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.ids import RING, Contact, Id, NodeId
from post.wire import Document, Message, UnknownMessage, decode, encode, kind_of, message, pack, unpack


@message(0xF021)
class Question(Message, frozen=True):
    """
    A message.
    """

    text: Annotated[bytes, Meta(max_length=1000)]
    place: NodeId = NodeId(Id(0))
    contacts: Annotated[tuple[Contact, ...], Meta(max_length=3)] = ()


class Paper(Document, frozen=True):
    """
    Something signed.
    """

    version: int
    text: Annotated[str, Meta(max_length=5)]


CONTACTS = st.builds(
    Contact,
    st.integers(0, RING - 1).map(Id).map(NodeId),
    st.lists(st.text(max_size=80), max_size=4).map(tuple),
    st.integers(0, (1 << 62) - 1),
)


class WireTests(SynchronousTestCase):
    """
    Tests for L{encode} and L{decode}.
    """

    @given(st.binary(max_size=100), st.integers(0, RING - 1), st.lists(CONTACTS, max_size=3).map(tuple))
    def test_round_trip(self, text: bytes, number: int, contacts: tuple[Contact, ...]) -> None:
        """
        A message survives its bytes; an id is 20 of them.
        """
        question = Question(text, NodeId(Id(number)), contacts)
        self.assertEqual(question, decode(encode(question)))
        self.assertIsInstance(decode(encode(question)).place, Id)  # type: ignore[attr-defined]  # It is a Question.
        self.assertEqual(b"\xc4\x14" + Id(number).packed(), pack(Id(number)))

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Bytes that are no message raise L{PeerError} and nothing else.
        """
        for read in (decode, lambda data: decode(b"\xf0\x21" + data), lambda data: unpack(Paper, data)):
            try:
                read(data)
            except PeerError:
                pass

    def test_newer_message(self) -> None:
        """
        Fields that a newer version added at the end are passed over; those that an older one lacks have defaults.
        """
        self.assertEqual(Question(b"x"), decode(b"\xf0\x21" + pack([b"x", bytes(20), [], "new", 5])))
        self.assertEqual(Question(b"x"), decode(b"\xf0\x21" + pack([b"x"])))

    def test_newer_document(self) -> None:
        """
        A document with a field more is refused: nobody knows what its signer meant.
        """
        self.assertRaises(PeerError, unpack, Paper, pack([1, "x", 2]))
        self.assertRaises(PeerError, unpack, Paper, pack([1, "too long"]))

    def test_unknown(self) -> None:
        """
        An unknown tag is told apart from a broken message.
        """
        self.assertRaises(UnknownMessage, decode, b"\xff\xff\x90")

    def test_kind_of(self) -> None:
        """
        The tag alone says which message it is, if it is one.
        """
        self.assertEqual(Question, kind_of(encode(Question(b"x"))[:2]))
        for data in (b"", b"\xff", b"\xff\xff\x90"):
            self.assertIsNone(kind_of(data))

    def test_tags_are_unique(self) -> None:
        """
        A tag is declared once.
        """
        self.assertRaises(ValueError, message(0xF021), Other)

    @given(st.data())
    def test_altered(self, data: st.DataObject) -> None:
        """
        Nor does a message that was altered or cut raise anything else.
        """
        whole = encode(Question(b"x", NodeId(Id(5)), (data.draw(CONTACTS),)))
        place = data.draw(st.integers(2, len(whole) - 1))
        for broken in (
            whole[:place],
            whole[:place] + data.draw(st.binary(min_size=1, max_size=4)) + whole[place + 1 :],
        ):
            try:
                decode(broken)
            except PeerError:
                pass

    def test_hostile(self) -> None:
        """
        Claims of billions of elements, endless nesting, ids of another size, numbers out of range, a letter that is
        none: each is refused, and none makes us set memory aside.
        """
        for data in (
            b"\xf0\x21\x93\xc4\x01x\xc4\x14" + bytes(20) + b"\xdd\xff\xff\xff\xff",
            b"\xf0\x21" + b"\x91" * 100_000,
            b"\xf0\x21" + pack([b"x", bytes(19)]),
            b"\xf0\x21" + pack([b"x", 5]),
            b"\xf0\x21" + pack([b"x" * 1001]),
            b"\xf0\x21" + pack([b"x", bytes(20), [[bytes(20), [], 1 << 62]]]),
            b"\xf0\x21" + pack([b"x", bytes(20), [[bytes(20), ["x"] * 5, 0]]]),
            b"\xf0\x21\xdf\xff\xff\xff\xff",
        ):
            self.assertRaises(PeerError, decode, data)
        self.assertRaises(PeerError, unpack, Paper, b"\x92\x01\xa2\xff\xff")


class Other(Message, frozen=True):
    """
    Another message.
    """
