"""
A node on the real reactor, with the real network and disk.

What a node needs of the real world is put together here and nowhere else; what a node is, L{post.node} says.
"""

from __future__ import annotations

import os
import random
import sqlite3
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from post import control, lifeline, logs
from post.ca.affiliation import Affiliation, renew_ended
from post.complaints import Complaints
from post.config import Config, split_service
from post.control import EXIT_CONFIG, EXIT_FAILED
from post.crypto.certificates import read_node
from post.crypto.documents import Policy
from post.crypto.entropy import system_entropy
from post.crypto.passwords import check_password
from post.errors import ConfigError, PostError
from post.files import read_file
from post.front import autoconfig, wishes
from post.front.certificate import certificate_end, mail_certificate
from post.front.service import MailServices
from post.front.web.service import WebService
from post.gateway.finding import Finding, find
from post.gateway.outgoing import OutgoingService
from post.gateway.service import InboundService, check_role
from post.health.facts import Certificate
from post.health.summary import summary
from post.health.watch import Watch
from post.home import Home
from post.journal import SqliteJournal
from post.mail import queue
from post.messaging.account import AccountCredentials
from post.moving.server import MovingService
from post.net.config import MIB, LinkConfig
from post.net.transport import TlsTransport
from post.node import Node, NodeConfig
from post.past.store import SqliteBlockStore
from post.pastry.reunion import ASKED_FIRST
from post.process import allow_descriptors, check_ports, disk, end_with, ports, say
from post.supervision import READY, STOPPING, Supervisor

DIRECTORY_S = 30.0
"""Between two looks at whether somebody has put a newer directory in place.  One C{stat}, so it could be often; half a
minute is soon enough for a colleague who has just been given an address."""

PASSWORD_THREADS = 2
"""Passwords checked at once, each with 19 MiB and 80 ms: few, so that guessing takes neither our memory nor our CPU."""


class NodeService(Service):
    """
    One node.

    Everything that can be found wrong by reading is found when this is made, while twistd is still in the foreground.
    Threads, sockets and databases wait for L{startService}: twistd forks in between.
    """

    log = Logger()

    def __init__(self, reactor: Any, config: Config, found: bool = False) -> None:  # Any: every interface of a reactor.
        self._reactor = reactor
        self._config = config
        self._found = found
        self._home = Home(config.directory, config.settings.files)
        self._home.open()
        now = int(reactor.seconds())
        renew_ended(config, self._home, now)
        self._credentials = self._home.credentials(now)
        self._policy = self._home.policy(self._credentials.root, now)
        self._directory = self._home.directory(self._credentials.root, now)
        self._directory_seen = read_file(self._home.directory_file)
        if self._policy.domain != self._directory.domain:
            raise ConfigError(str(self._home.directory_file), f"is not of the domain {self._policy.domain}")
        check_role(config, read_node(self._credentials.chain[0]), self._policy.domain)
        self._outgoing = OutgoingService(reactor, config, self._credentials, self._policy.domain)
        self._accounts = self._home.accounts(self._credentials.root)
        self._tls = mail_certificate(config.directory, now)
        self._affiliation = Affiliation(reactor, config, self._home, self._credentials, self._give_up)
        self._passwords = ThreadPool(0, PASSWORD_THREADS, "passwords")
        self._node: Node | None = None
        self._transport: TlsTransport | None = None
        self._finding: Finding | None = None
        self._mail: MailServices | None = None
        self._watch: Watch | None = None
        self._web: WebService | None = None
        self._inbound: InboundService | None = None
        self._control: Any = None  # A listening port.
        self._moving: MovingService | None = None
        self._supervisor = Supervisor()
        self._observer: ILogObserver | None = None
        self._starting: Deferred[None] | None = None
        check_ports(config.file, ports(config))

    # Starting.

    def log_with(self, as_json: bool) -> None:
        """
        Log as the settings say, or as JSON.
        """
        log = self._config.settings.log
        self._observer = logs.observer(msgspec.structs.replace(log, json=log.json or as_json), self._config.directory)

    def setServiceParent(self, parent: Any) -> None:  # Any: IServiceCollection, or what can be adapted to it.
        logs.use(parent, self._observer)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        allow_descriptors()
        # What others of this machine's users could read would be keys to nothing, but nothing need be read.
        os.umask(0o077)
        # Not before the reactor runs: until then it could not be stopped because of what goes wrong.
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        lifeline.hold(self._reactor, self._end)
        self._supervisor.watch(self._reactor, lambda: bool(self.running))
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._failed)

    def _end(self) -> None:
        if self.running:  # It may be ending already.
            self._reactor.stop()

    async def _start(self) -> None:
        settings = self._config.settings
        self._passwords.start()
        node = self._node = self._build()
        watch = self._watch = self._look_after(node)
        self._listen_for_control()
        self._affiliation.listen()
        assert self._transport is not None
        # Before the ring is entered: a certificate that is about to end would keep it out.
        self._affiliation.start(node, self._transport, self.reload)
        self._outgoing.start(node.outside)
        node.pastry.secure.evidence.remember(self._home.evidence(), self._home.write_evidence)
        resolver, domain = settings.links.dns, self._policy.domain
        reunion = node.pastry.reunion
        reunion.remember(self._home.seen(), self._home.write_seen)
        finding = self._finding = find(
            self._reactor, resolver, lambda: (*self._home.seeds(), *reunion.addresses()), domain, node.pastry.seek_also
        )
        finding.start()
        node.pastry.seek_also(() if self._found else reunion.addresses(ASKED_FIRST))
        await node.start(() if self._found else self._seeds())
        finding.stop()
        watch.start()
        for credentials in self._accounts:
            self._open(node, credentials)
        # Only now: nobody is told that a right password is wrong because the account is not there yet.
        mail = MailServices(
            self._reactor,
            node.accounts,
            settings.mail,
            self._tls,
            node.policy.size_limit,
            self._policy.domain,
            # Not the common directory for temporary files: that may be small, or in memory.
            str(self._config.directory),
        )
        self._mail = mail
        mail.listen()
        self._moving = MovingService(self._reactor, self._config.directory, node.accounts, node.policy.size_limit)
        node.ruled.append(self._limit)
        self._show(node, watch)
        if node.inbound is not None and settings.mail.smtp:
            self._inbound = InboundService(self._reactor, self._config, node.inbound, self._tls)
            self._inbound.listen()
        self._watch_directory()
        self.log.info("{name} serves", name=settings.name)
        self._supervisor.tell(READY)

    def _limit(self, policy: Policy) -> None:
        """
        Let what listens say and keep the limit of a newer policy.
        """
        for service in (self._mail, self._moving, self._inbound):
            if service is not None:
                service.limit(policy.size_limit)

    def _look_after(self, node: Node) -> Watch:
        """
        What knows how the node is.
        """
        where, affiliation = self._config.directory, self._affiliation
        ends = (Certificate("mail", "", certificate_end(where)),)
        chance = random.SystemRandom()
        return Watch(
            node,
            self._reactor,
            chance,
            lambda: disk(where),
            lambda: affiliation.trouble,
            affiliation.asks,
            ends,
            affiliation.issuance,
        )

    def _show(self, node: Node, watch: Watch) -> None:
        """
        Serve the page.
        """
        settings = self._config.settings
        self._web = WebService(
            self._reactor, settings, node.accounts, watch.facts, node.tally, self._tls, system_entropy
        )
        for path in autoconfig.PATHS:
            resource = autoconfig.Autoconfig(self._policy.domain, lambda: self._mail.bound if self._mail else {})
            self._web.site.hang(path, resource)
        try:
            self._web.listen()
        except ConfigError as error:
            # Set by hand it was free when we began.  Where two nodes share a machine, the usual one is the first's.
            self.log.warn("the page is not served: {error}; set mail.web to another port", error=error)

    def _open(self, node: Node, credentials: AccountCredentials) -> None:
        journal = SqliteJournal(self._home.journal(credentials.address), self._reactor.callFromThread)
        # It does not wait, so that no account can be opened twice.
        opening = Deferred.fromCoroutine(node.open_account(credentials, journal))
        opening.addErrback(lambda failure: self.log.failure("an account cannot be opened", failure=failure))

    def _build(self) -> Node:
        """
        The node, with its port taken.
        """
        settings, credentials = self._config.settings, self._credentials
        limits = settings.limits
        chance = random.SystemRandom()
        complaints = Complaints(self._reactor)
        transport = self._transport = TlsTransport(
            self._reactor,
            credentials.key,
            credentials.chain,
            credentials.root,
            split_service(settings.links.listen),
            settings.links.addresses or None,
            int(self._reactor.seconds() * 1000),
            chance,
            complaints,
            config=LinkConfig(link_limit=limits.links, queues_bytes=limits.link_queues_mib * MIB),
        )
        transport.listen()
        store = SqliteBlockStore(self._config.directory / "blocks.sqlite", self._reactor.callFromThread)
        return Node(
            transport,
            self._reactor,
            chance,
            system_entropy,
            store,
            credentials,
            self._policy,
            self._directory,
            NodeConfig(settings.name),
            self._check_password,
            complaints,
        )

    def _seeds(self) -> tuple[str, ...]:
        """
        The seeds that are set and those that the authority has told; ourselves by the name under which others know us,
        if we are among them.  None if there is nobody else.
        """
        links = self._config.settings.links
        known_as = links.addresses or (links.listen,)
        ours = {links.listen, *known_as}
        seeds = dict.fromkeys(known_as[0] if seed in ours else seed for seed in (*links.seeds, *self._home.seeds()))
        return tuple(seeds) if any(seed not in ours for seed in seeds) else ()

    def _check_password(self, password: bytes, stored: str) -> Deferred[bool]:
        return deferToThreadPool(self._reactor, self._passwords, check_password, password, stored)

    def _failed(self, failure: Failure) -> None:
        if not self.running:
            return  # We were stopped before we had started.
        error = failure.value
        if isinstance(error, PostError | OSError | CannotListenError | sqlite3.Error):
            self._give_up(error)
            return
        self.log.failure("the node cannot start", failure=failure)
        say(RuntimeError(f"the node cannot start: {error!r}; this is a bug, of which the log says more"))
        end_with(EXIT_FAILED)
        self._reactor.stop()

    def _give_up(self, error: Exception) -> None:
        """
        End with one line: a person has to do something before this node can run (again).
        """
        if not self.running:
            return
        say(error)
        self.log.error("cannot go on: {error}", error=error)
        end_with(EXIT_CONFIG)
        self._reactor.stop()

    # Running.

    def _listen_for_control(self) -> None:
        path = control.place(self._config.directory)
        verbs: control.Verbs = {
            "status": lambda request: self.status(),
            "reload": lambda request: self.reload(),
            "sent": lambda request: msgspec.to_builtins(self._node.sent(request.get("limit")) if self._node else {}),
        }
        verbs |= queue.verbs(lambda: self._node)
        verbs |= wishes.verbs(lambda: self._node.accounts.people() if self._node else {})
        factory = control.ControlFactory(verbs)
        self._control = self._reactor.listenUNIX(str(path), factory, mode=0o600)

    def status(self) -> dict[str, Any]:
        """
        As C{post status --json} shows it: what L{Node.status} says, and whether mail programs are served.
        """
        assert self._node is not None and self._watch is not None
        node = self._node.status()
        serving = self._mail is not None and node.active and all(account.open for account in node.accounts)
        found: dict[str, Any] = msgspec.to_builtins(node) | summary(self._watch.facts())
        found["authority_trouble"], found["recovering"] = self._affiliation.trouble, self._affiliation.recovering
        found["web"] = self._web.url if self._web is not None else None
        serving = serving and not found["recovering"]
        return {"running": True, "serving": serving, "pid": os.getpid(), **found}

    def reload(self) -> None:
        """
        Let the accounts live here, and the passwords hold, that are in our directory now.
        """
        accounts = self._home.accounts(self._credentials.root)
        if self._mail is None:
            self._accounts = accounts  # They are opened when the ring has been entered.
            return
        assert self._node is not None
        for credentials in accounts:
            opened = self._node.accounts.opened.get(credentials.address)
            if opened is None:
                self._open(self._node, credentials)
            else:
                self._node.use_account(credentials)

    def _watch_directory(self) -> None:
        """
        Use a newer directory when somebody has put one in place.
        """
        if not self.running:
            return
        self._reactor.callLater(DIRECTORY_S, self._watch_directory)
        try:
            data = read_file(self._home.directory_file)
            if self._node is not None:
                self._affiliation.look_at_home(self._node)
            if data != self._directory_seen and self._node is not None:
                self._directory_seen = data
                now = int(self._reactor.seconds())
                self._node.set_directory(self._home.directory(self._credentials.root, now))
        except ConfigError as error:
            self.log.warn("the directory is not used: {error}", error=error)

    # Ending.

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._supervisor.tell(STOPPING)
        if self._starting is not None:
            self._starting.cancel()
        if self._finding is not None:
            self._finding.stop()
        if self._web is not None:
            await self._web.stop()
        if self._watch is not None:
            self._watch.stop()
        if self._mail is not None:
            await self._mail.stop()
        if self._moving is not None:
            await self._moving.stop()
        if self._inbound is not None:
            await self._inbound.stop()
        await self._affiliation.stop()
        if self._control is not None:
            await self._control.stopListening()
            control.remove(self._config.directory)
        if self._node is not None:
            await self._node.stop()
        await self._outgoing.stop()
        if self._passwords.started:
            self._passwords.stop()
