"""
Whether a message is from whom it says: SPF (RFC 7208) and DKIM (RFC 6376), by libraries that wait, so in threads.

What a stranger's message or DNS records make a library raise is a result of that message and no failure of ours.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dkim
import spf
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from post.errors import NotFound
from post.gateway.body import body_hash
from post.gateway.dns import BlockingDns, DnsUnavailable, encode_name
from post.mail.headers import raw_fields
from post.mail.interfaces import Octets
from post.mail.mime import header_end

SIGNATURES_LIMIT = 5
"""Signatures of one message that are verified, from the top; each costs a question, and honest mail has up to three."""
FIELDS_LIMIT = 1000
"""Header fields of a message whose signatures are verified: the work grows with those signed times those there."""
SIGNED_LIMIT = 200
"""Names in one signature's list of fields."""
RSA_BITS = 1024, 4096
"""Of keys that count.  Verifying with a longer one, or a large exponent, takes a stranger's choice of our time."""
EXPONENT_LIMIT = 1 << 33
VOID_LOOKUPS = 2
"""Names without an answer in one evaluation of SPF (RFC 7208, 4.6.4)."""

_KEY = re.compile(rb"(?:^|;)\s*p\s*=([A-Za-z0-9+/=\s]*)")


@dataclass(frozen=True, slots=True)
class Found:
    """
    One result: C{result} in the words of RFC 8601, about C{domain}.
    """

    result: str
    domain: str
    selector: str = ""
    remark: str = ""


class _Query(spf.query):  # type: ignore[misc]  # The library has no types.
    """
    The library's evaluation, with our way of asking.
    """

    def __init__(self, source: str, sender: str, helo: str, host: str, ask: BlockingDns) -> None:
        super().__init__(i=source, s=sender, h=helo, receiver=host)
        self._ask = ask

    def dns(self, name: str, qtype: str, cnames: object = None, ignore_void: bool = False) -> list[Any]:
        key = (str(name).lower().removesuffix("."), qtype)
        if key not in self.cache:
            self.cache[key] = self._records(*key)
        found: list[Any] = self.cache[key]
        if not found and not ignore_void:
            self.void_lookups += 1
            if self.void_lookups > VOID_LOOKUPS:
                raise spf.PermError("too many names without an answer")
        return found

    def _records(self, name: str, kind: str) -> list[Any]:
        try:
            match kind:
                case "A":
                    return self._ask.call(lambda dns: dns.a(name))
                case "AAAA":
                    return self._ask.call(lambda dns: dns.aaaa(name))
                case "MX":
                    found = self._ask.call(lambda dns: dns.mx(name))
                    return [(each.preference, each.host) for each in found if each.host]
                case "PTR":
                    return self._ask.call(lambda dns: dns.reverse(name))
                case "TXT":
                    return [(text,) for text in self._ask.call(lambda dns: dns.txt(name))]
        except NotFound:
            return []
        except DnsUnavailable as error:
            raise spf.TempError(str(error)) from None
        return []


def check_spf(source: str, sender: str, helo: str, host: str, ask: BlockingDns) -> Found:
    """
    Whether the domain of C{sender} (of C{helo}, for the null sender) says that it sends from C{source}.  Blocks.

    @param host: who we are.
    """
    domain = sender.rpartition("@")[2] if sender else helo
    try:
        domain = encode_name(domain)
    except NotFound:
        return Found("none", "")
    # A name with a dot, and no literal: nothing else can have a record.
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", domain):
        return Found("none", "")
    try:
        local = sender.rpartition("@")[0]
        query = _Query(source, f"{local}@{domain}" if sender else "", domain if not sender else helo, host, ask)
        return Found(str(query.check()[0]), domain)
    except DnsUnavailable:
        return Found("temperror", domain)
    except Exception:  # See above; the library is old, and people write strange records.
        return Found("permerror", domain)


class _Signatures(dkim.DKIM):  # type: ignore[misc]  # The library has no types.
    """
    The library's verification, but for the hash of the body.
    """

    def __init__(self, header: bytes, hashed: Callable[[bool], bytes]) -> None:
        super().__init__(header)
        self._hashed = hashed

    def verify_sig_process(
        self, sig: dict[bytes, bytes], include_headers: list[bytes], sig_header: tuple[bytes, bytes], dnsfunc: Any
    ) -> bool:
        relaxed = sig.get(b"c", b"").partition(b"/")[2].strip() == b"relaxed"
        if b64decode(re.sub(rb"\s+", b"", sig[b"bh"])) != self._hashed(relaxed):
            raise dkim.ValidationError("the body is another")
        rest = {name: value for name, value in sig.items() if name != b"bh"}
        return bool(super().verify_sig_process(rest, include_headers, sig_header, dnsfunc))


def check_dkim(message: Octets, ask: BlockingDns) -> list[Found]:
    """
    What each signature of C{message} is worth; empty if there is none.  Blocks.
    """
    end = header_end(message)
    header = bytes(message[:end])
    names = [name for name, _ in raw_fields(header)]
    count = min(names.count(b"dkim-signature"), SIGNATURES_LIMIT)
    if count and len(names) > FIELDS_LIMIT:
        return [Found("policy", "", remark="too many header fields")]
    hashes: dict[bool, bytes] = {}

    def hashed(relaxed: bool) -> bytes:
        if relaxed not in hashes:
            hashes[relaxed] = body_hash(message, end, relaxed)
        return hashes[relaxed]

    return [_check_signature(header, index, hashed, ask) for index in range(count)]


def _check_signature(header: bytes, index: int, hashed: Callable[[bool], bytes], ask: BlockingDns) -> Found:
    missing = False

    def key(name: bytes, timeout: float = 0) -> bytes | None:
        nonlocal missing
        try:
            texts = ask.call(lambda dns: dns.txt(name.decode("ascii", "replace")))
        except NotFound:
            texts = []
        found = texts[0] if texts and _usable(texts[0]) else None
        missing = found is None
        return found

    domain = selector = ""

    def found(result: str, remark: str = "") -> Found:
        return Found(result, domain, selector, remark)

    try:
        signature = _Signatures(header, hashed)
        prepared = signature.verify_headerprep(index)
        assert prepared
        fields, signed, _ = prepared
        domain = fields[b"d"].decode("ascii").lower()
        selector = fields[b"s"].decode("ascii")
        if fields[b"a"] not in (b"rsa-sha256", b"ed25519-sha256"):
            return found("policy", "a hash that can be forged")
        if b"l" in fields:
            return found("policy", "only a part is signed")
        if len(signed) > SIGNED_LIMIT or b"from" not in signed:
            return found("policy", "not the fields that count")
        valid = signature.verify(index, dnsfunc=key)
    except DnsUnavailable:
        return found("temperror")
    except dkim.ValidationError:
        return found("fail")
    except Exception:  # See above.
        return found("permerror")
    return found("pass" if valid else "permerror" if missing else "fail")


def _usable(record: bytes) -> bool:
    """
    Whether a key record has a key that is neither too weak nor too expensive (or, by an empty C{p}, is revoked).
    """
    match = _KEY.search(record)
    if match is None:
        return False
    octets = b64decode(re.sub(rb"\s+", b"", match[1]))
    if len(octets) == 32:
        return True  # Ed25519 (RFC 8463).
    try:
        public = load_der_public_key(octets)
    except Exception:  # Whatever somebody published.
        return False
    return (
        isinstance(public, RSAPublicKey)
        and RSA_BITS[0] <= public.key_size <= RSA_BITS[1]
        and public.public_numbers().e < EXPONENT_LIMIT
    )
