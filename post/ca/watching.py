"""
A member's watch over the public issuance log (L{post.crypto.issuance}).

The node keeps a copy of the log, as far as a head that the authority has signed leads; it asks for what is new together
with its other news, and as soon as it hears of a higher head from another node.  In the copy it looks for its own
names: certificates and recovery codes that were not made here, and its own certificates that are missing.  Every head
that another node has seen is held against the copy: one that does not fit is kept, and shown to the other nodes.

Format, version 1, in the directory C{issuance} of the node's home, beside the copy (L{post.ca.issuance})::

    others      heads that others have been shown and that are not of this log, MessagePack (L{_Others})
    known       what its owner knows of: the hashes of keys, in hexadecimal, one a line
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

from msgspec import Meta
from twisted.logger import Logger

from post.ca.issuance import IssuanceLog
from post.ca.questions import LOG, VERSION, AskLog, Page, read, sign_question
from post.crypto.certificates import read_node
from post.crypto.issuance import (
    HEAD_LIMIT,
    IDENTITY,
    NODE,
    RECOVERY,
    REVOCATION,
    Entry,
    Head,
    certificate_hash,
    key_hash,
    open_head,
    read_head,
)
from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError, Refused
from post.files import read_file, write_file
from post.health.facts import Issuance, Unasked
from post.home import Home
from post.messaging.account import AccountCredentials
from post.notices.issuance import IssuanceNotice
from post.wire import Document, RefusalCode, pack, unpack

PAGES = 3
"""Asked for in one look.  With those, and one question for news, a node that has all of a large log to fetch stays
below what the authority answers in a minute."""
OTHERS_LIMIT = 16
"""Heads kept that are not of our log.  One is proof enough."""
UNASKED_LIMIT = 20
"""Entries told of at once."""

Ask = Callable[[str, Callable[[bytes], bytes]], Coroutine[Any, Any, bytes]]


class _Others(Document, frozen=True):
    """
    The file C{others}.
    """

    version: int
    heads: Annotated[tuple[Annotated[bytes, Meta(max_length=HEAD_LIMIT)], ...], Meta(max_length=OTHERS_LIMIT)]


class Watching:
    """
    Of one node.
    """

    log = Logger()

    def __init__(
        self,
        home: Home,
        root: bytes,
        now: Callable[[], int],
        node: Callable[[], tuple[SigningKey, tuple[bytes, ...]]],
        notice: IssuanceNotice,
        hurry: Callable[[], None],
    ) -> None:
        """
        @param node: the node's key and certificates.
        @param hurry: has L{look} called soon.
        """
        self.copy = IssuanceLog(home.path / "issuance")
        self._home = home
        self._root = root
        self._now = now
        self._node = node
        self._notice = notice
        self._hurry = hurry
        self._path = home.path / "issuance"
        self._claims: OrderedDict[bytes, Head] = OrderedDict()
        """Heads that are longer than our copy, as signed."""
        self._others: tuple[bytes, ...] = ()
        self._shorter = False
        self._checked = 0
        self._unlogged: tuple[str, ...] = ()
        self._unasked: list[Entry] = []
        self._open()
        if head := self.copy.head():
            self._judge()
            notice.use(head)
        if self._others:
            notice.spread((*self._others, *([head] if head else ())))
        notice.heard.append(self._heard)

    def _open(self) -> None:
        """
        Read what is on disk.  Mail does not depend on it: what is damaged is put aside, and all of it fetched anew.
        """
        try:
            self.copy.refresh()
            self._others = self._read_others()
        except ConfigError as error:
            aside = self._path.with_name(f"issuance.damaged.{self._now()}")
            self._path.rename(aside)
            self.log.error("{error}; it is now {aside}, and another is fetched", error=error, aside=str(aside))
            self.copy, self._others = IssuanceLog(self._path), ()

    # What other nodes have been shown.

    def _heard(self, data: bytes, head: Head) -> None:
        if head.length > len(self.copy):
            self._claims[data] = head
            if len(self._claims) > OTHERS_LIMIT:
                self._claims.popitem(last=False)
            self._hurry()
        elif head.link != self.copy.link(head.length):
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        """
        A head that is not of the log that we have been shown.
        """
        known = {(each.length, each.link) for each in map(read_head, self._others)}
        head = read_head(data)
        if (head.length, head.link) in known or len(self._others) >= OTHERS_LIMIT:
            return
        self._others = (*self._others, data)
        write_file(self._path / "others", pack(_Others(VERSION, self._others)))
        self.log.error("another node has been shown another public log, up to {length}", length=head.length)
        # To all: whoever has the other log is to see this one.
        self._notice.spread((data, self.copy.head()) if self.copy.head() else (data,))

    def _read_others(self) -> tuple[bytes, ...]:
        path = self._path / "others"
        if not path.exists():
            return ()
        try:
            found = unpack(_Others, read_file(path))
        except PeerError as error:
            raise ConfigError(str(path), f"is damaged: {error}") from None
        if found.version != VERSION:
            raise ConfigError(str(path), f"is of version {found.version}; this program knows {VERSION}")
        return found.heads

    # What the authority says.

    async def look(self, ask: Ask) -> None:
        """
        Fetch what is new, and look for our own names.

        @raise PostError: if there is no answer, or it is no continuation of our copy.
        """
        claims = list(self._claims.items())
        mine = self._certificates()
        for _ in range(PAGES):
            try:
                page = read(Page, await ask(LOG, self._made))
            except Refused as error:
                if error.code == RefusalCode.UNSUPPORTED and not len(self.copy):
                    return  # An authority of before there was a log.
                raise
            if self._take(page):
                break
        else:
            self._hurry()
            return
        self._checked = self._now()
        for data, head in claims:
            self._claims.pop(data, None)
            if head.length > len(self.copy) or head.link != self.copy.link(head.length):
                self._keep(data)  # The authority keeps something from us, or it has shown two logs.
        logged = {entry.certificate for entry in self.copy.entries}
        self._unlogged = tuple(name for name, certificate in mine if certificate_hash(certificate) not in logged)
        self._judge()
        self._notice.use(self.copy.head())

    def _made(self, door: bytes) -> bytes:
        key, chain = self._node()
        return sign_question(AskLog(VERSION, door, self._now(), len(self.copy)), key, chain)

    def _take(self, page: Page) -> bool:
        """
        Continue our copy; returns whether it is complete.
        """
        start, head = len(self.copy), open_head(page.head, self._root, self._now())
        self._shorter = head.length < start
        if head.length <= start and head.link != self.copy.link(head.length):
            self._keep(page.head)
            raise PeerError("the authority shows another public log than before")
        if head.length <= start and not page.entries:
            return True
        if head.length != start + len(page.entries):
            raise PeerError(f"{len(page.entries)} entries of the public log, and a head of {head.length}")
        if self.copy.links_of(page.entries)[-1] != head.link:
            self._keep(page.head)
            raise PeerError("the authority's public log is no continuation of what it was before")
        self.copy.refresh()
        if len(self.copy) != start:
            return False  # Somebody else has written to it meanwhile.
        self.copy.extend(page.entries)
        self.copy.write_head(page.head)
        return head.length >= page.length

    def _certificates(self) -> list[tuple[str, bytes]]:
        """
        Ours, and whose each is: empty for the node's.
        """
        found = [("", self._node()[1][0])]
        return found + [(each.address, each.chain[0]) for each in self._home.accounts(self._root)]

    # What there is to be told.

    def facts(self) -> Issuance | None:
        """
        What a person has to know of it; C{None} as long as there is no log.
        """
        if not self._checked and not len(self.copy):
            return None
        split = sum(1 for data in self._others if not self._fits(read_head(data)))
        known = known_keys(self._home)
        told = [Unasked(e.number, e.kind, e.name, e.of, e.at) for e in self._unasked if e.key not in known]
        return Issuance(
            len(self.copy), self._checked, tuple(told[:UNASKED_LIMIT]), self._unlogged, split, self._shorter
        )

    def _fits(self, head: Head) -> bool:
        return head.length <= len(self.copy) and head.link == self.copy.link(head.length)

    def _judge(self) -> None:
        key, chain = self._node()
        node, accounts = read_node(chain[0]).node_id.hex(), self._home.accounts(self._root)
        self._unasked = unasked(self.copy.entries, key.public, node, accounts, self._now())


def unasked(
    entries: Sequence[Entry], key: bytes, node: str, accounts: Sequence[AccountCredentials], now: int
) -> list[Entry]:
    """
    The entries for the names of one node that it did not ask for, and that somebody could still make use of.

    @param key: the node's public key; C{node} is its id in hexadecimal.
    """
    people = {each.address: each for each in accounts}
    ours = {key_hash(key), *(key_hash(each.key.public) for each in accounts)}
    revoked = {entry.key for entry in entries if entry.kind == REVOCATION}
    began = next((entry.number for entry in entries if entry.kind == NODE and entry.key == key_hash(key)), len(entries))
    codes: dict[str, Entry] = {}
    found: dict[tuple[str, str, bytes], Entry] = {}
    for entry in entries:
        if entry.kind == RECOVERY and entry.name in people:
            codes[entry.name] = entry
        # What there was of one's own before this machine is one's own.
        later = entry.of in people and entry.number > began
        named = (entry.kind == NODE and (entry.name == node or later)) or (
            entry.kind == IDENTITY and entry.name in people
        )
        if named and entry.key not in ours | revoked and entry.until > now:
            found.setdefault((entry.kind, entry.name, entry.key), entry)
    for address, entry in codes.items():
        deposit = people[address].deposit
        # One that is not known to the authority yet is about to take the place of whatever there was.
        if deposit is None or (deposit.entrusted and entry.key != key_hash(deposit.claim)):
            found[entry.kind, entry.name, entry.key] = entry
    return sorted(found.values(), key=lambda entry: entry.number)


def known_keys(home: Home) -> set[bytes]:
    """
    The hashes of keys that the owner of a node has said to know of.
    """
    path = home.path / "issuance" / "known"
    if not path.exists():
        return set()
    lines = read_file(path).decode("ascii", "replace").split()
    return {bytes.fromhex(line) for line in lines if len(line) == 64 and set(line) <= set("0123456789abcdef")}


def know(home: Home, entry: Entry) -> None:
    """
    Tell of the key that C{entry} names no more.
    """
    lines = sorted(each.hex() for each in {*known_keys(home), entry.key})
    write_file(home.path / "issuance" / "known", "".join(f"{line}\n" for line in lines).encode())
