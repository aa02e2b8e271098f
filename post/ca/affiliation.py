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
from post.ca.errand import abroad, ask_first, at_home
from post.ca.questions import RENEW, VERSION, Renew, Renewed, read, sign_question
from post.ca.upkeep import Holder, Upkeep
from post.config import Config
from post.crypto.certificates import make_request
from post.crypto.documents import Directory
from post.crypto.entropy import system_entropy
from post.errors import ConfigError, PostError, Refused
from post.home import Home
from post.ids import Contact
from post.net.transport import TlsTransport
from post.node import Node, NodeCredentials

_ANSWER = Path("the authority's answer")
"""Where certificates come from that nobody carried."""


class Affiliation:
    """
    Of one node, while it runs.
    """

    log = Logger()

    def __init__(self, reactor: Any, config: Config, home: Home, credentials: NodeCredentials) -> None:
        """
        @param reactor: any: TCP, threads and time.
        @raise ConfigError: if the authority that is to be served here cannot be, or is another than the node's.
        """
        self._reactor = reactor
        self._doors = config.settings.authority.doors
        self._home = home
        self._credentials = credentials
        self._enrolment: Enrolment | None = None
        self._door: Door | None = None
        self._upkeep: Upkeep | None = None
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
        if self._enrolment is not None:
            ask = at_home(self._enrolment, self._reactor.seconds)
        elif self._doors:
            ask = abroad(self._reactor, self._doors, root)
        else:
            return

        def use_directory(directory: Directory) -> None:
            node.set_directory(directory)

        def use_chain(chain: tuple[bytes, ...]) -> None:
            # On disk first: a crash leaves what is newer.
            certificate = self._home.renew(_ANSWER, chain, self._now())
            self._credentials = dataclasses.replace(self._credentials, chain=chain)
            transport.renew(self._credentials.key, chain)
            node.renew(chain)
            self.log.info("the certificate of this node is renewed until {end}", end=certificate.not_after)

        def use_account_chain(chain: tuple[bytes, ...]) -> None:
            person = self._home.renew_account(_ANSWER, chain, root)
            reload()
            self.log.info("that of {address} is renewed until {end}", address=person.address, end=person.not_after)

        def holders() -> list[Holder]:
            people = self._home.accounts(root)
            return [
                Holder(self._credentials.key, self._credentials.chain, use_chain),
                *(Holder(each.key, each.chain, use_account_chain) for each in people),
            ]

        upkeep = self._upkeep = Upkeep(
            self._home,
            root,
            ask,
            self._reactor,
            SystemRandom(),
            lambda: node.pastry.local.addresses,
            holders,
            use_directory,
        )

        def met(contact: Contact) -> None:
            if not any(member.node == contact.id for member in node.directory.members):
                upkeep.hurry()

        node.watch(met)
        upkeep.start()

    async def stop(self) -> None:
        """
        Neither ask nor answer any more.
        """
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
