"""
A node to which others say what they like: whatever it is, nothing fails, everything is bounded, and the ring is right
again when they are done.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import RING, Contact, Id, NodeId
from post.pastry.config import PastryConfig
from post.pastry.messages import Heartbeat
from post.relay.carrier import relay_frame
from post.relay.messages import RELAY_FRAME, Carried, Inquire
from post.rpc import _DEADLINE, _HEAD, ANSWER, ASK, FAILURE, TELL
from post.wire import Message, encode
from tests.pastry import spoken
from tests.pastry.kept import too_large
from tests.pastry.rings import Member, Rings
from tests.pastry.strategies import nodes

SMALL = PastryConfig(half=2)
"""With leaf sets so small eight nodes are a ring of which nobody's leaf set holds all, with rosters and tables."""
COUNT = 8
RIGHT_S = 90.0
"""So long after the last lie all leaf sets are right.  (Who was believed dead is tried again after ten seconds; what is
mended in vain, twice as late each time.)"""

_KNOWN = [member.id for member in Rings(1, COUNT + 1).members]
near = st.one_of(
    st.sampled_from(_KNOWN),
    st.tuples(st.sampled_from(_KNOWN), st.integers(-3, 3)).map(lambda at: NodeId(Id((at[0] + at[1]) % RING))),
    nodes,
)
"""The nodes of the ring, what stands right beside them, and anything."""
anything = spoken.messages(near)
relayed = spoken.messages(near, spoken.RELAYING)
pauses = st.sampled_from([0.0, 0.0, 0.1, 2.0])
ways = st.sampled_from([TELL, TELL, ASK, ASK, ANSWER, FAILURE])
few = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
ASKED = tuple(kind for kind in spoken.PASTRY if kind.__name__ in ("Probe", "Route", "Locate", "ShareRow", "Compare"))


class Mouth:
    """
    Says things to C{victim} as C{speaker}, who has proven to be it, past everything that an honest node would check.
    """

    def __init__(self, speaker: Member, victim: Member) -> None:
        self.speaker = speaker
        self.victim = victim
        self.number = 1 << 31

    @property
    def contact(self) -> Contact:
        """
        As whom we speak.
        """
        return self.speaker.contact

    def frame(self, how: int, body: bytes) -> bytes:
        """
        C{body} as a frame; an answer is to an open question, if there is one.
        """
        self.number += 1
        number = self.number
        if how in (ANSWER, FAILURE):
            state = self.victim.rpc._peers.get(self.contact.id)
            number = next(iter(state.asked), number) if state is not None else number
        elif how == ASK:
            body = _DEADLINE.pack(10_000) + body
        return _HEAD.pack(how, number) + body

    def say(self, how: int, body: bytes) -> None:
        """
        Let it arrive now.
        """
        self.victim.rpc.frame_received(self.contact, self.frame(how, body))


class HostileRing(SynchronousTestCase):
    """
    A ring of eight nodes, one of which is spoken to.
    """

    def ring(self, seed: int = 1, config: PastryConfig = SMALL) -> tuple[Rings, Member, Member, Member]:
        """
        A ring that has formed, a node of it, another one, and one with a certificate that has not come in.
        """
        rings = Rings(seed, COUNT + 1, config)
        members = rings.formed(COUNT)
        stranger = rings.members[COUNT]
        stranger.boot(["nobody:1"])
        stranger.up = False  # It is none of those who are judged.
        self.assertEqual([], rings.settle(10, members))
        return rings, members[0], members[1], stranger

    def assert_well(self, rings: Rings, members: Sequence[Member]) -> None:
        """
        All of C{members} are active, soon know their neighbors, and deliver at the right places; nothing has failed.
        """
        self.assertEqual([], [str(member.id) for member in members if not member.pastry.active])
        self.assertEqual([], rings.settle(RIGHT_S, members))
        self.assertEqual([], rings.misrouted(10))
        self.assertEqual([], rings.overgrown())
        self.assertEqual([], rings.failures)
        self.assertEqual([], [str(each.value) for each in self.flushLoggedErrors()])

    def end(self, rings: Rings, stranger: Member) -> None:
        """
        The stranger goes, and all is well soon.
        """
        rings.advance(1)
        stranger.crash()
        self.assert_well(rings, rings.members[:COUNT])


class HostileTests(HostileRing):
    """
    Anything is said to one of them.
    """

    def test_every_kind(self) -> None:
        """
        All that Pastry says is known here, and drawn.
        """
        kinds = {kind.__name__ for kind in spoken.PASTRY}
        self.assertLessEqual({"Probe", "Row", "Found", "Compare", "News", "Report", "Vouch", "Claimed"}, kinds)
        self.assertEqual(22, len(kinds))

    @few
    @given(
        st.lists(st.tuples(ways, anything, pauses), min_size=1, max_size=12),
        st.booleans(),
    )
    def test_messages(self, said: list[tuple[int, Message, float]], is_member: bool) -> None:
        """
        Any messages, as questions, answers or neither, from a member or a stranger.
        """
        rings, victim, member, stranger = self.ring()
        mouth = Mouth(member if is_member else stranger, victim)
        for how, message, pause_s in said:
            mouth.say(how, encode(message))
            rings.advance(pause_s)
        self.end(rings, stranger)

    @few
    @given(st.lists(st.tuples(ways, anything), min_size=1, max_size=12), st.booleans(), st.data())
    def test_broken(self, said: list[tuple[int, Message]], is_member: bool, data: st.DataObject) -> None:
        """
        The same with bytes changed and cut off; what is no message is counted.
        """
        rings, victim, member, stranger = self.ring()
        mouth = Mouth(member if is_member else stranger, victim)
        for how, message in said:
            frame = mouth.frame(how, spoken.mutated(data, encode(message)))
            victim.rpc.frame_received(mouth.contact, spoken.mutated(data, frame) if data.draw(st.booleans()) else frame)
        mouth.say(TELL, b"\x00\x10")
        self.assertGreaterEqual(victim.complaints.counts["broken message"], 1)
        self.end(rings, stranger)

    @few
    @given(st.lists(anything, min_size=1, max_size=6), st.booleans(), st.floats(1, 40))
    def test_answers(self, answers: list[Message], is_member: bool, lasts_s: float) -> None:
        """
        A node that answers whatever it is asked with anything, for a while.
        """
        rings, victim, member, stranger = self.ring()
        liar = member if is_member else stranger
        kinds: list[type[Message]] = [*ASKED, Inquire]
        honest = {kind: liar.rpc.handler(kind) for kind in kinds}
        turn = iter(range(1 << 30))

        def lie(peer: Contact, question: Message) -> Message:
            return answers[next(turn) % len(answers)]

        for kind in honest:
            liar.rpc.serve(kind, lie)
        Mouth(liar, victim).say(TELL, encode(Heartbeat(b"another!")))
        rings.misrouted(5, 1.0)
        rings.advance(lasts_s)
        for kind, handler in honest.items():
            liar.rpc.serve(kind, handler)
        self.end(rings, stranger)

    @few
    @given(st.lists(st.tuples(relayed, st.booleans()), min_size=1, max_size=12), st.booleans(), st.data())
    def test_relaying(self, said: list[tuple[Message, bool]], is_member: bool, data: st.DataObject) -> None:
        """
        Anything about relaying, whole or broken; and a frame of Pastry in it, as if it were carried.
        """
        rings, victim, member, stranger = self.ring()
        mouth = Mouth(member if is_member else stranger, victim)
        for message, is_whole in said:
            body = encode(message) if is_whole else spoken.mutated(data, encode(message))
            victim.relay.frame_received(mouth.contact, bytes([RELAY_FRAME]) + body)
            rings.advance(data.draw(st.sampled_from([0.0, 0.1, 2.0])))
        frame = mouth.frame(TELL, encode(data.draw(anything)))
        victim.relay.frame_received(mouth.contact, relay_frame(Carried(rings.members[2].id, frame)))
        self.assertEqual([], too_large(victim.pastry, victim.rpc))
        self.end(rings, stranger)

    @few
    @given(st.lists(st.tuples(ways, anything, pauses), min_size=1, max_size=12), st.booleans(), st.floats(0, 1))
    def test_newcomer(self, said: list[tuple[int, Message, float]], is_member: bool, after_s: float) -> None:
        """
        Anything said to a node that is coming in: it comes in.
        """
        rings, victim, member, stranger = self.ring()
        victim.crash()
        rings.advance(5)
        victim.boot(rings.seeds())
        rings.advance(after_s)
        mouth = Mouth(member if is_member else stranger, victim)
        for how, message, pause_s in said:
            mouth.say(how, encode(message))
            rings.advance(pause_s)
        stranger.crash()
        self.assertTrue(rings.until(lambda: victim.pastry.active, 30))
        self.assertEqual([], too_large(victim.pastry, victim.rpc))
        self.assert_well(rings, rings.members[:COUNT])
