"""
Tests for L{post.mail.journeys}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.hashes import Purpose, handle_of
from post.mail.journeys import CHUNK_JOURNEYS, CHUNK_LIMIT, DAY_S, ENDED_KEPT_S, ENDED_LIMIT, Journeys
from post.mail.records import (
    PASSAGES_LIMIT,
    AnyOperation,
    Dispatched,
    Passage,
    Record,
    SenderWarned,
    Settled,
    Standing,
    read_record,
    write_record,
)
from post.messaging.head import RECORD_LIMIT

HANDLE = handle_of(Purpose.PENDING, b"x")
KEY = b"k" * 16


def waiting(address: str = "bob@example.org", at: int = 100) -> Passage:
    """
    A passage that waits.
    """
    return Passage(address, Standing.WAITING, at, at + 1000, 3, HANDLE)


def dispatched(*passages: Passage, key: bytes = KEY, at: int = 100) -> Dispatched:
    """
    The operation of a message that was sent.
    """
    return Dispatched(key, at, "alice@example.org", b"reference", 5, 3, passages)


def told(*operations: Dispatched | Settled | SenderWarned) -> Journeys:
    """
    What follows from C{operations}.
    """
    journeys = Journeys()
    for operation in operations:
        journeys.apply(operation)
    return journeys


def restored(journeys: Journeys) -> Journeys:
    """
    The same after a snapshot.
    """
    again = Journeys()
    for chunk in journeys.chunks():
        again.restore(chunk)
    return again


OPERATIONS = st.lists(
    st.one_of(
        st.builds(
            lambda key, address, at, standing: dispatched(
                Passage(address, standing, at, at + 9, 3, HANDLE), key=key, at=at
            ),
            st.sampled_from([KEY, b"l" * 16]),
            st.sampled_from(["b@x", "c@x"]),
            st.integers(1, 5),
            st.sampled_from([Standing.WAITING, Standing.DELIVERED]),
        ),
        st.builds(
            Settled,
            st.sampled_from([KEY, b"l" * 16]),
            st.sampled_from([("b@x",), ("c@x",), ("b@x", "c@x")]),
            st.sampled_from([Standing.DELIVERED, Standing.EXPIRED]),
            st.integers(6, 9),
        ),
        st.builds(SenderWarned, st.sampled_from([KEY, b"l" * 16])),
    )
)


class JourneysTests(SynchronousTestCase):
    """
    Tests for L{Journeys}.
    """

    def test_settled(self) -> None:
        """
        A message waits until it is settled for each recipient, and what was settled first stays.
        """
        journeys = told(dispatched(waiting(), waiting("carol@example.org")))
        self.assertEqual(2, journeys.outstanding)
        journeys.apply(Settled(KEY, ("bob@example.org",), Standing.DELIVERED, 150))
        self.assertEqual(["carol@example.org"], [each.address for each in journeys.by_key[KEY].waiting()])
        both = ("bob@example.org", "carol@example.org")
        journeys.apply(Settled(KEY, both, Standing.EXPIRED, 1100))
        self.assertEqual(
            [(Standing.DELIVERED, 150), (Standing.EXPIRED, 1100)],
            [(each.standing, each.at) for each in journeys.by_key[KEY].passages],
        )
        self.assertEqual(0, journeys.outstanding)

    def test_unknown(self) -> None:
        """
        What is said of a message that nobody knows changes nothing.
        """
        journeys = told(Settled(KEY, ("b@x",), Standing.DELIVERED, 1), SenderWarned(KEY))
        self.assertEqual({}, journeys.by_key)

    def test_sent_again(self) -> None:
        """
        A message that was given up and is sent again waits again; one that has arrived does not.
        """
        first, again = dispatched(waiting()), dispatched(waiting(at=5000))
        given_up = Settled(KEY, ("bob@example.org",), Standing.EXPIRED, 1200)
        self.assertEqual(1, told(first, given_up, again).outstanding)
        arrived = Settled(KEY, ("bob@example.org",), Standing.DELIVERED, 1200)
        self.assertEqual(0, told(first, arrived, again).outstanding)

    def test_waits_later(self) -> None:
        """
        Of what was delivered at once little is known; that is made up for when it is sent to somebody else who is off.
        """
        at_once = Dispatched(KEY, 100, "", b"", 5, 3, (Passage("c@x", Standing.DELIVERED, 100, 200, 0),))
        journey = told(at_once, dispatched(waiting())).by_key[KEY]
        self.assertEqual(("alice@example.org", b"reference"), (journey.sender, journey.message))

    @given(OPERATIONS, st.data())
    def test_idempotent(self, operations: list[Dispatched | Settled | SenderWarned], data: st.DataObject) -> None:
        """
        What is applied a second time, later, changes nothing once everything has ended; counts and snapshots agree with
        what is known.
        """
        end = (
            Settled(KEY, ("b@x", "c@x"), Standing.EXPIRED, 10),
            Settled(b"l" * 16, ("b@x", "c@x"), Standing.EXPIRED, 10),
        )
        journeys = told(*operations)
        self.assertEqual(sum(len(each.waiting()) for each in journeys.by_key.values()), journeys.outstanding)
        self.assertEqual(journeys.by_key, restored(journeys).by_key)
        self.assertEqual(journeys.outstanding, restored(journeys).outstanding)
        for each in end:
            journeys.apply(each)
        before = restored(journeys)
        if operations:
            journeys.apply(data.draw(st.sampled_from(operations)))
        standings = {key: [p.standing for p in each.passages] for key, each in journeys.by_key.items()}
        for key, journey in before.by_key.items():
            for former, now in zip(journey.passages, standings[key], strict=False):
                self.assertTrue(former.standing == now or now == Standing.DELIVERED)
        self.assertEqual(0, journeys.outstanding)

    def test_forget(self) -> None:
        """
        What has ended is let go when it is old, or more than is shown; what waits is kept.
        """
        delivered = Passage("b@x", Standing.DELIVERED, 1, 2, 0)
        journeys = told(dispatched(waiting(), at=1))
        for number in range(ENDED_LIMIT + 10):
            journeys.apply(dispatched(delivered, key=number.to_bytes(16, "big"), at=1000 + number))
        journeys.forget(2000)
        self.assertEqual(ENDED_LIMIT + 1, len(journeys.by_key))
        self.assertNotIn((9).to_bytes(16, "big"), journeys.by_key)
        self.assertIn((10).to_bytes(16, "big"), journeys.by_key)
        journeys.forget(ENDED_KEPT_S + 10_000)
        self.assertEqual([KEY], list(journeys.by_key))

    def test_chunks(self) -> None:
        """
        A snapshot's pieces are bounded, and those of other days stay as they are when something of one day ends.
        """
        journeys = Journeys()
        for number in range(3 * CHUNK_JOURNEYS):
            at = DAY_S * (number // CHUNK_JOURNEYS)
            journeys.apply(dispatched(waiting(at=at), key=number.to_bytes(16, "big"), at=at))
        before = journeys.chunks()
        self.assertEqual([], [chunk for chunk in before if len(chunk) > CHUNK_LIMIT])
        journeys.apply(Settled(bytes(16), ("bob@example.org",), Standing.DELIVERED, 9))
        self.assertEqual(1, len(set(before) - set(journeys.chunks())))
        with self.assertRaises(PeerError):
            Journeys().restore(b"\xc1")

    def test_very_many(self) -> None:
        """
        What one message says of thousands of recipients, to whom it was sent in several transactions, is in several
        chunks, each short enough to be read back, and comes back whole.
        """
        passages = [waiting(f"person number {number} of many@example.org") for number in range(6000)]
        batches = [passages[start : start + PASSAGES_LIMIT] for start in range(0, len(passages), PASSAGES_LIMIT)]
        journeys = told(*(dispatched(*batch) for batch in batches), SenderWarned(KEY))
        self.assertGreater(len(journeys.chunks()), 1)
        self.assertLessEqual(max(map(len, journeys.chunks())), CHUNK_LIMIT)
        again = restored(journeys)
        self.assertEqual((journeys.by_key, 6000), (again.by_key, again.outstanding))

    def test_records(self) -> None:
        """
        A message to many is several operations, each of which fits a record even with the longest addresses; they say
        the same.
        """
        passages = [waiting(f"{number:0320}") for number in range(2 * PASSAGES_LIMIT + 1)]
        [journey] = told(*(dispatched(each) for each in passages)).by_key.values()
        journey.warned = True
        operations = list(journey.operations())
        self.assertEqual(4, len(operations))
        for operation in operations:
            record = write_record(Record(1, 1, (operation,)))
            self.assertLess(len(record), RECORD_LIMIT)
            kept: tuple[AnyOperation, ...] = read_record(record).operations
            self.assertEqual((operation,), kept)
        self.assertEqual({KEY: journey}, told(*operations).by_key)

    def test_missing(self) -> None:
        """
        What only another past knows is taken over as it stands there.
        """
        other = told(dispatched(waiting()), SenderWarned(KEY))
        mine = told(dispatched(waiting(), key=b"m" * 16))
        for operation in mine.missing(other):
            mine.apply(operation)
        self.assertEqual(other.by_key[KEY], mine.by_key[KEY])
        self.assertEqual([], list(mine.missing(other)))
