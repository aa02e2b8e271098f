"""
Speaking to the servers of other domains (RFC 5321): what is said, what is made of the answers.  Without sockets.

The answers come from strangers: bounded, one line for people at most, and nothing that came before TLS counts after it.
A message with a bare CR or LF is never sent, so that no server can see an end where we sent none (SMTP smuggling).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zope.interface import Interface

from post.errors import PeerError, PostError
from post.mail.outbound import WORDS_LIMIT
from post.mail.relay import Outcome, Verdict

LINE_LIMIT = 2048
"""Octets of a line of a reply; RFC 5321, 4.5.3.1.5, says 512."""
LINES_LIMIT = 100
"""Lines of a reply."""
PIECE_BYTES = 64 * 1024

# RFC 5321, 4.5.3.2.
GREETING_S = 300.0
COMMAND_S = 300.0
DATA_S = 120.0
PIECE_S = 180.0
END_S = 600.0
QUIT_S = 5.0
"""Nothing depends on it."""

_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)")
_UNPRINTABLE = re.compile(r"[^ -~]+")
_KEYWORD = re.compile(r"[A-Z0-9][A-Z0-9-]*")
_ADDRESS = re.compile(r"[!-;=?-~]{1,320}")


class Unavailable(PostError):
    """
    This server cannot be used now; another one may.  The text is one line for people.
    """

    def __init__(self, words: str, status: str = "4.4.2") -> None:
        super().__init__(words)
        self.words = words
        self.status = status


class TlsFailed(Unavailable):
    """
    The server says that it speaks TLS, and no secure connection came of it.
    """


@dataclass(frozen=True)
class Reply:
    """
    What a server said.  C{lines} are without code; C{status} is the enhanced one, or made of the code.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def status(self) -> str:
        """
        The enhanced status code (RFC 3463).
        """
        match = _STATUS.match(self.lines[0]) if self.lines else None
        if match is not None and match[1][0] == str(self.code)[0]:
            return match[1]
        return f"{self.code // 100}.0.0" if self.code // 100 in (2, 4, 5) else "4.0.0"

    @property
    def words(self) -> str:
        """
        All of it, on one line.
        """
        return f"{self.code} {' '.join(self.lines)}".strip()[:WORDS_LIMIT]


class ReplyReader:
    """
    From octets to replies, however the octets come in.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: list[tuple[int, str]] = []

    @property
    def waiting(self) -> bool:
        """
        Whether there is something that no reply has used yet.
        """
        return bool(self._buffer or self._lines)

    def feed(self, data: bytes) -> None:
        """
        Take octets.

        @raise PeerError: if it is more than anybody has to say.
        """
        self._buffer += data
        if len(self._buffer) > LINE_LIMIT * LINES_LIMIT:
            raise PeerError("a reply without end")

    def next(self) -> Reply | None:
        """
        The next reply; C{None} if it is not complete.

        @raise PeerError: if it is none.
        """
        while True:
            end = self._buffer.find(b"\n")
            if end > LINE_LIMIT or (end < 0 and len(self._buffer) > LINE_LIMIT):
                raise PeerError("a line of a reply that is too long")
            if end < 0:
                return None
            line = bytes(self._buffer[:end]).removesuffix(b"\r")
            del self._buffer[: end + 1]
            match = _LINE.fullmatch(line)
            if match is None:
                raise PeerError("not a reply of SMTP")
            code, text = int(match[1]), _UNPRINTABLE.sub("?", (match[3] or b"").decode("utf-8", "replace")).strip()
            if self._lines and self._lines[0][0] != code:
                raise PeerError("a reply with two codes")
            self._lines.append((code, text))
            if len(self._lines) > LINES_LIMIT:
                raise PeerError("a reply without end")
            if match[2] != b"-":
                lines, self._lines = self._lines, []
                return Reply(code, tuple(text for _, text in lines))


class IStream(Interface):
    """
    A connection to a server.
    """

    async def send(data: bytes, timeout_s: float) -> None:
        """
        Returns when more may be sent.

        @raise Unavailable: if it does not get away in time, or the connection is lost.
        """

    async def reply(timeout_s: float) -> Reply:
        """
        @raise Unavailable: if none comes in time, the connection is lost, or it is none of SMTP.
        """

    async def start_tls() -> None:
        """
        Go on over TLS; what has been received before is an error.

        @raise TlsFailed: if that does not come about.
        """


def stuffed(message: bytes) -> Iterator[bytes]:
    """
    C{message} as it follows DATA, with its end (RFC 5321, 4.5.2), in pieces; the same octets however it is cut.
    """
    if message.startswith(b"."):
        yield b"."
    for start in range(0, len(message), PIECE_BYTES):
        behind = max(0, start - 2)
        yield message[behind : start + PIECE_BYTES].replace(b"\r\n.", b"\r\n..")[start - behind :]
    yield b".\r\n" if message.endswith(b"\r\n") or not message else b"\r\n.\r\n"


def is_sound(message: bytes) -> bool:
    """
    Whether every line ends with CRLF, and nothing else looks like an end.
    """
    breaks = message.count(b"\r\n")
    return message.count(b"\r") == breaks and message.count(b"\n") == breaks and b"\0" not in message


class Session:
    """
    A connection to one server, from its greeting on.
    """

    def __init__(self, stream: IStream, name: str, remote: str) -> None:
        """
        @param name: what we call ourselves.
        @param remote: the name of the server, for verdicts.
        """
        self._stream = stream
        self._name = name
        self._remote = remote
        self.secure = False
        self.extensions: dict[str, str] = {}

    async def begin(self, tls: bool, must: bool) -> None:
        """
        To where a message can be sent.

        @param tls: whether to encrypt if the server can.
        @param must: whether it has to.
        @raise Unavailable: if this server takes nothing from us now.
        """
        reply = await self._stream.reply(GREETING_S)
        if reply.code != 220:
            raise Unavailable(reply.words, _later(reply))
        await self._hello()
        if tls and "STARTTLS" in self.extensions:
            reply = await self._say("STARTTLS")
            if reply.code == 220:
                await self._stream.start_tls()
                self.secure = True
                # What the server said before may have been said by somebody else.
                await self._hello()
            elif must:
                raise TlsFailed(reply.words, "4.7.4")
        elif must:
            raise TlsFailed("It does not offer the encryption that its domain demands.", "4.7.4")

    async def _hello(self) -> None:
        self.extensions = {}
        reply = await self._say(f"EHLO {self._name}")
        if reply.code == 250:
            for line in reply.lines[1:]:
                keyword, _, value = line.upper().partition(" ")
                if _KEYWORD.fullmatch(keyword):
                    self.extensions[keyword] = value
            return
        if reply.code // 100 == 5:
            reply = await self._say(f"HELO {self._name}")
        if reply.code != 250:
            raise Unavailable(reply.words, _later(reply))

    async def _say(self, line: str, timeout_s: float = COMMAND_S) -> Reply:
        await self._stream.send(line.encode("ascii") + b"\r\n", timeout_s)
        return await self._stream.reply(timeout_s)

    async def send(self, sender: str, recipients: Sequence[str], message: bytes) -> list[Verdict]:
        """
        One transaction; a verdict for each of C{recipients}.

        @raise Unavailable: if the connection is lost before the server has said anything about any recipient.
        """
        if not is_sound(message) or not all(_ADDRESS.fullmatch(each) for each in (sender or "x", *recipients)):
            return self._all(recipients, Outcome.REFUSED, "5.6.0", "The message has line ends that mail cannot have.")
        parameters = ""
        if not message.isascii():
            if "8BITMIME" not in self.extensions:
                words = "That server takes only messages in 7 bits, and yours has others."
                return self._all(recipients, Outcome.REFUSED, "5.6.3", words)
            parameters += " BODY=8BITMIME"
        if "SIZE" in self.extensions:
            limit = self.extensions["SIZE"]
            if limit.isdecimal() and 0 < int(limit[:18]) < len(message):
                words = f"The message has {len(message)} octets, and that server takes {limit[:18]}."
                return self._all(recipients, Outcome.REFUSED, "5.3.4", words)
            parameters += f" SIZE={len(message)}"
        reply = await self._say(f"MAIL FROM:<{sender}>{parameters}")
        if reply.code != 250:
            self._raise_if_closing(reply)
            return self._judged(recipients, reply)
        verdicts: dict[str, Verdict] = {}
        try:
            await self._name_recipients(recipients, verdicts)
            accepted = [each for each in recipients if each not in verdicts]
            if accepted:
                for verdict in await self._send_message(accepted, message):
                    verdicts[verdict.recipient] = verdict
        except Unavailable as error:
            rest = [each for each in recipients if each not in verdicts]
            for verdict in self._all(rest, Outcome.LATER, error.status, error.words):
                verdicts[verdict.recipient] = verdict
        return [verdicts[each] for each in recipients]

    async def _name_recipients(self, recipients: Sequence[str], verdicts: dict[str, Verdict]) -> None:
        for recipient in recipients:
            reply = await self._say(f"RCPT TO:<{recipient}>")
            if reply.code == 552:
                # RFC 5321, 4.5.3.1.10: too many at once, as old servers say it.
                reply = Reply(452, reply.lines)
            if reply.code not in (250, 251):
                [verdicts[recipient]] = self._judged([recipient], reply)
            self._raise_if_closing(reply)

    async def _send_message(self, recipients: Sequence[str], message: bytes) -> list[Verdict]:
        reply = await self._say("DATA", DATA_S)
        if reply.code != 354:
            return self._judged(recipients, reply)
        for piece in stuffed(message):
            await self._stream.send(piece, PIECE_S)
        reply = await self._stream.reply(END_S)
        if reply.code // 100 == 2:
            return self._all(recipients, Outcome.DELIVERED, reply.status, reply.words, self._remote)
        return self._judged(recipients, reply)

    async def end(self) -> None:
        """
        Say goodbye.
        """
        try:
            await self._say("QUIT", QUIT_S)
        except Unavailable:
            pass  # The message has been answered.

    def _raise_if_closing(self, reply: Reply) -> None:
        if reply.code == 421:
            raise Unavailable(reply.words, reply.status)

    def _judged(self, recipients: Sequence[str], reply: Reply) -> list[Verdict]:
        """
        What a reply means that does not let us go on: for good, or for now, as is what should not have been said here.
        """
        if reply.code // 100 == 5:
            return self._all(recipients, Outcome.REFUSED, reply.status, reply.words, self._remote)
        return self._all(recipients, Outcome.LATER, _later(reply), reply.words, self._remote)

    def _all(
        self, recipients: Sequence[str], outcome: Outcome, status: str, words: str, remote: str = ""
    ) -> list[Verdict]:
        return [Verdict(each, outcome, status, words, remote) for each in recipients]


def _later(reply: Reply) -> str:
    """
    The status of something that is tried again, whatever the server called it.
    """
    return "4" + reply.status[1:]
