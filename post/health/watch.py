"""
Keeps an eye on a node: looks at the copies of its people's mail, and puts together what is to be known of it all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.crypto.certificates import read_identity
from post.errors import PostError
from post.health.facts import Certificate, Disk, Facts, Issuance, Mailbox, Peer, Presence
from post.health.journeys import Subjects
from post.health.leaving import Departures
from post.health.survey import PENDING_LIMIT, Survey
from post.ids import Contact, Handle, Key, NodeId
from post.interfaces import IApplication
from post.mail.folder import MailboxState
from post.mail.interfaces import ISubmission
from post.node import Node
from post.tasks import Tasks
from post.wire import Message

LOOK_S = 1.0
"""Between two looks at whether an account has been opened."""
PEERS_LIMIT = 1000
"""Nodes that are told of, nearest on the ring first: nobody reads more, and a page has to be made of it."""


@implementer(IApplication)
class Watch:
    """
    Of one node.
    """

    log = Logger()

    def __init__(
        self,
        node: Node,
        clock: IReactorTime,
        random: Random,
        disk: Callable[[], tuple[int, int]],
        authority_trouble: Callable[[], str] = lambda: "",
        renews: bool = False,
        certificates: tuple[Certificate, ...] = (),
        issuance: Callable[[], Issuance | None] = lambda: None,
    ) -> None:
        """
        @param disk: the size of the disk, and what is free of it, in bytes.
        @param certificates: those that the node does not know of.
        @param issuance: the public log, as far as it is known.
        """
        self._node = node
        self._clock = clock
        self._random = random
        self._disk = disk
        self._authority_trouble = authority_trouble
        self._renews = renews
        self._certificates = certificates
        self._issuance = issuance
        self._started = clock.seconds()
        self._tasks = Tasks()
        self._surveys: dict[str, Survey] = {}
        self._marks: dict[str, tuple[object, ...]] = {}
        self._subjects: dict[str, Subjects] = {}
        self._departures: dict[str, Departures] = {}
        node.pastry.add_application(self)

    def start(self) -> None:
        """
        Look from now on.
        """
        self._tasks.every(self._clock, lambda: LOOK_S, self._look)

    def stop(self) -> None:
        """
        Look no more.
        """
        self._tasks.stop()
        for survey in self._surveys.values():
            survey.stop()

    async def _look(self) -> None:
        node = self._node
        for address, opened in node.accounts.opened.items():
            if opened.ready and address not in self._surveys:
                survey = self._surveys[address] = Survey(
                    node.past.lookout,
                    opened.account,
                    opened.mailbox,
                    opened.log,
                    partial(_pending, opened.submission),
                    lambda: node.policy.k,
                    self._clock,
                    self._random,
                    self._tasks,
                )
                survey.start()
                subjects = self._subjects[address] = Subjects(opened.mailbox.letters, self._tasks)
                outbox = opened.outbox
                self._departures[address] = Departures(
                    outbox.list, outbox.is_outside, subjects, self._clock, self._tasks
                )
                self._marks[address] = _mark(opened.mailbox.state)
            elif opened.ready and self._marks[address] != (mark := _mark(opened.mailbox.state)):
                self._marks[address] = mark
                self._surveys[address].changed()

    # What Pastry tells.

    def deliver(self, key: Key, message: Message, origin: Contact) -> None:
        """
        Nothing is routed to us.
        """

    def forward(self, key: Key, message: Message, next_hop: Contact) -> bool:
        return True

    def update(self, contact: Contact, joined: bool) -> None:
        for survey in self._surveys.values():
            survey.changed()

    # What others are told.

    def facts(self) -> Facts:
        """
        How things are now.
        """
        node = self._node
        status = node.status()
        return Facts(
            self._clock.seconds(),
            self._started,
            node.directory.domain,
            status,
            node.pastry.active and all(opened.ready for opened in node.accounts.opened.values()),
            tuple(self._peers()),
            node.pastry.size(),
            Disk(*self._disk()),
            tuple(self._ends()),
            tuple(self._mailboxes()),
            node.past.accord.ahead_s(),
            self._authority_trouble(),
            self._renews,
            len(node.outside.relaying.works) if node.outside.relaying is not None else None,
            self._issuance(),
            node.revoked.list.next_update if node.revoked.list is not None else 0,
        )

    def _peers(self) -> list[Peer]:
        node = self._node
        pastry, transport = node.pastry, node.rpc.transport
        owners = {member.node: (member.owner, member.roles) for member in node.directory.members}
        linked = {contact.id for contact in transport.links()}
        known = {node.node_id, *owners, *pastry.ring.contacts, *pastry.ring.absent}
        nearest = sorted(known, key=lambda each: (node.node_id.distance(each), each))[:PEERS_LIMIT]
        found = []
        for each in sorted(nearest):
            owner, roles = owners.get(each, ("", ()))
            if not owner and (certificate := transport.certificate(each)) is not None:
                owner = certificate.owner
            seconds = transport.round_trip_s(each) if each != node.node_id else None
            found.append(
                Peer(
                    each.hex(),
                    owner,
                    tuple(roles),
                    self._presence(each),
                    each in linked,
                    None if seconds is None else seconds * 1000,
                    each == node.node_id,
                )
            )
        return found

    def _presence(self, node: NodeId) -> Presence:
        ring = self._node.pastry.ring
        if node in ring.suspects:
            return Presence.SUSPECT
        if node == ring.owner or node in ring.contacts:
            return Presence.HERE
        # Of a large ring a node knows a part.
        gone = node in ring.absent or (ring.roster is not None and ring.roster.is_gone(node))
        return Presence.AWAY if gone or ring.leaves.whole else Presence.UNSEEN

    def _ends(self) -> list[Certificate]:
        node = self._node
        found = [Certificate("node", "", node.certificate.not_after)]
        for address, opened in node.accounts.opened.items():
            try:
                found.append(Certificate("identity", address, read_identity(opened.account.chain[0]).not_after))
            except PostError as error:
                self.log.warn("{address}: {error}", address=address, error=error)
        found.append(Certificate("directory", "", node.directory.expires))
        return [*found, *self._certificates]

    def _is_away(self, node: NodeId) -> bool:
        return self._presence(node) in (Presence.SUSPECT, Presence.AWAY)

    def _mailboxes(self) -> list[Mailbox]:
        found = []
        for status in self._node.status().accounts:
            survey, subjects = self._surveys.get(status.address), self._subjects.get(status.address)
            journeys = self._node.accounts.opened[status.address].submission.sent() if subjects is not None else ()
            departures = self._departures.get(status.address)
            leaving, more = departures.of(journeys) if departures is not None else ((), 0)
            found.append(
                Mailbox(
                    status.address,
                    status.open,
                    status.published,
                    status.trouble,
                    status.messages,
                    status.folders,
                    max(0, status.log_records - status.log_kept),
                    survey.now(self._is_away) if survey is not None else None,
                    survey is not None and survey.looking,
                    subjects.of(journeys) if subjects is not None else (),
                    survey is not None and survey.behind,
                    leaving,
                    more,
                )
            )
        return found


def _mark(state: MailboxState) -> tuple[object, ...]:
    """
    What is another when mail has come or gone; flags and folders may change.
    """
    return len(state.by_key), next(reversed(state.by_key), None), state.journeys.outstanding


def _pending(submission: ISubmission) -> list[Handle]:
    """
    Of what waits for somebody, the newest.
    """
    waiting = (passage.handle for journey in submission.sent() for passage in journey.waiting() if passage.handle)
    return list(islice(waiting, PENDING_LIMIT))
