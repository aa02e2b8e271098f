"""
Asking nodes to sign their leaf sets, and answering when we are asked.

Signing costs a tenth of a millisecond, so nobody gets it done more often than lookups need; nor can anybody use it all
up for others, and so hide us from them.  What is signed is compared with what the same node signed before
(L{post.pastry.statement.contradict}).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
from post.crypto.keys import verify
from post.errors import Overloaded, PeerError, PostError, Refused, Unreachable
from post.hashes import Purpose
from post.ids import Contact, Key, NodeId
from post.interfaces import ITransport
from post.pastry.messages import Claim, Claimed, Vouch, Vouched
from post.pastry.ring import Ring
from post.pastry.statement import NONCE_BYTES, VERSION, Check, Sign, Statement, open_statement, packed
from post.pastry.survey import Survey
from post.rpc import Rpc, expect
from post.tasks import gather, sleep
from post.wire import Message, Priority, RefusalCode

SIGNED_PER_S, SIGNED_AT_ONCE = 500.0, 1000.0
"""Signatures given in a second, to all together, and after a pause: a twentieth of a processor."""
PEER_PER_S, PEER_AT_ONCE = 2.0, 40.0
"""The same to one of them: a lookup asks a node once or twice."""
CLAIMS_PER_S, CLAIMS_AT_ONCE = 20.0, 200.0
"""The same for what one of them brings: who asked it is not proven, so it is not that one's allowance which is used."""
PEERS_LIMIT = 1024
"""Nodes remembered for that, those that asked last."""
BUSY_S = 0.5
"""Before who says that it is busy is asked again."""
ANSWER_S = 2.0
"""For an answer, with a link that has to be made first."""
TRIES = 2
"""How often a node is asked: one frame or link that is lost makes nobody absent."""
PARALLEL = 16
"""Asked at once."""

Onward = Callable[[Key], tuple[Contact, ...]]
Heard = Callable[[Contact, Statement, bytes, bytes], None]


class Allowance:
    """
    So much in a second, and so much at once after a pause.
    """

    __slots__ = ("_at", "_left", "_most", "_per_s")

    def __init__(self, per_s: float, most: float) -> None:
        self._per_s = per_s
        self._most = most
        self._left = most
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """
        One, if there is one left.
        """
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._left = min(self._most, self._left + self._per_s * passed)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Vouching:
    """
    Both sides of it.

    @ivar sign: makes our signature; C{None} until there is a key, and nothing is answered.
    @ivar check: verifies that of others.
    """

    __slots__ = (
        "_active",
        "_bringers",
        "_claims",
        "_clock",
        "_complaints",
        "_heard",
        "_onward",
        "_peers",
        "_random",
        "_ring",
        "_rpc",
        "_signed",
        "check",
        "sign",
    )

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        random: Random,
        ring: Ring,
        complaints: Complaints,
        active: Callable[[], bool],
        onward: Onward,
        heard: Heard,
    ) -> None:
        """
        @param heard: told of every statement that was verified, with its bytes and signature.
        """
        self.sign: Sign | None = None
        self.check: Check = _nobody
        self._heard = heard
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._ring = ring
        self._complaints = complaints
        self._active = active
        self._onward = onward
        self._signed = Allowance(SIGNED_PER_S, SIGNED_AT_ONCE)
        self._peers: dict[NodeId, Allowance] = {}
        self._bringers: dict[NodeId, Allowance] = {}
        self._claims: dict[bytes, Deferred[tuple[Contact, Claimed]]] = {}
        rpc.serve(Vouch, self._asked)
        rpc.serve(Claimed, self._claimed)

    # What others ask.

    def state(self, nonce: bytes, peer: NodeId, brings: bool = False) -> tuple[bytes, bytes]:
        """
        Our leaf set, packed and signed, for C{peer}, or (C{brings}) for whoever it is that C{peer} names.

        @raise Refused: if we are not in the ring, or have no key.
        @raise Overloaded: if we have signed too much lately, for C{peer} or in all.
        """
        if self.sign is None or not self._active():
            raise Refused(RefusalCode.NOT_READY)
        now = self._clock.seconds()
        known = self._bringers if brings else self._peers
        limits = (CLAIMS_PER_S, CLAIMS_AT_ONCE) if brings else (PEER_PER_S, PEER_AT_ONCE)
        allowance = known.pop(peer) if peer in known else Allowance(*limits)
        known[peer] = allowance
        if len(known) > PEERS_LIMIT:
            del known[next(iter(known))]
        if not (allowance.take(now) and self._signed.take(now)):
            raise Overloaded("more signatures than we give")
        data = packed(self.statement(nonce))
        return data, self.sign(data)

    def statement(self, nonce: bytes = bytes(NONCE_BYTES)) -> Statement:
        """
        What is so of our leaf set.
        """
        ring, local = self._ring, self._rpc.transport.local
        leaves = ring.leaves
        return Statement(
            VERSION,
            local.id,
            local.epoch,
            leaves.version,
            max(0, int(self._clock.seconds() * 1000)),
            nonce,
            leaves.whole,
            tuple(ring.contacts[node] for node in leaves.successors()),
            tuple(ring.contacts[node] for node in leaves.predecessors()),
        )

    def _asked(self, peer: Contact, question: Vouch) -> Vouched:
        statement, signature = self.state(question.nonce, peer.id)
        return Vouched(statement, signature, self._onward(question.key))

    def arrived(self, claim: Claim, origin: Contact, bringer: NodeId) -> None:
        """
        A claim was delivered here: we are the root.
        """
        try:
            statement, signature = self.state(claim.nonce, bringer, brings=bringer != origin.id)
        except PostError:
            return  # It asks others when we are silent.
        answer = Claimed(claim.nonce, statement, signature)
        if origin.id == self._ring.owner:
            self._claimed(origin, answer)
        else:
            self._rpc.tell(origin, answer, Priority.URGENT)

    # What we ask.

    async def ask(self, survey: Survey, node: NodeId) -> None:
        """
        Let C{node} say what it knows around the key of C{survey}, in each way in which it can be asked.
        """
        while (contact := survey.untried(node)) is not None:
            if node == self._ring.owner:
                survey.answered(contact, self.statement(self._nonce()), self._onward(Key(survey.key)))
            elif not await self._ask(survey, contact):
                survey.failed(contact)

    async def _ask(self, survey: Survey, contact: Contact) -> bool:
        for _ in range(TRIES):
            nonce = self._nonce()
            survey.asked += 1
            try:
                question = Vouch(Key(survey.key), nonce)
                answer = expect(Vouched, await self._rpc.ask(contact, question, ANSWER_S, Priority.URGENT))
                statement = self._open(contact, answer.statement, answer.signature, nonce)
            except Unreachable:
                continue
            except PeerError as error:
                self._complaints.note(contact, "broken statement", error)
                return False
            except Refused as refused:
                if refused.code != RefusalCode.OVERLOADED:
                    return False
                await sleep(self._clock, BUSY_S)
                continue
            except PostError:
                return False
            survey.answered(contact, statement, answer.onward)
            return True
        return False

    async def ask_all(self, survey: Survey, nodes: Iterable[NodeId]) -> None:
        """
        The same of several, each once.
        """
        fresh = [node for node in dict.fromkeys(nodes) if survey.untried(node) is not None]
        for start in range(0, len(fresh), PARALLEL):
            await gather(self.ask(survey, node) for node in fresh[start : start + PARALLEL])

    async def claim(self, survey: Survey, route: Callable[[Key, Message], None], patience_s: float) -> Contact | None:
        """
        Let C{route} bring our question to the root, and whoever says that it is that answer; C{None} if nobody does,
        or what it says is broken.
        """
        nonce = self._nonce()
        waiting: Deferred[tuple[Contact, Claimed]] = Deferred()
        self._claims[nonce] = waiting
        try:
            route(Key(survey.key), Claim(nonce))
            contact, answer = await waiting.addTimeout(patience_s, self._clock)
            statement = self._open(contact, answer.statement, answer.signature, nonce)
        except TimeoutError:
            return None
        except PeerError as error:
            self._complaints.note(contact, "broken statement", error)
            return None
        finally:
            del self._claims[nonce]
        survey.answered(contact, statement)
        return contact

    def _claimed(self, peer: Contact, answer: Claimed) -> None:
        waiting = self._claims.get(answer.nonce)
        if waiting is None:
            return  # Late, or nothing that we asked.
        if not waiting.called:
            waiting.callback((peer, answer))

    def _open(self, contact: Contact, data: bytes, signature: bytes, nonce: bytes) -> Statement:
        if contact.id == self._ring.owner:
            return self.statement(nonce)
        statement = open_statement(data, signature, contact.id, nonce, self.check)
        self._heard(contact, statement, data, signature)
        return statement

    def _nonce(self) -> bytes:
        return self._random.getrandbits(8 * NONCE_BYTES).to_bytes(NONCE_BYTES, "big")


def by_certificate(transport: ITransport) -> Check:
    """
    What verifies that a node signed its statement, by the certificate that it has shown to C{transport}.
    """

    def check(node: NodeId, data: bytes, signature: bytes) -> None:
        certificate = transport.certificate(node)
        if certificate is None:
            raise PeerError("a statement of a node without certificate")
        verify(certificate.public_key, Purpose.SIGN_LEAVES, data, signature)

    return check


def described(transport: ITransport) -> Callable[[NodeId], tuple[str, bytes]]:
    """
    What tells the owner and the certificate (DER) of a node, as it has shown it to C{transport}.
    """

    def describe(node: NodeId) -> tuple[str, bytes]:
        certificate = transport.certificate(node)
        return ("", b"") if certificate is None else (certificate.owner, certificate.der)

    return describe


def _nobody(node: object, data: bytes, signature: bytes) -> None:
    raise PeerError("signatures cannot be verified here")
