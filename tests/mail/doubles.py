"""
People on one imaginary node: mailbox, submission, arrival and notification as they are, on a ring in a dict.
"""

from __future__ import annotations

from collections.abc import Coroutine
from random import Random
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from post.complaints import Complaints
from post.crypto.entropy import SeededEntropy
from post.journal import MemoryJournal
from post.mail.arrival import MailArrival
from post.mail.blocklists import BlockLists
from post.mail.expansion import Expansion
from post.mail.letter import LetterBox
from post.mail.mailbox import Folder, Mailbox
from post.mail.personal import Personal
from post.mail.puzzling import Solver
from post.mail.recipients import Recipients
from post.mail.showing import Lists, Shelf
from post.mail.submission import Submission
from post.mail.tracking import Tracking
from post.messaging.account import Account
from post.messaging.dispatch import Dispatch, Signer
from post.messaging.identities import Identities
from post.messaging.log import Log
from post.messaging.pending import PENDING, PendingKind, envelope_in
from post.messaging.reception import Reception
from post.messaging.storage import SecureStore
from post.past.node import Past
from post.pastry.node import Pastry
from post.rpc import Rpc
from post.sim.authority import Authority
from post.tasks import Tasks
from tests.messaging.doubles import FakePast
from tests.messaging.test_dispatch import BOB_NODE, FakePastry, FakeRpc

NOW = 1_800_000_000
SIZE_LIMIT = 3_000_000
_T = TypeVar("_T")


class Place:
    """
    The node, and the ring.
    """

    def __init__(self, seed: bytes) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.authority = Authority(seed, NOW, size_limit=SIZE_LIMIT)
        self.past = FakePast(self.clock, self.authority.root)
        self.ring = cast(Past, self.past)
        self.entropy = SeededEntropy(seed)
        self.tasks = Tasks()
        root = self.authority.root
        self.identities = Identities(self.ring, self.clock, root, Complaints(self.clock), self.tasks)
        self.reception = Reception(cast(Rpc, FakeRpc()), self.clock, root)
        self.past.register(PendingKind(root, lambda item: None))
        self.pastry = FakePastry()
        self.pastry.alive = False
        key, chain, _ = self.authority.node("somebody")
        self.dispatch = Dispatch(
            cast(Rpc, FakeRpc()),
            cast(Pastry, self.pastry),
            self.ring,
            self.identities,
            self.reception,
            self.clock,
            root,
            Signer(key, chain),
            100 * 86400,
            self.tasks,
        )

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """
        What C{coroutine} returns, or raises, when time goes on.
        """
        work = Deferred.fromCoroutine(coroutine)
        outcome: list[Any] = []
        work.addBoth(outcome.append)
        for _ in range(2000):
            if outcome:
                break
            self.clock.advance(0.001)
        if not outcome:
            raise AssertionError("it hangs")
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return cast(_T, outcome[0])

    def waiting(self) -> list[bytes]:
        """
        The envelopes that wait in the ring.
        """
        found = (envelope_in(item.data) for item in self.past.objects.values() if item.kind == PENDING)
        return [envelope for envelope in found if envelope is not None]


class Person:
    """
    An account that is open on the node, with its journal.
    """

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        self.credentials = place.authority.account(name)
        self.journal = MemoryJournal(place.clock, 0.001)
        self.open()
        place.run(self.account.publish(BOB_NODE, 86400))

    def open(self) -> None:
        """
        As a node does when it starts.
        """
        place = self.place
        self.tasks = Tasks()
        self.account = Account(self.credentials, place.ring, place.identities, place.clock)
        self.store = SecureStore(place.ring, place.clock, place.entropy, place.authority.convergence)
        self.letters = LetterBox(self.store, self.journal, place.clock, 86400, SIZE_LIMIT)
        self.mailbox = Mailbox(self.account, self.letters, self.journal, place.clock, place.entropy, self.tasks)
        self.log = Log(
            place.ring,
            self.store,
            self.journal,
            place.clock,
            place.entropy,
            self.credentials.master,
            b"device-0",
            0,
            86400,
            self.mailbox,
            self.tasks,
        )
        place.run(self.mailbox.open(self.log))
        recipients = Recipients(place.authority.domain, place.authority.directory, place.identities, place.clock)
        self.expansion = Expansion(recipients, place.authority.directory, place.identities, self.store)
        self.account.public = lambda: self.mailbox.state.preferences.public()
        shelf = Shelf(self.store, lambda: 86400, lambda: Deferred.fromCoroutine(self.account.publish(BOB_NODE, 86400)))
        self.lists = Lists(self.account, self.mailbox, self.expansion, shelf)
        self.blocking = BlockLists(
            self.account, self.mailbox, self.journal, self.expansion, place.identities, shelf, place.clock
        )
        self.personal = Personal(self.mailbox, self.blocking.others, place.clock, shelf.show)
        self.arrival = MailArrival(self.account, self.mailbox, self.letters, others=self.blocking.others)
        place.reception.open(self.account.id, self.arrival)
        self.tracking = Tracking(
            self.account,
            self.mailbox,
            self.letters,
            place.ring,
            place.dispatch,
            place.clock,
            Random(7),
            self.tasks,
        )
        self.submission = Submission(
            self.account,
            self.mailbox,
            self.letters,
            place.dispatch,
            self.expansion,
            place.authority.policy,
            place.clock,
            self.tracking,
            Solver(place.identities, place.clock),
        )

    def leave(self) -> None:
        """
        The node stops, or dies.
        """
        self.place.reception.close(self.account.id)
        self.log.stop()
        self.tracking.stop()
        self.tasks.stop()

    def restart(self, forget: bool = False, close: bool = False) -> None:
        """
        After a crash; with C{forget} on a new disk; with C{close} after an orderly end instead.
        """
        if close:
            self.place.run(self.mailbox.close())
        self.leave()
        self.journal = MemoryJournal(self.place.clock, 0.001) if forget else self.journal.crash()
        self.open()

    def folder(self, name: str = "INBOX") -> Folder:
        """
        An open folder.
        """
        return self.mailbox.folder(name)

    def texts(self, name: str = "INBOX") -> list[bytes]:
        """
        The octets of all messages in a folder.
        """
        folder = self.folder(name)
        contents = [folder.content(entry.uid) for entry in folder.entries()]
        return [self.place.run(content.read(0, content.size)) for content in contents]

    def send(self, message: bytes, *names: str, sender: str | None = None, trace: bytes = b"Received: x\r\n") -> str:
        """
        Submit C{message} to the people called C{names}.
        """
        recipients = [f"{name}@example.org" for name in names]
        own = f"{self.name}@example.org" if sender is None else sender
        return self.place.run(self.submission.submit(own, recipients, message, trace))
