"""
Finding people: from an account id to its identity block, remembered for a while (POST, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
from post.crypto.certificates import read_identity, verify_identity
from post.crypto.trust import check_revoked
from post.errors import NotFound, PeerError, Unconfirmed
from post.hashes import Purpose, handle_of
from post.ids import AccountId, Handle
from post.messaging.identity import Identity, Lapsed, parse
from post.past.blocks import CERTIFICATE, certificate_handle, read_signed_block
from post.past.node import Past
from post.tasks import Tasks
from post.wire import unpack

FRESH_S = 600
"""For so long an identity is used without asking again.  A person who moved is found at once all the same, because a
contact that does not answer makes the sender ask again."""
KNOWN_LIMIT = 10_000


def identity_handle(account: AccountId) -> Handle:
    """
    Where the identity block of an account is.
    """
    return handle_of(Purpose.ACCOUNT_BLOCK, account.packed())


@dataclass
class _Known:
    identity: Identity
    asked_at: float


class Identities:
    """
    The identities of correspondents.
    """

    def __init__(self, past: Past, clock: IReactorTime, root: bytes, complaints: Complaints, tasks: Tasks) -> None:
        self._past = past
        self._clock = clock
        self._root = root
        self._complaints = complaints
        self._tasks = tasks
        self._known: dict[AccountId, _Known] = {}
        self._asking: dict[AccountId, list[Deferred[Identity]]] = {}

    async def find(self, account: AccountId, older_than_s: float = FRESH_S) -> Identity:
        """
        The identity of C{account}; asked of the ring if what is known is older than C{older_than_s} seconds.

        @raise NotFound: if it has published none.
        @raise Unconfirmed: if too few holders answer to know whether it has.
        @raise Lapsed: if its certificate has run out.
        @raise PeerError: if what is published is no identity.
        """
        known = self._known.get(account)
        if known is not None and self._clock.seconds() - known.asked_at <= older_than_s and not self._revoked(known):
            return known.identity
        answer: Deferred[Identity] = Deferred()
        question = self._asking.get(account)
        if question is not None:
            question.append(answer)
        else:
            self._asking[account] = [answer]
            self._tasks.spawn(self._ask(account))
        return await answer

    async def receives(self, account: AccountId) -> bool:
        """
        Whether anything can be sealed to C{account}: it has published an identity, and has not been away for so long
        that certificate and keys have run out.

        @raise PostError: if that cannot be known now.
        """
        try:
            (await self.find(account)).sealing_key(self._clock.seconds())
        except (NotFound, PeerError):
            return False
        return True

    def _revoked(self, known: _Known) -> bool:
        """
        Whether somebody else may have what was sealed to these keys: then it is not for C{FRESH_S} that they are used.
        """
        try:
            check_revoked(self._root, known.identity.certificate.public_key, self._clock.seconds())
        except PeerError:
            return True
        return False

    async def by_address(self, address: str) -> AccountId:
        """
        The account that is certified for a mail address, by the certificate block under its name (POST, section 3.1).

        @raise NotFound: if there is none.
        @raise Unreachable: if too few answer to know.
        @raise PeerError: if what is there is no valid certificate.
        @raise ValueError: if C{address} is no address.
        """
        data = await self._past.lookup(CERTIFICATE, certificate_handle(address))
        return verify_identity(unpack(tuple[bytes, ...], data), self._root, int(self._clock.seconds())).account

    async def _ask(self, account: AccountId) -> None:
        """
        One question to the ring for all who want to know now.
        """
        try:
            identity = await self._lookup(account)
        except Exception as error:
            for waiting in self._asking.pop(account):
                if not waiting.called:
                    waiting.errback(error)
            return
        identity = self.remember(account, identity)
        for waiting in self._asking.pop(account):
            if not waiting.called:
                waiting.callback(identity)

    async def _lookup(self, account: AccountId) -> Identity:
        newest = await self._past.newest(identity_handle(account))
        if newest.data is None and not newest.confirmed:
            raise Unconfirmed(f"identity of account {account}")
        if newest.data is None:
            raise NotFound(f"account {account} has published no identity")
        block = read_signed_block(newest.data)
        now = int(self._clock.seconds())
        # Judged at the time of reading: a certificate that ran out no longer receives mail.
        if block.chain and read_identity(block.chain[0]).not_after < now:
            raise Lapsed(f"the certificate of account {account} has run out")
        certificate = verify_identity(block.chain, self._root, now)
        if certificate.account != account:
            raise PeerError("an identity block of another account")
        return Identity(certificate, parse(block.payload), block.number)

    def remember(self, account: AccountId, identity: Identity) -> Identity:
        """
        What we just read, or published ourselves; returns the newest that is known.
        """
        known = self._known.get(account)
        if known is not None and known.identity.number > identity.number:
            identity = known.identity  # Holders that lag are not believed.
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[account] = _Known(identity, self._clock.seconds())
        return identity
