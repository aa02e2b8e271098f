"""
Going to an authority's door and asking: plain blocking calls, for a command that waits for them and for a thread of a
node.

Nothing is asked before it is certain who answers: the connection's certificate is a door certificate under the root
with the expected fingerprint.  TLS itself checks that the other end has that certificate's key, and nothing else; the
rest is checked here, on the very connection in which the question then goes.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from post.ca.code import short_fingerprint
from post.ca.questions import ANSWER_LIMIT, GREETING, PREFIX, QUESTION_LIMIT, Greeting, No, door_hash, read
from post.config import split_service
from post.crypto.certificates import verify_door
from post.errors import BadSignature, PeerError, Refused, Unreachable
from post.ids import Address

TIMEOUT_S = 20.0
"""For each step: to connect, to be answered.  A wrong code's answer is kept back for 15 s at most."""

_T = TypeVar("_T")


class Visit:
    """
    One connection to a door, whose answerer is known; use it in a C{with} statement.

    @ivar root: the root certificate of the authority.
    @ivar door: the hash by which a question names this connection.
    @ivar time: what the authority's clock said.
    """

    def __init__(self, where: Address, fingerprint: bytes) -> None:
        """
        @raise Unreachable: if nobody answers.
        @raise PeerError: if somebody else does.
        """
        self.where = where
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # See above: what there is to check is not the Web's.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        host, port = split_service(where)
        self._connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        try:
            self._greet(fingerprint)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Visit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @property
    def our_host(self) -> str:
        """
        The address of this machine that the connection comes from.
        """
        name: str = self._connection.sock.getsockname()[0]
        return name

    def _greet(self, fingerprint: bytes) -> None:
        leaf = self._call(self._connect)
        # From here on, no other connection may take its place unseen.
        self._connection.auto_open = 0
        status, data = self._call(lambda: self._request("GET", GREETING, b"", QUESTION_LIMIT))
        if status != 200:
            raise PeerError(f"{self.where} is no authority's door")
        greeting = read(Greeting, data)
        if short_fingerprint(greeting.root) != fingerprint:
            raise BadSignature(f"{self.where} belongs to another authority")
        # Whether it is valid at this time is for the caller to judge, who may have the wrong time.
        verify_door((leaf, greeting.issuing), greeting.root, None)
        self.root, self.time = greeting.root, greeting.time
        self.door = door_hash(leaf)

    def _connect(self) -> bytes:
        self._connection.connect()
        leaf = self._connection.sock.getpeercert(binary_form=True)
        if not leaf:
            raise PeerError(f"{self.where} shows no certificate")
        return bytes(leaf)

    def ask(self, question: str, data: bytes) -> bytes:
        """
        @raise Refused: if the answer is no.
        @raise Unreachable: if there is none.
        """
        status, answer = self._call(lambda: self._request("POST", question, data, ANSWER_LIMIT))
        if status != 200:
            no = read(No, answer)
            raise Refused(no.code, "".join(filter(str.isprintable, " ".join(no.text.split()))))
        return answer

    def _request(self, method: str, question: str, data: bytes, limit: int) -> tuple[int, bytes]:
        self._connection.request(method, PREFIX + question, data if method == "POST" else None)
        response = self._connection.getresponse()
        answer = response.read(limit + 1)
        if len(answer) > limit:
            raise PeerError(f"{self.where} answers with more than {limit} bytes")
        return response.status, answer

    def _call(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except ssl.SSLError as error:
            raise PeerError(f"{self.where} does not speak TLS 1.3: {error.reason or error}") from None
        except http.client.HTTPException as error:
            raise PeerError(f"{self.where} is no authority's door ({type(error).__name__})") from None
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{self.where}: {getattr(error, 'strerror', None) or error}") from None
