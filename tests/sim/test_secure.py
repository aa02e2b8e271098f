"""
Secure lookups between whole nodes, with their real keys and certificates, and the directory of the authority.
"""

from __future__ import annotations

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.errors import BadSignature, PeerError
from post.hashes import Purpose
from post.ids import Contact, Id, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.evidence import Proof
from post.pastry.messages import Route, Taken, Vouch, Vouched
from post.pastry.statement import Statement, packed
from post.pastry.survey import Survey
from post.sim.world import World
from post.wire import unpack


class SecureTests(SynchronousTestCase):
    """
    Nine machines, of which each knows the two next to it on either side; the others stand in the directory.
    """

    def setUp(self) -> None:
        self.world = World(17, 9, pastry=PastryConfig(half=2))
        self.world.start()
        self.node = self.world.node("node1")
        directory = self.world.authority.directory()
        for name in self.world.machines:
            node = self.world.node(name)
            node.directory = directory
            node.pastry.ring.roster = None  # As in a ring that is too large for one.
        self.ids = sorted(self.world.node(name).node_id for name in self.world.machines)

    def far(self) -> Key:
        """
        The node opposite on the ring.
        """
        return Key(max(self.ids, key=self.node.node_id.distance))

    def nearest(self, key: Key) -> list[NodeId]:
        """
        The true replica set.
        """
        return sorted(self.ids, key=lambda node: (node.distance(key), node))[:3]

    def find(self, key: Key) -> list[NodeId]:
        """
        What a secure lookup says.
        """
        found = self.world.finish(Deferred.fromCoroutine(self.node.pastry.replica_set(key, 3, secure=True)))
        return [contact.id for contact in found]

    def test_found(self) -> None:
        """
        They sign by the keys in their certificates, and are found.
        """
        before = self.node.pastry.secure.tally.lookups
        self.assertEqual(self.nearest(self.far()), self.find(self.far()))
        after = self.node.pastry.secure.tally.lookups
        self.assertEqual((1, {}), (after - before, dict(self.node.complaints.counts)))

    def test_swallowed(self) -> None:
        """
        Also where whatever is routed is swallowed: the directory tells who is missing.
        """
        for name in list(self.world.machines)[1:]:
            self.world.node(name).rpc.serve(Route, lambda peer, route: Taken())
        self.assertEqual(self.nearest(self.far()), self.find(self.far()))

    def test_old_directory(self) -> None:
        """
        A directory whose time is over says nothing.
        """
        self.assertEqual(self.ids, sorted(self.node.pastry.secure.members()))
        self.node.directory.expires = 0
        self.assertEqual([], list(self.node.pastry.secure.members()))

    def ask(self, node: NodeId) -> Survey:
        """
        What C{node} states.
        """
        contact = next(each for each in self.node.pastry.members() if each.id == node)
        survey = Survey(node, self.node.pastry.local)
        survey.name([contact])
        self.world.do(self.node.pastry.secure.vouching.ask(survey, node))
        return survey

    def test_forged(self) -> None:
        """
        What another key has signed, or the same key for another purpose, is refused; so is what a node signs of whom no
        certificate was seen.
        """
        peer = next(iter(self.node.pastry.ring.leaves))
        liar = next(node for node in map(self.world.node, self.world.machines) if node.node_id == peer)
        for key, purpose in (
            (self.node._credentials.key, Purpose.SIGN_LEAVES),
            (liar._credentials.key, Purpose.SIGN_RECEIPTS),
        ):
            liar.pastry.secure.vouching.sign = lambda data, key=key, purpose=purpose: key.sign(purpose, data)
            self.assertEqual({}, self.ask(peer).stated)
        self.assertEqual({"broken statement": 2}, dict(self.node.complaints.counts))
        check = self.node.pastry.secure.vouching.check
        self.assertRaises(PeerError, check, NodeId(Id(self.node.node_id ^ 1)), b"data", b"signature")
        self.assertRaises(BadSignature, check, peer, b"data", liar._credentials.key.sign(Purpose.SIGN_LEAVES, b"other"))

    def test_proof(self) -> None:
        """
        A node that contradicts itself is shown with its owner, and what was signed is kept with its certificate.
        """
        kept: list[bytes] = []
        self.node.pastry.secure.evidence.remember(b"", kept.append)
        peer = next(iter(self.node.pastry.ring.leaves))
        liar = next(node for node in map(self.world.node, self.world.machines) if node.node_id == peer)
        usual = liar.rpc.handler(Vouch)
        lies = [False, True]

        def two_faced(peer: Contact, question: Vouch) -> Vouched:
            answer = usual(peer, question)
            assert isinstance(answer, Vouched)
            data = answer.statement
            if lies.pop():
                data = packed(replace(unpack(Statement, data), after=(), whole=False))
            return Vouched(data, liar._credentials.key.sign(Purpose.SIGN_LEAVES, data))

        liar.rpc.serve(Vouch, two_faced)
        self.ask(peer)
        self.ask(peer)
        (proof,) = unpack(tuple[Proof, ...], kept[0])
        self.assertEqual(liar.certificate.der, proof.certificate)
        self.assertEqual((f"{peer.hex()} of {liar.certificate.owner}",), self.node.status().liars)
        self.assertEqual(["signed contradiction"], list(self.node.status().complaints))
