"""
Tests for L{post.mail.tracking}: Alice writes to Bob, who is off, and hears of it or not.
"""

from __future__ import annotations

import email
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import default
from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from post.errors import Overloaded, PostError, TooFewReplicas
from post.hashes import Purpose, handle_of
from post.ids import Handle
from post.mail import tracking
from post.mail.journeys import Journey
from post.mail.outbox import Outbox
from post.mail.records import Passage, Standing
from post.mail.tracking import AGAIN_S, DECIDE_S, FLUSH_S, GATHER_S, MARGIN_S, WARN_S
from post.messaging.pending import DELIVERED, PENDING
from post.past.lookout import Sighting
from tests.messaging.test_dispatch import BOB_NODE

from .doubles import Person, Place

HEADER = b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: s\r\nMessage-ID: <1@example.org>\r\n"
MAIL = HEADER + b"\r\nHello.\r\n"
LIFE_S = 100 * 86400


class FakeOutbox:
    """
    What gateways say.
    """

    def __init__(self) -> None:
        self.gone: list[tuple[str, Standing, int]] = []

    def is_outside(self, address: str) -> bool:
        return address.endswith("@else.where")

    async def became(self, passages: Sequence[Passage]) -> list[tuple[str, Standing, int]]:
        return self.gone

    async def renew(self, passages: Sequence[Passage]) -> list[Passage]:
        return []


class TrackingTests(SynchronousTestCase):
    """
    Tests for L{Tracking}.
    """

    def setUp(self) -> None:
        self.place = Place(b"seed")
        self.alice, self.bob = Person(self.place, "alice"), Person(self.place, "bob")
        self.alice.tasks.spawn(self.alice.tracking.run())
        self.bob.leave()

    def later(self, seconds: float) -> None:
        """
        Time goes by, in steps of which each lets what began end.
        """
        clock = self.place.clock
        until = clock.seconds() + seconds
        while clock.seconds() < until:
            clock.advance(min(AGAIN_S, until - clock.seconds()))
            for _ in range(40):
                clock.advance(0.001)

    def standings(self, person: Person | None = None) -> list[Standing]:
        """
        Where all that Alice has sent stands.
        """
        journeys = (person or self.alice).submission.sent()
        return [passage.standing for journey in journeys for passage in journey.passages]

    def notices(self) -> list[EmailMessage]:
        """
        What is in Alice's Inbox.
        """
        found = [email.message_from_bytes(text, policy=default) for text in self.alice.texts()]
        return [each for each in found if isinstance(each, EmailMessage)]

    def restart(self, forget: bool = False) -> None:
        """
        Alice's machine dies; with C{forget} she goes on with another one, which has her keys and nothing else.
        """
        self.alice.restart(forget=forget)
        self.alice.tasks.spawn(self.alice.tracking.run())

    def test_delivered_at_once(self) -> None:
        """
        What was delivered at once is seen at once, and after a while is in the log, together with what else was sent.
        """
        self.bob.open()
        self.alice.send(MAIL, "bob")
        self.assertEqual([Standing.DELIVERED], self.standings())
        count = self.alice.log.count
        self.later(FLUSH_S + 1)
        self.assertEqual(count + 1, self.alice.log.count)
        self.restart(forget=True)
        self.assertEqual([Standing.DELIVERED], self.standings())
        self.assertEqual([], self.notices())
        [journey] = self.alice.submission.sent()
        self.assertEqual(MAIL, self.place.run(self.alice.letters.read(journey.message, 0, journey.size)))
        self.place.run(self.alice.folder("Sent").expunge([1]))
        self.assertEqual(b"", self.alice.submission.sent()[0].message)

    def test_taken_along(self) -> None:
        """
        While mail is being sent, no record is written only to say that what was sent before has been delivered.
        """
        self.bob.open()
        self.alice.send(MAIL, "bob")
        count = self.alice.log.count
        self.alice.send(MAIL.replace(b"1@", b"2@"), "bob")
        self.assertEqual(count + 1, self.alice.log.count)
        self.restart(forget=True)
        self.assertEqual([Standing.DELIVERED], self.standings())

    def test_waits(self) -> None:
        """
        That a message waits is known as soon as it is accepted, also on another machine: for whom, since when, until
        when, and on how many nodes.
        """
        self.alice.send(MAIL, "bob")
        self.restart(forget=True)
        [journey] = self.alice.submission.sent()
        [passage] = journey.passages
        self.assertEqual(("bob@example.org", Standing.WAITING, 3), (passage.address, passage.standing, passage.copies))
        self.assertAlmostEqual(passage.at + LIFE_S, passage.expires, delta=1)

    def test_not_accepted(self) -> None:
        """
        Where the ring cannot keep the record that a message waits, the message is not accepted.
        """
        keep = self.place.past.insert
        seen: list[int] = []

        async def insert(kind: int, *rest: object) -> object:
            seen.append(kind)
            if PENDING in seen and kind != PENDING:
                raise TooFewReplicas(1, 2)
            return await keep(kind, *rest)  # type: ignore[arg-type]

        self.place.past.insert = insert  # type: ignore[method-assign, assignment]
        with self.assertRaises(PostError):
            self.alice.send(MAIL, "bob")

    def test_arrived(self) -> None:
        """
        That a message has arrived is learned from the receipt that took its notification's place, and then no notice
        comes, also if it was learned on another machine, after the end.
        """
        self.alice.send(MAIL, "bob")
        [envelope] = self.place.waiting()
        self.bob.open()
        receipt = self.place.run(self.place.reception.receive(envelope))
        heard, self.place.dispatch.receipts = self.place.dispatch.receipts, []
        self.place.run(self.place.dispatch.end(envelope, receipt, int(self.place.clock.seconds()) + LIFE_S))
        self.place.dispatch.receipts = heard
        self.assertEqual([Standing.WAITING], self.standings())
        disk = self.alice.log.count
        self.later(2 * AGAIN_S)
        self.assertEqual([Standing.DELIVERED], self.standings())
        self.assertEqual(disk + 1, self.alice.log.count)
        self.assertEqual({}, self.alice.tracking._by_handle)
        self.later(LIFE_S + DECIDE_S)
        self.assertEqual([], self.notices())

    def test_false_word(self) -> None:
        """
        A holder which says that there is a receipt, and has none, is not believed.
        """
        self.alice.send(MAIL, "bob")

        async def look(handles: Sequence[Handle]) -> list[Sighting]:
            return [Sighting(handle, {BOB_NODE.id: DELIVERED}) for handle in handles]

        self.place.past.look = look  # type: ignore[method-assign]
        self.later(2 * AGAIN_S)
        self.assertEqual([Standing.WAITING], self.standings())

    def test_heard(self) -> None:
        """
        Where this node sees the receipt by itself, nobody need be asked.
        """
        self.alice.send(MAIL, "bob")
        [envelope] = self.place.waiting()
        self.bob.open()
        receipt = self.place.run(self.place.reception.receive(envelope))
        self.place.run(self.place.dispatch.end(envelope, receipt, int(self.place.clock.seconds()) + 99))
        count = self.alice.log.count
        self.later(GATHER_S + 0.1)
        self.assertEqual(([Standing.DELIVERED], count + 1), (self.standings(), self.alice.log.count))

    def test_expired(self) -> None:
        """
        A message that was not fetched in time gets one notice, which says of whom, and nothing else ever again.
        """
        self.alice.send(MAIL, "bob")
        self.later(LIFE_S + MARGIN_S + 2 * AGAIN_S)
        self.assertEqual([Standing.EXPIRED], self.standings())
        delayed, failed = self.notices()
        self.assertIn("delayed", delayed["subject"])
        self.assertIn("NOT delivered to:\r\n\r\n<bob@example.org>", next(failed.iter_parts()).get_content())
        self.assertEqual("<1@example.org>", failed["in-reply-to"])
        self.assertEqual({}, self.alice.tracking._by_handle)
        self.assertTrue(self.alice.texts()[1].startswith(b"Return-Path: <>\r\n"))
        self.later(5 * AGAIN_S)
        self.restart(forget=True)
        self.later(5 * AGAIN_S)
        self.assertEqual(2, len(self.notices()))

    def test_off_at_the_end(self) -> None:
        """
        Who was off when the time was over gets the notice when back, on whatever machine; only the last one.
        """
        self.alice.send(MAIL, "bob")
        self.alice.leave()
        self.later(LIFE_S + MARGIN_S + 86400)
        self.restart(forget=True)
        self.later(AGAIN_S)
        [failed] = self.notices()
        self.assertIn("could not be delivered", failed["subject"])

    def test_delayed(self) -> None:
        """
        After some days one notice says that it takes long; nights and weekends are no reason for one.
        """
        self.alice.send(MAIL, "bob")
        self.later(WARN_S - AGAIN_S)
        self.assertEqual([], self.notices())
        self.later(2 * AGAIN_S)
        [delayed] = self.notices()
        self.assertIn("need not do anything", next(delayed.iter_parts()).get_content())
        self.restart(forget=True)
        self.later(WARN_S)
        self.assertEqual(1, len(self.notices()))
        self.assertEqual([Standing.WAITING], self.standings())

    def test_unknown(self) -> None:
        """
        Where neither notification nor receipt is left, the notice says that nobody knows.
        """
        self.alice.send(MAIL, "bob")
        self.alice.leave()
        self.later(LIFE_S + MARGIN_S)
        objects = self.place.past.objects
        for handle in [handle for handle, item in objects.items() if item.kind == PENDING]:
            del objects[handle]
        self.restart()
        self.later(AGAIN_S)
        [notice] = self.notices()
        self.assertIn("not known", notice["subject"])
        self.assertEqual([Standing.UNKNOWN], self.standings())

    def test_silence(self) -> None:
        """
        While a holder does not answer, nothing is decided: it may have the receipt.  In the end something is.
        """
        self.alice.send(MAIL, "bob")
        self.place.past.silent = 1
        self.later(LIFE_S + MARGIN_S + 10 * AGAIN_S)
        self.assertEqual([Standing.WAITING], self.standings())
        self.later(DECIDE_S)
        self.assertEqual([Standing.EXPIRED], self.standings())
        self.assertEqual(2, len(self.notices()))

    def test_crash_in_the_notice(self) -> None:
        """
        Wherever the machine dies around the notice, there is one afterwards.
        """
        self.alice.send(MAIL, "bob")
        self.alice.leave()
        self.later(LIFE_S + MARGIN_S)
        for steps in range(0, 40, 3):
            self.restart(forget=bool(steps % 2))
            for _ in range(steps):
                self.place.clock.advance(0.001)
            self.assertLessEqual(len(self.notices()), 1)
        self.later(AGAIN_S)
        self.assertEqual(1, len(self.notices()))

    def test_several(self) -> None:
        """
        Of one message to several there is one notice, about those whom it did not reach.
        """
        carol, dave = Person(self.place, "carol"), Person(self.place, "dave")
        dave.leave()
        self.alice.send(MAIL, "bob", "carol", "dave")
        self.assertEqual(1, len(carol.texts()))
        self.alice.leave()
        self.later(LIFE_S + MARGIN_S)
        self.restart()
        self.later(AGAIN_S)
        [notice] = self.notices()
        text = next(notice.iter_parts()).get_content()
        self.assertEqual((1, 0, 1), (text.count("<bob@"), text.count("<carol@"), text.count("<dave@")))

    def test_very_many(self) -> None:
        """
        However many recipients there are, and however long their addresses, all are told of, in as many notices as
        records hold.
        """
        now = int(self.place.clock.seconds())
        passages = [Passage(f"{number:0310}@x", Standing.WAITING, now, now + 99, 3) for number in range(250)]
        journey = Journey(b"k" * 16, now, "alice@example.org", b"lost", 5, 3, tuple(passages))
        self.place.run(self.alice.mailbox.keep(journey.operations()))
        self.restart()
        self.later(MARGIN_S + 3 * AGAIN_S)
        self.assertEqual({Standing.UNKNOWN}, set(self.standings()))
        texts = self.alice.texts()
        self.assertEqual(3, len(texts))
        for passage in passages:
            self.assertEqual(1, sum(f"<{passage.address}>".encode() in text for text in texts))

    def test_sent_once_more(self) -> None:
        """
        The same bytes, sent again after they were given up, are followed again, and given up again.
        """
        for count in (1, 2):
            self.alice.send(MAIL, "bob")
            self.later(LIFE_S + MARGIN_S + AGAIN_S)
            failed = [each for each in self.notices() if "could not" in each["subject"]]
            self.assertEqual(count, len(failed))

    def test_sent_again_to_nobody(self) -> None:
        """
        The same bytes, sent again to somebody who has got them and is away now, are accepted, and nobody is waited for.
        """
        self.bob.open()
        self.alice.send(MAIL, "bob")
        self.later(FLUSH_S + 1)
        self.bob.leave()
        self.alice.send(MAIL, "bob")
        self.assertEqual([Standing.DELIVERED], self.standings())

    def test_outside(self) -> None:
        """
        What a gateway has handed on is noted; where no gateway says anything, the sender is told when the time of these
        is over, which is not that of those inside.
        """
        outbox = FakeOutbox()
        self.alice.tracking._whereabouts._outbox = cast(Outbox, outbox)
        now = int(self.place.clock.seconds())
        lives = {"c@else.where": 5 * 86400, "d@else.where": 5 * 86400, "bob@example.org": LIFE_S}
        passages = [
            Passage(address, Standing.WAITING, now, now + life_s, 3, handle_of(Purpose.PENDING, address.encode()))
            for address, life_s in lives.items()
        ]
        journey = Journey(b"k" * 16, now, "alice@example.org", b"lost", 5, 3, tuple(passages))
        self.place.run(self.alice.mailbox.keep(journey.operations()))
        self.alice.tracking._watch(journey.key)
        outbox.gone = [("c@else.where", Standing.HANDED_ON, now + 1)]
        self.later(2 * AGAIN_S)
        self.assertEqual([Standing.HANDED_ON, Standing.WAITING, Standing.WAITING], self.standings())
        self.later(5 * 86400 + MARGIN_S)
        [delayed] = self.notices()
        self.assertIn("<bob@", next(delayed.iter_parts()).get_content())
        self.later(DECIDE_S + AGAIN_S)
        self.assertEqual([Standing.HANDED_ON, Standing.UNKNOWN, Standing.WAITING], self.standings())
        text = next(self.notices()[1].iter_parts()).get_content()
        self.assertEqual((0, 1, 0), tuple(text.count(f"<{address}>") for address in lives))

    def test_from_nobody(self) -> None:
        """
        Of a message with an empty return path nothing is ever said.
        """
        self.alice.send(MAIL, "bob", sender="")
        self.later(LIFE_S + MARGIN_S + AGAIN_S)
        self.assertEqual([Standing.EXPIRED], self.standings())
        self.assertEqual([], self.notices())

    def test_full(self) -> None:
        """
        Who has too much waiting is told to try later, before anything is stored.
        """
        self.alice.mailbox.state.journeys.outstanding = tracking.OUTSTANDING_LIMIT
        with self.assertRaises(Overloaded):
            self.alice.send(MAIL, "bob")
        self.assertEqual([], self.alice.texts("Sent"))
