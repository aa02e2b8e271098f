"""
A node in memory, whose mailbox is a real one, and a program that moves mail into it and out of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet.testing import StringTransport

from post.errors import Unreachable
from post.mail.interfaces import IMailAccounts
from post.moving.exporting import Exporter, ExportTally, Sink
from post.moving.files import Exported
from post.moving.importing import Importer, Tally
from post.moving.ledger import Ledger
from post.moving.link import Link
from post.moving.maildir import MaildirSource
from post.moving.maildir_sink import MaildirSink
from post.moving.mbox_sink import MboxSink
from post.moving.mbox_source import MboxSource
from post.moving.server import MovingFactory, MovingProtocol
from post.moving.source import Source
from tests.front.imap.doubles import FakeAccounts, FakeMailbox
from tests.mail.doubles import SIZE_LIMIT, Person, Place

ADDRESS = "alice@example.org"


class Wire:
    """
    A connection to the node, in which time goes on while an answer is waited for.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._buffer = bytearray()
        self.transport = StringTransport()
        protocol = desk.factory.buildProtocol(None)
        assert protocol is not None
        self.protocol: MovingProtocol = protocol
        self.protocol.makeConnection(self.transport)
        self.sent = 0

    def send(self, data: bytes) -> None:
        """
        As L{post.moving.link.Connection}.
        """
        self.sent += len(data)
        if self._desk.breaks_after is not None and self.sent > self._desk.breaks_after:
            self.protocol.connectionLost()
            raise Unreachable("the node has gone away")
        self.protocol.dataReceived(data)
        self._desk.place.clock.advance(0.001)

    def receive(self, size: int) -> bytes:
        """
        As L{post.moving.link.Connection}.
        """
        for _ in range(20_000):
            self._buffer += self.transport.value()
            self.transport.clear()
            if len(self._buffer) >= size:
                found = bytes(self._buffer[:size])
                del self._buffer[:size]
                return found
            if self.transport.disconnecting or self.transport.disconnected:
                break
            self._desk.place.clock.advance(0.001)
        raise Unreachable("the node does not answer")

    def close(self) -> None:
        """
        As L{post.moving.link.Connection}.
        """
        self.protocol.connectionLost()


class Desk:
    """
    Alice's node, and the commands.  The connection breaks when more than C{breaks_after} octets went into it.
    """

    def __init__(self, seed: bytes = b"seed") -> None:
        self.place = Place(seed)
        self.person = Person(self.place, "alice")
        mailboxes = FakeAccounts(cast(FakeMailbox, self.person.mailbox))
        self.factory = MovingFactory(
            cast(IMailAccounts, mailboxes), lambda call: self.place.clock.callLater(0, call), SIZE_LIMIT, None
        )
        self.breaks_after: int | None = None
        self.pauses: list[float] = []

    def link(self, account: str = ADDRESS) -> Link:
        """
        To a mailbox.
        """
        return Link(Wire(self), account)

    def bring(self, source: Source, ledger: Ledger, prefix: str = "", dry_run: bool = False) -> Tally:
        """
        Import, as the command does.
        """
        link = self.link()
        importer = Importer(None if dry_run else link, ledger, prefix, self.pauses.append, lambda: None)
        try:
            importer.run(source)
        finally:
            link.close()
        return importer.tally

    def bring_maildir(self, root: Path, ledger: Ledger | None = None) -> Tally:
        """
        Import a Maildir; with nothing remembered of earlier runs, if no ledger is given.
        """
        used = ledger or Ledger(None)
        return self.bring(MaildirSource(root, used, SIZE_LIMIT), used)

    def write(self, sink: Sink) -> tuple[ExportTally, list[str]]:
        """
        Export everything to C{sink}, as the command does; returns also what is complained about.
        """
        link, told = self.link(), list[str]()
        exporter = Exporter(link, sink, lambda where, reason: told.append(f"{where}: {reason}"), lambda: None)
        try:
            exporter.run(lambda folder: True)
        finally:
            link.close()
        return exporter.tally, told

    def write_maildir(self, root: Path) -> tuple[ExportTally, list[str]]:
        """
        Export to a Maildir.
        """
        exported = Exported(root, ADDRESS, "maildir")
        try:
            return self.write(MaildirSink(root, exported))
        finally:
            exported.close()

    def bring_mbox(self, root: Path, ledger: Ledger | None = None, quoting: str = "mboxrd") -> Tally:
        """
        Import mboxes, likewise.
        """
        used = ledger or Ledger(None)
        return self.bring(MboxSource(root, used, SIZE_LIMIT, quoting), used)

    def write_mbox(self, root: Path) -> tuple[ExportTally, list[str]]:
        """
        Export to mboxes.
        """
        exported = Exported(root, ADDRESS, "mbox")
        sink = MboxSink(root, exported)
        try:
            return self.write(sink)
        finally:
            sink.abandon()
            exported.close()

    def contents(self) -> dict[str, list[tuple[bytes, frozenset[str], int]]]:
        """
        Every folder that has messages: octets, flags and date (in seconds) of each, by octets.
        """
        found = {}
        for status in self.person.mailbox.folders():
            folder = self.person.folder(status.name)
            dates = [(entry.flags, int(entry.internal_date.timestamp())) for entry in folder.entries()]
            if dates:
                texts = self.person.texts(status.name)
                found[status.name] = sorted(
                    ((text, *each) for text, each in zip(texts, dates, strict=True)),
                    key=lambda each: (each[0], sorted(each[1]), each[2]),
                )
        return found


def maildir(root: Path, *folders: str) -> Path:
    """
    An empty Maildir with C{folders} (such as C{".Sent"}) in it.
    """
    for folder in ("", *folders):
        for part in ("cur", "new", "tmp"):
            (root / folder / part).mkdir(parents=True, exist_ok=True)
    return root
