"""
Block lists that people share (POST, section 4.5): one person publishes theirs, as a block to which their identity block
refers, and others follow it.

Whoever is on a list that somebody follows is put into quarantine, never ignored: somebody else's list must not make
mail vanish.  Of what is followed the last version that was seen is kept in the journal, so that it counts at once after
a start, and while its publisher cannot be asked.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.commit import DiskError
from post.crypto.convergent import BLOCK_LIMIT, Reference
from post.errors import PeerError, PostError
from post.ids import AccountId
from post.interfaces import IJournal
from post.mail.expansion import Expansion
from post.mail.interfaces import DirectoryUnavailable, RecipientOutside, RecipientUnknown
from post.mail.mailbox import Mailbox
from post.mail.patterns import full_name, pattern
from post.mail.personal import BLOCKED_LIMIT, Unacceptable, kept
from post.mail.records import Address, BlockListFollowed, BlockListShared
from post.mail.showing import Shelf
from post.messaging.account import Account
from post.messaging.identities import Identities
from post.tasks import sleep
from post.wire import Document, pack, unpack

FOLLOWED_LIMIT = 16
"""Lists that one person follows: each may have thousands of entries in memory."""
REFRESH_S = 6 * 3600.0
"""Between two looks at the lists that are followed: each is an identity block to ask for."""


class BlockList(Document, frozen=True):
    """
    C{patterns} in their one spelling (L{post.mail.patterns}); C{owner} is whose list it is.
    """

    version: int
    owner: AccountId
    patterns: Annotated[tuple[Address, ...], Meta(max_length=BLOCKED_LIMIT)]


def read_block_list(data: bytes, owner: AccountId) -> frozenset[str]:
    """
    The patterns on the list in C{data}, which has to be that of C{owner}.

    @raise PeerError: if it is not, or has something on it that is no pattern, or would block everybody.
    """
    found = unpack(BlockList, data)
    if found.version != 1 or found.owner != owner:
        raise PeerError("another block list than was asked for")
    for each in found.patterns:
        try:
            spelled = pattern(each)
        except ValueError:
            raise PeerError("a block list with something on it that is no pattern") from None
        if spelled != each or each == "*":
            raise PeerError("a block list with a pattern that nobody can have put there")
    return frozenset(found.patterns)


class BlockLists:
    """
    What one person shares, and whom they follow.
    """

    log = Logger()

    def __init__(
        self,
        account: Account,
        mailbox: Mailbox,
        journal: IJournal,
        expansion: Expansion,
        identities: Identities,
        shelf: Shelf,
        clock: IReactorTime,
    ) -> None:
        self._account = account
        self._mailbox = mailbox
        self._journal = journal
        self._expansion = expansion
        self._identities = identities
        self._shelf = shelf
        self._clock = clock
        self._known: dict[str, frozenset[str]] = {}

    # What we share.

    async def share(self, shared: bool) -> None:
        """
        Let others use our block list as it is now, or no longer.

        @raise Unfinished: if it is not everywhere yet where it has to be.
        @raise PostError: if it cannot be done now.
        """
        reference = b""
        while shared:
            blocked = frozenset(self._mailbox.state.preferences.blocked)
            reference = await self._shelf.put(pack(BlockList(1, self._account.id, tuple(sorted(blocked)))))
            if blocked == self._mailbox.state.preferences.blocked:
                break  # Otherwise it has changed while it was being stored.
        await kept(self._mailbox.keep([BlockListShared(reference)]))
        await self._shelf.show()

    async def changed(self) -> None:
        """
        Our block list has changed: those who follow it are to see that.

        @raise Unfinished, PostError: as L{share}.
        """
        if self._mailbox.state.preferences.shared:
            await self.share(True)

    # Whom we follow.

    def others(self) -> dict[str, frozenset[str]]:
        """
        The patterns of each list that is followed and known, by the address of whoever publishes it.
        """
        for address in self._mailbox.state.preferences.followed:
            if address not in self._known:
                self._known[address] = self._recalled(address)
        return self._known

    def _recalled(self, address: str) -> frozenset[str]:
        try:
            data = self._journal.value(_named(address))
            return frozenset(unpack(tuple[str, ...], data)) if data else frozenset()
        except (DiskError, PeerError):
            return frozenset()  # It is fetched again.

    async def follow(self, address: str) -> int:
        """
        Let the block list of C{address} count here too; returns how many patterns are on it.

        @raise Unacceptable: if they share none, or it cannot be had now.
        @raise Unfinished: if the ring does not keep that now.
        """
        try:
            name = full_name(address)
        except ValueError:
            raise Unacceptable(f"{address} is not a mail address") from None
        followed = self._mailbox.state.preferences.followed
        if name not in followed and len(followed) >= FOLLOWED_LIMIT:
            raise Unacceptable(f"at most {FOLLOWED_LIMIT} lists can be followed: give up another first")
        try:
            await self._refresh(name, anew=True)
        except (RecipientUnknown, RecipientOutside):
            raise Unacceptable(f"there is no {address} in this organisation") from None
        except DirectoryUnavailable:
            raise Unacceptable(f"whether there is a {address} cannot be known now: try again later") from None
        except PostError as error:
            raise Unacceptable(f"the block list of {address} cannot be had now: {error}") from None
        await kept(self._mailbox.keep([BlockListFollowed(name, True)]))
        return len(self._known[name])

    async def give_up(self, address: str) -> None:
        """
        Follow it no longer.

        @raise Unacceptable: if it is not followed.
        @raise Unfinished: as L{follow}.
        """
        if address.casefold() not in self._mailbox.state.preferences.followed:
            raise Unacceptable(f"{address} is not followed")
        await kept(self._mailbox.keep([BlockListFollowed(address.casefold(), False)]))
        self._known.pop(address.casefold(), None)

    async def _refresh(self, address: str, anew: bool) -> None:
        """
        @raise PostError: if the list cannot be had, or there is none.
        """
        account = await self._expansion.account(address)
        identity = await (self._identities.find(account, 0.0) if anew else self._identities.find(account))
        if not identity.card.block_list:
            raise PeerError("they share none")
        reference = unpack(Reference, identity.card.block_list)
        patterns = read_block_list(await self._shelf.store.fetch(reference, BLOCK_LIMIT), account)
        self._known[address] = patterns
        await self._journal.write([], [(_named(address), pack(tuple(sorted(patterns))))])

    async def refresh(self) -> None:
        """
        Look at each list that is followed.  What cannot be had stays as it was; a list that is shared no longer too,
        until it is given up here.
        """
        for address in list(self._mailbox.state.preferences.followed):
            try:
                await self._refresh(address, anew=False)
            except PostError as error:
                self.log.info("the block list of {address} is not refreshed: {error}", address=address, error=error)

    async def run(self) -> None:
        """
        For as long as the mailbox is open.
        """
        while True:
            await self.refresh()
            await sleep(self._clock, REFRESH_S)


def _named(address: str) -> str:
    return f"blocklist/{address}"
