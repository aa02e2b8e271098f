"""
Whole nodes on an imaginary network: the production composition, driven from one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from random import Random
from typing import Any, ClassVar, TypeVar
from weakref import WeakSet

from twisted.internet.defer import Deferred, succeed

from post.crypto.entropy import SeededEntropy
from post.crypto.trust import Trust
from post.ids import Contact, NodeId
from post.journal import MemoryJournal
from post.messaging.account import AccountCredentials
from post.node import Node, NodeConfig, NodeCredentials
from post.past.memory import MemoryBlockStore
from post.pastry.config import PastryConfig
from post.sim.authority import Authority
from post.sim.clock import SimClock, SkewedClock
from post.sim.network import Delay, SimNetwork

_T = TypeVar("_T")

PATIENCE_S = 600.0
"""Of simulated time, for something that has to happen."""


class Stuck(Exception):
    """
    Something that had to happen has not, in L{PATIENCE_S} of simulated time.
    """


class Machine:
    """
    A computer: its disk, its clock, and the node that runs on it, or does not.
    """

    def __init__(
        self, world: World, name: str, accounts: Sequence[AccountCredentials], skew_s: float, gateway: bool = False
    ) -> None:
        authority = world.authority
        key, chain, self.certificate = authority.node(name, roles=("gateway",) * gateway)
        self.name = name
        self.credentials = NodeCredentials(key, chain, authority.root, authority.convergence)
        self.accounts = list(accounts)
        self.clock = SkewedClock(world.clock, skew_s)
        self.address = f"{name}:1"
        self.store = MemoryBlockStore(self.clock)
        self.journals = {account.address: MemoryJournal(self.clock) for account in accounts}
        self.node: Node | None = None
        self._world = world
        self._skew_s = skew_s
        self._boots = 0

    @property
    def node_id(self) -> NodeId:
        """
        Its place on the ring.
        """
        return self.certificate.node_id

    @property
    def serves(self) -> bool:
        """
        Whether its people can use their mailboxes, and be found by others.
        """
        opened = list(self.node.accounts.opened.values()) if self.node is not None else []
        return len(opened) == len(self.accounts) and all(each.ready and each.published for each in opened)

    def boot(self, seeds: Sequence[str]) -> Deferred[None]:
        """
        Start the node; fires when it is active in the ring.
        """
        world = self._world
        self._boots += 1
        contact = Contact(self.node_id, (self.address,), int(self.clock.seconds() * 1000) + self._boots)
        # What is on a disk is read anew: one life's knowledge of what is revoked is not the next one's.
        credentials = replace(self.credentials, root=Trust(bytes(self.credentials.root)))
        seed = f"{world.seed} {self.name} {self._boots}"
        self.node = Node(
            world.network.transport(contact, self.certificate, credentials.root),
            self.clock,
            Random(seed),
            SeededEntropy(seed.encode()),
            self.store,
            credentials,
            world.authority.policy,
            world.authority.directory(),
            NodeConfig(self.name, world.pastry),
            lambda password, stored: succeed(password.decode() == stored),
        )

        async def start(node: Node) -> None:
            await node.start(seeds)
            for account in self.accounts:
                await node.open_account(account, self.journals[account.address])

        booted = Deferred.fromCoroutine(start(self.node))
        world.lives.append((self.node, booted))
        return booted

    def crash(self, wipe: bool = False) -> None:
        """
        End without a word; whatever was not flushed is lost, or with C{wipe} everything.
        """
        self._world.network.crash(self.node_id)
        self.clock.halt()
        self.node = None
        self.clock = SkewedClock(self._world.clock, self._skew_s)
        self.store = self.store.crash()
        self.journals = {address: journal.crash() for address, journal in self.journals.items()}
        self.store.use(self.clock)
        for journal in self.journals.values():
            journal.use(self.clock)
        if wipe:
            self.store = MemoryBlockStore(self.clock)
            self.journals = {address: MemoryJournal(self.clock) for address in self.journals}

    def set_ahead(self, seconds: float) -> None:
        """
        Set the clock ahead, for good; timers go on as they were.
        """
        self.clock.skew_s += seconds
        self._skew_s += seconds

    def stop(self) -> Deferred[None]:
        """
        Shut down in order.
        """
        assert self.node is not None
        node, self.node = self.node, None
        return Deferred.fromCoroutine(node.stop())


class World:
    """
    An organisation of so many machines, each of another owner; the first ones have a user each, the last ones are
    gateways.

    @cvar all: those that there are; whoever makes some ends them.
    """

    all: ClassVar[WeakSet[World]] = WeakSet()

    def __init__(
        self,
        seed: int,
        machines: int = 5,
        users: Sequence[str] = ("alice", "bob"),
        delay: Delay | None = None,
        skew_s: float = 0.5,
        pastry: PastryConfig | None = None,
        gateways: int = 0,
        **policy: int,
    ) -> None:
        self.all.add(self)
        self.seed = seed
        self.pastry = pastry or PastryConfig()
        self.random = Random(seed)
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, self.random, delay)
        self.authority = Authority(f"world {seed}".encode(), int(self.clock.seconds()), **policy)
        self.machines: dict[str, Machine] = {}
        self.lives: list[tuple[Node, Deferred[None]]] = []
        accounts = [self.authority.account(user) for user in users]
        for index in range(machines):
            name = f"node{index + 1}"
            skew = self.random.uniform(-skew_s, skew_s)
            self.machines[name] = Machine(self, name, accounts[index : index + 1], skew, index >= machines - gateways)

    @property
    def seeds(self) -> list[str]:
        """
        The addresses that every machine is told of.
        """
        return [machine.address for machine in list(self.machines.values())[:5]]

    def start(self, *names: str) -> None:
        """
        Boot these machines (all, if none is named), and wait until they are in the ring, their mailboxes open and their
        people to be found.
        """
        started = [self.machines[name] for name in names or self.machines]
        booted = [machine.boot(self.seeds) for machine in started]
        self.wait(lambda: all(each.called for each in booted), "the ring")
        for each in booted:
            self.finish(each)
        self.wait(lambda: all(machine.serves for machine in started), "the mailboxes")

    def end(self) -> None:
        """
        Let nothing go on any more, in any life of any machine: what waits is told so, and not when it is collected.
        """
        lives, self.lives = self.lives, []
        for node, booted in lives:
            booted.addErrback(lambda failure: None)  # Some never came into the ring.
            stopped = Deferred.fromCoroutine(node.stop())
            stopped.addErrback(lambda failure: None)
            stopped.cancel()  # Whatever a disk or a clock that is gone was to say is waited for no longer.

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        """
        Let time pass until C{happened()}.

        @raise Stuck: if it does not.
        """
        if not self.clock.run_until(happened, PATIENCE_S):
            raise Stuck(what)

    def finish(self, work: Deferred[_T]) -> _T:
        """
        Let time pass until C{work} has ended; its result.
        """
        results: list[_T] = []
        failures: list[Any] = []
        work.addCallbacks(results.append, failures.append)
        self.wait(lambda: bool(results or failures), "an answer")
        if failures:
            failures[0].raiseException()
        return results[0]

    def do(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """
        The same for a coroutine.
        """
        return self.finish(Deferred.fromCoroutine(coroutine))

    def node(self, name: str) -> Node:
        """
        The running node of a machine.
        """
        node = self.machines[name].node
        assert node is not None, f"{name} is not running"
        return node

    def home(self, user: str) -> Machine:
        """
        Where a user lives.
        """
        address = f"{user}@{self.authority.domain}"
        return next(m for m in self.machines.values() if any(a.address == address for a in m.accounts))

    def send(self, user: str, recipients: Sequence[str], message: bytes) -> Deferred[str]:
        """
        Submit C{message}; fires when the mail program would see its C{250}.
        """
        domain = self.authority.domain
        node = self.home(user).node
        assert node is not None
        submission = node.accounts.submission(f"{user}@{domain}")
        addresses = [f"{recipient}@{domain}" for recipient in recipients]
        return Deferred.fromCoroutine(submission.submit(f"{user}@{domain}", addresses, message, b""))

    def folder(self, user: str, name: str = "INBOX") -> list[bytes]:
        """
        The messages in a folder, whole.
        """
        node = self.home(user).node
        assert node is not None
        folder = node.accounts.mailbox(f"{user}@{self.authority.domain}").folder(name)
        messages = []
        for entry in folder.entries():
            content = folder.content(entry.uid)
            messages.append(self.do(content.read(0, content.size)))
        return messages
