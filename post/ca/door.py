"""
The authority's door: L{post.ca.enrolment} over HTTPS, for newcomers and members, inside a node.

TLS 1.3, without certificates of clients: a newcomer has none, and members sign what they ask.  What has no length or is
longer than a question is cut off before it is read.
"""

from __future__ import annotations

from typing import Any

from cryptography.x509 import load_der_x509_certificate
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from post.ca.enrolment import Enrolment, WrongCode
from post.ca.questions import GREETING, PREFIX, QUESTION_LIMIT, VERSION, No
from post.config import split_service
from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError, Refused
from post.front.auth import Throttle
from post.front.http import LimitedSite, Limits
from post.tasks import Tasks, sleep
from post.wire import RefusalCode, pack

IDLE_S = 30
"""A connection on which nothing happens for so long is closed; a question takes less than a second."""
CONNECTIONS_LIMIT = 64
"""At once.  All nodes of a large organisation ask once an hour, for a moment each."""
PER_SOURCE_LIMIT = 16
"""Of these from one address: a school's network may have one."""
CONNECTION_S = 120.0
"""A connection ends after so long, whatever happens on it."""


def door_site(enrolment: Enrolment, clock: IReactorTime, tasks: Tasks) -> LimitedSite:
    """
    What is served; what matters of it L{Enrolment} logs.
    """
    limits = Limits(IDLE_S, CONNECTION_S, CONNECTIONS_LIMIT, PER_SOURCE_LIMIT, QUESTION_LIMIT)
    return LimitedSite(_Answers(enrolment, clock, tasks), limits, clock)


class _Answers(Resource):
    """
    Everything under the root.
    """

    log = Logger()
    isLeaf = True

    def __init__(self, enrolment: Enrolment, clock: IReactorTime, tasks: Tasks) -> None:
        super().__init__()
        self._enrolment = enrolment
        self._clock = clock
        self._tasks = tasks
        self._throttle = Throttle(clock)

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", b"application/octet-stream")
        if request.path != (PREFIX + GREETING).encode():
            request.setResponseCode(404)
            return b""
        return self._enrolment.greeting(self._now())

    def render_POST(self, request: Request) -> int:
        assert request.content is not None
        self._tasks.spawn(self._answer(request, request.content.read(QUESTION_LIMIT)))
        return NOT_DONE_YET

    def _now(self) -> int:
        return int(self._clock.seconds())

    async def _answer(self, request: Request, data: bytes) -> None:
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)
        source = getattr(request.getClientAddress(), "host", "?")
        while wait_s := self._throttle.delay_s(source):
            await sleep(self._clock, wait_s)
            if gone:
                return
        code, answer, wait_s = self._judge(source, request.path.decode("latin-1"), data)
        if wait_s:
            await sleep(self._clock, wait_s)
        if gone:
            return  # It has hung up.
        request.setResponseCode(code)
        request.setHeader(b"content-type", b"application/octet-stream")
        request.setHeader(b"content-length", str(len(answer)).encode())
        request.write(answer)
        request.finish()

    def _judge(self, source: str, path: str, data: bytes) -> tuple[int, bytes, float]:
        """
        Status, answer, and how long to keep it back: a wrong code takes longer each time.
        """
        question = path.removeprefix(PREFIX) if path.startswith(PREFIX) else ""
        self._throttle.begin(source)
        try:
            answer = self._enrolment.answer(question, data, self._now())
        except WrongCode as error:
            self.log.info("a wrong code from {source}", source=source)
            return 403, _no(error), self._throttle.failed(source)
        except Refused as error:
            self._throttle.abandoned(source)
            return 403, _no(error), 0
        except PeerError as error:
            self._throttle.abandoned(source)
            return 400, _no(Refused(RefusalCode.INVALID, f"not understood: {error}")), 0
        except Exception:
            self.log.failure("a question could not be answered")
            self._throttle.abandoned(source)
            return 500, _no(Refused(RefusalCode.FAILED, "the authority failed; its log says more")), 0
        self._throttle.abandoned(source)
        return 200, answer, 0


def _no(error: Refused) -> bytes:
    return pack(No(VERSION, error.code, error.text[:500]))


def tls(key: SigningKey, chain: tuple[bytes, ...]) -> CertificateOptions:
    """
    What the door shows.
    """
    leaf, *above = [load_der_x509_certificate(each) for each in chain]
    return CertificateOptions(
        privateKey=key.private_key,  # type: ignore[arg-type]  # As in L{post.front.certificate}.
        certificate=leaf,  # type: ignore[arg-type]
        extraCertChain=above,  # type: ignore[arg-type]
        raiseMinimumTo=TLSVersion.TLSv1_3,
        acceptableProtocols=[b"http/1.1"],
    )


class Door:
    """
    The port.
    """

    def __init__(self, reactor: Any, enrolment: Enrolment, service: str) -> None:  # Any: TCP and time.
        self._reactor = reactor
        self._service = service
        self._tasks = Tasks()
        self._site = door_site(enrolment, reactor, self._tasks)
        self._options = tls(enrolment.key, enrolment.chain)
        self._port: Any = None

    def listen(self) -> None:
        """
        @raise ConfigError: if the port is taken.
        """
        host, port = split_service(self._service)
        wrapping = TLSMemoryBIOFactory(self._options, False, self._site)
        wrapping.noisy = False
        try:
            self._port = self._reactor.listenTCP(port, wrapping, interface=host)
        except CannotListenError as error:
            raise ConfigError("authority.listen", f"cannot listen on {self._service}: {error.socketError}") from None

    def stop(self) -> Deferred[Any]:
        """
        Let go of the port; answers that are kept back are not given any more.
        """
        self._tasks.stop()
        return maybeDeferred(self._port.stopListening) if self._port is not None else maybeDeferred(lambda: None)
