"""
What a node has to do with its authority: serves it, if it is here, and asks it, wherever it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.logger import Logger

from post.ca.authority import Authority
from post.ca.code import short_fingerprint
from post.ca.door import Door
from post.ca.enrolment import Enrolment
from post.ca.entrusting import Entrusting
from post.ca.errand import abroad, ask_first, at_home
from post.ca.questions import RENEW, VERSION, Renew, Renewed, read, sign_question
from post.ca.retrieval import retrievals
from post.ca.upkeep import Holder, Upkeep
from post.ca.watching import Watching
from post.config import Config
from post.crypto.certificates import make_request, read_node
from post.crypto.documents import Directory
from post.crypto.entropy import system_entropy
from post.crypto.revocations import Revocations
from post.errors import ConfigError, PostError, Refused
from post.health.facts import Issuance
from post.home import CURE_REVOKED, Home
from post.ids import Contact
from post.net.transport import TlsTransport
from post.node import Node, NodeCredentials
from post.tasks import Tasks

_ANSWER = Path("the authority's answer")
"""Where certificates come from that nobody carried."""
LOOK_S = 15.0
"""Between two looks at the authority's directory: what is revoked has to be known to all within a minute."""
SPREAD_S = 20.0
"""Over so long nodes that hear at once of what is revoked, or certified, ask for what follows from it."""

PER_MEMBER_S = 0.05
"""And over more in a large ring: something is certified often there, and all ask for it."""


class Affiliation:
    """
    Of one node, while it runs.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: Config,
        home: Home,
        credentials: NodeCredentials,
        ended: Callable[[ConfigError], None],
    ) -> None:
        """
        @param reactor: any: TCP, threads and time.
        @param ended: told when this node is a member no longer.
        @raise ConfigError: if the authority that is to be served here cannot be, or is another than the node's.
        """
        self._reactor = reactor
        self._doors = config.settings.authority.doors
        self._home = home
        self._credentials = credentials
        self._enrolment: Enrolment | None = None
        self._door: Door | None = None
        self._upkeep: Upkeep | None = None
        self._watching: Watching | None = None
        self._ended = ended
        self._tasks = Tasks()
        self._files: object = None
        self._retrievals = retrievals(home, credentials.root, reactor, system_entropy)
        if config.settings.authority.directory:
            authority = Authority.open(config.directory / config.settings.authority.directory, system_entropy)
            if authority.root != credentials.root:
                raise ConfigError(str(authority.path), "is not the authority of this node")
            self._enrolment = Enrolment(authority, self._now())
            self._door = Door(reactor, self._enrolment, config.settings.authority.listen)

    def _now(self) -> int:
        return int(self._reactor.seconds())

    @property
    def asks(self) -> bool:
        """
        Whether the authority is asked, and certificates are renewed by that.
        """
        return self._enrolment is not None or bool(self._doors)

    @property
    def trouble(self) -> str:
        """
        Why the authority cannot be asked, if it cannot.
        """
        return self._upkeep.trouble if self._upkeep is not None else ""

    def issuance(self) -> Issuance | None:
        """
        What the public log shows, if the authority is asked.
        """
        return self._watching.facts() if self._watching is not None else None

    @property
    def recovering(self) -> dict[str, str]:
        """
        The accounts that are not back from the ring yet, by address, and what each waits for.
        """
        return {each.address: each.trouble for each in self._retrievals if not each.done}

    def listen(self) -> None:
        """
        Take the port, if the authority is served here.

        @raise ConfigError: if it is taken.
        """
        if self._door is not None:
            self._door.listen()

    def start(self, node: Node, transport: TlsTransport, reload: Callable[[], None]) -> None:
        """
        Ask from now on, if it is known where.

        @param reload: uses what is in the accounts' directories now.
        """
        root = self._credentials.root
        self._hear_revoked(node)
        for each in self._retrievals:
            self._tasks.spawn(each.run(node.past, reload))
        if self._enrolment is not None:
            ask = at_home(self._enrolment, self._reactor.seconds)
        elif self._doors:
            ask = abroad(self._reactor, self._doors, root)
        else:
            return

        def use_directory(directory: Directory) -> None:
            node.set_directory(directory)
            if self._stale(directory):
                upkeep.hurry()

        started = read_node(self._credentials.chain[0]).roles

        def use_chain(chain: tuple[bytes, ...]) -> None:
            # On disk first: a crash leaves what is newer.
            certificate = self._home.renew(_ANSWER, chain, self._now())
            self._credentials = dataclasses.replace(self._credentials, chain=chain)
            transport.renew(self._credentials.key, chain)
            node.renew(chain)
            self.log.info("the certificate of this node is renewed until {end}", end=certificate.not_after)
            if certificate.roles != started:
                roles = ", ".join(sorted(certificate.roles)) or "none"
                self.log.info("its roles are now: {roles}; start this node again", roles=roles)

        def use_account_chain(chain: tuple[bytes, ...]) -> None:
            person = self._home.renew_account(_ANSWER, chain, root)
            reload()
            self.log.info("that of {address} is renewed until {end}", address=person.address, end=person.not_after)

        def holders() -> list[Holder]:
            people = self._home.accounts(root)
            return [
                Holder(self._credentials.key, self._credentials.chain, use_chain, self._stale(node.directory)),
                *(Holder(each.key, each.chain, use_account_chain) for each in people),
            ]

        watching = self._watching = Watching(
            self._home,
            root,
            self._now,
            lambda: (self._credentials.key, self._credentials.chain),
            node.issuance,
            lambda: upkeep.hurry(max(SPREAD_S, PER_MEMBER_S * len(node.directory.members))),
        )
        upkeep = self._upkeep = Upkeep(
            self._home,
            root,
            ask,
            self._reactor,
            SystemRandom(),
            lambda: node.pastry.local.addresses,
            holders,
            use_directory,
            node.revoked.use,
            node.set_policy,
            Entrusting(self._home, root, node, self._now, reload).errands,
            [watching.look],
        )
        node.deposited = upkeep.run_errands

        def met(contact: Contact) -> None:
            if not any(member.node == contact.id for member in node.directory.members):
                upkeep.hurry()

        node.watch(met)
        node.revoked.heard.append(lambda data, found: upkeep.hurry(SPREAD_S))
        upkeep.start()
        if self._enrolment is not None:
            self._files = self._enrolment.authority.state()
            self._tasks.every(self._reactor, lambda: LOOK_S, self._look)

    def _stale(self, directory: Directory) -> bool:
        """
        Whether the authority has given this node other roles than its certificate has.
        """
        ours = read_node(self._credentials.chain[0])
        return any(
            member.node == ours.node_id and frozenset(member.roles) != ours.roles for member in directory.members
        )

    def _hear_revoked(self, node: Node) -> None:
        """
        Let the list of what is revoked outlive this process, and the process not outlive its own certificate.
        """

        def heard(data: bytes, found: Revocations) -> None:
            self._home.write_revocations(data)
            taken = node.revoked.taken(self._credentials.key.public)
            self.log.info("{count} keys are revoked", count=len(found.entries))
            if taken is not None:
                self._ended(ConfigError("this node", f"was {taken}: {CURE_REVOKED}"))

        node.revoked.heard.append(heard)
        self.look_at_home(node)

    def look_at_home(self, node: Node) -> None:
        """
        Use a list of what is revoked, and a policy, that somebody has brought by hand.

        @raise ConfigError: if one is damaged.
        """
        root, now = self._credentials.root, self._now()
        revocations = self._home.revocations(root, now)
        if revocations is not None and revocations.serial > node.revoked.serial:
            node.revoked.use(self._home.revoked())
        node.set_policy(self._home.policy(root, now))

    async def _look(self) -> None:
        """
        Use, and tell others, what has been changed in the authority's directory.
        """
        assert self._enrolment is not None and self._upkeep is not None
        state = self._enrolment.authority.state()
        if state != self._files:
            self._files = state
            await self._upkeep.look()

    async def stop(self) -> None:
        """
        Neither ask nor answer any more.
        """
        self._tasks.stop()
        if self._upkeep is not None:
            self._upkeep.stop()
        if self._door is not None:
            await self._door.stop()


def renew_ended(config: Config, home: Home, now: int) -> None:
    """
    Renew the node's certificate if it has ended, since no ring would let it in: before it starts, and waiting for it.

    A node that asks no authority is left as it is.

    @raise ConfigError: if it cannot be renewed.
    """
    ended, settings = home.ended(now), config.settings.authority
    if ended is None or not (settings.directory or settings.doors):
        return
    key, chain, root = ended

    def made(door: bytes) -> bytes:
        return sign_question(Renew(VERSION, door, now, make_request(key)), key, chain)

    try:
        if settings.directory:
            enrolment = Enrolment(Authority.open(config.directory / settings.directory, system_entropy), now)
            answer = enrolment.answer(RENEW, made(enrolment.door), now)
        else:
            answer = ask_first(settings.doors, short_fingerprint(root), RENEW, made)
        home.renew(_ANSWER, read(Renewed, answer).chain, now)
    except PostError as error:
        reason = error.text if isinstance(error, Refused) else str(error)
        where = str(home.path)
        raise ConfigError(where, f"has a certificate that has ended, and it cannot be renewed: {reason}") from None
