"""
The authority's own copy of the public issuance log, the one that is written to.

Nothing is issued that is not in it: an entry is durable before the certificate that it names is noted in the records,
and that before it is handed out.  A crash in between leaves an entry for a certificate that nobody has, or, of a
revocation, one that is done when the command is given again; never a certificate without an entry.

What the records have and the log has not, since they were made by a program that knew of no log, is entered at the
first use, and says so (C{late}).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from post.ca.issuance import IssuanceLog
from post.ca.recoveries import Recoveries
from post.crypto.certificates import read_identity, read_node
from post.crypto.issuance import (
    NODE,
    RECOVERY,
    REVOCATION,
    VERSION,
    Entry,
    Head,
    certificate_hash,
    key_hash,
    read_head,
)
from post.crypto.revocations import Revocation

NONE = bytes(32)

Made = Callable[[int], Entry]
"""An entry, as soon as its number is known."""


class PublicLog:
    """
    Of one authority.
    """

    def __init__(
        self,
        directory: Path,
        alone: Callable[[], AbstractContextManager[None]],
        domain: Callable[[int], str],
        sign: Callable[[Head], bytes],
        issued: Callable[[], list[dict[str, str]]],
        revoked: Callable[[int], tuple[Revocation, ...]],
    ) -> None:
        """
        @param directory: the authority's.
        @param alone: locks it.
        @param issued: the certificates in its records.
        @param revoked: the keys in its list of what is revoked.
        """
        self.log = IssuanceLog(directory / "issuance")
        self._directory = directory
        self._alone = alone
        self._domain = domain
        self._sign = sign
        self._issued = issued
        self._revoked = revoked
        self._complete = False

    # Writing.  Whoever writes has the authority's lock.

    def certify(self, kind: str, name: str, of: str, leaf: bytes, now: int) -> None:
        """
        A certificate is about to be handed out.
        """
        self._complete_with_records(now)
        self.log.append([_certificate(kind, name, of, leaf, now)])

    def revoke(self, keys: list[Revocation], now: int) -> None:
        """
        Keys are about to be revoked.
        """
        self._complete_with_records(now)
        known = self._known(REVOCATION)
        self.log.append([_revocation(each, now) for each in keys if key_hash(each.key) not in known])

    def entrust(self, address: str, claim: bytes, now: int) -> None:
        """
        A recovery code is about to be made known.
        """
        self._complete_with_records(now)
        last = next(
            (entry for entry in reversed(self.log.entries) if (entry.kind, entry.name) == (RECOVERY, address)), None
        )
        if last is None or last.key != key_hash(claim):
            self.log.append([_recovery(address, claim, now)])

    def _known(self, kind: str) -> set[bytes]:
        return {entry.key for entry in self.log.entries if entry.kind == kind}

    def _complete_with_records(self, now: int) -> None:
        self.log.refresh()
        if self._complete:
            return
        missing = list(self._missing(now))
        if missing or not self.log.exists:
            self.log.append(sorted(missing, key=lambda made: made(0).at))
        self._complete = True

    def _missing(self, now: int) -> Iterator[Made]:
        certificates = {entry.certificate for entry in self.log.entries}
        for line in self._issued():
            leaf = b64decode(line["certificate"])
            if certificate_hash(leaf) not in certificates:
                yield _certificate(line["kind"], line["name"], line["of"], leaf, int(line["at"]), True)
        revoked, entrusted = self._known(REVOCATION), self._known(RECOVERY)
        for each in self._revoked(now):
            if key_hash(each.key) not in revoked:
                yield _revocation(each, each.since, True)
        for recovery in Recoveries(self._directory).all():
            if key_hash(recovery.claim) not in entrusted:
                yield _recovery(recovery.address, recovery.claim, recovery.at, True)

    # Reading.

    def head(self, now: int) -> bytes:
        """
        The signed head of the log as it is now.

        @raise ConfigError: if the log is damaged, or somebody else has the lock.
        """
        if self._complete:
            self.log.refresh()
            if signed := self._current():
                return signed
        with self._alone():
            self._complete_with_records(now)
            signed = self._current()
            if not signed:
                length = len(self.log)
                signed = self._sign(Head(VERSION, self._domain(now), length, self.log.link(length), now))
                self.log.write_head(signed)
        return signed

    def page(self, start: int, most: int, now: int) -> tuple[tuple[bytes, ...], bytes, int]:
        """
        C{most} entries from number C{start} on, or as many as there are; the signed head of the log up to there; how
        many entries there are in all.

        @raise ConfigError: as L{head}.
        """
        signed, length = self.head(now), len(self.log)
        entries = self.log.packed(start, most)
        end = start + len(entries)
        if entries and end < length:
            signed = self._sign(Head(VERSION, self._domain(now), end, self.log.link(end), now))
        return entries, signed, length

    def _current(self) -> bytes:
        """
        The head on disk, unless there are more entries by now.
        """
        signed = self.log.head()
        return signed if signed and read_head(signed).length == len(self.log) else b""


def _certificate(kind: str, name: str, of: str, leaf: bytes, at: int, late: bool = False) -> Made:
    read = read_node(leaf) if kind == NODE else read_identity(leaf)
    key, digest = key_hash(read.public_key), certificate_hash(leaf)
    return partial(
        _entry, at=at, kind=kind, name=name, of=of, key=key, certificate=digest, until=read.not_after, late=late
    )


def _revocation(revocation: Revocation, at: int, late: bool = False) -> Made:
    key = key_hash(revocation.key)
    return partial(_entry, at=at, kind=REVOCATION, name=revocation.name, of=revocation.kind, key=key, late=late)


def _recovery(address: str, claim: bytes, at: int, late: bool = False) -> Made:
    return partial(_entry, at=at, kind=RECOVERY, name=address, of="", key=key_hash(claim), late=late)


def _entry(
    number: int,
    at: int,
    kind: str,
    name: str,
    of: str,
    key: bytes,
    certificate: bytes = NONE,
    until: int = 0,
    late: bool = False,
) -> Entry:
    return Entry(VERSION, number, at, kind, name, of, key, certificate, until, late)
