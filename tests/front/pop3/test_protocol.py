"""
The whole protocol, with whatever comes: no octets do harm, and how they are cut changes nothing.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.pop3.server import BUFFER_LIMIT
from tests.front.pop3.doubles import DOTS, SIMPLE, Client, World

COMMANDS = [
    b"USER alice",
    b"PASS secret",
    b"PASS wrong",
    b"AUTH PLAIN",
    b"AUTH PLAIN AGFsaWNlAHNlY3JldA==",
    b"AUTH LOGIN",
    b"AGFsaWNlAHNlY3JldA==",
    b"YWxpY2U=",
    b"c2VjcmV0",
    b"*",
    b"CAPA",
    b"STAT",
    b"LIST",
    b"LIST 1",
    b"UIDL",
    b"UIDL 2",
    b"RETR 1",
    b"RETR 2",
    b"TOP 1 0",
    b"TOP 2 3",
    b"DELE 1",
    b"DELE 2",
    b"DELE x",
    b"RSET",
    b"NOOP",
    b"QUIT",
    b"STLS",
    b"GET / HTTP/1.1",
    b"X" * 5000,
]
lines = st.one_of(
    st.sampled_from(COMMANDS).map(lambda command: command + b"\r\n"),
    st.sampled_from(COMMANDS).map(lambda command: command.lower() + b"\n"),
    st.tuples(st.sampled_from(COMMANDS), st.integers(0, 20), st.binary(max_size=3)).map(
        lambda each: each[0][: each[1]] + each[2] + each[0][each[1] :] + b"\r\n"
    ),
    st.binary(max_size=30),
)
talks = st.lists(lines, max_size=12).map(b"".join)


def start(known: bool) -> Client:
    """
    A client of a node with two messages and a certificate; perhaps logged in.
    """
    world = World(SIMPLE, DOTS, tls=object())
    return world.enter() if known else world.connect()


class ProtocolTests(SynchronousTestCase):
    """
    Tests for a connection as a whole.
    """

    @settings(max_examples=150)
    @given(talks, st.booleans())
    def test_no_harm(self, octets: bytes, known: bool) -> None:
        """
        Whatever comes, nothing fails inside, every answer is one, nothing is left behind, and only QUIT removes.
        """
        client = start(known)
        client.send(octets)
        client.world.clock.advance(60)
        answer = client.octets()
        self.assertEqual([], self.flushLoggedErrors())
        self.assertNotIn(b"Something is wrong", answer)
        self.assertTrue(answer == b"" or answer.endswith(b"\r\n"))
        client.hang_up()
        client.world.clock.advance(60)
        self.assertEqual([], client.world.clock.getDelayedCalls())
        left = len(client.world.mailbox.folder("INBOX").entries())
        self.assertTrue(left == 2 or b"quit" in octets.lower())
        self.assertTrue(client.world.factory.locks.take("alice@example.org"))

    @settings(max_examples=150)
    @given(talks, st.lists(st.integers(0, 400), max_size=8), st.booleans())
    def test_chunking(self, octets: bytes, cuts: list[int], known: bool) -> None:
        """
        However the octets are cut, the answers are the same.  (But for STLS, where the cut is what matters.)
        """
        octets = octets.upper().replace(b"STLS", b"NOOP") if b"STLS" in octets.upper() else octets
        answers = []
        for pieces in ([octets], [octets[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True)]):
            client = start(known)
            for piece in pieces:
                client.send(piece)
            client.world.clock.advance(60)
            answers.append((client.octets(), client.ended))
        self.assertEqual(answers[0], answers[1])

    @given(st.sampled_from([b"x", b"\0", b"RETR 1 ", b"USER a\r\n", b"NOOP\r\n", b"\r\n"]))
    def test_memory(self, piece: bytes) -> None:
        """
        However much comes, little of it is kept.
        """
        for known in (False, True):
            client = start(known)
            for _ in range(8):
                client.send(piece * (50_000 // len(piece)))
                client.octets()
            self.assertLessEqual(client.protocol._lines.waiting, BUFFER_LIMIT + 50_000)
