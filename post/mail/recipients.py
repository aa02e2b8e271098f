"""
Who of the domain an address belongs to: by the directory, and for those who came since it was signed by the ring.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from post.crypto.documents import Directory
from post.crypto.names import canonical, split
from post.errors import NotFound, PostError
from post.ids import AccountId
from post.mail.interfaces import DirectoryUnavailable, RecipientOutside, RecipientUnknown
from post.messaging.identities import Identities


class Recipients:
    """
    Finds accounts of one domain.
    """

    def __init__(
        self, domain: str, directory: Callable[[], Directory], identities: Identities, clock: IReactorTime
    ) -> None:
        self.domain = domain
        self._directory = directory
        self._identities = identities
        self._clock = clock

    async def find(self, address: str) -> AccountId:
        """
        The account of C{address}, a sub-address included.

        @raise RecipientUnknown, RecipientOutside, DirectoryUnavailable: as they say.
        """
        try:
            name = canonical(address)
        except ValueError:
            raise RecipientUnknown(address) from None
        if split(name)[1] != self.domain:
            raise RecipientOutside(address)
        directory = self._directory()
        account = directory.account(name)
        if account is not None:
            return account
        # Somebody may have come since our directory was signed: then the ring has a certificate under that name.
        try:
            return await self._identities.by_address(name)
        except NotFound:
            if directory.expires < self._clock.seconds():
                raise DirectoryUnavailable(address) from None
            raise RecipientUnknown(address) from None
        except PostError:
            raise DirectoryUnavailable(address) from None
