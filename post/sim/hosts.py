"""
Computers with disks, on each of which a node runs, or does not: Pastry with PAST above it, and no mail.

Keys, certificates and receipts are real; what a disk had is there again in the next life of its node.  A ledger sees
what becomes durable anywhere, as nobody does in the real world.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred

from post.complaints import Complaints
from post.hashes import Purpose
from post.ids import Contact, Handle, NodeId
from post.interfaces import Stored
from post.past.blocks import ContentKind
from post.past.memory import MemoryBlockStore
from post.past.messages import Store
from post.past.node import Past
from post.pastry.vouching import by_certificate
from post.relay.proof import CertifiedProof
from post.sim.authority import Authority
from post.sim.overlay import Member, Overlay


class Ledger:
    """
    Which disks have what, whether their computers run or not.

    @ivar settled: objects whose insert is over: what holders are sent of them from then on is repair.
    @ivar repair_bytes: of data that holders were sent as repair; C{needless_bytes}: of these, of what they had.
    """

    def __init__(self) -> None:
        self.settled: set[Handle] = set()
        self.repair_bytes = self.needless_bytes = 0
        self._disks: dict[Handle, set[NodeId]] = {}
        self._objects: dict[NodeId, set[Handle]] = {}

    def disks(self, handle: Handle) -> set[NodeId]:
        """
        Those on which there is a copy.
        """
        return self._disks.get(handle, set())

    def objects(self, node: NodeId) -> set[Handle]:
        """
        What there is on the disk of C{node}.
        """
        return self._objects.get(node, set())

    def durable(self, node: NodeId, handle: Handle) -> None:
        """
        There is a copy on one more disk.
        """
        self._disks.setdefault(handle, set()).add(node)
        self._objects.setdefault(node, set()).add(handle)

    def sent(self, node: NodeId, message: Store) -> None:
        """
        A holder was sent an object.
        """
        if message.handle in self.settled:
            self.repair_bytes += len(message.data)
            if node in self.disks(message.handle):
                self.needless_bytes += len(message.data)

    def gone(self, node: NodeId) -> None:
        """
        A disk is lost.
        """
        for handle in self._objects.pop(node, ()):
            self._disks[handle].discard(node)


class _Noted(ContentKind):
    """
    Content blocks, of which the ledger is told.
    """

    def __init__(self, ledger: Ledger, node: NodeId) -> None:
        self._ledger = ledger
        self._node = node

    def stored(self, item: Stored) -> None:
        """
        It is on the disk.
        """
        self._ledger.durable(self._node, item.handle)


class Host:
    """
    One computer.

    @ivar id: the place of its node on the ring, in each life.
    @ivar disk: C{None} when it is lost.
    @ivar past: of the present life, if there is one.
    """

    def __init__(self, hosts: Hosts, number: int) -> None:
        self._hosts = hosts
        overlay, authority = hosts.overlay, hosts.authority
        self._key, chain, self._certificate = authority.node(f"owner{number}")
        self.id = self._certificate.node_id
        self.disk: MemoryBlockStore | None = MemoryBlockStore(overlay.clock)
        self.past: Past | None = None
        self._member: Member | None = None
        proof = CertifiedProof(self._key, chain, authority.root, overlay.clock)
        overlay.papers[self.id] = (self._certificate, proof)

    @property
    def up(self) -> bool:
        """
        Whether its node runs and is in the ring.
        """
        return self._member is not None and self._member.pastry.active

    def boot(self) -> Deferred[None]:
        """
        Start its node, which begins to look after copies as soon as it is in the ring; fires then.
        """
        member = self._member = self._hosts.overlay.join(self.id)
        past = self.past = self._compose(member)
        assert member.joined is not None

        def entered(_: None) -> None:
            if self.past is past and self.up:
                past.start()

        return member.joined.addCallback(entered)

    def _compose(self, member: Member) -> Past:
        """
        As L{post.node.Node} does.
        """
        hosts, disk = self._hosts, self.disk
        assert disk is not None
        disk.use(member.clock)
        secure = member.pastry.secure
        secure.use(partial(self._key.sign, Purpose.SIGN_LEAVES), by_certificate(member.relay))
        past = Past(
            member.rpc,
            member.pastry,
            disk,
            member.clock,
            hosts.overlay.random,
            Complaints(member.clock),
            self._key,
            self._certificate,
            hosts.authority.root,
            hosts.k,
            hosts.minimum,
            cache_bytes=0,  # What is read is to come from disks.
        )
        past.register(_Noted(hosts.ledger, self.id))
        keep = member.rpc.handler(Store)

        def asked_to_store(peer: Contact, message: Store) -> object:
            hosts.ledger.sent(self.id, message)
            return keep(peer, message)

        member.rpc.serve(Store, asked_to_store)  # type: ignore[arg-type]  # It returns what the other one does.
        return past

    def crash(self, gone: bool = False) -> None:
        """
        End its node without a word, as by a cut of power; what was not yet on the disk is lost, with C{gone} the disk.
        """
        assert self.disk is not None
        self._hosts.overlay.crash(self.id)
        self.past = self._member = None
        self.disk = None if gone else self.disk.crash()
        if gone:
            self._hosts.ledger.gone(self.id)


class Hosts:
    """
    All computers of an organisation.

    @ivar k: of everything so many copies are made; C{minimum}: of which so many have to be on other nodes.
    """

    def __init__(self, overlay: Overlay, k: int, minimum: int) -> None:
        self.overlay = overlay
        self.k = k
        self.minimum = minimum
        self.authority = Authority(f"hosts {overlay.seed}".encode(), int(overlay.clock.seconds()))
        self.ledger = Ledger()
        self.all: dict[NodeId, Host] = {}

    def buy(self) -> Host:
        """
        One more, with an empty disk.
        """
        host = Host(self, len(self.all))
        self.all[host.id] = host
        return host

    def up(self) -> list[Host]:
        """
        Those whose nodes are in the ring, in the order of ids.
        """
        return [self.all[node] for node in self.overlay.active()]

    def runs(self, handle: Handle) -> bool:
        """
        Whether a node runs that has an object, if only on its way into the ring.
        """
        return any(self.all[node].past is not None for node in self.ledger.disks(handle))

    def copies_up(self, handle: Handle) -> int:
        """
        On how many disks of nodes in the ring an object is.
        """
        return sum(self.all[node].up for node in self.ledger.disks(handle))
