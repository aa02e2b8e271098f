"""
Tests for L{post.moving.imap_source}, with a server in memory; L{tests.system.test_moving} has a real one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from imapclient.exceptions import IMAPClientAbortError, IMAPClientError
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Unreachable
from post.moving.imap_source import AHEAD, ImapSource, _limit
from post.moving.ledger import Ledger
from post.moving.source import SourceMessage, Unfit
from tests.mail.doubles import SIZE_LIMIT
from tests.scratch import scratch

from .doubles import Desk

WHEN = datetime(2019, 3, 4, 5, 6, 7, tzinfo=UTC)


class Spaces(NamedTuple):
    """
    What NAMESPACE says.
    """

    personal: tuple[tuple[str, str], ...]


class FakeClient:
    """
    As IMAPClient, for what is used of it.  A folder is its messages by UID; one that is C{None} is refused.
    """

    def __init__(self, folders: dict[str, dict[int, bytes | None]]) -> None:
        self.contents = folders
        self.listed: list[tuple[tuple[bytes, ...], bytes, str]] = [((), b".", name) for name in folders]
        self.prefix = ""
        self.fetches: list[list[int]] = []
        self.sizes: dict[int, int] = {}
        self.uid_next = True
        self.ends_after = 1000
        self._selected: dict[int, bytes | None] = {}

    def list_folders(self) -> list[tuple[tuple[bytes, ...], bytes, str]]:
        """
        LIST.
        """
        return self.listed

    def has_capability(self, name: str) -> bool:
        """
        CAPABILITY.
        """
        return name == "NAMESPACE"

    def namespace(self) -> Spaces:
        """
        NAMESPACE.
        """
        return Spaces(((self.prefix, "."),))

    def select_folder(self, name: str, readonly: bool) -> dict[bytes, int]:
        """
        EXAMINE.
        """
        assert readonly
        if name not in self.contents:
            raise IMAPClientError(b"NO such folder")
        self._selected = self.contents[name]
        found = {b"EXISTS": len(self._selected), b"UIDVALIDITY": 7}
        return {**found, b"UIDNEXT": max(self._selected, default=0) + 1} if self.uid_next else found

    def search(self, criteria: Sequence[str]) -> list[int]:
        """
        UID SEARCH.
        """
        if criteria[1] == "*":
            return [max(self._selected)]
        first, last = map(int, criteria[1].split(":"))
        return [uid for uid in self._selected if first <= uid <= last]

    def fetch(self, uids: list[int], items: list[str]) -> dict[int, dict[bytes, Any]]:
        """
        UID FETCH.
        """
        if "FLAGS" in items:
            return {
                uid: {
                    b"FLAGS": (b"\\Seen", b"\\Recent", b"Work"),
                    b"INTERNALDATE": WHEN,
                    b"RFC822.SIZE": self.sizes.get(uid, len(self._selected[uid] or b"")),
                }
                for uid in uids
            }
        self.fetches.append(uids)
        if len(self.fetches) > self.ends_after:
            raise IMAPClientAbortError("socket error: EOF")
        if any(self._selected[uid] is None for uid in uids):
            raise IMAPClientError(b"NO it is damaged")
        return {uid: {b"BODY[]": self._selected[uid]} for uid in uids}


class ImapSourceTests(SynchronousTestCase):
    """
    A server, and a node.
    """

    def setUp(self) -> None:
        self.desk = Desk()
        self.ledger = Ledger(None)

    def source(self, client: FakeClient) -> ImapSource:
        """
        As the command makes it.
        """
        return ImapSource(client, "old.example:993", SIZE_LIMIT, lambda name: name != "Unwanted")

    def bring(self, client: FakeClient) -> tuple[int, int, int]:
        """
        Import.
        """
        tally = self.desk.bring(self.source(client), self.ledger)
        return tally.filed, tally.already, tally.troubles

    def test_folders(self) -> None:
        """
        What is below the personal name space is at the top here; uses are what the server says, or names mean; what
        cannot be selected, or is not wanted, is left out.
        """
        client = FakeClient({})
        client.prefix = "INBOX."
        client.listed = [
            ((), b".", "INBOX"),
            ((b"\\HasNoChildren",), b".", "INBOX.Work.a/b"),
            ((), b".", "INBOX.Sent Items"),
            ((b"\\Drafts",), b".", "INBOX.Entwürfe"),
            ((), b".", "INBOX.Drafts"),
            ((b"\\NoSelect",), b".", "INBOX.Nothing"),
            ((), b".", "Unwanted"),
        ]
        self.assertEqual(
            [
                ("INBOX", ""),
                ("Work/a_b", ""),
                ("Sent Items", "\\Sent"),
                ("Entwürfe", "\\Drafts"),
                ("Drafts", ""),
            ],
            [(folder.name, folder.special_use) for folder in self.source(client).folders()],
        )

    def test_kept(self) -> None:
        """
        Octets, flags and dates are kept, wherever in the numbers messages are, and asked for many at a time.
        """
        for uid_next, gap, asked in ((True, 7, [AHEAD, AHEAD, 20]), (False, 3001, [21, 22, 22, 22, 22, 11])):
            self.desk, self.ledger = Desk(), Ledger(None)
            client = FakeClient({"INBOX": {uid * gap: b"message %d\r\n" % uid for uid in range(1, 121)}})
            client.uid_next = uid_next
            self.assertEqual((120, 0, 0), self.bring(client))
            self.assertEqual(asked, [len(uids) for uids in client.fetches])
            self.assertEqual([b"message %d\r\n" % uid for uid in range(1, 121)], self.desk.person.texts())
            (_, flags, date) = self.desk.contents()["INBOX"][0]
            self.assertEqual(({"\\Seen", "Work"}, WHEN.timestamp()), (flags, date))

    def test_again(self) -> None:
        """
        What was taken is not even asked for again.
        """
        client = FakeClient({"INBOX": {1: b"a\r\n", 2: b"b\r\n"}})
        path = scratch(self) / "ledger.sqlite"
        for expected in ((2, 0, 0), (1, 2, 0)):
            self.ledger = Ledger(path)
            self.assertEqual(expected, self.bring(client))
            self.ledger.close()
            client.contents["INBOX"][3] = b"c\r\n"
        self.assertEqual([[1, 2], [3]], client.fetches)

    def test_broken(self) -> None:
        """
        What the server refuses, what is empty or too long is named, one line each, and everything else comes.
        """
        client = FakeClient({"INBOX": {1: b"a\r\n", 2: None, 3: b"", 4: b"x", 5: b"b\r\n"}, "Gone": {}})
        client.sizes[4] = SIZE_LIMIT + 1
        client.listed.append(((), b".", "Missing"))
        self.assertEqual((2, 0, 4), self.bring(client))
        self.assertEqual([b"a\r\n", b"b\r\n"], self.desk.person.texts())
        self.assertEqual(
            ["INBOX, UID 2", "INBOX, UID 3", "INBOX, UID 4", "Missing"],
            sorted(place for place, _ in self.ledger.troubles()),
        )

    def test_lies_about_size(self) -> None:
        """
        A message that is longer than was said is measured again.
        """
        client = FakeClient({"INBOX": {1: b"x" * (SIZE_LIMIT + 1)}})
        client.sizes[1] = 5
        self.assertEqual((0, 0, 1), self.bring(client))

    def test_connection_ends(self) -> None:
        """
        A server that goes away ends the import, which says so; another run goes on.
        """
        client = FakeClient({"INBOX": {uid: b"message %d\r\n" % uid for uid in range(1, 121)}})
        client.ends_after = 2
        error = self.assertRaises(Unreachable, self.bring, client)
        self.assertEqual("old.example:993: the connection has ended: socket error: EOF", str(error))
        client.ends_after = 1000
        self.ledger = Ledger(None)
        filed, already, troubles = self.bring(client)
        self.assertEqual((120, 0), (filed + already, troubles))
        self.assertEqual(120, len(self.desk.person.texts()))

    def test_order(self) -> None:
        """
        Each message is named so that a later run knows it again.
        """
        source = self.source(FakeClient({"INBOX": {4: b"a", 2: b"b"}}))
        found = list(source.messages(next(source.folders())))
        self.assertFalse([each for each in found if isinstance(each, Unfit)])
        self.assertEqual(["7.2", "7.4"], [each.name for each in found if isinstance(each, SourceMessage)])

    def test_limit(self) -> None:
        """
        Nothing longer than a message is read at once, whatever a server announces.
        """

        class Raw:
            """
            A connection with as many octets as one likes.
            """

            def read(self, size: int) -> bytes:
                return b"x" * size

        class Client:
            """
            Its owner.
            """

            _imap = Raw()

        _limit(Client, 10)
        self.assertEqual(b"x" * 10, Client._imap.read(10))
        self.assertRaises(IMAPClientAbortError, Client._imap.read, 11)
