"""
What a person shows to others (POST, sections 3.1 and 4.5): the mailing lists that they maintain, their block list if
others may use it, and what strangers have to do before they are heard.

Each is stored as a block of its own, referred to by the person's log, and then by the identity block.  In this order:
what the log has not got is referred to by nothing, and what the identity block does not say yet it says the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

from post.crypto.convergent import BLOCK_LIMIT
from post.crypto.names import canonical, tag_of
from post.errors import PostError
from post.mail.expansion import Expansion
from post.mail.interfaces import DirectoryUnavailable, ListTooLarge, RecipientOutside, RecipientUnknown
from post.mail.lists import MEMBERS_LIMIT, MailingList, Posting, list_name, write_list
from post.mail.mailbox import Mailbox
from post.mail.patterns import full_name
from post.mail.personal import Unacceptable, Unfinished, kept
from post.mail.preferences import Preferences
from post.mail.records import MailingListDeleted, MailingListSet
from post.messaging.account import Account
from post.messaging.identity import LISTS_LIMIT
from post.messaging.storage import Lease, SecureStore
from post.wire import StorageClass, pack

_T = TypeVar("_T")

MEMBERS_BYTES = 32 * 1024
"""Octets of a list's members: they are in one record of the log, of 60 KiB at most."""


@dataclass(frozen=True)
class Shelf:
    """
    Where what is shown is put: C{again} has the identity block published anew, as L{Publishing.again}.
    """

    store: SecureStore
    lease_s: Callable[[], int]
    again: Callable[[], Deferred[None]]

    async def show(self) -> None:
        """
        Let the identity block say what the log says now.

        @raise Unfinished: if it cannot now.
        """
        try:
            await self.again()
        except PostError as error:
            raise Unfinished(f"kept, but others cannot see it yet ({error}); that is tried again") from error

    async def put(self, data: bytes) -> bytes:
        """
        Store one block; returns its packed reference.

        @raise PostError: if the ring does not keep it now.
        """
        assert len(data) <= BLOCK_LIMIT
        return pack(await self.store.store(data, Lease(StorageClass.MAIL, self.lease_s())))


class Lists:
    """
    The mailing lists that one person maintains.
    """

    def __init__(self, account: Account, mailbox: Mailbox, expansion: Expansion, shelf: Shelf) -> None:
        self._account = account
        self._mailbox = mailbox
        self._expansion = expansion
        self._shelf = shelf
        self._lock = DeferredLock()

    async def _alone(self, work: Coroutine[Any, Any, _T]) -> _T:
        """
        Two who change one list at once would each publish it without the other's change.
        """
        try:
            await self._lock.acquire()
        except BaseException:
            work.close()
            raise
        try:
            return await work
        finally:
            self._lock.release()

    @property
    def preferences(self) -> Preferences:
        """
        Where they stand.
        """
        return self._mailbox.state.preferences

    def named(self, address: str) -> MailingListSet:
        """
        The list with C{address}, or with that word before the @ or after the +.

        @raise Unacceptable: if this person maintains none of that name.
        """
        known = self.preferences.lists
        found = [each for each in known if each == address.casefold() or _short(each) == address.casefold()]
        if len(found) != 1:
            lists = ", ".join(sorted(known)) or "none"
            raise Unacceptable(f"you maintain no list {address}; yours: {lists}")
        return known[found[0]]

    async def create(self, address: str, posting: str = Posting.MEMBERS, members: Sequence[str] = ()) -> MailingListSet:
        """
        A new list.

        @raise Unacceptable: if there cannot be one with this address, or with these members.
        @raise Unfinished: if it is not everywhere yet where it has to be.
        @raise PostError: if it cannot be done now.
        """
        return await self._alone(self._create(address, posting, members))

    async def _create(self, address: str, posting: str, members: Sequence[str]) -> MailingListSet:
        name = await self._own(address)
        if name in self.preferences.lists:
            raise Unacceptable(f"there is a list {name} already: see post list show")
        if len(self.preferences.lists) >= LISTS_LIMIT:
            raise Unacceptable(f"one person maintains at most {LISTS_LIMIT} lists")
        if posting not in list(Posting):
            raise Unacceptable(f"who may write to a list: {', '.join(Posting)}; not {posting}")
        return await self._set(name, posting, await self._checked(name, members))

    async def _own(self, address: str) -> str:
        own = self._account.address
        hint = f"use a sub-address of yours, such as {own.replace('@', '+team@', 1)}"
        try:
            name = list_name(address)
            account = await self._expansion.account(name)
        except (ValueError, RecipientOutside):
            raise Unacceptable(f"{address} cannot be a list's address: {hint}") from None
        except RecipientUnknown:
            account = None
        if account != self._account.id:
            raise Unacceptable(f"{address} does not lead to you: {hint}")
        if canonical(name) == canonical(own) and not tag_of(name):
            raise Unacceptable(f"{address} is you: {hint}")
        return name

    async def add(self, address: str, members: Sequence[str]) -> MailingListSet:
        """
        Put people, or lists, on a list.

        @raise Unacceptable, Unfinished, PostError: as L{create}.
        """
        return await self._alone(self._add(address, members))

    async def _add(self, address: str, members: Sequence[str]) -> MailingListSet:
        current = self.named(address)
        return await self._set(
            current.address, current.posting, await self._checked(current.address, [*current.members, *members])
        )

    async def remove(self, address: str, members: Sequence[str]) -> MailingListSet:
        """
        Take them off.

        @raise Unacceptable, Unfinished, PostError: as L{create}.
        """
        return await self._alone(self._remove(address, members))

    async def _remove(self, address: str, members: Sequence[str]) -> MailingListSet:
        current = self.named(address)
        leaving = [_spelled(member) for member in members]
        for member in leaving:
            if member not in current.members:
                raise Unacceptable(f"{member} is not on {current.address}")
        staying = tuple(each for each in current.members if each not in leaving)
        return await self._set(current.address, current.posting, staying)

    async def delete(self, address: str) -> None:
        """
        Let there be no such list any more: mail to its address then comes to its maintainer.

        @raise Unacceptable: if there is none.
        @raise Unfinished: as L{create}.
        """
        await self._alone(self._delete(address))

    async def _delete(self, address: str) -> None:
        await kept(self._mailbox.keep([MailingListDeleted(self.named(address).address)]))
        await self._shelf.show()

    async def _checked(self, name: str, members: Sequence[str]) -> tuple[str, ...]:
        """
        The members in their one spelling: all of them exist, and no list comes to be within itself.
        """
        found: dict[str, None] = {}
        before = self.preferences.lists.get(name)
        known = frozenset(before.members) if before is not None else frozenset()
        for member in members:
            spelled = _spelled(member)
            if spelled not in known:  # Those who have gone since stay until they are taken off.
                await self._check_member(name, member, spelled)
            found[spelled] = None
        if len(found) > MEMBERS_LIMIT or sum(len(each.encode()) for each in found) > MEMBERS_BYTES:
            raise Unacceptable(f"a list has at most {MEMBERS_LIMIT} members: put lists on it")
        return tuple(found)

    async def _check_member(self, name: str, member: str, spelled: str) -> None:
        try:
            if spelled == name or await self._expansion.leads_to(spelled, name):
                raise Unacceptable(f"{member} leads back to {name}: a list cannot be within itself")
            await self._expansion.account(spelled)
        except RecipientUnknown:
            raise Unacceptable(f"there is no {member} in this organisation") from None
        except RecipientOutside:
            raise Unacceptable(f"{member} is outside this organisation: lists are for its members") from None
        except ListTooLarge:
            raise Unacceptable(f"{member} leads to more lists than there may be within one") from None
        except DirectoryUnavailable:
            raise Unacceptable(f"whether there is a {member} cannot be known now: try again later") from None

    async def _set(self, name: str, posting: str, members: tuple[str, ...]) -> MailingListSet:
        document = MailingList(1, name, self._account.id, Posting(posting), members)
        reference = await self._shelf.put(write_list(document))
        changed = MailingListSet(name, posting, members, reference)
        await kept(self._mailbox.keep([changed]))
        await self._shelf.show()
        return changed


def _short(address: str) -> str:
    local = address.rpartition("@")[0]
    return local.partition("+")[2] or local


def _spelled(address: str) -> str:
    try:
        return full_name(address)
    except ValueError:
        raise Unacceptable(f"{address} is not a mail address") from None
