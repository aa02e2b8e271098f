"""
The whole protocol, with whatever comes: no octets do harm, and how they are cut changes nothing.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.assembler import LINE_LIMIT, TAIL
from post.front.imap.server import BUFFER_LIMIT
from tests.front.imap.doubles import SIMPLE, Client, World
from tests.front.imap.test_fetch import NESTED

COMMANDS = [
    b"LOGIN alice secret",
    b"LOGIN {5+}\r\nalice {6}\r\nsecret",
    b"AUTHENTICATE PLAIN",
    b"AGFsaWNlAHNlY3JldA==",
    b"SELECT INBOX",
    b"EXAMINE Sent",
    b"SELECT {5+}\r\nINBOX",
    b"FETCH 1:* (FLAGS UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
    b"FETCH 2 (ENVELOPE BODYSTRUCTURE BODY[2.1] BODY[]<3.9>)",
    b"UID FETCH 1:4294967295 ALL",
    b"STORE 1 +FLAGS (\\Deleted x)",
    b"STORE 1:2 FLAGS.SILENT ()",
    b"EXPUNGE",
    b"COPY 1 INBOX",
    b"MOVE 1 Sent",
    b"UID MOVE 1:* New",
    b"SEARCH OR TEXT {3+}\r\ninn NOT SUBJECT x",
    b"SEARCH CHARSET x ALL",
    b"APPEND INBOX (\\Seen) {12+}\r\nA: b\r\n\r\ntext",
    b"APPEND INBOX {9999999+}\r\nx",
    b"CREATE New/er",
    b"RENAME INBOX Old",
    b"DELETE Sent",
    b"SUBSCRIBE Sent",
    b'LIST "" "*" RETURN (STATUS (MESSAGES))',
    b'LSUB "" %',
    b"STATUS inbox (UIDNEXT)",
    b"IDLE",
    b"DONE",
    b"CLOSE",
    b"UNSELECT",
    b"NOOP",
    b"ID NIL",
    b"STARTTLS",
]
lines = st.one_of(
    st.sampled_from(COMMANDS).map(lambda command: b"t " + command + b"\r\n"),
    st.sampled_from(COMMANDS).map(lambda command: command + b"\r\n"),
    st.tuples(st.sampled_from(COMMANDS), st.integers(0, 60), st.binary(max_size=3)).map(
        lambda each: b"t " + each[0][: each[1]] + each[2] + each[0][each[1] :] + b"\r\n"
    ),
    st.binary(max_size=30),
)
talks = st.lists(lines, max_size=12).map(b"".join)


def world() -> World:
    """
    Two messages and a certificate.
    """
    made = World(object())
    made.mailbox.receive(SIMPLE)
    made.mailbox.receive(NESTED)
    return made


def logged_in(made: World) -> Client:
    """
    A client that has just selected INBOX.
    """
    return made.enter()


class ProtocolTests(SynchronousTestCase):
    """
    Tests for a connection as a whole.
    """

    @settings(max_examples=150)
    @given(talks, st.booleans())
    def test_no_harm(self, octets: bytes, known: bool) -> None:
        """
        Whatever comes, nothing fails inside, nothing is answered that is no response, and nothing is left behind.
        """
        made = world()
        client = logged_in(made) if known else made.connect()
        client.send(octets)
        made.clock.advance(60)
        answer = client.octets()
        self.assertEqual([], self.flushLoggedErrors())
        self.assertNotIn(b"SERVERBUG", answer)
        for line in answer.split(b"\r\n"):
            if b" BAD " in line or b" NO " in line:
                self.assertNotIn(b"Traceback", line)
        self.assertTrue(answer == b"" or answer.endswith(b"\r\n"))
        client.hang_up()
        made.clock.advance(60)
        self.assertEqual([], made.clock.getDelayedCalls())

    @settings(max_examples=150)
    @given(talks, st.lists(st.integers(0, 400), max_size=8), st.booleans())
    def test_chunking(self, octets: bytes, cuts: list[int], known: bool) -> None:
        """
        However the octets are cut, the answers are the same.  (But for STARTTLS, where the cut is what matters.)
        """
        octets = octets.upper().replace(b"STARTTLS", b"NOOP") if b"STARTTLS" in octets.upper() else octets
        answers = []
        for pieces in ([octets], [octets[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True)]):
            made = world()
            client = logged_in(made) if known else made.connect()
            for piece in pieces:
                client.send(piece)
            made.clock.advance(60)
            answers.append((client.octets(), client.ended))
        self.assertEqual(answers[0], answers[1])

    @given(st.sampled_from([b"x", b"{1+}\r\nx", b'"', b"(", b"t NOOP {5000000+}\r\n", b"\0", b"t FETCH ", b"1,"]))
    def test_memory(self, piece: bytes) -> None:
        """
        However much comes, little of it is kept.
        """
        for client in (world().connect(), logged_in(world())):
            block = piece * (50_000 // len(piece))
            for _ in range(8):
                client.send(block)
                client.octets()
            kept = client.protocol._assembler
            self.assertLessEqual(kept.waiting, max(BUFFER_LIMIT, TAIL) + len(block))
            held = len(kept._command.text) + sum(len(each) for each in kept._command.literals)
            self.assertLessEqual(held, 2 * LINE_LIMIT)
