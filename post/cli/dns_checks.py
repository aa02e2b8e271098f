"""
What C{post doctor} finds in the DNS of a gateway: whether mail for the domain comes here, and what others believe of
mail that leaves from here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from dmarc import Error as DmarcError
from dmarc import Policy
from twisted.internet.threads import deferToThreadPool

from post.cli.findings import Finding, State
from post.cli.loop import run
from post.config import Config
from post.crypto.documents import Directory
from post.errors import NotFound
from post.gateway.dkim import Key, is_key, read_keys, selector_of
from post.gateway.dns import BlockingDns, Dns, DnsUnavailable, make_resolver
from post.gateway.senders import Found, check_spf
from post.gateway.service import ROLE
from post.ids import NodeId

SPF_S = 20.0
"""For all that SPF asks about one address."""
DNS = "DNS"
Spf = Callable[[str], Awaitable[str]]
"""What others conclude by SPF of mail from our domain that comes from an IP address."""


def check_dns(config: Config, directory: Directory, ours: NodeId) -> list[Finding]:
    """
    MX, addresses, reverse DNS, SPF, DMARC, and the keys that sign what leaves here and by the other gateways.
    """
    domain, settings = directory.domain, config.settings
    host = settings.gateway.host or domain

    async def look(reactor: Any) -> list[Finding]:  # Any: as in run.
        dns = Dns(make_resolver(reactor, settings.gateway.dns), reactor)
        spf = spf_of(reactor, dns, domain, host)
        found = [finding async for finding in examine(dns, domain, host, spf, bool(settings.mail.smtp))]
        found += [finding async for finding in examine_keys(dns, read_keys(config.directory), domain)]
        return found + [finding async for finding in examine_others(dns, directory, ours)]

    return run(look)


def spf_of(reactor: Any, dns: Dns, domain: str, host: str) -> Spf:  # Any: threads and time.
    """
    Concludes what servers elsewhere do, in a thread, for the library waits.
    """

    async def spf(address: str) -> str:
        ask = BlockingDns(reactor, dns, reactor.seconds() + SPF_S)
        sender, threads = f"postmaster@{domain}", reactor.getThreadPool()
        found: Found = await deferToThreadPool(reactor, threads, check_spf, address, sender, host, host, ask)
        return found.result

    return spf


async def examine(dns: Dns, domain: str, host: str, spf: Spf, takes: bool = True) -> AsyncIterator[Finding]:
    """
    What C{dns} says of C{domain}, whose gateway is known as C{host}, and C{takes} mail or only sends.
    """
    try:
        exchanges = [each.host for each in await dns.mx(domain)]
    except NotFound:
        exchanges = []
    except DnsUnavailable as error:
        cure = "See whether this machine is on-line, and gateway.dns."
        yield Finding(DNS, State.FAILED, f"the resolver does not answer: {error}", cure)
        return
    if not takes:
        yield Finding(DNS, State.NOTE, f"mail.smtp is not set: mail for {domain} is taken by others only")
    elif host.casefold() in (each.casefold() for each in exchanges):
        yield Finding(DNS, State.OK, f"mail for {domain} is sent to {host}")
    else:
        said = f"mail for {domain} is sent to {', '.join(exchanges) or 'nobody: it has no MX record'}, not to {host}"
        yield Finding(DNS, State.FAILED, said, f"Publish: {domain}. MX 10 {host}.")
    async for finding in _addresses(dns, host):
        yield finding
    published, _ = await _text(dns, domain, b"v=spf1", f"which machines send for {domain} (SPF)", '"v=spf1 mx -all"')
    yield published
    if published.state is State.OK:
        async for finding in _sends(dns, domain, host, spf):
            yield finding
    published, text = await _text(
        dns, f"_dmarc.{domain}", b"v=dmarc1", "what to do with forged mail (DMARC)", '"v=DMARC1; p=quarantine"'
    )
    yield published if published.state is not State.OK else _dmarc(domain, text, published)


async def _sends(dns: Dns, domain: str, host: str, spf: Spf) -> AsyncIterator[Finding]:
    """
    Whether others believe that this machine sends for C{domain}.
    """
    try:
        addresses = await dns.addresses(host)
    except (NotFound, DnsUnavailable):
        return  # It has been said.
    for address in addresses:
        result = await spf(address)
        if result == "pass":
            yield Finding(DNS, State.OK, f"SPF lets {address} send for {domain}")
        elif result == "temperror":
            yield Finding(DNS, State.NOTE, f"it is not known now whether SPF lets {address} send for {domain}")
        elif result == "permerror":
            cure = f'Publish one that can be read, such as: {domain}. TXT "v=spf1 mx -all"'
            yield Finding(DNS, State.FAILED, f"nobody can make sense of the SPF record of {domain}", cure)
        else:
            kind = "ip6" if ":" in address else "ip4"
            said = f"SPF does not let {address} ({host}) send for {domain}: others see {result}"
            yield Finding(DNS, State.FAILED, said, f"Add {kind}:{address} to the record, in front of its 'all'.")


def _dmarc(domain: str, text: bytes, published: Finding) -> Finding:
    try:
        Policy("DMARC1", domain).parse_record(text.decode("ascii", "replace"), strict=False)
    except DmarcError as error:
        cure = f'Publish: _dmarc.{domain}. TXT "v=DMARC1; p=quarantine"'
        return Finding(DNS, State.FAILED, f"nobody can make sense of _dmarc.{domain}: {error}", cure)
    return published


async def examine_others(dns: Dns, directory: Directory, ours: NodeId) -> AsyncIterator[Finding]:
    """
    Whether the keys of the organization's other gateways are published, under the names that they have if nothing else
    was said.
    """
    for member in directory.members:
        if ROLE not in member.roles or member.node == ours:
            continue
        selector = selector_of(member.node)
        name = f"{selector}._domainkey.{directory.domain}"
        try:
            texts = await dns.txt(name)
        except NotFound:
            texts = []
        except DnsUnavailable as error:
            yield Finding(DNS, State.NOTE, f"{name} is not known now: {error}")
            continue
        if any(is_key(text) for text in texts):
            yield Finding(DNS, State.OK, f"the key {selector} of {member.owner}'s gateway is published")
        else:
            said = f"no key of {member.owner}'s gateway is at {name}"
            cure = "Unless it signs under another name: run post gateway dkim there, and publish what it prints."
            yield Finding(DNS, State.NOTE, said, cure)


async def examine_keys(dns: Dns, keys: Sequence[Key], domain: str) -> AsyncIterator[Finding]:
    """
    Whether others can verify what is signed with C{keys} for C{domain}.
    """
    if not keys:
        yield Finding(DNS, State.WARNING, "what leaves here is not signed (DKIM)", "Make a key: post gateway dkim")
    for key in keys:
        name, _ = key.record(domain)
        try:
            texts = await dns.txt(name)
        except NotFound:
            texts = []
        except DnsUnavailable as error:
            yield Finding(DNS, State.NOTE, f"{name} is not known now: {error}")
            continue
        if key.is_in(texts):
            yield Finding(DNS, State.OK, f"the key {key.selector}, which signs what leaves, is published")
        else:
            said = f"what leaves is signed with the key {key.selector}, which is not at {name}"
            yield Finding(DNS, State.FAILED, said, f"Publish: {key.zone_line(domain)}")


async def _addresses(dns: Dns, host: str) -> AsyncIterator[Finding]:
    try:
        addresses = await dns.addresses(host)
    except NotFound:
        yield Finding(DNS, State.FAILED, f"{host} has no address", f"Publish: {host}. A with this machine's address.")
        return
    except DnsUnavailable as error:
        yield Finding(DNS, State.NOTE, f"the addresses of {host} are not known now: {error}")
        return
    for address in addresses:
        try:
            names = await dns.ptr(address)
        except NotFound:
            names = []
        except DnsUnavailable as error:
            yield Finding(DNS, State.NOTE, f"the name of {address} is not known now: {error}")
            continue
        if host.casefold() in (name.casefold() for name in names):
            yield Finding(DNS, State.OK, f"{host} and {address} lead to each other")
        else:
            said = f"{address} leads to {', '.join(names) or 'no name'}, not back to {host}"
            cure = f"Have whoever gave you the address set its reverse DNS to {host}: many refuse mail without that."
            yield Finding(DNS, State.WARNING, said, cure)


async def _text(dns: Dns, name: str, begins: bytes, what: str, example: str) -> tuple[Finding, bytes]:
    """
    Whether there is one record that C{begins} so, and that.
    """
    try:
        found = [text for text in await dns.txt(name) if text.lower().startswith(begins)]
    except NotFound:
        found = []
    except DnsUnavailable as error:
        return Finding(DNS, State.NOTE, f"{name} is not known now: {error}"), b""
    if len(found) == 1:
        return Finding(DNS, State.OK, f"it is published {what}"), found[0]
    if found:
        said = f"{name} says {len(found)} times {what}"
        return Finding(DNS, State.FAILED, said, "Publish one such record only."), b""
    return Finding(DNS, State.WARNING, f"it is not published {what}", f"Publish: {name}. TXT {example}"), b""
