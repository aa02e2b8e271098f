"""
A mailbox in memory, and a connection without a socket: what the tests of IMAP talk to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from post.errors import NotFound, Refused, TooFewReplicas
from post.front.auth import Throttle
from post.front.imap.server import ImapFactory, ImapProtocol
from post.mail.interfaces import (
    SEPARATOR,
    Copied,
    Entry,
    FolderExists,
    FolderRefused,
    FolderStatus,
    IContent,
    IFolder,
    IFolderListener,
    IMailAccounts,
    IMailbox,
    ISubmission,
    MessageUnavailable,
    NoSuchFolder,
    Octets,
)
from post.mail.mime import MimePart, scan

SIZE_LIMIT = 3 * 1024 * 1024
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SIMPLE = b"From: Bob <bob@example.org>\r\nSubject: hello\r\n\r\nHow are you?\r\n"


@implementer(IContent)
class FakeContent:
    """
    Octets in memory; none while C{mailbox.lost} has them.
    """

    def __init__(self, mailbox: FakeMailbox, message: bytes) -> None:
        self.size = len(message)
        self._mailbox = mailbox
        self._message = message

    async def _had(self) -> None:
        await self._mailbox.wait()
        if self._message in self._mailbox.lost:
            raise MessageUnavailable("lost")

    async def read(self, start: int, stop: int) -> bytes:
        if stop - start > 256 * 1024:
            raise AssertionError("more than may be asked for")
        await self._had()
        self._mailbox.read += stop - start
        return self._message[start:stop]

    async def structure(self) -> MimePart:
        await self._had()
        return scan(self._message)


@dataclass
class Stored:
    """
    What a folder has.
    """

    name: str
    uid_validity: int
    special_use: str = ""
    subscribed: bool = True
    uid_next: int = 1
    entries: dict[int, Entry] = field(default_factory=dict)
    messages: dict[int, bytes] = field(default_factory=dict)
    listeners: list[IFolderListener] = field(default_factory=list)


@implementer(IFolder)
class FakeFolder:
    """
    One folder, open.
    """

    def __init__(self, mailbox: FakeMailbox, stored: Stored) -> None:
        self._mailbox = mailbox
        self._stored = stored

    @property
    def name(self) -> str:
        return self._stored.name

    @property
    def uid_validity(self) -> int:
        return self._stored.uid_validity

    @property
    def uid_next(self) -> int:
        return self._stored.uid_next

    def entries(self) -> Sequence[Entry]:
        return list(self._stored.entries.values())

    def entry(self, uid: int) -> Entry | None:
        self._mailbox.work()
        return self._stored.entries.get(uid)

    def content(self, uid: int) -> IContent:
        if uid not in self._stored.entries:
            raise MessageUnavailable("gone")
        content: IContent = FakeContent(self._mailbox, self._stored.messages[uid])
        return content

    async def store(self, uids: Sequence[int], add: frozenset[str], remove: frozenset[str]) -> None:
        await self._mailbox.wait()
        for entry in self._living(uids):
            self._stored.entries[entry.uid] = replace(entry, flags=(entry.flags - remove) | add)
        self._mailbox.tell(self._stored)

    async def replace(self, uids: Sequence[int], flags: frozenset[str]) -> None:
        await self._mailbox.wait()
        for entry in self._living(uids):
            self._stored.entries[entry.uid] = replace(entry, flags=flags | (entry.flags & {"$Verified"}))
        self._mailbox.tell(self._stored)

    async def expunge(self, uids: Sequence[int]) -> None:
        await self._mailbox.wait()
        for entry in self._living(uids):
            del self._stored.entries[entry.uid]
        self._mailbox.tell(self._stored)

    async def copy(self, uids: Sequence[int], target: str) -> Copied:
        await self._mailbox.wait()
        stored = self._mailbox.named(target)
        living = self._living(uids)
        got = [self._mailbox.put(stored, self._stored.messages[e.uid], e.flags, e.internal_date) for e in living]
        return Copied(stored.uid_validity, tuple(e.uid for e in living), tuple(got))

    async def move(self, uids: Sequence[int], target: str) -> Copied:
        copied = await self.copy(uids, target)
        for uid in copied.source:
            del self._stored.entries[uid]
        self._mailbox.tell(self._stored)
        return copied

    def _living(self, uids: Sequence[int]) -> list[Entry]:
        return [self._stored.entries[uid] for uid in uids if uid in self._stored.entries]

    def listen(self, listener: IFolderListener) -> None:
        self._stored.listeners.append(listener)

    def unlisten(self, listener: IFolderListener) -> None:
        if listener in self._stored.listeners:
            self._stored.listeners.remove(listener)


@implementer(IMailbox)
class FakeMailbox:
    """
    Folders in memory.  While C{held} is a list, whoever waits is put on it; C{lost} messages cannot be read; C{full}
    refuses what comes in.  To look at an entry takes C{effort_s}.
    """

    def __init__(self, clock: Clock) -> None:
        self.address = "alice@example.org"
        self.held: list[Deferred[None]] | None = None
        self.lost: set[bytes] = set()
        self.full = False
        self.read = 0
        self.adopted: set[bytes] = set()
        self.effort_s = 0.0
        self._clock = clock
        self._validity = 70
        self._stored: dict[str, Stored] = {}
        for name, use in (("INBOX", ""), ("Sent", "\\Sent"), ("Trash", "\\Trash")):
            self._add(name, use)

    async def wait(self) -> None:
        """
        Until the test lets go, if it holds us.
        """
        if self.held is not None:
            self.held.append(Deferred())
            await self.held[-1]

    def work(self) -> None:
        """
        Time goes by, and nothing else can happen.
        """
        self._clock.rightNow += self.effort_s

    def release(self) -> None:
        """
        Let all go on that wait, and hold nobody any more.
        """
        held, self.held = self.held or [], None
        for each in held:
            each.callback(None)

    def tell(self, stored: Stored) -> None:
        """
        Let the listeners know, soon.
        """
        for listener in list(stored.listeners):
            self._clock.callLater(0, self._tell_one, stored, listener, stored in self._stored.values())

    def _tell_one(self, stored: Stored, listener: IFolderListener, there: bool) -> None:
        if listener in stored.listeners:
            (listener.changed if there else listener.deleted)()

    def named(self, name: str) -> Stored:
        """
        The folder C{name}.
        """
        try:
            return self._stored[_spelled(name)]
        except KeyError:
            raise NoSuchFolder(name) from None

    def put(self, stored: Stored, message: bytes, flags: frozenset[str], date: datetime) -> int:
        """
        File a message; returns its UID.
        """
        uid, stored.uid_next = stored.uid_next, stored.uid_next + 1
        stored.entries[uid] = Entry(uid, flags, date, len(message), uid, uid.to_bytes(16, "big"))
        stored.messages[uid] = message
        self.tell(stored)
        return uid

    def receive(self, message: bytes = SIMPLE, *flags: str, folder: str = "INBOX") -> int:
        """
        A message comes in, and who listens hears of it.
        """
        uid = self.put(self.named(folder), message, frozenset(flags), NOON)
        self._clock.advance(0)
        return uid

    def vanish(self, uid: int, folder: str = "INBOX") -> None:
        """
        Somebody else expunges a message, and who listens hears of it.
        """
        stored = self.named(folder)
        del stored.entries[uid]
        self.tell(stored)
        self._clock.advance(0)

    def flags(self, uid: int, folder: str = "INBOX") -> set[str]:
        """
        The flags of a message.
        """
        return set(self.named(folder).entries[uid].flags)

    def _add(self, name: str, use: str = "") -> None:
        self._validity += 1
        self._stored[name] = Stored(name, self._validity, use)

    def folders(self) -> Sequence[FolderStatus]:
        return [
            FolderStatus(
                s.name,
                s.special_use,
                s.subscribed,
                s.uid_validity,
                s.uid_next,
                len(s.entries),
                sum("\\Seen" not in e.flags for e in s.entries.values()),
                sum(e.size for e in s.entries.values()),
                0,
            )
            for s in sorted(self._stored.values(), key=lambda s: (s.name != "INBOX", s.name))
        ]

    def folder(self, name: str) -> IFolder:
        folder: IFolder = FakeFolder(self, self.named(name))
        return folder

    async def create(self, name: str, special_use: str = "") -> None:
        await self.wait()
        name = _spelled(name.rstrip(SEPARATOR))
        if name in self._stored:
            raise FolderExists(name)
        levels = name.split(SEPARATOR)
        if not all(levels) or not name.isprintable() or len(self._stored) > 200:
            raise FolderRefused(name)
        for depth in range(len(levels)):
            path = SEPARATOR.join(levels[: depth + 1])
            if path not in self._stored:
                self._add(path, special_use if path == name else "")

    async def delete(self, name: str) -> None:
        await self.wait()
        stored = self.named(name)
        if stored.name == "INBOX" or any(each.startswith(stored.name + SEPARATOR) for each in self._stored):
            raise FolderRefused(name)
        del self._stored[stored.name]
        self.tell(stored)

    async def rename(self, old: str, new: str) -> None:
        await self.wait()
        stored = self.named(old)
        if stored.name == "INBOX":
            await self.create(new)
            await FakeFolder(self, stored).move(list(stored.entries), new)
            return
        if _spelled(new) in self._stored:
            raise FolderExists(new)
        for name in [n for n in self._stored if n == stored.name or n.startswith(stored.name + SEPARATOR)]:
            moved = self._stored.pop(name)
            moved.name = new + name[len(stored.name) :] if name != stored.name else new
            self._stored[moved.name] = moved

    async def subscribe(self, name: str, subscribed: bool) -> None:
        await self.wait()
        self.named(name).subscribed = subscribed

    async def append(
        self, name: str, message: Octets, flags: frozenset[str], internal_date: datetime | None
    ) -> tuple[int, int]:
        stored = self.named(name)
        await self.wait()
        if self.full:
            raise TooFewReplicas(1, 3)
        return stored.uid_validity, self.put(stored, bytes(message), flags, internal_date or NOON)

    async def adopt(
        self,
        name: str,
        key: bytes,
        message: Octets,
        flags: frozenset[str],
        internal_date: datetime,
        turn: Callable[[], Awaitable[None]],
    ) -> bool:
        self.named(name)
        await self.wait()
        await turn()
        if self.full:
            raise TooFewReplicas(1, 3)
        if key in self.adopted:
            return False
        self.adopted.add(key)
        self.put(self.named(name), bytes(message), flags, internal_date)
        return True


def _spelled(name: str) -> str:
    first, separator, rest = name.partition(SEPARATOR)
    return ("INBOX" if first.upper() == "INBOX" else first) + separator + rest


@implementer(IMailAccounts)
class FakeAccounts:
    """
    Alice, whose password is "secret".
    """

    def __init__(self, mailbox: FakeMailbox) -> None:
        self.mailboxes = {mailbox.address: mailbox}
        self.broken = False

    async def authenticate(self, login: str, password: bytes) -> str:
        if self.broken:
            raise RuntimeError("of no concern to anybody")
        if login not in ("alice", "alice@example.org") or password != b"secret":
            raise Refused(1, "wrong")
        return "alice@example.org"

    def mailbox(self, address: str) -> IMailbox:
        if address not in self.mailboxes:
            raise NotFound(address)
        mailbox: IMailbox = self.mailboxes[address]
        return mailbox

    def submission(self, address: str) -> ISubmission:
        raise NotFound(address)


class Wire(StringTransport):
    """
    A socket that keeps what is written, and can start TLS in name.
    """

    def __init__(self, host: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 40000))
        self.tls: object = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        There is no delay.
        """

    def startTLS(self, context: object) -> None:
        """
        From here on all is said under TLS.
        """
        self.tls = context


class World:
    """
    A node's IMAP with one account, and as many connections as a test likes.
    """

    def __init__(self, tls: object = None, implicit_tls: bool = False) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.mailbox = FakeMailbox(self.clock)
        self.accounts = FakeAccounts(self.mailbox)
        self.factory = ImapFactory(self.accounts, self.clock, Throttle(self.clock), tls, implicit_tls, SIZE_LIMIT)

    def connect(self, host: str = "127.0.0.1") -> Client:
        """
        A mail program that has seen the greeting.
        """
        return Client(self, host)

    def enter(self, folder: str = "INBOX") -> Client:
        """
        A mail program that has logged in and selected C{folder}.
        """
        client = self.connect()
        client.say("x LOGIN alice secret")
        if folder:
            client.say(f"x SELECT {folder}")
        return client


class Client:
    """
    The other end of a connection.
    """

    def __init__(self, world: World, host: str) -> None:
        self.world = world
        self.wire = Wire(host)
        self.protocol: ImapProtocol = world.factory.buildProtocol(IPv4Address("TCP", host, 40000))
        self.protocol.makeConnection(self.wire)
        self.greeting = self.heard()[0]

    @property
    def ended(self) -> bool:
        """
        Whether the server has ended the connection.
        """
        return self.wire.disconnecting or self.wire.disconnected

    def send(self, octets: bytes) -> None:
        """
        Octets, as they are.
        """
        if not self.ended:
            self.protocol.dataReceived(octets)
            self.world.clock.advance(0)

    def octets(self) -> bytes:
        """
        What the server has said since last asked.
        """
        said: bytes = self.wire.value()
        self.wire.clear()
        return said

    def heard(self) -> list[str]:
        """
        The same in lines.
        """
        return self.octets().decode("latin-1").split("\r\n")[:-1]

    def say(self, *lines: str) -> list[str]:
        """
        Send lines; returns what is answered.
        """
        self.send("".join(line + "\r\n" for line in lines).encode())
        return self.heard()

    def last(self, *lines: str) -> str:
        """
        Send lines; returns the last line of the answer.
        """
        return self.say(*lines)[-1]

    def hang_up(self) -> None:
        """
        The client goes.
        """
        self.protocol.connectionLost()
