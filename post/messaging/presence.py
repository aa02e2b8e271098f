"""
Presence (POST, section 3.3): a person's node says that it is there, and who waits for that hears it.

It is published in the group in which only that account may publish.  A node says it when an account opens on it, when
it was asleep or perhaps cut off, and now and then, since multicast promises nothing.  Nobody needs to listen: then it
ends at the root of the group and costs one message.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Annotated

from msgspec import Meta
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.complaints import Complaints
from post.errors import Overloaded, PeerError, PostError
from post.ids import AccountId, Contact, Key
from post.interfaces import IApplication
from post.messaging.account import Account
from post.pastry.node import Pastry
from post.scribe.node import Scribe
from post.scribe.publication import Publication, group_of, sign
from post.tasks import Tasks, sleep
from post.wire import Document, Message, pack, unpack

AGAIN_S = 300.0
"""Between two announcements when nothing happens: for those who missed one because the tree was being repaired."""
GAP_S = 30.0
"""Between two announcements because somebody came (back) beside us: nodes come by the dozen when an office opens."""
SOON_S = 0.5
"""Before such a one, so that those who come at the same time are in the ring when they are told."""
DATA_LIMIT = 512
"""Octets of what an application may add."""
FOLLOWED_LIMIT = 5000
"""People followed at once by one node, a quarter of the groups in which it may stand; for more, polling has to do."""


class Presence(Document, frozen=True):
    """
    An account is at C{contact} now.  C{data} is what an application adds (POST, section 3.3), such as how to reach it.
    Whoever forwards a publication can read it: what is for some only, the application seals to them.
    """

    version: int
    contact: Contact
    data: Annotated[bytes, Meta(max_length=DATA_LIMIT)] = b""


@implementer(IApplication)
class Comings:
    """
    Tells C{watchers} who comes into the leaf set.
    """

    def __init__(self, *watchers: Callable[[Contact], None]) -> None:
        self._watchers = watchers

    def deliver(self, key: Key, message: Message, origin: Contact) -> None:
        """
        Nothing is routed to us.
        """

    def forward(self, key: Key, message: Message, next_hop: Contact) -> bool:
        return True

    def update(self, contact: Contact, joined: bool) -> None:
        if joined:
            for watcher in self._watchers:
                watcher(contact)


class Announcer:
    """
    Says of the accounts of this node that they are here.
    """

    log = Logger()

    def __init__(self, scribe: Scribe, pastry: Pastry, clock: IReactorTime, random: Random) -> None:
        self._scribe = scribe
        self._pastry = pastry
        self._clock = clock
        self._random = random
        self._tasks = Tasks()
        self._accounts: dict[AccountId, Account] = {}
        self._numbers: dict[AccountId, int] = {}
        self._data: dict[AccountId, bytes] = {}
        self._announced_at = float("-inf")
        self._waiting = False
        pastry.watch_return(self.announce)

    def start(self) -> None:
        """
        Begin to say it now and then.
        """
        self._tasks.every(self._clock, lambda: AGAIN_S * self._random.uniform(0.8, 1.0), self._again)

    def stop(self) -> None:
        """
        Say nothing more.
        """
        self._tasks.stop()
        self._accounts.clear()

    def open(self, account: Account) -> None:
        """
        C{account} receives here from now on.
        """
        self._accounts[account.id] = account
        self._announce(account)

    def close(self, account: Account) -> None:
        """
        And no longer.
        """
        self._accounts.pop(account.id, None)

    def say(self, account: AccountId, data: bytes) -> None:
        """
        Add C{data} to what is said of C{account}, from now on and, if it is open here, at once.

        @raise ValueError: if it is longer than L{DATA_LIMIT}.
        """
        if len(data) > DATA_LIMIT:
            raise ValueError(f"{len(data)} octets beside the presence")
        self._data[account] = data
        if account in self._accounts:
            self._announce(self._accounts[account])

    def announce(self) -> None:
        """
        Say it of everybody, now.
        """
        self._announced_at = self._clock.seconds()
        for account in self._accounts.values():
            self._announce(account)

    def _announce(self, account: Account) -> None:
        # A clock that was set back must not make us repeat a number, which would be nothing new.
        number = max(int(self._clock.seconds() * 1000), self._numbers.get(account.id, 0) + 1)
        self._numbers[account.id] = number
        presence = Presence(1, self._pastry.local, self._data.get(account.id, b""))
        said = Publication(1, account.id, number, pack(presence))
        try:
            self._scribe.publish(sign(said, account.key, account.chain))
        except PostError as error:
            self.log.debug("{address} not announced: {error}", address=account.address, error=error)

    async def _again(self) -> None:
        self.announce()

    def came(self, contact: Contact) -> None:
        """
        C{contact} came (back) beside us: perhaps it was we who had been cut off.
        """
        if self._accounts and not self._waiting:
            self._waiting = True
            self._tasks.spawn(self._announce_soon())

    async def _announce_soon(self) -> None:
        try:
            since_s = self._clock.seconds() - self._announced_at
            await sleep(self._clock, max(SOON_S, GAP_S - since_s) if since_s >= 0 else GAP_S)
        finally:
            self._waiting = False
        self.announce()


Heard = Callable[[AccountId, Contact, bytes], None]
"""Takes whose presence it is, where they are, and what their application adds."""


class Followed:
    """
    Those of whose presence this node wants to hear.
    """

    def __init__(self, scribe: Scribe, complaints: Complaints) -> None:
        self._scribe = scribe
        self._complaints = complaints
        self._heard: dict[AccountId, list[Heard]] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def follow(self, account: AccountId, heard: Heard) -> None:
        """
        Call C{heard} each time C{account} says where it is, as far as that can be heard.
        """
        if account in self._heard:
            if heard not in self._heard[account]:
                self._heard[account].append(heard)
            return
        if len(self._heard) >= FOLLOWED_LIMIT:
            return
        try:
            self._scribe.subscribe(group_of(account), self._listen)
        except Overloaded:
            return  # Whoever wants to know asks now and then anyway.
        self._heard[account] = [heard]

    def forget(self, account: AccountId, heard: Heard) -> None:
        """
        No longer.
        """
        listening = self._heard.get(account, [])
        if heard in listening:
            listening.remove(heard)
            if not listening:
                del self._heard[account]
                self._scribe.unsubscribe(group_of(account))

    def _listen(self, publication: Publication) -> None:
        if publication.account not in self._heard:
            return
        try:
            presence = unpack(Presence, publication.payload)
            if presence.version != 1:
                raise PeerError("a presence of another version")
        except PeerError as error:
            self._complaints.note(publication.account, "unusable presence", error)
            return
        for heard in list(self._heard[publication.account]):
            heard(publication.account, presence.contact, presence.data)
