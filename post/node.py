"""
A whole node, composed from what it is given: transport, clock, chance, entropy, disk, keys, policy and directory.

This is the only place where the layers meet, and it is the same in production and in the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.accounts import Accounts, AccountStatus, CheckPassword, Opened
from post.commit import DiskError
from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate, read_node
from post.crypto.convergent import Convergence
from post.crypto.documents import Directory, Policy
from post.crypto.keys import SigningKey
from post.crypto.trust import Trust
from post.errors import PostError, Unconfirmed
from post.hashes import Purpose
from post.ids import Contact, NodeId
from post.interfaces import Entropy, IBlockStore, IJournal, ITransport, Stored
from post.journal import MemoryJournal
from post.mail.arrival import MailArrival
from post.mail.blocklists import BlockLists
from post.mail.expansion import Expansion
from post.mail.inbound import Inbound
from post.mail.journeys import ShownJourney, shown
from post.mail.letter import LetterBox
from post.mail.mailbox import Mailbox
from post.mail.notice import MailNotice
from post.mail.outbox import Shown
from post.mail.outside import Outside
from post.mail.person import Person
from post.mail.personal import Personal
from post.mail.puzzling import Solver
from post.mail.recipients import Recipients
from post.mail.renewal import Renewal
from post.mail.reports import Reports
from post.mail.showing import Lists, Shelf
from post.mail.submission import Submission
from post.mail.tally import Counted, Tally
from post.mail.tracking import Tracking
from post.messaging.account import Account, AccountCredentials, Superseded
from post.messaging.custody import Custody
from post.messaging.delegates import Delegates
from post.messaging.dispatch import Dispatch, Signer
from post.messaging.history import LogClosed, LogKeys
from post.messaging.identities import Identities
from post.messaging.log import Log
from post.messaging.notification import GATEWAY
from post.messaging.pending import PendingKind, receipt_in
from post.messaging.presence import Announcer, Comings, Followed
from post.messaging.publishing import Publishing
from post.messaging.reception import Reception
from post.messaging.storage import SecureStore
from post.messaging.succession import Succession
from post.notices.board import Board
from post.notices.issuance import IssuanceNotice
from post.notices.revoked import RevokedNotice
from post.past.node import Past
from post.pastry.config import PastryConfig
from post.pastry.node import Pastry
from post.pastry.vouching import by_certificate, described
from post.relay.proof import CertifiedProof
from post.relay.transport import RelayTransport
from post.rpc import Rpc
from post.scribe.node import Scribe
from post.tasks import Rest, Tasks

RETRY_FIRST_S = 0.25
"""Before a mailbox that could not be opened, or an identity block that could not be published, because too little of
the ring answers yet, is tried again; then the time doubles.  Short: a ring that is switched on is soon complete."""
RETRY_MOST_S = 5.0
"""Where that ends."""
DISK_RETRY_S = 300.0
"""The same, when it is the local disk that fails: only a person can mend that."""
SENT_SHOWN_LIMIT = 5000
"""Messages shown of one account at most: about 2 MB of what L{post.control} can answer."""
WRITER = b"device-0"
"""The writer of an account's log: one device as yet."""


@dataclass(frozen=True)
class NodeCredentials:
    """
    What makes a node a member: its key and certificates, the root they lead to, the organisation's shared secret.
    """

    key: SigningKey
    chain: tuple[bytes, ...]
    root: bytes
    convergence: Convergence


@dataclass(frozen=True)
class NodeConfig:
    """
    How a node behaves.  C{login_delay} and the like belong to the front-ends; this is about the node itself.
    """

    name: str = "node"
    pastry: PastryConfig = field(default_factory=PastryConfig)


class Status(msgspec.Struct, frozen=True):
    """
    A node as C{post status} shows it.  C{copies} and C{minimum} are the policy's, C{others} the nodes that could keep
    them.
    """

    name: str
    node_id: str
    active: bool
    members: int
    links: int
    blocks: int
    block_bytes: int
    notifications_waiting: int
    copies: int
    minimum: int
    others: int
    accounts: tuple[AccountStatus, ...]
    complaints: dict[str, int]
    certificate_expires: int
    policy: int = 0
    """The serial of the policy in force."""
    policy_waiting: int = 0
    """That of a newer one, which cannot be in force before the node is started again; 0 if there is none."""
    roles: tuple[str, ...] = ()
    """As its certificate has them."""
    roles_waiting: bool = False
    """Whether it acts by other roles, those of its start, until it is started again."""
    indirect: int = 0
    """How many nodes it reaches only by way of others."""
    carried: int = 0
    """How many frames it has carried for nodes that do not reach each other."""
    liars: tuple[str, ...] = ()
    """Nodes of which it is proven that they lie: id, and whose."""


class Node:
    """
    One member of the ring.
    """

    log = Logger()

    def __init__(
        self,
        transport: ITransport,
        clock: IReactorTime,
        random: Random,
        entropy: Entropy,
        store: IBlockStore,
        credentials: NodeCredentials,
        policy: Policy,
        directory: Directory,
        config: NodeConfig,
        check_password: CheckPassword,
        complaints: Complaints | None = None,
    ) -> None:
        self.config = config
        self.policy = policy
        self.policy_waiting: Policy | None = None
        """A newer one that cannot be in force before the node is started again."""
        self.ruled: list[Callable[[Policy], None]] = []
        """Who is told of each newer policy, when it is in force."""
        self.directory = directory
        self.certificate: NodeCertificate = read_node(credentials.chain[0])
        self.complaints = complaints or Complaints(clock)
        self._clock = clock
        self._random = random
        self._entropy = entropy
        self._store = store
        self._credentials = credentials
        self._tasks = Tasks()
        root = self._root = Trust.of(credentials.root)
        proof = CertifiedProof(credentials.key, credentials.chain, root, clock)
        self.relay = RelayTransport(transport, clock, random, entropy, self.complaints, proof)
        """Reaches nodes by way of others, where it has to."""
        self._proof = proof
        self.rpc = Rpc(self.relay, clock, self.complaints)
        self.board = Board(self.rpc, clock, self.complaints)
        self.revoked = RevokedNotice(root, self.board, self.relay, clock)
        self.revoked.heard.append(lambda data, found: self._look_revoked())
        self.issuance = IssuanceNotice(root, self.board, self.rpc, clock)
        self.pastry = Pastry(self.rpc, clock, random, self.complaints, config.pastry, self.relay)
        sign = partial(credentials.key.sign, Purpose.SIGN_LEAVES)
        self.pastry.secure.use(sign, by_certificate(self.relay), self._certified)
        self.pastry.secure.evidence.describe = described(self.relay)
        self.past = Past(
            self.rpc,
            self.pastry,
            store,
            clock,
            random,
            self.complaints,
            credentials.key,
            self.certificate,
            root,
            policy.k,
            policy.minimum,
        )
        self.secure_store = SecureStore(self.past, clock, entropy, credentials.convergence)
        self.identities = Identities(self.past, clock, root, self.complaints, self._tasks)
        self.solver = Solver(self.identities, clock)
        recipients = Recipients(policy.domain, lambda: self.directory, self.identities, clock)
        self.expansion = Expansion(recipients, lambda: self.directory, self.identities, self.secure_store)
        self.reception = Reception(self.rpc, clock, root)
        self.signer = Signer(credentials.key, tuple(credentials.chain))
        self.dispatch = Dispatch(
            self.rpc,
            self.pastry,
            self.past,
            self.identities,
            self.reception,
            clock,
            root,
            self.signer,
            policy.pending_s,
            self._tasks,
        )
        self.scribe = Scribe(self.rpc, self.pastry, clock, random, self.complaints, root)
        self.followed = Followed(self.scribe, self.complaints)
        self.announcer = Announcer(self.scribe, self.pastry, clock, random)
        self.delegates = Delegates(
            self.past,
            self.dispatch,
            self.identities,
            self.reception,
            self.followed,
            clock,
            random,
            self.complaints,
            self._tasks,
        )
        self.past.register(PendingKind(root, self._told))
        self.pastry.add_application(Comings(self.delegates.seen, self.announcer.came))
        self.rpc.watch(found=self.delegates.seen)
        self.tally = Tally()
        self.deposited: Callable[[], None] = lambda: None
        """Called when a sealed copy of which the authority does not know yet has come to be kept by the ring."""
        self.accounts = Accounts(check_password)
        self.inbound = self._inbound() if GATEWAY in self.certificate.roles else None
        """Where mail from outside comes in, if this node is a gateway."""
        self.outside = self._outside()

    def _certified(self) -> Iterator[NodeId]:
        """
        The ids of all members, while the directory is fresh.
        """
        if self._clock.seconds() < self.directory.expires:
            yield from (member.node for member in self.directory.members)

    def _letters(self) -> LetterBox:
        # What letters note in a journal is for mail programs, and none reads here.
        letters = LetterBox(
            self.secure_store, MemoryJournal(self._clock), self._clock, self.policy.mail_s, self.policy.size_limit
        )
        self.ruled.append(lambda policy: letters.use(policy.mail_s, policy.size_limit))
        return letters

    def _inbound(self) -> Inbound:
        return Inbound(
            self._letters(),
            self.dispatch,
            self.expansion,
            self.policy,
            self._credentials.convergence.secret,
            self._clock,
        )

    def _told(self, item: Stored) -> None:
        """
        A pending notification, or its receipt, is durable here.
        """
        self.delegates.told(item)
        if (receipt := receipt_in(item.data)) is not None:
            self.dispatch.heard(item.handle, receipt)

    @property
    def node_id(self) -> NodeId:
        """
        Our place on the ring.
        """
        return self.certificate.node_id

    def _reports(self) -> Reports:
        recipients = Recipients(self.policy.domain, lambda: self.directory, self.identities, self._clock)
        secret = self._credentials.convergence.secret
        return Reports(self._letters(), self.dispatch, recipients, self.policy.domain, secret, self._clock)

    def _outside(self) -> Outside:
        return Outside(
            self.rpc,
            self.pastry,
            self.past,
            self._letters(),
            self._reports().tell,
            self.certificate,
            lambda: self.signer,
            lambda: self.directory,
            self.policy,
            self._root,
            self._clock,
            self._random,
            self._entropy,
            self.complaints,
            self._tasks,
        )

    async def start(self, seeds: Sequence[str]) -> None:
        """
        Enter the ring that C{seeds} (C{host:port}) belong to, or found one; returns when this node is active.
        """
        self.rpc.start()
        await self.pastry.join(seeds)
        self.past.start()
        self.scribe.start()
        self.announcer.start()
        self.delegates.resume()
        self.outside.start()
        self.log.info("node {id} is active among {count}", id=self.node_id, count=len(self.pastry.members()))

    async def open_account(self, credentials: AccountCredentials, journal: IJournal) -> None:
        """
        Let an account live here: its mailbox opens as soon as enough of the ring answers to know what is in it, and its
        identity block says where it is.  Returns at once.
        """
        account = Account(credentials, self.past, self.identities, self._clock)
        letters = LetterBox(self.secure_store, journal, self._clock, self.policy.mail_s, self.policy.size_limit)
        tasks = Tasks()
        mailbox = Mailbox(account, letters, journal, self._clock, self._entropy, tasks)
        log = Log(
            self.past,
            self.secure_store,
            journal,
            self._clock,
            self._entropy,
            credentials.master,
            WRITER,
            credentials.epoch,
            self.policy.head_s,
            mailbox,
            tasks,
            may_begin=self._sees_most,
        )
        outbox = self.outside.outbox(account)
        tracking = Tracking(
            account, mailbox, letters, self.past, self.dispatch, self._clock, self._random, tasks, outbox
        )
        submission = Submission(
            account,
            mailbox,
            letters,
            self.dispatch,
            self.expansion,
            self.policy,
            self._clock,
            tracking,
            self.solver,
            outbox,
        )
        counted = Counted(submission, self.tally)
        account.public = lambda: mailbox.state.preferences.public()
        shelf = Shelf(self.secure_store, lambda: self.policy.mail_s, lambda: opened.show())
        blocking = BlockLists(account, mailbox, journal, self.expansion, self.identities, shelf, self._clock)
        person = Person(
            Personal(mailbox, blocking.others, self._clock, shelf.show),
            Lists(account, mailbox, self.expansion, shelf),
            blocking,
        )
        custody = Custody(self.past, self._clock, lambda: self.deposited())
        opened = Opened(
            credentials,
            account,
            mailbox,
            submission,
            person,
            counted,
            tracking,
            log,
            journal,
            custody,
            outbox,
            letters,
            Rest(self._clock),
            tasks=tasks,
        )
        self.accounts.opened[credentials.address] = opened
        custody.use(credentials.deposit)
        tasks.spawn(custody.run())
        tasks.spawn(self._open(opened, letters))

    def use_account(self, credentials: AccountCredentials) -> None:
        """
        Use another password, newer certificates, another recovery code of an account that is here.
        """
        opened = self.accounts.opened[credentials.address]
        opened.credentials = credentials
        opened.account.renew(credentials)
        opened.custody.use(credentials.deposit)
        opened.rest.wake()

    def _sees_most(self) -> bool:
        """
        Whether more than half of the organisation is in sight.
        """
        return 2 * self.pastry.size() > len(self.directory.members)

    async def _succeed(self, opened: Opened) -> None:
        """
        Let the log go on that this account had on a machine which was lost.

        Not before the next loss is provided for: what is written from here on, the code of before does not open.

        @raise PostError: if it cannot be done now.
        """
        credentials = opened.credentials
        if opened.journal.value("head"):
            return  # It goes on already, and what is here is not to wait for ring or authority at each start.
        if credentials.deposit is not None and not (opened.custody.kept and credentials.deposit.entrusted):
            raise Unconfirmed("the new recovery code is not in force yet")
        await Succession(
            self.past,
            self._clock,
            self._entropy,
            LogKeys(credentials.master, WRITER, credentials.epoch),
            [LogKeys(keys.master, WRITER, keys.epoch) for keys in credentials.past],
            self.policy.head_s,
            self._sees_most,
        ).run()

    async def _open(self, opened: Opened, letters: LetterBox) -> None:
        retry_s = RETRY_FIRST_S
        while not opened.ready:
            pause_s = retry_s
            try:
                if opened.credentials.past:
                    await self._succeed(opened)
                await opened.mailbox.open(opened.log)
                opened.ready = True
            except LogClosed as error:
                opened.trouble = str(error)
                self.log.error("{address} is not opened: {error}", address=opened.account.address, error=error)
                return
            except DiskError as error:
                self.log.error(
                    "{address} cannot be opened: {error}.  Stop the node, move the account's journal.sqlite away and"
                    " start it again: the mailbox then comes back from the ring.",
                    address=opened.account.address,
                    error=error,
                )
                pause_s = DISK_RETRY_S
            except Unconfirmed as error:
                self.log.info("{address} waits for the ring: {error}", address=opened.account.address, error=error)
            except PostError as error:
                self.log.warn("{address} cannot be opened: {error}", address=opened.account.address, error=error)
            if not opened.ready:
                await opened.rest.pause(pause_s)
                retry_s = min(2 * retry_s, RETRY_MOST_S)
        if self.revoked.taken(opened.credentials.key.public) is not None:
            self._look_revoked()  # What is in the mailbox can be read, and nothing more comes.
            return
        arrival = MailArrival(opened.account, opened.mailbox, letters, self._filed, opened.person.blocking.others)
        self.reception.open(opened.account.id, arrival)
        self.announcer.open(opened.account)
        renewal = opened.renewal = Renewal(
            self.past,
            opened.mailbox,
            letters,
            opened.log,
            opened.journal,
            self._clock,
            self._random,
            min(self.policy.mail_s, self.policy.head_s),
        )
        opened.tasks.spawn(renewal.run())
        opened.tasks.spawn(opened.tracking.run())
        opened.tasks.spawn(opened.person.blocking.run())
        await self._publish(opened)

    async def _publish(self, opened: Opened) -> None:
        """
        Let others find the account, until somebody else is in its place.
        """

        def note(published: bool) -> None:
            if self.revoked.taken(opened.credentials.key.public) is None:
                opened.published, opened.trouble = published, ""

        publishing = Publishing(
            opened.account, self._clock, self._random, lambda: self.pastry.local, self.policy.head_s, note
        )
        opened.log.rivaled = publishing.look
        opened.publishing = publishing
        try:
            await publishing.run()
        except Superseded as error:
            opened.published, opened.trouble = False, str(error)
            # Who is elsewhere now neither receives here nor writes from here; what is here can be read.
            self.reception.close(opened.account.id)
            self.announcer.close(opened.account)
            opened.log.give_up(error)
            self.log.warn("{address} not published: {error}", address=opened.account.address, error=error)

    def _filed(self, notice: MailNotice) -> None:
        self.tally.delivered(self._clock.seconds() - notice.date / 1000)

    async def stop(self) -> None:
        """
        Leave.
        """
        for opened in self.accounts.opened.values():
            opened.log.stop()
            opened.tracking.stop()
            opened.tasks.stop()
            self.reception.close(opened.account.id)
        self._tasks.stop()
        self.board.stop()
        self.announcer.stop()
        self.delegates.stop()
        self.outside.stop()
        self.scribe.stop()
        self.past.stop()
        self.pastry.reunion.keep()
        self.pastry.stop()
        await self.rpc.stop()
        for opened in self.accounts.opened.values():
            try:
                if opened.ready:
                    await opened.mailbox.close()
            except DiskError as error:
                self.log.warn("{address} not closed: {error}", address=opened.account.address, error=error)
            await opened.journal.close()
        await self._store.close()

    def watch(self, seen: Callable[[Contact], None]) -> None:
        """
        Tell C{seen} of every node that comes into the leaf set.
        """
        self.pastry.add_application(Comings(seen))

    def _look_revoked(self) -> None:
        """
        Whoever lives here and is revoked receives nothing more: others refuse what such a key signs.
        """
        for opened in self.accounts.opened.values():
            if (taken := self.revoked.taken(opened.credentials.key.public)) is not None:
                opened.published, opened.trouble = False, f"{opened.account.address} was {taken}"
                opened.submission.closed = opened.trouble
                self.reception.close(opened.account.id)
                self.announcer.close(opened.account)

    def set_policy(self, policy: Policy) -> None:
        """
        Use a newer policy from now on: all of it, or, if it names another convergence secret, which is read at the
        start, nothing until then.
        """
        if policy.serial <= self.policy.serial:
            return
        if policy.convergence_generation != self.policy.convergence_generation:
            self.policy_waiting = policy
            return
        self.policy, self.policy_waiting = policy, None
        self.past.use(policy.k, policy.minimum)
        self.dispatch.pending_s = policy.pending_s
        if self.inbound is not None:
            self.inbound.size_limit = policy.size_limit
        for opened in self.accounts.opened.values():
            opened.use(policy)
        for ruled in self.ruled:
            ruled(policy)
        self.log.info("policy {serial} is in force", serial=policy.serial)

    def set_directory(self, directory: Directory) -> None:
        """
        Use a newer directory from now on.
        """
        if directory.serial > self.directory.serial:
            self.directory = directory

    def renew(self, chain: tuple[bytes, ...]) -> None:
        """
        Use newer certificates of this node from now on; its transport is told by whoever made it.
        """
        self.certificate = read_node(chain[0])
        self.signer = Signer(self._credentials.key, chain)
        self._proof.chain = chain
        self.dispatch.renew(self.signer)

    def sent(self, limit: object) -> dict[str, list[ShownJourney]]:
        """
        Where the messages stand that the people here have sent: by address, the newest first, C{limit} of each.
        """
        most = limit if isinstance(limit, int) and 0 < limit < SENT_SHOWN_LIMIT else SENT_SHOWN_LIMIT
        return {
            address: [shown(journey) for journey in opened.submission.sent()[:most]]
            for address, opened in self.accounts.opened.items()
            if opened.ready
        }

    async def leaving(self) -> list[Shown]:
        """
        What the people here have sent to the Internet, and has not left yet.
        """
        opened = [each for each in self.accounts.opened.values() if each.ready]
        return [shown for each in opened for shown in await each.outbox.list(each.submission.sent())]

    def status(self) -> Status:
        """
        What is to be known of this node now.
        """
        blocks, size = self._store.totals()
        return Status(
            self.config.name,
            self.node_id.hex(),
            self.pastry.active,
            len(self.pastry.members()),
            len(self.rpc.transport.links()),
            blocks,
            size,
            self.delegates.waiting,
            self.policy.k,
            self.policy.minimum,
            len(self.pastry.members()) - 1,
            tuple(opened.status() for opened in self.accounts.opened.values()),
            dict(self.complaints.counts),
            self.certificate.not_after,
            self.policy.serial,
            self.policy_waiting.serial if self.policy_waiting is not None else 0,
            tuple(sorted(self.certificate.roles)),
            (GATEWAY in self.certificate.roles) != (self.inbound is not None),
            len(self.relay.indirect()),
            self.relay.carrier.frames,
            tuple(f"{proof.node.hex()} of {proof.owner}" for proof in self.pastry.secure.evidence.proofs.values()),
        )
