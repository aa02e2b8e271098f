"""
Tests for L{post.control}.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from post import control
from post.control import (
    CONNECTIONS_LIMIT,
    LINE_LIMIT,
    PATH_LIMIT,
    ControlFactory,
    Declined,
    Silent,
    ask,
    exit_code,
    reply,
    reply_in_time,
)
from post.errors import ConfigError, NotFound, PostError, Unreachable
from tests.scratch import scratch


def raises(error: Exception) -> Any:
    """
    What a verb does that fails.
    """
    raise error


VERBS: control.Verbs = {
    "echo": lambda request: request["text"],
    "declined": lambda request: raises(Declined("not now", 7)),
    "config": lambda request: raises(ConfigError("node1", "is gone")),
    "other": lambda request: raises(NotFound("x")),
    "disk": lambda request: raises(OSError(28, "No space left on device")),
    "bug": lambda request: raises(KeyError("secret")),
}


class ReplyTests(SynchronousTestCase):
    """
    Tests of L{reply}.
    """

    def answer(self, request: object) -> dict[str, Any]:
        line = reply(VERBS, json.dumps(request).encode())
        self.assertEqual((1, True), (line.count(b"\n"), line.endswith(b"\n")))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def test_answers(self) -> None:
        """
        What the verb returns, or why not, with the exit code to end with.
        """
        self.assertEqual({"ok": "a\nb"}, self.answer({"verb": "echo", "text": "a\nb"}))
        for verb, said, code in (
            ("declined", "not now", 7),
            ("config", "node1: is gone", 78),
            ("other", "x", 1),
            ("disk", "[Errno 28] No space left on device", 1),
        ):
            self.assertEqual({"error": said, "code": code}, self.answer({"verb": verb}))

    def test_in_time(self) -> None:
        """
        A verb may take its time: it is answered when it has ended, and how it failed is said as of any other.
        """
        waiting: Deferred[str] = Deferred()

        async def late(request: control.Request) -> str:
            if request["verb"] == "fails":
                raise Declined("not now", 7)
            return await waiting

        verbs: control.Verbs = {"late": late, "fails": late, **VERBS}
        answer = Deferred.fromCoroutine(reply_in_time(verbs, b'{"verb": "late"}'))
        self.assertNoResult(answer)
        waiting.callback("done")
        self.assertEqual({"ok": "done"}, json.loads(self.successResultOf(answer)))
        refused = self.successResultOf(reply_in_time(verbs, b'{"verb": "fails"}'))
        self.assertEqual({"error": "not now", "code": 7}, json.loads(refused))
        at_once = self.successResultOf(reply_in_time(verbs, b'{"verb": "echo", "text": "a"}'))
        self.assertEqual({"ok": "a"}, json.loads(at_once))

    def test_no_request(self) -> None:
        """
        What is no request of ours is said to be none.
        """
        requests: list[object] = [None, 5, [], {}, {"verb": "x"}, {"verb": []}, {"verb": {}}, "echo"]
        for request in requests:
            self.assertEqual("no such request", self.answer(request)["error"])

    @given(st.binary(max_size=60))
    def test_garbage(self, line: bytes) -> None:
        """
        So is anything at all.
        """
        self.assertEqual("no such request", json.loads(reply(VERBS, line))["error"])
        self.assertEqual("no such request", json.loads(reply(VERBS, b"[" * 100_000))["error"])

    def test_exit_codes(self) -> None:
        """
        The exit code tells what kind of thing went wrong.
        """
        errors: list[PostError] = [Declined("x", 9), ConfigError("x", "y"), Unreachable("x"), NotFound("x")]
        self.assertEqual([9, 78, 69, 1], [exit_code(error) for error in errors])


class ControlFactoryTests(SynchronousTestCase):
    """
    Tests of L{ControlFactory} and its protocol.
    """

    def setUp(self) -> None:
        self.factory = ControlFactory(VERBS)

    def connect(self) -> tuple[control.ControlProtocol, StringTransport]:
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def test_one_question(self) -> None:
        """
        Who asks is answered once, and hung up on.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"verb": "echo", "text": 1}\n{"verb": "echo", "text": 2}\n')
        self.assertEqual((b'{"ok": 1}\n', True), (transport.value(), transport.disconnecting))

    def test_bug(self) -> None:
        """
        A bug of ours is logged, and not told.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(b'{"verb": "bug"}\n')
        self.assertNotIn(b"secret", transport.value())
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_limits(self) -> None:
        """
        Neither a line without end nor many who are connected take more than is set aside for them.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(b"x" * (LINE_LIMIT + 1))
        self.assertTrue(transport.disconnecting)
        for _ in range(CONNECTIONS_LIMIT - 1):
            self.connect()
        self.assertIdentical(None, self.factory.buildProtocol(None))
        protocol.connectionLost()
        self.connect()


class PlaceTests(SynchronousTestCase):
    """
    Tests of L{control.place}, L{control.find} and L{control.remove}.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.deep = self.directory / ("x" * PATH_LIMIT)
        self.deep.mkdir()

    def listen(self, directory: Path) -> Path:
        path = control.place(directory)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.fspath(path))
        return path

    def test_short(self) -> None:
        """
        The socket is in the directory, and one that was left there makes room.
        """
        for _ in range(2):
            self.assertEqual(self.directory / "control", self.listen(self.directory))
        self.assertEqual(self.directory / "control", control.find(self.directory))
        control.remove(self.directory)
        self.assertEqual([self.deep], list(self.directory.iterdir()))

    def test_long(self) -> None:
        """
        Where the path is too long it is elsewhere, private, found from the directory, and leaves nothing behind,
        however often.
        """
        first = self.listen(self.deep)
        second = self.listen(self.deep)
        self.assertFalse(first.parent.exists())
        self.assertEqual(second, control.find(self.deep))
        self.assertEqual(0o700, stat.S_IMODE(second.parent.stat().st_mode))
        self.assertEqual(0o600, stat.S_IMODE((self.deep / "control.path").stat().st_mode))
        control.remove(self.deep)
        self.assertEqual((False, []), (second.parent.exists(), list(self.deep.iterdir())))

    def test_long_temporary(self) -> None:
        """
        Even where the temporary directory's path is too long.
        """
        self.patch(tempfile, "tempdir", str(self.deep))
        path = self.listen(self.deep)
        self.assertLessEqual(len(os.fsencode(path)), PATH_LIMIT)
        control.remove(self.deep)
        self.assertEqual([], list(self.deep.iterdir()))

    def test_not_ours(self) -> None:
        """
        What is no socket is not taken away.
        """
        (self.directory / "control").write_text("a file")
        control.remove(self.directory)
        self.assertTrue((self.directory / "control").exists())


class AskTests(SynchronousTestCase):
    """
    Tests of L{ask}, against a socket.
    """

    def setUp(self) -> None:
        self.path = scratch(self) / "control"

    def serve(self, answer: bytes) -> None:
        """
        Answer one question with C{answer}.
        """
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.fspath(self.path))
        listener.listen(1)

        def attend() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(LINE_LIMIT)
                connection.sendall(answer)

        thread = threading.Thread(target=attend)
        thread.start()
        self.addCleanup(thread.join)

    def test_answer(self) -> None:
        """
        The answer, as it was given.
        """
        self.serve(b'{"ok": {"a": 1}}\n')
        self.assertEqual({"a": 1}, ask(self.path, {"verb": "x"}))

    def test_declined(self) -> None:
        """
        A refusal carries its exit code.
        """
        self.serve(b'{"error": "no", "code": 5}\n')
        declined = self.assertRaises(Declined, ask, self.path, {"verb": "x"})
        self.assertEqual(("no", 5), (str(declined), exit_code(declined)))

    def test_nobody(self) -> None:
        """
        Nobody there, or a path too long to listen at.
        """
        for path in (self.path, self.path.parent / ("x" * 200)):
            self.assertRaises(Unreachable, ask, path, {"verb": "x"})

    def test_silent(self) -> None:
        """
        One who listens and says nothing, as a program does that has been stopped, is there all the same.
        """
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.fspath(self.path))
        listener.listen(1)
        self.assertRaises(Silent, ask, self.path, {"verb": "x"}, 0.1)

    def test_no_answer(self) -> None:
        """
        One who says nothing, or something else.
        """
        for answer in (
            b"",
            b"\n",
            b"5\n",
            b"[]\n",
            b"{}\n",
            b'{"error": "x"}\n',
            b'{"error": 1, "code": []}\n',
            b"\xff\n",
        ):
            self.serve(answer)
            self.assertRaises(Unreachable, ask, self.path, {"verb": "x"})
            self.path.unlink()
