"""
What an authority keeps of its people's recovery codes: a file for each account under C{recovery/} in its directory,
mode 0600.

A file (MessagePack, version 1) has the public half of the code's claim key, and the share of its sealing key; neither
tells the code, nor opens anything by itself.  Of the codes before it has the claim keys only, so that "renewed" can be
told from "wrong": their shares are gone, and with them the sealed copies in the ring can be opened by nobody.  When the
keys of an account are revoked, its code is taken back too: whoever stole the one may have stolen the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from post.errors import ConfigError, PeerError
from post.files import read_secret, write_secret
from post.ids import AccountId
from post.wire import Document, pack, unpack

VERSION = 1
RENEWED_LIMIT = 20
"""Codes of before that are remembered."""

_Key = Annotated[bytes, Meta(max_length=64)]


class Recovery(Document, frozen=True):
    """
    Of one account.

    @ivar claim: empty, if the code was taken back.
    @ivar at: when the code was made known (unix seconds).
    """

    version: int
    account: AccountId
    address: str
    claim: _Key
    share: Annotated[bytes, Meta(min_length=32, max_length=32)]
    at: int
    renewed: Annotated[tuple[_Key, ...], Meta(max_length=RENEWED_LIMIT)] = ()

    def past(self) -> tuple[bytes, ...]:
        """
        The claim keys that are not good any more when there is another code.
        """
        return (*self.renewed, *([self.claim] if self.claim else []))[-RENEWED_LIMIT:]


class Recoveries:
    """
    All of one authority.  Whoever changes one holds the authority's lock.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "recovery"
        self._accounts: dict[bytes, AccountId] = {}
        """By claim key, as of the last look."""
        self._looked = -1

    def find(self, claim: bytes) -> Recovery | None:
        """
        The account to which a code belongs, or belonged.

        @raise ConfigError: if its file is damaged.
        """
        written = self._directory.stat().st_mtime_ns if self._directory.exists() else 0
        if written != self._looked:
            # Each file is replaced whole, which changes the directory: whoever guesses makes nobody read all of it.
            for each in self.all():
                self._accounts.update(dict.fromkeys((each.claim, *each.renewed), each.account))
            self._looked = written
        account = self._accounts.get(claim)
        return self.of(account) if account is not None else None

    def of(self, account: AccountId) -> Recovery | None:
        """
        What is known of the code of C{account}.

        @raise ConfigError: if the file is damaged.
        """
        path = self._path(account)
        return _read(path) if path.exists() else None

    def entrust(self, account: AccountId, address: str, claim: bytes, share: bytes, now: int) -> None:
        """
        Know the code with the key C{claim}, and of those before only that they were.
        """
        before = self.of(account)
        renewed: tuple[bytes, ...] = ()
        if before is not None and before.claim == claim:
            renewed = before.renewed
        elif before is not None:
            renewed = before.past()
        write_secret(self._path(account), pack(Recovery(VERSION, account, address, claim, share, now, renewed)))
        self._accounts[claim] = account

    def take_back(self, address: str, now: int) -> None:
        """
        Let no code of C{address} be good any more, until another one is made known; the share is gone.

        @raise ConfigError: if a file is damaged.
        """
        for each in list(self.all()):
            if each.address == address and each.claim:
                void = Recovery(VERSION, each.account, address, b"", bytes(32), now, each.past())
                write_secret(self._path(each.account), pack(void))

    def all(self) -> Iterator[Recovery]:
        """
        Every account that has a code.
        """
        for path in sorted(self._directory.glob("[0-9a-f]*")):
            yield _read(path)

    def _path(self, account: AccountId) -> Path:
        return self._directory / account.hex()


def _read(path: Path) -> Recovery:
    try:
        found = unpack(Recovery, read_secret(path))
    except PeerError as error:
        raise ConfigError(str(path), f"is damaged: {error}") from None
    if found.version != VERSION:
        raise ConfigError(str(path), f"is of version {found.version}; this program knows {VERSION}")
    return found
