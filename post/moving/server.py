"""
The node's end: files what comes, and gives out what is there.

Only the owner of the node's directory can connect, so there is no log-in, and the limits are against accidents.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from post import control
from post.commit import DiskError
from post.errors import NotFound, Overloaded, PeerError, PostError, TooFewReplicas, Unreachable
from post.hashes import Purpose, tagged
from post.mail.interfaces import (
    SEPARATOR,
    FolderExists,
    FolderRefused,
    FolderStatus,
    IMailAccounts,
    IMailbox,
    MessageTooLarge,
    MessageUnavailable,
    NoSuchFolder,
    Octets,
)
from post.moving.requests import (
    DONE,
    LATER,
    LOOK_LIMIT,
    MESSAGE,
    PAGE_LIMIT,
    PIECE_LIMIT,
    WRONG,
    Answer,
    Entries,
    File,
    Filed,
    Folder,
    Folders,
    Listed,
    ListEntries,
    Provide,
    ReadOctets,
    Request,
    Survey,
    frame,
    lengths,
    opened,
)
from post.wire import Document, pack

SOCKET = "moving"
"""The socket's name in the node's directory."""
CONNECTIONS_LIMIT = 4
"""Imports and exports at once."""
WORK_LIMIT = 32
"""Requests of one connection that are worked on at once: as many messages share a write of the log's head."""
MEMORY_BYTES = 256 * 1024
"""A longer message is spooled to a temporary file; times L{WORK_LIMIT} and L{CONNECTIONS_LIMIT} this is 32 MiB."""

Work = Coroutine[Any, Any, tuple[Document | None, bytes]]
CallSoon = Callable[[Callable[[], None]], object]


class Queue:
    """
    Lets those who stand in it pass in their order, whenever they are ready.
    """

    def __init__(self, call_soon: CallSoon) -> None:
        self._call_soon = call_soon
        self._places = self._serving = 0
        self._left: set[int] = set()
        self._waiting: dict[int, Deferred[None]] = {}

    def stand(self) -> int:
        """
        A place behind all others.
        """
        self._places += 1
        return self._places - 1

    async def come(self, place: int) -> None:
        """
        Returns when all before have left.  We leave soon: after what the caller does at once.
        """
        if place != self._serving:
            self._waiting[place] = Deferred()
            await self._waiting[place]
        self._call_soon(lambda: self.leave(place))

    def leave(self, place: int) -> None:
        """
        Let the next one pass; also for one that has not waited for its turn.
        """
        if place < self._serving:
            return
        self._waiting.pop(place, None)
        self._left.add(place)
        while self._serving in self._left:
            self._left.remove(self._serving)
            self._serving += 1
        if self._serving in self._waiting:
            self._waiting.pop(self._serving).callback(None)


class Spool:
    """
    The octets of a request while they come in: C{wanted} of them.
    """

    def __init__(self, wanted: int, directory: str | None) -> None:
        self.wanted = wanted
        self.no_room = False
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        if wanted > MEMORY_BYTES:
            try:
                self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # Closed when it is mapped.
            except OSError:
                self.no_room = True

    def feed(self, data: bytes | bytearray) -> None:
        """
        Take what has come.
        """
        self.wanted -= len(data)
        try:
            if self._file is not None:
                self._file.write(data)
            elif not self.no_room:
                self._memory += data
        except OSError:
            self.no_room = True
            self.discard()

    def octets(self) -> Octets:
        """
        All of them.

        @raise OSError: if there was no room.
        """
        if self.no_room:
            raise OSError("no room")
        if self._file is None:
            return bytes(self._memory)
        file, self._file = self._file, None
        with file:
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def discard(self) -> None:
        """
        Let go of what has come.
        """
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # What could not be written is tried again when it is closed.
                file.close()


@implementer(IPushProducer)
class MovingProtocol(Protocol):
    """
    One C{post import} or C{post export}.
    """

    log = Logger()

    def __init__(self, factory: MovingFactory) -> None:
        self._factory = factory
        self._buffer = bytearray()
        self._request: Request | None = None
        self._spool: Spool | None = None
        self._working: set[Deferred[None]] = set()
        self._queue = Queue(factory.call_soon)
        self._full = self._paused = self._gone = False

    def connectionMade(self) -> None:
        self._factory.connections.add(self)
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]

    def connectionLost(self, reason: object = None) -> None:
        self._gone = True
        self._factory.connections.discard(self)
        if self._spool is not None:
            self._spool.discard()
        for work in list(self._working):
            work.cancel()

    def drop(self) -> None:
        """
        End the connection now.
        """
        self.transport.abortConnection()  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        self._full = True
        self._hold()

    def resumeProducing(self) -> None:
        self._full = False
        self._factory.call_soon(self._take)

    def stopProducing(self) -> None:
        """
        The connection ends; L{connectionLost} follows.
        """

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        self._take()

    def _take(self) -> None:
        """
        Begin what is complete, until there is enough to do.
        """
        try:
            while not (self._gone or self._full or len(self._working) >= WORK_LIMIT) and self._next():
                pass
        except PeerError as error:
            self.log.warn("a moving program is not understood: {error}", error=error)
            self._gone = True
            self.drop()
        self._hold()

    def _hold(self) -> None:
        held = self._full or len(self._working) >= WORK_LIMIT
        if held != self._paused and not self._gone:
            self._paused = held
            act = self.transport.pauseProducing if held else self.transport.resumeProducing  # type: ignore[union-attr]
            act()

    def _next(self) -> bool:
        """
        Take one step; C{False} if more has to come.
        """
        if self._spool is not None:
            piece = self._buffer[: self._spool.wanted]
            del self._buffer[: len(piece)]
            self._spool.feed(piece)
            if self._spool.wanted:
                return False
            request, spool = self._request, self._spool
            assert request is not None
            self._request = self._spool = None
            self._begin(request, spool)
            return True
        if len(self._buffer) < 8:
            return False
        # What is over the message limit is refused with words, so there has to be some room above.
        head, octets = lengths(self._buffer, 2 * self._factory.size_limit)
        if len(self._buffer) < 8 + head:
            return False
        self._request = opened(Request, bytes(self._buffer[8 : 8 + head]))
        self._spool = Spool(octets, self._factory.spool_dir)
        del self._buffer[: 8 + head]
        return True

    def _begin(self, request: Request, spool: Spool) -> None:
        work = Deferred.fromCoroutine(self._attend(request, spool, self._queue.stand()))
        if not work.called:
            self._working.add(work)
            work.addBoth(self._ended, work)

    def _ended(self, result: object, work: Deferred[None]) -> None:
        self._working.discard(work)
        self._factory.call_soon(self._take)

    async def _attend(self, request: Request, spool: Spool, place: int) -> None:
        body, octets, outcome, text = b"", b"", DONE, ""
        try:
            document, octets = await self._work(request, spool, place)
            body = pack(document) if document is not None else b""
        except (MessageTooLarge, MessageUnavailable, FolderRefused) as error:
            outcome, text = MESSAGE, str(error)
        except (TooFewReplicas, Overloaded, Unreachable) as error:
            outcome, text = LATER, f"the ring cannot keep it now: {error}"
        except (DiskError, OSError):
            outcome, text = LATER, "there is no room on the node's disk"
        except NotFound as error:
            outcome, text = LATER, str(error)
        except PostError as error:
            outcome, text = WRONG, str(error)
        except Exception as error:
            if self._gone and isinstance(error, CancelledError):
                return
            self.log.failure("a request to move a message failed")
            outcome, text = WRONG, "that failed: see the log"
        finally:
            self._queue.leave(place)
        if not self._gone:
            self.transport.write(frame(Answer(1, request.number, outcome, body, text), octets))  # type: ignore[union-attr]

    def _work(self, request: Request, spool: Spool, place: int) -> Work:
        mailbox, octets = self._factory.accounts.mailbox(request.account), spool.octets()
        if request.name == "file":
            return self._file(mailbox, opened(File, request.body), octets, place)
        run = _VERBS.get(request.name)
        if run is None:
            raise PeerError(f"{request.name} is no request")
        return run(self._factory, mailbox, request.body)

    async def _file(self, mailbox: IMailbox, wanted: File, octets: Octets, place: int) -> tuple[Document, bytes]:
        if len(octets) > self._factory.size_limit:
            raise MessageTooLarge(f"it has {len(octets)} octets, and the limit is {self._factory.size_limit}")
        # Between two programs on one machine it is not the network that loses octets; but a bug would be found here.
        if sha256(octets).digest() != wanted.digest:
            raise PeerError("a message that is not the one announced")
        if octets.find(b"\0") >= 0:
            raise FolderRefused("it holds NUL, which no mail program could be given")
        key = tagged(Purpose.IMPORTED, wanted.folder.encode(), wanted.digest, wanted.copy.to_bytes(4, "big"))[:16]
        date = datetime.fromtimestamp(wanted.date / 1000, UTC)
        flags = frozenset(wanted.flags) - {"\\Recent"}
        fresh = await mailbox.adopt(wanted.folder, key, octets, flags, date, lambda: self._queue.come(place))
        return Filed(1, fresh), b""


async def _survey(factory: MovingFactory, mailbox: IMailbox, body: bytes) -> tuple[Document, bytes]:
    opened(Survey, body)
    return Folders(1, tuple(_folder(status) for status in mailbox.folders()), factory.size_limit), b""


async def _provide(factory: MovingFactory, mailbox: IMailbox, body: bytes) -> tuple[Document, bytes]:
    wanted = opened(Provide, body)
    found = _find(mailbox, wanted)
    if found is None:
        with suppress(FolderExists):  # Somebody else was faster.
            await mailbox.create(wanted.name, wanted.special_use)
        found = _find(mailbox, wanted)
    if found is None:
        raise NoSuchFolder(wanted.name)
    return Folders(1, (_folder(found),), factory.size_limit), b""


def _find(mailbox: IMailbox, wanted: Provide) -> FolderStatus | None:
    for status in mailbox.folders():
        if wanted.special_use and status.special_use == wanted.special_use:
            return status
    first, separator, rest = wanted.name.partition(SEPARATOR)
    name = f"INBOX{separator}{rest}" if first.upper() == "INBOX" else wanted.name
    return next((status for status in mailbox.folders() if status.name == name), None)


def _folder(status: FolderStatus) -> Folder:
    return Folder(status.name, status.special_use, status.uid_validity, status.messages, status.size)


async def _entries(factory: MovingFactory, mailbox: IMailbox, body: bytes) -> tuple[Document, bytes]:
    wanted = opened(ListEntries, body)
    folder = mailbox.folder(wanted.folder)
    if folder.uid_validity != wanted.uid_validity:
        raise NoSuchFolder(f"{wanted.folder} is another folder now")
    page, last = [], 0
    for uid in range(wanted.after + 1, folder.uid_next):
        entry = folder.entry(uid)
        if entry is not None:
            date = int(entry.internal_date.timestamp() * 1000)
            page.append(Listed(uid, tuple(sorted(entry.flags)), date, entry.size, entry.key))
        if len(page) == PAGE_LIMIT or uid - wanted.after == LOOK_LIMIT:
            last = uid
            break
    return Entries(1, tuple(page), last), b""


async def _read(factory: MovingFactory, mailbox: IMailbox, body: bytes) -> tuple[None, bytes]:
    wanted = opened(ReadOctets, body)
    folder = mailbox.folder(wanted.folder)
    if folder.uid_validity != wanted.uid_validity:
        raise NoSuchFolder(f"{wanted.folder} is another folder now")
    content = folder.content(wanted.uid)
    if not wanted.start <= wanted.stop <= min(content.size, wanted.start + PIECE_LIMIT):
        raise PeerError("octets that are not there")
    return None, await content.read(wanted.start, wanted.stop)


_VERBS: dict[str, Callable[[MovingFactory, IMailbox, bytes], Work]] = {
    "survey": _survey,
    "provide": _provide,
    "entries": _entries,
    "read": _read,
}


class MovingFactory(Factory):
    """
    Makes connections, up to a limit.
    """

    noisy = False

    def __init__(
        self,
        accounts: IMailAccounts,
        call_soon: CallSoon,
        size_limit: int,
        spool_dir: str | None,
    ) -> None:
        self.accounts = accounts
        self.call_soon = call_soon
        self.size_limit = size_limit
        self.spool_dir = spool_dir
        self.connections: set[MovingProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> MovingProtocol | None:
        return MovingProtocol(self) if len(self.connections) < CONNECTIONS_LIMIT else None


class MovingService:
    """
    The socket of a node in C{directory}.
    """

    def __init__(self, reactor: Any, directory: Path, accounts: IMailAccounts, size_limit: int) -> None:
        # Any: Unix sockets and time.
        self._directory = directory
        self._factory = MovingFactory(accounts, lambda call: reactor.callLater(0, call), size_limit, str(directory))
        place = control.place(directory, SOCKET)
        self._port = reactor.listenUNIX(str(place), self._factory, mode=0o600)

    def limit(self, size_limit: int) -> None:
        """
        Take messages of so many octets from now on.
        """
        self._factory.size_limit = size_limit

    async def stop(self) -> None:
        """
        Let go of the socket and the connections; what is asked again later is not doubled by that.
        """
        await self._port.stopListening()
        for connection in list(self._factory.connections):
            connection.drop()
        control.remove(self._directory, SOCKET)
