"""
The join codes that an authority has given out, a file each under C{tokens/} in its directory, mode 0600.

A file (MessagePack, version 1) has the name of the code, which does not tell its secret, and what is needed to
recognize the secret when it is used.  It stays for some weeks after the code has ended, so that "expired" and "used"
can be told from "wrong".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from post.ca.code import SECRET_BYTES, JoinCode, short_fingerprint
from post.crypto.documents import DAY_S
from post.errors import ConfigError, PeerError
from post.files import read_secret, write_secret
from post.ids import Address
from post.interfaces import Entropy
from post.wire import Document, pack, unpack

VERSION = 1
KEPT_S = 30 * DAY_S
"""After its end a code is remembered for so long."""
TOKENS_LIMIT = 1000
"""Codes remembered; a new one is refused beyond that.  Each is a file, and all are read by C{post ca list}."""
REPEAT_S = DAY_S
"""For so long after its first use the same machine may use a code again: its answer may have been lost on the way."""

REPEATS_LIMIT = 20
"""Times that it may: each is a line in the list of what has been issued."""

_Hash = Annotated[bytes, Meta(max_length=32)]


class Token(Document, frozen=True):
    """
    What is noted of a code.

    @ivar replace: whether it may give a new key to a person who has one.
    @ivar used_by: the hash of the keys that it was used for; empty until then.
    """

    version: int
    name: _Hash
    key: _Hash
    address: str
    expires: int
    index: int
    site: str
    roles: tuple[str, ...]
    replace: bool
    used_by: _Hash = b""
    used_at: int = 0
    uses: int = 0


class Tokens:
    """
    The codes of one authority.  Whoever changes one holds the authority's lock.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "tokens"

    def make(
        self,
        where: Address,
        root: bytes,
        address: str,
        expires: int,
        entropy: Entropy,
        index: int = 0,
        site: str = "",
        roles: tuple[str, ...] = (),
        replace: bool = False,
    ) -> JoinCode:
        """
        A new code for C{address}.

        @raise ConfigError: if there are too many.
        """
        if sum(1 for _ in self._directory.glob("*")) >= TOKENS_LIMIT:
            raise ConfigError(str(self._directory), f"holds {TOKENS_LIMIT} codes; remove those that nobody will use")
        code = JoinCode(where, short_fingerprint(root), entropy(SECRET_BYTES), expires // 60 * 60)
        self.write(Token(VERSION, code.name, code.key, address, code.expires, index, site, roles, replace))
        return code

    def find(self, name: bytes) -> Token | None:
        """
        The code of that name.

        @raise ConfigError: if its file is damaged.
        """
        path = self._path(name)
        return _read(path) if path.exists() else None

    def write(self, token: Token) -> None:
        """
        Note a code, or what has become of it.
        """
        write_secret(self._path(token.name), pack(token))

    def all(self) -> Iterator[Token]:
        """
        Every code that is remembered.
        """
        for path in sorted(self._directory.glob("[0-9a-f]*")):
            yield _read(path)

    def withdraw(self, address: str, index: int) -> None:
        """
        Remove the codes that were given out for this machine of C{address} and have not been used.
        """
        for token in list(self.all()):
            if (token.address, token.index, token.used_by) == (address, index, b""):
                self._path(token.name).unlink()

    def forget(self, now: int) -> None:
        """
        Remove those that ended long ago.
        """
        for token in list(self.all()):
            if max(token.expires, token.used_at + REPEAT_S) + KEPT_S < now:
                self._path(token.name).unlink()

    def _path(self, name: bytes) -> Path:
        return self._directory / name.hex()


def _read(path: Path) -> Token:
    try:
        token = unpack(Token, read_secret(path))
    except PeerError as error:
        raise ConfigError(str(path), f"is damaged: {error}") from None
    if token.version != VERSION:
        raise ConfigError(str(path), f"is of version {token.version}; this program knows {VERSION}")
    return token
