"""
What a machine that takes the place of a lost one does as soon as it is in the ring: it fetches the sealed copy of the
account, and makes an account of it whose keys are all new.

Until that is done, the account's directory has a file C{recovering}, mode 0600, MessagePack, which C{post recover}
writes: with it the node goes on by itself, however often it is stopped, and however long the ring is out of reach.  The
account is written before that file goes; from then on L{post.node} finds in it what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from msgspec import Meta
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.ca.code import SECRET_BYTES, short_fingerprint
from post.crypto.certificates import read_identity
from post.crypto.keys import SigningKey
from post.crypto.recovery import SHARE_BYTES, RecoveryKeys
from post.crypto.sealing import SealingKey
from post.errors import ConfigError, NotFound, PeerError, PostError, Unconfirmed
from post.files import read_secret, write_secret
from post.home import Home
from post.interfaces import Entropy
from post.messaging.account import AccountCredentials, HeldKey
from post.messaging.sealed_copy import (
    PAST_LIMIT,
    SEALING_LIMIT,
    AccountCopy,
    PastKeys,
    SealingSecret,
    make_deposit,
    open_copy,
)
from post.past.node import Past
from post.tasks import sleep
from post.wire import Document, pack, unpack

FILE = "recovering"
VERSION = 1
RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0
"""When the copy could not be had; doubled each time."""


class Recovering(Document, frozen=True):
    """
    What is known of an account before its sealed copy has been opened.

    @ivar secret: of the code that was used.
    @ivar share: what the authority added to it.
    @ivar fresh: the secret of the code that is to be good from now on.
    """

    version: int
    secret: Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    share: Annotated[bytes, Meta(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
    fresh: Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    key: bytes
    chain: tuple[bytes, ...]
    password_hash: str


def account_copy(credentials: AccountCredentials) -> AccountCopy:
    """
    What of an account is to be sealed.
    """
    return AccountCopy(
        VERSION,
        credentials.address,
        credentials.account,
        credentials.master,
        credentials.epoch,
        credentials.past,
        tuple(SealingSecret(held.key.to_bytes(), held.expires) for held in credentials.sealing[-SEALING_LIMIT:]),
    )


def renewed(copy: AccountCopy, recovering: Recovering, root: bytes, entropy: Entropy, now: int) -> AccountCredentials:
    """
    The account of C{copy} with new keys throughout; those of before open what is old, and nobody seals to them any
    more.

    @raise PeerError: if the copy is of another account than the certificates, or something in it is no key.
    """
    person = read_identity(recovering.chain[0])
    if (copy.account, copy.address) != (person.account, person.address):
        raise PeerError("a sealed copy of another account")
    try:
        old = [HeldKey(SealingKey(each.secret), min(each.expires, now)) for each in copy.sealing]
        key = SigningKey.from_pem(recovering.key)
    except ValueError as error:
        raise PeerError(f"no key: {error}") from None
    account = AccountCredentials(
        person.address,
        person.account,
        key,
        recovering.chain,
        entropy(32),
        (*old[1 - SEALING_LIMIT :], HeldKey(SealingKey.generate(entropy), person.not_after)),
        recovering.password_hash,
        copy.epoch + 1,
        _past(copy),
    )
    return provided(account, RecoveryKeys(recovering.fresh, short_fingerprint(root)), entropy)


def _past(copy: AccountCopy) -> tuple[PastKeys, ...]:
    """
    The newest, and the very first, from which names follow.
    """
    past = (PastKeys(copy.master, copy.epoch), *copy.past)
    return past if len(past) <= PAST_LIMIT else (*past[: PAST_LIMIT - 1], past[-1])


def provided(account: AccountCredentials, keys: RecoveryKeys, entropy: Entropy) -> AccountCredentials:
    """
    C{account} with what its node needs so that the code of C{keys} comes to be the one that counts.
    """
    return replace(account, deposit=make_deposit(account_copy(account), keys, entropy))


class Retrieval:
    """
    Of one account, on its new node.

    @ivar trouble: what is being waited for.
    """

    log = Logger()

    def __init__(self, home: Home, address: str, root: bytes, clock: IReactorTime, entropy: Entropy) -> None:
        """
        @raise ConfigError: if the file is damaged.
        """
        self.address = address
        self.trouble = "waits for the ring"
        self.done = False
        self._home = home
        self._root = root
        self._clock = clock
        self._entropy = entropy
        self._recovering = read_recovering(home, address)

    async def run(self, past: Past, reload: Callable[[], None]) -> None:
        """
        Returns when the account lives here.
        """
        retry_s = RETRY_FIRST_S
        while not self.done:
            try:
                copy = await self._fetch(past)
                account = renewed(copy, self._recovering, self._root, self._entropy, int(self._clock.seconds()))
                self._home.write_account(account)
                self._home.account_file(self.address, FILE).unlink()
                self.done, self.trouble = True, ""
            except (PostError, OSError) as error:
                if str(error) != self.trouble:
                    self.log.warn("{address} is not recovered yet: {error}", address=self.address, error=error)
                self.trouble = str(error)
                await sleep(self._clock, retry_s)
                retry_s = min(2 * retry_s, RETRY_MOST_S)
        self.log.info("the keys of {address} are recovered", address=self.address)
        reload()

    async def _fetch(self, past: Past) -> AccountCopy:
        recovering = self._recovering
        keys = RecoveryKeys(recovering.secret, short_fingerprint(self._root))
        newest = await past.newest(keys.handle, wide=True)
        if newest.data is not None:
            return open_copy(newest.data, keys, recovering.share)
        if not newest.confirmed:
            raise Unconfirmed("too few machines are on-line to find the sealed copy")
        raise NotFound("the machines that are on-line have no sealed copy for this code; others may have it")


def read_recovering(home: Home, address: str) -> Recovering:
    """
    @raise ConfigError: if there is none, or it is damaged.
    """
    path = home.account_file(address, FILE)
    try:
        found = unpack(Recovering, read_secret(path))
    except PeerError as error:
        raise ConfigError(str(path), f"is damaged: {error}") from None
    if found.version != VERSION:
        raise ConfigError(str(path), f"is of version {found.version}; this program knows {VERSION}")
    return found


def write_recovering(home: Home, address: str, recovering: Recovering) -> None:
    """
    Let the node go on from here.
    """
    write_secret(home.account_file(address, FILE), pack(recovering))


def retrievals(home: Home, root: bytes, clock: IReactorTime, entropy: Entropy) -> list[Retrieval]:
    """
    Those that a node has to do.

    @raise ConfigError: if one is damaged.
    """
    found = []
    for address in home.addresses_with(FILE):
        if home.has_account(address):
            # Cut short between the two: the account is all there is to it.
            home.account_file(address, FILE).unlink()
        else:
            found.append(Retrieval(home, address, root, clock, entropy))
    return found
