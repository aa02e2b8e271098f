"""
Tests of L{post.smtp.client}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from post.errors import PeerError
from post.mail.relay import Outcome, Verdict
from post.smtp.client import (
    LINE_LIMIT,
    LINES_LIMIT,
    PIECE_BYTES,
    IStream,
    Reply,
    ReplyReader,
    Session,
    TlsFailed,
    Unavailable,
    is_sound,
    stuffed,
)
from post.smtp.data import DataReader

MESSAGE = b"From: a@example.org\r\n\r\n.\r\nx\r\n"
HELLO = "250-mx hello\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"


@implementer(IStream)
class FakeStream:
    """
    A server that says what it is told to; C{tls} is whether encryption works.
    """

    def __init__(self, *said: str) -> None:
        self.said = list(said)
        self.heard: list[str] = []
        self.data = b""
        self.tls: bool | None = None

    async def send(self, data: bytes, timeout_s: float) -> None:
        if self.heard and self.heard[-1] == "DATA":
            self.data += data
        else:
            self.heard.append(data.decode().removesuffix("\r\n"))

    async def reply(self, timeout_s: float) -> Reply:
        if not self.said:
            raise Unavailable("The connection was lost.")
        reader = ReplyReader()
        reader.feed(self.said.pop(0).encode() + b"\r\n")
        reply = reader.next()
        assert reply is not None
        if reply.code == 354 or (self.data and reply.code != 354):
            self.heard.append("DATA" if reply.code == 354 else "")
        return reply

    async def start_tls(self) -> None:
        if self.tls is False:
            raise TlsFailed("No secure connection could be made.")
        self.tls = True


class ReplyTests(SynchronousTestCase):
    """
    Tests of L{ReplyReader}.
    """

    def read(self, *chunks: bytes) -> list[Reply]:
        """
        The replies in C{chunks}.
        """
        reader, found = ReplyReader(), []
        for chunk in chunks:
            reader.feed(chunk)
            while (reply := reader.next()) is not None:
                found.append(reply)
        return found

    def test_lines(self) -> None:
        """
        A reply has one line or many, with or without text; its status is the server's if that agrees with the code.
        """
        [first, second, third] = self.read(b"250-a\r\n250-b\r\n250 c\r\n550 5.1.1 no\r\n4", b"21\r\n")
        self.assertEqual((250, ("a", "b", "c"), "2.0.0"), (first.code, first.lines, first.status))
        self.assertEqual((550, "5.1.1", "550 5.1.1 no"), (second.code, second.status, second.words))
        self.assertEqual((421, "4.0.0", "421"), (third.code, third.status, third.words))
        self.assertEqual("5.0.0", self.read(b"550 2.1.1 odd\r\n")[0].status)

    def test_hostile(self) -> None:
        """
        What is no reply, or has no end, is refused; what a terminal would obey is not passed on.
        """
        for data in (
            b"hello\r\n",
            b"99 x\r\n",
            b"250_x\r\n",
            b"250-a\r\n251 b\r\n",
            b"x" * (LINE_LIMIT + 1),
            b"250-a\r\n" * (LINES_LIMIT + 1),
            b"HTTP/1.1 200 OK\r\n",
        ):
            self.assertRaises(PeerError, self.read, data)
        self.assertEqual("250 ?[31mred?", self.read("250 \x1b[31mred\u202e\r\n".encode())[0].words)

    @given(st.binary(max_size=300), st.integers(1, 50))
    def test_garbage(self, data: bytes, size: int) -> None:
        """
        Whatever comes, in whatever chunks, it is a reply, or none yet, or a L{PeerError}.
        """
        read: list[list[Reply] | None] = []
        for chunks in ([data], [data[at : at + size] for at in range(0, len(data), size)]):
            try:
                read.append(self.read(*chunks))
            except PeerError:
                read.append(None)
        self.assertEqual(*read)


class StuffedTests(SynchronousTestCase):
    """
    Tests of L{stuffed}.
    """

    @given(st.lists(st.sampled_from([b"\r\n", b".", b"x", b"..", b"\r\n.", b"y" * 30]), max_size=40), st.integers(0, 8))
    def test_read(self, pieces: list[bytes], behind: int) -> None:
        """
        A server reads what we were given, also where dots and ends of lines stand at the border of two pieces.
        """
        message = b"z" * (PIECE_BYTES - behind) + b"".join(pieces) if behind else b"".join(pieces)
        message = message if message.endswith(b"\r\n") else message + b"\r\n"
        reader = DataReader(1 << 20, None)
        rest = reader.feed(b"".join(stuffed(message)) + b"QUIT\r\n")
        self.assertEqual((b"QUIT\r\n", message, False), (rest, bytes(reader.message()), reader.bad_octets))

    def test_border(self) -> None:
        """
        No line that consists of a dot is sent but the last, wherever it is (the smuggling that C{twisted.mail} allows).
        """
        for behind in range(6):
            message = b"x" * (PIECE_BYTES - behind) + b"\r\n.\r\nMAIL FROM:<evil@example.org>\r\n"
            sent = b"".join(stuffed(message))
            self.assertEqual(sent.index(b"\r\n.\r\n"), len(sent) - 5)

    def test_end(self) -> None:
        """
        A message without a last line end gets one.
        """
        self.assertEqual(b"a\r\n.\r\n", b"".join(stuffed(b"a")))
        self.assertEqual(b".\r\n", b"".join(stuffed(b"")))


class SessionTests(SynchronousTestCase):
    """
    Tests of L{Session}.
    """

    def talk(
        self,
        *said: str,
        recipients: Sequence[str] = ("x@example.net",),
        message: bytes = MESSAGE,
        sender: str = "a@example.org",
        hello: str = HELLO,
    ) -> tuple[list[Verdict], FakeStream]:
        """
        What becomes of a message at a server that says C{said} after the greetings.
        """
        stream = FakeStream("220 mx", hello, *said)
        session = Session(stream, "gw.example.org", "mx")

        async def run() -> list[Verdict]:
            await session.begin(True, False)
            return await session.send(sender, recipients, message)

        return self.successResultOf(Deferred.fromCoroutine(run())), stream

    def begin(self, *said: str, tls: bool = True, must: bool = False, works: bool = True) -> Session | Unavailable:
        """
        The session that comes of a greeting, or why there is none.
        """
        stream = FakeStream(*said)
        stream.tls = None if works else False
        session = Session(stream, "gw.example.org", "mx")
        begun = Deferred.fromCoroutine(session.begin(tls, must))
        result: list[object] = []
        begun.addBoth(result.append)
        if isinstance(result[0], Failure):
            error = result[0].value
            assert isinstance(error, Unavailable), error
            return error
        return session

    def test_fake(self) -> None:
        """
        The double is one.
        """
        self.assertTrue(verifyObject(IStream, FakeStream()))

    def test_taken(self) -> None:
        """
        One transaction for all recipients, with the size; the message as it is.
        """
        verdicts, stream = self.talk(
            "250 ok", "250 ok", "250 ok", "354 go", "250 2.6.0 taken", recipients=("x@example.net", "y@example.net")
        )
        self.assertEqual(["DELIVERED", "DELIVERED"], [each.outcome.name for each in verdicts])
        self.assertEqual(
            ("2.6.0", "250 2.6.0 taken", "mx"), (verdicts[0].status, verdicts[0].words, verdicts[0].remote)
        )
        self.assertEqual(
            [
                "EHLO gw.example.org",
                f"MAIL FROM:<a@example.org> SIZE={len(MESSAGE)}",
                "RCPT TO:<x@example.net>",
                "RCPT TO:<y@example.net>",
                "DATA",
            ],
            stream.heard[:5],
        )
        self.assertEqual(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n", stream.data)

    def test_some(self) -> None:
        """
        Each recipient has a verdict of their own; too many at once (552 at RCPT) is for now.
        """
        names = tuple(f"{name}@example.net" for name in "abcd")
        verdicts, _ = self.talk(
            "250 ok", "550 5.1.1 no", "450 4.7.1 later", "552 full", "250 ok", "354 go", "250 ok", recipients=names
        )
        self.assertEqual(["REFUSED", "LATER", "LATER", "DELIVERED"], [each.outcome.name for each in verdicts])
        self.assertEqual(list(names), [each.recipient for each in verdicts])
        self.assertEqual("4.0.0", verdicts[2].status)

    def test_whole(self) -> None:
        """
        What is said of MAIL, DATA or the message holds for all; a strange reply is for now.
        """
        for said, outcome in (
            (("550 no",), Outcome.REFUSED),
            (("451 later",), Outcome.LATER),
            (("250 ok", "250 ok", "554 5.7.1 spam"), Outcome.REFUSED),
            (("250 ok", "250 ok", "354 go", "550 5.7.1 spam"), Outcome.REFUSED),
            (("250 ok", "250 ok", "354 go", "452 full"), Outcome.LATER),
            (("250 ok", "250 ok", "354 go", "354 what"), Outcome.LATER),
            (("250 ok", "250 ok", "354 go"), Outcome.LATER),
            (("250 ok", "421 bye"), Outcome.LATER),
            (("250 ok",), Outcome.LATER),
        ):
            verdicts, _ = self.talk(*said)
            self.assertEqual([outcome], [each.outcome for each in verdicts], said)
            self.assertEqual({Outcome.LATER: "4", Outcome.REFUSED: "5"}[outcome], verdicts[0].status[0], said)

    def test_unable(self) -> None:
        """
        What the server cannot take is not sent: too large, in 8 bits where it knows 7 only, or with a bare line end.
        """
        for message, hello, status in (
            (b"x" * 2000 + b"\r\n", HELLO, "5.3.4"),
            ("Subject: \u00fc\r\n\r\n".encode(), "250 mx", "5.6.3"),
            (b"a\n.\r\nMAIL FROM:<evil>\r\n", HELLO, "5.6.0"),
            (b"a\r.\r\n", HELLO, "5.6.0"),
            (b"a\0\r\n", HELLO, "5.6.0"),
        ):
            verdicts, stream = self.talk(message=message, hello=hello)
            self.assertEqual([(Outcome.REFUSED, status)], [(each.outcome, each.status) for each in verdicts])
            self.assertEqual(["EHLO gw.example.org"], stream.heard)
        verdicts, stream = self.talk("250 ok", recipients=("x@y> NOTIFY=NEVER\r\nRSET",))
        self.assertEqual(["REFUSED"], [each.outcome.name for each in verdicts])
        _, stream = self.talk("550 x", message="Subject: \u00fc\r\n\r\n".encode())
        self.assertIn(" BODY=8BITMIME", stream.heard[1])

    @given(
        st.lists(
            st.sampled_from(["220", "221", "250", "251", "354", "421", "450", "452", "500", "550", "552"]), max_size=9
        ),
        st.integers(1, 3),
    )
    def test_any(self, said: list[str], count: int) -> None:
        """
        Whatever a server says, there is a verdict for each recipient, or another server is tried; nothing is taken for
        delivered unless the end of the message was answered so.
        """
        names = [f"{number}@example.net" for number in range(count)]
        stream = FakeStream("220 mx", "250 mx", *(f"{code} x" for code in said))
        session = Session(stream, "gw.example.org", "mx")

        async def run() -> list[Verdict]:
            await session.begin(True, False)
            return await session.send("a@example.org", names, MESSAGE)

        result: list[Any] = []
        Deferred.fromCoroutine(run()).addBoth(result.append)
        if isinstance(result[0], Failure):
            result[0].trap(Unavailable)
            self.assertEqual(b"", stream.data)
            return
        self.assertEqual(names, [verdict.recipient for verdict in result[0]])
        if any(verdict.outcome is Outcome.DELIVERED for verdict in result[0]):
            self.assertEqual(("354", "2"), (said[count + 1], said[count + 2][0]))

    def test_null_sender(self) -> None:
        """
        A report has no sender.
        """
        _, stream = self.talk("550 x", sender="")
        self.assertTrue(stream.heard[1].startswith("MAIL FROM:<> "))

    def test_hello(self) -> None:
        """
        A server that knows no EHLO is spoken to in the old way; one that is not there for us is left.
        """
        session = self.begin("220 mx", "502 what", "250 mx")
        assert isinstance(session, Session)
        self.assertEqual({}, session.extensions)
        for said in (
            ("554 no mail here",),
            ("421 later",),
            ("220 mx", "502 what", "502 what"),
            ("220 mx", "421 x"),
            (),
        ):
            self.assertIsInstance(self.begin(*said), Unavailable, said)
            error = self.begin(*said)
            assert isinstance(error, Unavailable)
            self.assertEqual("4", error.status[0])

    def test_tls(self) -> None:
        """
        Encrypted if the server can, and what it could before is forgotten then; without it only where it need not be.
        """
        can = "250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS"
        session = self.begin("220 mx", can, "220 go", "250 mx")
        assert isinstance(session, Session)
        self.assertEqual((True, {}), (session.secure, session.extensions))
        for said, works in ((("220 mx", can, "454 not now"), True), (("220 mx", "250 mx"), True)):
            session = self.begin(*said, works=works)
            assert isinstance(session, Session)
            self.assertFalse(session.secure)
            self.assertIsInstance(self.begin(*said, must=True, works=works), TlsFailed)
        self.assertIsInstance(self.begin("220 mx", can, "220 go", works=False), TlsFailed)
        session = self.begin("220 mx", can, tls=False)
        assert isinstance(session, Session)
        self.assertFalse(session.secure)


class SoundTests(SynchronousTestCase):
    """
    Tests of L{is_sound}.
    """

    def test_sound(self) -> None:
        """
        Lines end with CRLF, and there is nothing else.
        """
        for message in (b"", b"a", b"a\r\n", b"\r\n\r\n"):
            self.assertTrue(is_sound(message))
        for message in (b"\n", b"\r", b"\n\r", b"a\r\r\n", b"\0"):
            self.assertFalse(is_sound(message))
