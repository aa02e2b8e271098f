"""
Tests for L{post.ca.visit} and L{post.ca.errand}: real TLS on loopback, by the standard library's server in a thread.
"""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from twisted.trial.unittest import SynchronousTestCase

from post.ca.code import short_fingerprint
from post.ca.errand import THREADS_LIMIT, abroad
from post.ca.questions import ANSWER_LIMIT, GREETING, PREFIX, VERSION, Greeting, No, door_hash
from post.ca.visit import Visit
from post.crypto.certificates import make_request
from post.crypto.keys import SigningKey
from post.errors import PeerError, Refused, Unreachable
from post.wire import pack
from tests.ca.members import Office
from tests.crypto.issued import NOW
from tests.scratch import scratch

Answer = Callable[[str, bytes], tuple[int, bytes]]
"""What a server says to path and body: status and body."""


class Server:
    """
    A TLS server with a certificate, which says what it is told to.
    """

    def __init__(self, case: SynchronousTestCase, key: SigningKey, chain: tuple[bytes, ...], answer: Answer) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, body = answer(self.path, data)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """
                Nothing.
                """

        directory = scratch(case)
        (directory / "key").write_bytes(key.to_pem())
        pem = [load_der_x509_certificate(each).public_bytes(Encoding.PEM) for each in chain]
        (directory / "chain").write_bytes(b"".join(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "chain", directory / "key")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.where = f"127.0.0.1:{self._server.server_port}"
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        case.addCleanup(thread.join)
        case.addCleanup(self._server.server_close)
        case.addCleanup(self._server.shutdown)


class Case(SynchronousTestCase):
    """
    With an authority whose door says what it is told to.
    """

    def setUp(self) -> None:
        self.office = Office(scratch(self))
        self.enrolment = self.office.enrolment
        self.root = self.office.authority.root
        self.fingerprint = short_fingerprint(self.root)
        self.asked: list[tuple[str, bytes]] = []
        self.says: tuple[int, bytes] = (200, b"answer")

    def answer(self, path: str, data: bytes) -> tuple[int, bytes]:
        """
        A door's.
        """
        if path == PREFIX + GREETING:
            return 200, self.enrolment.greeting(NOW)
        self.asked.append((path, data))
        return self.says

    def server(self, answer: Answer | None = None) -> str:
        """
        Where the door is.
        """
        return Server(self, self.enrolment.key, self.enrolment.chain, answer or self.answer).where


class VisitTests(Case):
    """
    Tests of L{Visit}.
    """

    def test_ask(self) -> None:
        """
        A visitor knows the root, the door, the authority's clock, and its own address; it asks and is answered.
        """
        with Visit(self.server(), self.fingerprint) as visit:
            self.assertEqual(b"answer", visit.ask("join", b"data"))
            self.assertEqual(
                (self.root, door_hash(self.enrolment.chain[0]), NOW, "127.0.0.1"),
                (visit.root, visit.door, visit.time, visit.our_host),
            )
        self.assertEqual([(PREFIX + "join", b"data")], self.asked)

    def test_refused(self) -> None:
        """
        A refusal is one line, whatever is in it; what is no refusal either is a fault.
        """
        self.says = (403, pack(No(VERSION, 6, "used\x1b[31m\nalready")))
        with Visit(self.server(), self.fingerprint) as visit:
            self.assertEqual("used[31m already", self.assertRaises(Refused, visit.ask, "join", b"").text)
            self.says = (502, b"<html>")
            self.assertRaises(PeerError, visit.ask, "join", b"")

    def test_impostors(self) -> None:
        """
        Neither another authority, nor a member with a node certificate of the right one, nor one who shows certificates
        that are not its own, is asked anything.
        """
        other = Office(scratch(self), b"other")
        member = self.office.joined("mallory")
        own = SigningKey.generate(self.office.entropy)
        greeting = pack(Greeting(VERSION, self.enrolment.chain[1], self.root, NOW))
        its_own = pack(Greeting(VERSION, other.enrolment.chain[1], other.authority.root, NOW))
        strange = other.authority.issue_node(make_request(own), "x", NOW)
        for key, chain, said in (
            (other.enrolment.key, other.enrolment.chain, its_own),
            (other.enrolment.key, other.enrolment.chain, greeting),
            (member.key, member.chain, greeting),
            (own, strange, greeting),
            (self.enrolment.key, self.enrolment.chain, b"nonsense"),
        ):
            where = Server(self, key, chain, lambda path, data, said=said: (200, said)).where  # type: ignore[misc]
            self.assertRaises(PeerError, Visit, where, self.fingerprint)

    def test_nobody(self) -> None:
        """
        Where nobody listens, somebody else does, or nobody can, it is said in one line.
        """
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            error = self.assertRaises(Unreachable, Visit, f"127.0.0.1:{port}", self.fingerprint)
            self.assertIn("refused", str(error))
            listener.listen()
            thread = threading.Thread(target=self.rude, args=(listener,))
            thread.start()
            self.assertRaises((PeerError, Unreachable), Visit, f"127.0.0.1:{port}", self.fingerprint)
            thread.join()
        self.assertRaises(Unreachable, Visit, "nobody.invalid:1", self.fingerprint)
        where = self.server(lambda path, data: (404, b""))
        self.assertRaises(PeerError, Visit, where, self.fingerprint)

    @staticmethod
    def rude(listener: socket.socket) -> None:
        """
        Answers in plain text.
        """
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"220 mail.example.org ESMTP\r\n")

    def test_too_much(self) -> None:
        """
        An answer without end is not read to its end.
        """
        self.says = (200, bytes(ANSWER_LIMIT + 1))
        with Visit(self.server(), self.fingerprint) as visit:
            self.assertRaises(PeerError, visit.ask, "news", b"")

    def test_no_second_connection(self) -> None:
        """
        A question goes over the connection whose other end has been checked, or not at all.
        """
        with Visit(self.server(), self.fingerprint) as visit:
            visit._connection.close()
            self.assertRaises(PeerError, visit.ask, "join", b"secret")
        self.assertEqual([], self.asked)


class Threads:
    """
    What an errand needs of a reactor.
    """

    def __init__(self) -> None:
        self._called: list[tuple[Any, ...]] = []
        self._some = threading.Condition()

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        with self._some:
            self._called.append((call, *arguments))
            self._some.notify()

    def turn(self) -> None:
        """
        Wait for a call, and do it.
        """
        with self._some:
            assert self._some.wait_for(lambda: self._called, 30)
            call, *arguments = self._called.pop(0)
        call(*arguments)


class AbroadTests(Case):
    """
    Tests of L{abroad}.
    """

    def test_first_that_answers(self) -> None:
        """
        Of several doors the first that answers, and is the right one, is asked; a question is made for it.
        """
        other = Office(scratch(self), b"other")
        wrong = Server(self, other.enrolment.key, other.enrolment.chain, lambda path, data: (200, b"")).where
        threads = Threads()
        ask = abroad(threads, ("127.0.0.1:1", wrong, self.server()), self.root)
        asked = ask("news", lambda door: door)
        threads.turn()
        self.assertEqual(b"answer", self.successResultOf(asked))
        self.assertEqual([(PREFIX + "news", door_hash(self.enrolment.chain[0]))], self.asked)

    def test_none(self) -> None:
        """
        If none answers, it says why; one who has given up is not told.
        """
        threads = Threads()
        ask = abroad(threads, ("127.0.0.1:1",), self.root)
        asked = ask("news", lambda door: b"")
        threads.turn()
        self.failureResultOf(asked, Unreachable)
        given_up = ask("news", lambda door: b"")
        given_up.addErrback(lambda failure: None)
        given_up.cancel()
        threads.turn()

    def test_limit(self) -> None:
        """
        Of questions that are not answered there are only so many under way.
        """
        threads = Threads()
        ask = abroad(threads, ("127.0.0.1:1",), self.root)
        asked = [ask("news", lambda door: b"") for _ in range(THREADS_LIMIT + 1)]
        self.failureResultOf(asked.pop(), Unreachable)
        for _ in asked:
            threads.turn()
        for each in asked:
            self.failureResultOf(each, Unreachable)
        again = ask("news", lambda door: b"")
        threads.turn()
        self.failureResultOf(again, Unreachable)
