"""
What C{post doctor} finds in the DNS of a gateway: whether mail for the domain comes here, and what others believe of
mail that leaves from here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from post.cli.findings import Finding, State
from post.cli.loop import run
from post.config import Config
from post.errors import NotFound
from post.gateway.dkim import Key, read_keys
from post.gateway.dns import Dns, DnsUnavailable, make_resolver

DNS = "DNS"


def check_dns(config: Config, domain: str) -> list[Finding]:
    """
    MX, addresses, reverse DNS, SPF, DMARC, and the keys that sign what leaves.
    """

    async def look(reactor: Any) -> list[Finding]:  # Any: as in run.
        dns = Dns(make_resolver(reactor, config.settings.gateway.dns), reactor)
        found = [finding async for finding in examine(dns, domain, config.settings.gateway.host or domain)]
        return [*found, *[finding async for finding in examine_keys(dns, read_keys(config.directory), domain)]]

    return run(look)


async def examine(dns: Dns, domain: str, host: str) -> AsyncIterator[Finding]:
    """
    What C{dns} says of C{domain}, whose gateway is known as C{host}.
    """
    try:
        exchanges = [each.host for each in await dns.mx(domain)]
    except NotFound:
        exchanges = []
    except DnsUnavailable as error:
        cure = "See whether this machine is on-line, and gateway.dns."
        yield Finding(DNS, State.FAILED, f"the resolver does not answer: {error}", cure)
        return
    if host.casefold() in (each.casefold() for each in exchanges):
        yield Finding(DNS, State.OK, f"mail for {domain} is sent to {host}")
    else:
        said = f"mail for {domain} is sent to {', '.join(exchanges) or 'nobody: it has no MX record'}, not to {host}"
        yield Finding(DNS, State.FAILED, said, f"Publish: {domain}. MX 10 {host}.")
    async for finding in _addresses(dns, host):
        yield finding
    yield await _text(dns, domain, b"v=spf1", f"which machines send for {domain} (SPF)", '"v=spf1 mx -all"')
    name = f"_dmarc.{domain}"
    yield await _text(dns, name, b"v=dmarc1", "what to do with forged mail (DMARC)", '"v=DMARC1; p=quarantine"')


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


async def _text(dns: Dns, name: str, begins: bytes, what: str, example: str) -> Finding:
    try:
        found = [text for text in await dns.txt(name) if text.lower().startswith(begins)]
    except NotFound:
        found = []
    except DnsUnavailable as error:
        return Finding(DNS, State.NOTE, f"{name} is not known now: {error}")
    if len(found) == 1:
        return Finding(DNS, State.OK, f"it is published {what}")
    if found:
        return Finding(DNS, State.FAILED, f"{name} says {len(found)} times {what}", "Publish one such record only.")
    return Finding(DNS, State.WARNING, f"it is not published {what}", f"Publish: {name}. TXT {example}")
