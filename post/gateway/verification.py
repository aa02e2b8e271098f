"""
What a gateway finds out about a message, and what follows from it: SPF, DKIM and DMARC (RFC 7489), as RFC 8601 tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from dmarc import DMARCAlignment, DMARCDisposition, DMARCTesting, Error, Policy
from publicsuffixlist import PublicSuffixList
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from post.errors import NotFound, Overloaded
from post.gateway.dns import BlockingDns, Dns, DnsUnavailable, encode_name
from post.gateway.senders import Found, check_dkim, check_spf
from post.mail.headers import addresses, all_fields
from post.mail.interfaces import Octets
from post.mail.mime import header_end
from post.tasks import gather

DEADLINE_S = 30.0
"""For all that is asked about one message; beyond it a result is C{temperror}.  A client waits ten minutes for the
reply to its message (RFC 5321, 4.5.3.2.6)."""
AT_ONCE = 100
"""Messages being examined; more are told to come later."""
AUTHORS_LIMIT = 5
"""Domains in From of which each is looked at; more make the message one that nobody can answer for."""

_T = TypeVar("_T")
InThread = Callable[..., Deferred[Any]]
"""Calls what it is given in a thread."""


class Advice(IntEnum):
    """
    What to do with a message; of several, the highest counts.
    """

    ACCEPT = 0
    JUNK = 1
    REJECT = 2


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    C{results} is the Authentication-Results field, CRLF included.  C{uncertain}: something could not be known now that
    might have turned the advice.  C{domain}: who wishes that.
    """

    results: bytes
    advice: Advice
    uncertain: bool = False
    domain: str = ""


@dataclass(frozen=True, slots=True)
class _Author:
    """
    DMARC's result for one domain in From.
    """

    result: str
    domain: str
    policy: str = ""
    advice: Advice = Advice.ACCEPT


NOBODY = _Author("none", "", advice=Advice.JUNK)
"""Of a message without an author, which is none (RFC 5322, 3.6), and behind which nobody's wish can be found."""


class Verifier:
    """
    Examines messages for one gateway.
    """

    def __init__(self, dns: Dns, reactor: Any, clock: IReactorTime, in_thread: InThread, host: str) -> None:
        """
        @param reactor: by which threads reach us (C{callFromThread}).
        """
        self._dns = dns
        self._reactor = reactor
        self._clock = clock
        self._in_thread = in_thread
        self._host = host
        self._suffixes = PublicSuffixList()
        self._under_way = 0

    async def examine(self, source: str, helo: str, sender: str, message: Octets) -> Verdict:
        """
        Examine a message that C{sender} (the envelope's) sent from the address C{source}.

        @raise Overloaded: if too many are being examined.
        """
        if self._under_way >= AT_ONCE:
            raise Overloaded("too many messages to examine")
        self._under_way += 1
        try:
            return await self._examine(source, helo, sender, message)
        finally:
            self._under_way -= 1

    async def _examine(self, source: str, helo: str, sender: str, message: Octets) -> Verdict:
        until = self._clock.seconds() + DEADLINE_S
        ask = BlockingDns(self._reactor, self._dns, until)
        header = bytes(message[: header_end(message)])
        spf: Found = await self._in_thread(check_spf, source, sender, helo, self._host, ask)
        dkim: list[Found] = await self._in_thread(check_dkim, message, ask)
        sent = [spf.domain] if spf.result == "pass" else []
        signed = [found.domain for found in dkim if found.result == "pass"]
        domains = _authors(header)
        authors = await gather(self._author(domain, sent, signed) for domain in domains[:AUTHORS_LIMIT])
        if len(domains) > AUTHORS_LIMIT:
            authors.append(_Author("permerror", "", advice=Advice.JUNK))
        worst = max(authors, key=lambda each: each.advice, default=NOBODY)
        uncertain = any(found.result == "temperror" for found in (spf, *dkim)) or worst.result == "temperror"
        return Verdict(
            self._field(spf, bool(sender), dkim, authors), worst.advice, uncertain and worst.advice > 0, worst.domain
        )

    # DMARC.

    async def _author(self, domain: str, sent: list[str], signed: list[str]) -> _Author:
        """
        DMARC of C{domain}, for which those C{sent} by SPF and those C{signed} by DKIM speak if they are aligned.
        """
        try:
            policy, own = await self._policy(domain)
        except DnsUnavailable:
            # Aligned under any policy, or it has to come again: what a failing name server hides may be "reject".
            spoken_for = domain in (*sent, *signed)
            return _Author("temperror", domain, advice=Advice.ACCEPT if spoken_for else Advice.REJECT)
        except (Error, NotFound):
            return _Author("none", domain)
        wish = _wish(policy, own)
        if any(self._aligned(domain, each, policy.aspf) for each in sent) or any(
            self._aligned(domain, each, policy.adkim) for each in signed
        ):
            return _Author("pass", domain, str(wish.value))
        advice = {DMARCDisposition.REJECT: Advice.REJECT, DMARCDisposition.QUARANTINE: Advice.JUNK}.get(
            wish, Advice.ACCEPT
        )
        # Who only tries it out, or for no message at all, gets the next milder (RFC 7489, 6.6.4).
        if advice and (policy.t is DMARCTesting.Y or policy.pct == 0):
            advice = Advice(advice - 1)
        return _Author("fail", domain, str(wish.value), advice)

    async def _policy(self, domain: str) -> tuple[Policy, bool]:
        """
        The policy that counts for C{domain}, and whether it is its own rather than that of the organization above.

        @raise NotFound, DnsUnavailable, Error: if there is none, it cannot be known now, or it is none.
        """
        organization = self.organization(domain)
        for name in dict.fromkeys((domain, organization)):
            try:
                texts = await self._dns.txt(f"_dmarc.{name}")
            except NotFound:
                continue
            records = [text for text in texts if text.partition(b";")[0].replace(b" ", b"") == b"v=DMARC1"]
            if len(records) == 1:
                policy = Policy("DMARC1", domain)
                policy.parse_record(records[0].decode("ascii", "replace"), strict=False)
                return policy, name == domain
        raise NotFound(domain)

    def organization(self, domain: str) -> str:
        """
        The domain under a public suffix that C{domain} belongs to (RFC 7489, 3.2); itself if it is such a suffix.
        """
        return str(self._suffixes.privatesuffix(domain) or domain)

    def _aligned(self, domain: str, other: str, mode: DMARCAlignment) -> bool:
        if mode is DMARCAlignment.STRICT:
            return domain == other
        return self.organization(domain) == self.organization(other)

    # Telling.

    def _field(self, spf: Found, mail_from: bool, dkim: list[Found], authors: list[_Author]) -> bytes:
        results = [f"spf={spf.result}" + _named("smtp.mailfrom" if mail_from else "smtp.helo", spf.domain)]
        results += [
            f"dkim={found.result}"
            + (f" ({found.remark})" if found.remark else "")
            + _named("header.d", found.domain)
            + _named("header.s", found.selector)
            for found in dkim
        ] or ["dkim=none"]
        results += [
            f"dmarc={author.result}"
            + (f" (p={author.policy})" if author.policy else "")
            + _named("header.from", author.domain)
            for author in authors
        ] or ["dmarc=none"]
        said = ";\r\n\t".join([self._host, *results])
        return f"Authentication-Results: {said}\r\n".encode("ascii")


def _wish(policy: Policy, own: bool) -> DMARCDisposition:
    return policy.p if own or policy.sp is DMARCDisposition.UNSPECIFIED else policy.sp


def _authors(header: bytes) -> list[str]:
    """
    The domains that a mail program might show as who wrote it: of every address of every From.
    """
    found: dict[str, None] = {}
    for value in all_fields(header, b"from"):
        for address in addresses(value):
            try:
                found[encode_name(address.rpartition("@")[2])] = None
            except NotFound:
                continue
    return list(found)


def _named(what: str, value: str) -> str:
    """
    A property, of which nothing can be taken for anything else.
    """
    return f" {what}={re.sub(r'[^A-Za-z0-9._-]', '?', value)[:100]}" if value else ""
