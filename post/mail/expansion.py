"""
From the addresses on an envelope to the accounts that are notified (POST, section 4.5): directory, certificates and
mailing lists.

It is the sender's node that expands a list, or the gateway's for mail from outside.  Whoever is reached in several ways
is notified once, as the first of them; lists may have lists as members, also in circles.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from post.crypto.convergent import Reference
from post.crypto.documents import Directory
from post.crypto.names import tag_of
from post.errors import NotFound, PostError
from post.ids import AccountId
from post.mail.interfaces import (
    DirectoryUnavailable,
    ListTooLarge,
    PostingRefused,
    RecipientOutside,
    RecipientUnknown,
)
from post.mail.lists import DOCUMENT_LIMIT, MailingList, Posting, header_lines, read_list
from post.mail.patterns import full_name
from post.mail.recipients import Recipients
from post.messaging.identities import Identities
from post.messaging.storage import SecureStore
from post.wire import unpack

PEOPLE_LIMIT = 1000
"""People to whom one message may go by lists: each is a notification, sealed and sent by the sender's node, which takes
some 10 ms."""
LISTS_LIMIT = 50
"""Lists that one message may lead to: each is a block to fetch."""
LISTLESS_S = 10.0
"""For so long it is believed that an address which may be a list's is none: what is sent to one that has just been made
is for all on it."""
KEPT_LIMIT = 256
"""Lists looked at lately, kept in memory: some 5 MB.  One that has changed has another reference."""


@dataclass(frozen=True)
class Target:
    """
    Somebody to notify: C{address} is what the message was addressed to, C{person} the address by which it comes to
    them (another, where a list does), C{header} the lines that a list adds.
    """

    account: AccountId
    address: str
    person: str
    header: bytes = b""


class Expansion:
    """
    Finds the people behind addresses.
    """

    log = Logger()

    def __init__(
        self, recipients: Recipients, directory: Callable[[], Directory], identities: Identities, store: SecureStore
    ) -> None:
        self._recipients = recipients
        self._directory = directory
        self._identities = identities
        self._store = store
        self._kept: OrderedDict[tuple[bytes, str], MailingList] = OrderedDict()

    async def account(self, address: str) -> AccountId:
        """
        The account to which C{address} leads: for a list, its maintainer's.

        @raise RecipientUnknown, RecipientOutside, DirectoryUnavailable: as they say.
        """
        return await self._recipients.find(address)

    async def receives(self, target: Target) -> bool:
        """
        Whether C{target} can be notified.  Of whoever is addressed themselves that is assumed: if not, the message is
        not taken.  But a list is not to be out of order for all because of one who has never been here, or has been
        away for too long.

        @raise PostError: if that cannot be known now.
        """
        return not target.header or await self._identities.receives(target.account)

    async def list_at(self, address: str) -> MailingList | None:
        """
        The mailing list with C{address}; C{None} if that is somebody's own.

        @raise RecipientUnknown, RecipientOutside, DirectoryUnavailable: as they say.
        """
        account = await self.account(address)
        # Nothing is asked of the ring for the address of a person, as nearly all are.
        if not tag_of(address) and not self._directory().has_more_names(account):
            return None
        name = full_name(address)
        try:
            reference = (await self._identities.find(account)).card.list_named(name)
            if reference is None:
                # It may be a new list: then it is not to its maintainer alone that the message goes.
                reference = (await self._identities.find(account, LISTLESS_S)).card.list_named(name)
        except NotFound:
            return None  # Who has published nothing has published no list.
        except PostError as error:
            raise DirectoryUnavailable(address) from error
        if reference is None:
            return None
        try:
            return await self._fetch(reference, name, account)
        except PostError as error:
            self.log.info("a mailing list cannot be had now: {error}", error=error)
            raise DirectoryUnavailable(address) from error

    async def _fetch(self, reference: bytes, name: str, maintainer: AccountId) -> MailingList:
        known = self._kept.get((reference, name))
        if known is not None and known.maintainer == maintainer:
            self._kept.move_to_end((reference, name))
            return known
        data = await self._store.fetch(unpack(Reference, reference), DOCUMENT_LIMIT)
        found = self._kept[reference, name] = read_list(data, name, maintainer)
        if len(self._kept) > KEPT_LIMIT:
            self._kept.popitem(last=False)
        return found

    async def expand(self, poster: AccountId | None, addresses: Sequence[str]) -> list[Target]:
        """
        Whom a message to C{addresses} goes to, each once; those who are addressed themselves come first.  C{poster} is
        whose it is, by the account that signs it; C{None} if it comes from outside.

        @raise RecipientUnknown, RecipientOutside, DirectoryUnavailable, PostingRefused, ListTooLarge: as they say.
        """
        found: dict[AccountId, Target] = {}
        lists: dict[str, MailingList] = {}
        for address in addresses:
            mailing_list = await self.list_at(address)
            if mailing_list is not None:
                lists[mailing_list.address] = mailing_list
            else:
                account = await self.account(address)
                found.setdefault(account, Target(account, address, address))
        for name, mailing_list in lists.items():
            people = await self._people(mailing_list)
            if not _may_post(poster, mailing_list, people):
                raise PostingRefused(name)
            if not people:
                raise RecipientUnknown(name)  # What nobody gets is not to be accepted.
            for account, person in people.items():
                found.setdefault(account, Target(account, name, person, header_lines(name)))
            if len(found) > max(PEOPLE_LIMIT, len(addresses)):
                raise ListTooLarge(name)
        return list(found.values())

    async def _people(self, first: MailingList) -> dict[AccountId, str]:
        """
        Who is on a list, or on a list that is on it, with the address that leads to them.  Who has gone since is passed
        over: that is for its maintainer to mend, and not for whoever writes to it.
        """
        found: dict[AccountId, str] = {}
        seen = {first.address}
        waiting = [first]
        while waiting:
            for member in waiting.pop().members:
                try:
                    inner = await self.list_at(member)
                    if inner is None:
                        found.setdefault(await self.account(member), member)
                        continue
                except (RecipientUnknown, RecipientOutside):
                    self.log.debug("{list} has a member who is not there any more", list=first.address)
                    continue
                if inner.address not in seen:
                    seen.add(inner.address)
                    waiting.append(inner)
                if len(found) > PEOPLE_LIMIT or len(seen) > LISTS_LIMIT:
                    raise ListTooLarge(first.address)
        return found

    async def leads_to(self, address: str, name: str) -> bool:
        """
        Whether C{address} is the list C{name}, or a list that mail to it would reach.

        @raise RecipientUnknown, RecipientOutside, DirectoryUnavailable, ListTooLarge: as they say.
        """
        first = await self.list_at(address)
        waiting, seen = [first] if first is not None else [], {address}
        while waiting:
            inner = waiting.pop()
            if inner.address == name:
                return True
            for member in inner.members:
                try:
                    further = await self.list_at(member) if member not in seen else None
                except (RecipientUnknown, RecipientOutside):
                    continue
                if further is not None:
                    waiting.append(further)
                    seen.add(member)
            if len(seen) > LISTS_LIMIT:
                raise ListTooLarge(address)
        return False


def _may_post(poster: AccountId | None, mailing_list: MailingList, people: Container[AccountId]) -> bool:
    match mailing_list.posting:
        case Posting.ANYONE:
            return True
        case Posting.ORGANISATION:
            return poster is not None
        case Posting.MEMBERS:
            return poster == mailing_list.maintainer or poster in people
