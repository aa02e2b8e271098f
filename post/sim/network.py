"""
The network of the imaginary world.

What it imitates is links as L{post.net} makes them: between two nodes there is one link or none, made by the first
frame that either sends; on a link frames arrive in order and, unless it breaks, all of them.  What can go wrong:

  - a node crashes: with its process alone (its computer refuses connections, so its peers are told at once), or
    silently, with its power or its cable (they find out when what they send is never acknowledged);
  - a path is cut in one direction or both: frames wait as TCP would let them, arrive late if the path heals in time,
    and otherwise the link breaks;
  - a node freezes: it stays connected, and neither sends nor reads until it thaws;
  - frames are lost or doubled one by one, as no link does, to see whether the protocols above could bear it.

A frame is bytes: everything below the codec is real.  One C{random.Random} decides everything left to chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from random import Random

from twisted.internet.defer import Deferred

from post.crypto.certificates import NodeCertificate
from post.errors import Unreachable
from post.ids import Contact, NodeId
from post.sim.clock import SimClock
from post.sim.transport import SimLink, SimTransport

Delay = Callable[[NodeId, NodeId], float]
"""Seconds that a frame takes from one node to another; always the same for the same two."""

STALL_S = 10.0
"""What was sent and is not acknowledged for so long breaks a link (TCP's user timeout)."""
DIAL_S = 5.0
"""An attempt to link with somebody who does not even refuse fails after so long."""


def even_delay(seconds: float) -> Delay:
    """
    All nodes are equally far from one another.
    """
    return lambda source, target: seconds


class SimNetwork:
    """
    All nodes, and what lies between them.

    @ivar loss: the part of all frames that vanish.
    @ivar duplication: the part of all frames that arrive twice.
    @ivar jitter: a frame takes up to this part longer than the delay of its path.
    @ivar reaches: whether one node can dial another (L{post.sim.reach}); all can, if it is C{None}.
    @ivar observer: called with (source, target, frame) for each frame that arrives.
    @ivar frames: how many have arrived.
    @ivar size_bytes: how much they held.
    """

    def __init__(
        self, clock: SimClock, random: Random, delay: Delay | None = None, loss: float = 0.0, jitter: float = 0.1
    ) -> None:
        self.clock = clock
        self.delay = delay or even_delay(0.02)
        self.loss = loss
        self.duplication = 0.0
        self.jitter = jitter
        self.reaches: Callable[[NodeId, NodeId], bool] | None = None
        self.observer: Callable[[NodeId, NodeId, bytes], None] | None = None
        self.frames = 0
        self.size_bytes = 0
        self._random = random
        self._listening: dict[NodeId, SimTransport] = {}
        self._addresses: dict[str, NodeId] = {}
        self._dark: set[NodeId] = set()  # Crashed silently: nothing even refuses.
        self._blocked: set[tuple[NodeId, NodeId]] = set()
        self._side: dict[NodeId, int] = {}
        self._held: dict[tuple[NodeId, NodeId], list[bytes]] = {}
        self._frozen: dict[NodeId, list[tuple[SimTransport, SimTransport, bytes]]] = {}

    def transport(
        self, contact: Contact, certificate: NodeCertificate | None = None, trust: bytes = b""
    ) -> SimTransport:
        """
        The transport of a new, or newly started, node.  It begins to listen with C{start}.
        """
        return SimTransport(self, contact, certificate, trust)

    def nodes(self) -> list[NodeId]:
        """
        Those that listen, in the order in which they began to.
        """
        return list(self._listening)

    # Faults.

    def crash(self, node_id: NodeId, silent: bool = False) -> None:
        """
        End a node without a word; C{silent} if its computer goes with it.  Its clock is the caller's to halt.
        """
        transport = self._listening.get(node_id)
        if transport is not None:
            if silent:
                self._dark.add(node_id)
                del self._listening[node_id]
                transport.die()
            else:
                self.leave(transport)

    def partition(self, groups: Iterable[Iterable[NodeId]]) -> None:
        """
        Nodes of different groups no longer reach one another.  Those in none are a group too.
        """
        self._side = {node_id: number for number, group in enumerate(groups, 1) for node_id in group}

    def block(self, source: NodeId, target: NodeId) -> None:
        """
        Nothing from C{source} arrives at C{target} any more.  (The other way does, as far as TCP can do with that.)
        """
        self._blocked.add((source, target))

    def unblock(self, source: NodeId, target: NodeId) -> None:
        """
        Undo L{block}.
        """
        self._blocked.discard((source, target))
        self._release()

    def heal(self) -> None:
        """
        End every partition and block.
        """
        self._side = {}
        self._blocked = set()
        self._release()

    def freeze(self, node_id: NodeId) -> None:
        """
        The node neither sends nor reads, but its links stay (a stopped process, a computer asleep for a moment).
        """
        self._frozen.setdefault(node_id, [])

    def thaw(self, node_id: NodeId) -> None:
        """
        It goes on where it was.
        """
        for source, target, frame in self._frozen.pop(node_id, []):
            self._arrive(source, target, frame)

    def passes(self, source: NodeId, target: NodeId) -> bool:
        """
        Whether frames from C{source} get to C{target} just now.
        """
        if self._blocked and (source, target) in self._blocked:
            return False
        return not self._side or self._side.get(source) == self._side.get(target)

    # What transports ask for.

    def listen(self, transport: SimTransport) -> None:
        """
        C{transport} can be linked with from now on.
        """
        local = transport.local
        if local.id in self._listening:
            raise ValueError(f"{local} listens already")
        self._dark.discard(local.id)
        self._listening[local.id] = transport
        for address in local.addresses:
            self._addresses[address] = local.id

    def leave(self, transport: SimTransport) -> None:
        """
        C{transport} is closed, and with it all its links.
        """
        if self._listening.get(transport.local.id) is transport:
            del self._listening[transport.local.id]
        for peer in transport.die():
            self.clock.at(self._arrival_s(transport.local.id, peer.local.id), peer.lose, transport)

    def cut(self, source: SimTransport, target: SimTransport) -> None:
        """
        End the link between two.
        """
        source.lose(target)
        self.clock.at(self._arrival_s(source.local.id, target.local.id), target.lose, source)

    def link(self, source: SimTransport, target: SimTransport) -> SimLink:
        """
        A new link, as C{source} sees it.
        """
        return SimLink(target, self.delay(source.local.id, target.local.id), self.clock.seconds())

    def connect(self, source: NodeId, target: NodeId) -> None:
        """
        Let two nodes that listen be linked already.
        """
        one, other = self._listening[source], self._listening[target]
        if target not in one.peers:
            other.link_made(one)
            one.link_made(other)

    def carry(self, source: SimTransport, link: SimLink, frame: bytes) -> None:
        """
        Bring a frame over a link of C{source}.
        """
        if self.loss and self._random.random() < self.loss:
            return
        due_s = self.clock.seconds() + link.delay_s
        if self.jitter:
            due_s = max(due_s + link.delay_s * self.jitter * self._random.random(), link.due_s)
            link.due_s = due_s
        self.clock.at(due_s, self._arrive, source, link.peer, frame)
        if self.duplication and self._random.random() < self.duplication:
            self.clock.at(due_s, self._arrive, source, link.peer, frame)

    def dial(self, source: SimTransport, target_id: NodeId) -> None:
        """
        Begin to link; C{source} is told with C{link_made}, or with C{unreached}.
        """
        target = self._listening.get(target_id)
        source_id = source.local.id
        round_trip_s = self.round_trip_s(source_id, target_id)
        now_s = self.clock.seconds()
        if not self._connects(source_id, target_id):
            self.clock.at(now_s + DIAL_S, source.unreached, target_id)
        elif target is None:
            self.clock.at(now_s + round_trip_s, source.unreached, target_id)
        else:
            # One round trip for TCP, one for TLS and HELLO.
            self.clock.at(now_s + 2 * round_trip_s, self._link, source, target)

    def introduce(self, source: SimTransport, address: str) -> Deferred[Contact]:
        """
        Link with whoever listens at C{address}.
        """
        target_id = self._addresses.get(address)
        if target_id == source.local.id:
            done: Deferred[Contact] = Deferred()
            done.callback(source.local)
            return done
        if target_id is not None:
            return source.meet(target_id)
        refused: Deferred[Contact] = Deferred()
        self.clock.at(self.clock.seconds() + 0.01, refused.errback, Unreachable(f"nobody at {address}"))
        return refused

    def round_trip_s(self, source: NodeId, target: NodeId) -> float:
        """
        The time there and back, without jitter.
        """
        return self.delay(source, target) + self.delay(target, source)

    # How.

    def _connects(self, source: NodeId, target: NodeId) -> bool:
        if self.reaches is not None and not self.reaches(source, target):
            return False
        return (
            target not in self._dark
            and target not in self._frozen
            and source not in self._frozen
            and self.passes(source, target)
            and self.passes(target, source)
        )

    def _arrival_s(self, source: NodeId, target: NodeId) -> float:
        delay_s = self.delay(source, target)
        if self.jitter:
            delay_s *= 1 + self.jitter * self._random.random()
        return self.clock.seconds() + delay_s

    def _link(self, source: SimTransport, target: SimTransport) -> None:
        if not source.up:
            return
        strange = not (source.believes(target) and target.believes(source))
        if strange or not target.up or not self._connects(source.local.id, target.local.id):
            source.unreached(target.local.id)
            return
        target.link_made(source)
        source.link_made(target)

    def _arrive(self, source: SimTransport, target: SimTransport, frame: bytes) -> None:
        source_id, target_id = source.local.id, target.local.id
        if not target.up:
            # If its computer still runs, or runs again, that refuses the frame; otherwise nobody acknowledges it.
            patience_s = STALL_S if target_id in self._dark else 0.0
            self.clock.at(self._arrival_s(target_id, source_id) + patience_s, source.lose, target)
            return
        link = target.peers.get(source_id)
        if link is None or link.peer is not source:
            return
        if self._frozen:
            for node_id in (source_id, target_id):
                if node_id in self._frozen:
                    self._frozen[node_id].append((source, target, frame))
                    return
        if not self.passes(source_id, target_id):
            self._hold(source, target, frame)
            return
        link.heard_at = self.clock.seconds()
        self.frames += 1
        self.size_bytes += len(frame)
        if self.observer is not None:
            self.observer(source_id, target_id, frame)
        target.receive(source, frame)

    def _hold(self, source: SimTransport, target: SimTransport, frame: bytes) -> None:
        pair = (source.local.id, target.local.id)
        held = self._held.get(pair)
        if held is None:
            held = self._held[pair] = []
            self.clock.at(self.clock.seconds() + STALL_S, self._stalled, source, target, held)
        held.append(frame)

    def _stalled(self, source: SimTransport, target: SimTransport, held: list[bytes]) -> None:
        pair = (source.local.id, target.local.id)
        if self._held.get(pair) is held:
            del self._held[pair]
            source.lose(target)
            target.lose(source)

    def _release(self) -> None:
        for pair in [pair for pair in self._held if self.passes(*pair)]:
            source, target = self._listening.get(pair[0]), self._listening.get(pair[1])
            for frame in self._held.pop(pair):
                if source is not None and target is not None:
                    self._arrive(source, target, frame)


class Trace:
    """
    The fingerprint of what arrives on a network, and when: two runs with one seed have the same.

    What is sealed by HPKE differs in its bytes even so, because the library draws an ephemeral key; where that is on
    its way, C{contents} is to be C{False}, and only the sizes count.
    """

    def __init__(self, network: SimNetwork, contents: bool = True) -> None:
        self._clock = network.clock
        self._digest = sha256()
        self._contents = contents
        network.observer = self._note

    def _note(self, source: NodeId, target: NodeId, frame: bytes) -> None:
        self._digest.update(f"{self._clock.seconds():.9f} {source.hex()} {target.hex()} {len(frame)} ".encode())
        if self._contents:
            self._digest.update(frame)

    def hexdigest(self) -> str:
        """
        Of everything so far.
        """
        return self._digest.hexdigest()
