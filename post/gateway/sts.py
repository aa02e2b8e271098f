"""
Which domains demand encrypted and proven delivery (MTA-STS, RFC 8461).

A domain that does says so by a TXT record, and by a policy that is fetched over HTTPS from a host that proves its name.
Once known, a policy holds for as long as it says, whatever DNS says meanwhile: that is what it is for.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import ConfigError, NotFound, PeerError, PostError
from post.files import read_file, write_file
from post.gateway.dns import Dns, DnsUnavailable

POLICY_BYTES = 64 * 1024
"""Of a policy (RFC 8461, 3.3)."""
AGE_LIMIT_S = 31_557_600
"""A year: no policy holds for longer (RFC 8461, 3.2)."""
AGAIN_S = 600.0
"""After a policy could not be fetched, or there was none: it is asked again then at the earliest."""
DOMAINS_LIMIT = 10_000
"""Domains remembered; about 5 MB."""
HOSTS_LIMIT = 100

_RECORD = re.compile(rb"v=STSv1\s*;(?:\s*[a-z0-9_-]+\s*=[^;]*;)*?\s*id\s*=\s*([A-Za-z0-9]{1,32})\s*(?:;.*)?", re.DOTALL)


@dataclass(frozen=True)
class Policy:
    """
    What a domain demands.  C{hosts} are its servers, C{*.} at the beginning for any one label.
    """

    id: str
    mode: str
    age_s: int
    hosts: tuple[str, ...]

    @property
    def enforces(self) -> bool:
        """
        Whether mail is rather to wait than to go another way.
        """
        return self.mode == "enforce"

    def allows(self, host: str) -> bool:
        """
        Whether C{host} is one of the domain's servers.
        """
        host = host.lower().removesuffix(".")
        return any(
            host == each or (each.startswith("*.") and host.partition(".")[2] == each[2:]) for each in self.hosts
        )


def read_record(texts: list[bytes]) -> str | None:
    """
    The id in the TXT records of C{_mta-sts.DOMAIN}; C{None} unless there is exactly one policy.
    """
    found = [match[1].decode() for text in texts if (match := _RECORD.fullmatch(text.strip()))]
    announced = [text for text in texts if text.startswith(b"v=STSv1")]
    return found[0] if len(found) == len(announced) == 1 else None


def read_policy(named: str, data: bytes) -> Policy:
    """
    The policy in a file (RFC 8461, 3.2).

    @raise PeerError: if it is none.
    """
    if len(data) > POLICY_BYTES:
        raise PeerError("a policy without end")
    values: dict[str, str] = {}
    hosts: list[str] = []
    for line in data.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not colon:
            continue
        if key == "mx":
            hosts.append(value.lower().removesuffix("."))
        else:
            values.setdefault(key, value)
    age, mode = values.get("max_age", ""), values.get("mode", "")
    if values.get("version") != "STSv1" or mode not in ("enforce", "testing", "none"):
        raise PeerError("not a policy of MTA-STS")
    if not (age.isascii() and age.isdigit()) or len(age) > 10 or (mode != "none" and not hosts):
        raise PeerError("a policy that says too little")
    return Policy(named, mode, min(int(age), AGE_LIMIT_S), tuple(hosts[:HOSTS_LIMIT]))


@dataclass
class _Known:
    policy: Policy | None
    until: float
    ask_at: float


Fetch = Callable[[str], Awaitable[bytes]]
"""
The body of C{https://HOST/.well-known/mta-sts.txt}, from a host that has proven its name; raises L{PostError}.
"""


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The file: version, and by domain its policy and until when it holds.
    """

    version: int
    policies: dict[str, tuple[str, str, int, tuple[str, ...], int]]


class Policies:
    """
    What is known of domains' policies; what one demands outlives a restart, since whoever can keep the DNS from us
    could wait for that.
    """

    log = Logger()

    def __init__(self, dns: Dns, fetch: Fetch, clock: IReactorTime, file: Path) -> None:
        """
        @param file: where policies are kept.
        """
        self._dns = dns
        self._fetch = fetch
        self._clock = clock
        self._file = file
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._read()

    def _read(self) -> None:
        try:
            kept = msgspec.json.decode(read_file(self._file), type=_Kept) if self._file.exists() else _Kept(1, {})
        except (ConfigError, msgspec.DecodeError) as error:
            self.log.warn("{file} cannot be used, and is made anew: {error}", file=self._file.name, error=error)
            return
        for domain, (named, mode, age_s, hosts, until) in kept.policies.items() if kept.version == 1 else ():
            self._known[domain] = _Known(Policy(named, mode, age_s, hosts), until, 0)

    def _write(self) -> None:
        """
        Keep what somebody demands; of all else it does not matter when it is asked for.
        """
        now = self._clock.seconds()
        kept = {
            domain: (each.policy.id, each.policy.mode, each.policy.age_s, each.policy.hosts, int(each.until))
            for domain, each in self._known.items()
            if each.policy is not None and each.policy.enforces and each.until > now
        }
        try:
            write_file(self._file, msgspec.json.encode(_Kept(1, kept)))
        except OSError as error:
            self.log.warn("{file} cannot be written: {error}", file=self._file.name, error=error)

    async def of(self, domain: str) -> Policy | None:
        """
        The policy that holds for C{domain} now; C{None} if there is none.
        """
        now = self._clock.seconds()
        known = self._known.get(domain)
        held = known.policy if known is not None and known.until > now else None
        if known is not None and now < known.ask_at:
            return held
        try:
            named = read_record(await self._dns.txt(f"_mta-sts.{domain}"))
            if named is None or (held is not None and held.id == named):
                self._remember(domain, held, known.until if known is not None and held is not None else now)
                return held
            policy = read_policy(named, await self._fetch(f"mta-sts.{domain}"))
        except (NotFound, DnsUnavailable):
            policy = None
        except PostError as error:
            self.log.info("the policy of {domain} cannot be had: {error}", domain=domain, error=error)
            policy = None
        if policy is None:
            self._remember(domain, held, known.until if known is not None and held is not None else now)
            return held
        self._remember(domain, policy, now + policy.age_s)
        if policy.enforces or held is not None:
            self._write()
        return policy

    def _remember(self, domain: str, policy: Policy | None, until: float) -> None:
        self._known[domain] = _Known(policy, until, self._clock.seconds() + AGAIN_S)
        self._known.move_to_end(domain)
        if len(self._known) > DOMAINS_LIMIT:
            self._known.popitem(last=False)
