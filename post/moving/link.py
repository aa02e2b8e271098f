"""
The program's end of the socket to a node: requests go out ahead of their answers, within limits.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from post import control
from post.errors import PeerError, PostError, Unreachable
from post.moving.requests import (
    DONE,
    LATER,
    MESSAGE,
    PIECE_LIMIT,
    Answer,
    Request,
    frame,
    lengths,
    opened,
)
from post.moving.server import SOCKET
from post.wire import Document, pack

ANSWER_S = 300.0
"""For an answer.  A ring that cannot keep a message says so within a minute; more means that nobody is there."""
IN_FLIGHT = 32
"""Requests not yet answered: as many as the node works on at once."""
IN_FLIGHT_BYTES = 16 * 1024 * 1024
"""Octets of messages not yet answered, unless it is one that is larger by itself."""

_T = TypeVar("_T", bound=Document)


class NotTaken(PostError):
    """
    The node cannot take, or give, this one message.
    """


class NotNow(PostError):
    """
    The node cannot do that now; the same may succeed later.
    """


class Connection(Protocol):
    """
    Octets to a node and back.
    """

    def send(self, data: bytes) -> None:
        """
        Send all of it.
        """

    def receive(self, size: int) -> bytes:
        """
        The next C{size} octets.

        @raise Unreachable: if they do not come.
        """

    def close(self) -> None:
        """
        No more.
        """


class SocketConnection:
    """
    To the node that runs in a directory.

    @raise Unreachable: if none does.
    """

    def __init__(self, directory: Path) -> None:
        path = control.find(directory, SOCKET)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise Unreachable(
                f"{path}: {error.strerror or error}: the node has to run, and to serve its people (see post status)"
            ) from None
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """
        As L{Connection}.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Unreachable(f"the node has gone away: {error.strerror or error}") from None

    def receive(self, size: int) -> bytes:
        """
        As L{Connection}.
        """
        try:
            data = self._file.read(size)
        except OSError as error:
            raise Unreachable(f"the node does not answer: {error.strerror or error}") from None
        if len(data) < size:
            raise Unreachable("the node has gone away")
        return data

    def close(self) -> None:
        """
        As L{Connection}.
        """
        self._file.close()
        self._socket.close()


Heard = Callable[[Answer, bytes], None]


class Link:
    """
    Asks about the mailbox of C{account}.
    """

    def __init__(self, connection: Connection, account: str) -> None:
        self._connection = connection
        self._account = account
        self._number = 0
        self._waiting: dict[int, tuple[Heard, int]] = {}
        self._bytes = 0

    def send(self, name: str, body: Document, heard: Heard, octets: bytes = b"") -> None:
        """
        Ask, and go on; C{heard} is called with the answer, by a later call here.

        @raise Unreachable: if the node is not there any more.
        """
        while self._waiting and (len(self._waiting) >= IN_FLIGHT or self._bytes + len(octets) > IN_FLIGHT_BYTES):
            self.hear()
        self._number += 1
        self._waiting[self._number] = heard, len(octets)
        self._bytes += len(octets)
        self._connection.send(frame(Request(1, self._number, self._account, name, pack(body)), octets))

    def drain(self) -> None:
        """
        Wait until all is answered.
        """
        while self._waiting:
            self.hear()

    def ask(self, name: str, body: Document, kind: type[_T]) -> _T:
        """
        Ask, and wait for a document.

        @raise NotTaken, NotNow, PeerError: as the node says.
        """
        answer, _ = self._wait(name, body)
        return opened(kind, answer.body)

    def _wait(self, name: str, body: Document) -> tuple[Answer, bytes]:
        heard: list[tuple[Answer, bytes]] = []
        self.send(name, body, lambda answer, octets: heard.append((answer, octets)))
        while not heard:
            self.hear()
        check(heard[0][0])
        return heard[0]

    def hear(self) -> None:
        """
        Wait for one answer, whichever comes.

        @raise Unreachable: if none does.
        """
        head, octets = lengths(self._connection.receive(8), PIECE_LIMIT)
        answer = opened(Answer, self._connection.receive(head))
        found = self._waiting.pop(answer.number, None)
        if found is None:
            raise PeerError("an answer to nothing")
        heard, sent = found
        self._bytes -= sent
        heard(answer, self._connection.receive(octets))

    def close(self) -> None:
        """
        No more.
        """
        self._connection.close()


def check(answer: Answer) -> None:
    """
    @raise NotTaken, NotNow, PeerError: if it did not end well.
    """
    if answer.outcome == DONE:
        return
    if answer.outcome == MESSAGE:
        raise NotTaken(answer.text)
    raise NotNow(answer.text) if answer.outcome == LATER else PeerError(answer.text)
