"""
The control socket: how C{post status} and the like reach a running node, and C{post ring --stop} a running ring.

A Unix socket in the data directory, mode 0600.  Who connects sends one line, C{{"verb": …}} as JSON, is sent one line,
C{{"ok": …}} or C{{"error": "one line of text", "code": exit code}}, and is hung up on.  Only the directory's owner can
connect, so the limits are against accidents.

A Unix socket's path has at most 107 bytes.  Where the directory's is longer, the socket is in a private temporary
directory, and the file C{control.path} beside where it should be says where.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from post.errors import ConfigError, PostError, Unreachable
from post.files import write_secret

CONNECTIONS_LIMIT = 16
"""Who may be connected at once."""
PATH_LIMIT = 107
"""Bytes of a Unix socket's path, without the closing NUL (Linux; elsewhere it is 103)."""
LINE_LIMIT = 64 * 1024
"""Bytes of a request."""
ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of an answer: the status of a node with thousands of accounts."""

EXIT_FAILED = 1
EXIT_UNREACHABLE = 69
EXIT_CONFIG = 78
"""Exit codes, the last two as in BSD's sysexits: nobody serves there; it cannot work as it is configured."""

# JSON is whatever it is: Any is its type.
Request = dict[str, Any]
Verbs = dict[str, Callable[[Request], Any]]
"""What can be asked: each takes the request and returns something that JSON can express, or a coroutine that does."""


class Declined(PostError):
    """
    The running program says that it cannot: why, and the exit code to end with.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


class Silent(Unreachable):
    """
    There is a running program, and it does not answer: it has been stopped, or has too much to do.
    """


def exit_code(error: PostError) -> int:
    """
    The exit code of a command that failed with C{error}.
    """
    if isinstance(error, Declined):
        return error.code
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    return EXIT_UNREACHABLE if isinstance(error, Unreachable) else EXIT_FAILED


def reply(verbs: Verbs, line: bytes) -> bytes:
    """
    The answer, newline included, to one who sent C{line}, where no verb returns a coroutine.  Raises nothing that a
    request can cause.
    """
    try:
        return _line({"ok": _begin(verbs, line)})
    except (PostError, OSError) as error:
        return _excuse(error)


async def reply_in_time(verbs: Verbs, line: bytes) -> bytes:
    """
    The same when the verb has come to its end, whatever it returned.
    """
    try:
        result = _begin(verbs, line)
        return _line({"ok": await result if isinstance(result, Coroutine) else result})
    except (PostError, OSError) as error:
        return _excuse(error)


def _begin(verbs: Verbs, line: bytes) -> Any:
    try:
        request = json.loads(line)
        verb = verbs[request["verb"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Declined("no such request", EXIT_FAILED) from None
    return verb(request)


def _excuse(error: PostError | OSError) -> bytes:
    code = exit_code(error) if isinstance(error, PostError) else EXIT_FAILED
    return _line({"error": str(error), "code": code})


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


class ControlProtocol(LineOnlyReceiver):
    """
    One who asks.
    """

    delimiter = b"\n"
    MAX_LENGTH = LINE_LIMIT

    def __init__(self, factory: ControlFactory) -> None:
        self._factory = factory
        self._asked = False

    def lineReceived(self, line: bytes) -> None:
        if not self._asked:  # One question each.
            self._asked = True
            Deferred.fromCoroutine(self._factory.answer(line)).addCallback(self._say)

    def _say(self, answer: bytes) -> None:
        self.transport.write(answer)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.connections -= 1


class ControlFactory(Factory):
    """
    Answers those who ask.
    """

    log = Logger()
    noisy = False

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self.connections = 0

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol | None:
        if self.connections >= CONNECTIONS_LIMIT:
            return None
        self.connections += 1
        return ControlProtocol(self)

    async def answer(self, line: bytes) -> bytes:
        """
        The reply to C{line}, whatever happens.
        """
        try:
            return await reply_in_time(self._verbs, line)
        except Exception:
            self.log.failure("a control request failed")
            return _line({"error": "that failed: see the log", "code": EXIT_FAILED})


def place(directory: Path, name: str = "control") -> Path:
    """
    Where the socket C{name} of whoever owns C{directory} is to be.  What an earlier run left is removed.
    """
    remove(directory, name)
    path = directory / name
    if len(os.fsencode(path)) <= PATH_LIMIT:
        return path
    # TMPDIR may be as long.
    for base in (None, "/tmp"):
        path = Path(tempfile.mkdtemp(prefix="post-", dir=base)) / name
        if len(os.fsencode(path)) <= PATH_LIMIT:
            break
        path.parent.rmdir()
    else:
        raise ConfigError(str(directory), "has too long a path for a socket, and so has the temporary directory")
    write_secret(_pointer(directory, name), os.fsencode(path))
    return path


def remove(directory: Path, name: str = "control") -> None:
    """
    Take away the socket, and the temporary directory that was made for it.
    """
    path = find(directory, name)
    _pointer(directory, name).unlink(missing_ok=True)
    if path.is_socket():
        path.unlink()
    if path.parent != directory and path.parent.name.startswith("post-"):
        try:
            path.parent.rmdir()
        except OSError:
            pass  # Gone, or not what L{place} made, since it is not empty.


def find(directory: Path, name: str = "control") -> Path:
    """
    Where the socket C{name} of whoever runs in C{directory} is.
    """
    try:
        return Path(os.fsdecode(_pointer(directory, name).read_bytes()))
    except OSError:
        return directory / name


def _pointer(directory: Path, name: str) -> Path:
    return directory / f"{name}.path"


def ask(path: Path, request: Request, timeout_s: float = 30.0) -> Any:
    """
    Ask whoever listens at C{path}, and wait for the answer.

    @raise Silent: if somebody does, and does not answer in time.
    @raise Unreachable: if nobody does.
    @raise Declined: if the answer is an error.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(os.fspath(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline(ANSWER_LIMIT)
        answer = json.loads(line)
        if "error" in answer:
            raise Declined(str(answer["error"]), int(answer["code"]))
        return answer["ok"]
    except TimeoutError:
        raise Silent(f"{path}: no answer in {timeout_s:g} seconds") from None
    except OSError as error:
        raise Unreachable(f"{path}: {error.strerror or error}") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Unreachable(f"{path}: no answer") from None
