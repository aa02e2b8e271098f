"""
Every setting of a node, with its meaning where it is declared, and the reading of C{node.toml}.

Paths are relative to the directory of the file that names them.  A key that is not declared here, or a value of another
type or out of range, is refused with the file, the key and the reason; C{conf/node.toml} shows every setting with its
default and is checked against this file by a test.
"""

from __future__ import annotations

import re
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from post.errors import ConfigError

_SERVICE = re.compile(r"(?:\[[0-9a-fA-F:.]+(?:%[\w.-]+)?\]|[^\s:\[\]/\x00-\x20\x7f]+):([0-9]{1,5})", re.ASCII)
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*", re.ASCII)
_MAILBOX = re.compile(r"[^\x00-\x20\x7f()<>\[\]:;,\\\"@]+@[^\x00-\x20\x7f@]+")
_ANYWHERE = ("0.0.0.0", "::")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")

Service = Annotated[str, Meta(max_length=260)]
"""C{host:port}; an IPv6 address stands in brackets."""
Name = Annotated[str, Meta(min_length=1, max_length=64)]
FileName = Annotated[str, Meta(min_length=1, max_length=1000)]


class Links(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    How this node is reached by others, and where it finds them.
    """

    listen: Service = "0.0.0.0:7654"
    """Where to listen for other nodes.  All interfaces by default: a stranger gets no further than the TLS handshake,
    because only certificates of the own authority are answered.  Port 0 takes any that is free; nobody could be told
    of it beforehand, so that is for trials only."""

    addresses: Annotated[tuple[Service, ...], Meta(max_length=4)] = ()
    """Under which addresses others reach this node.  Empty means the one in C{listen}, which is enough if that names
    one interface.  To be set when listening on all interfaces, and behind a router that forwards a port.  Four at
    most, because every contact carries them."""

    seeds: Annotated[tuple[Service, ...], Meta(max_length=100)] = ()
    """Nodes through which to enter the ring.  Any one that is on-line is enough, and they are asked again and again
    until one is.  Without any other node in this list the node founds a ring: right for the very first node of an
    organization, and only for that."""

    dns: Annotated[str, Meta(max_length=260)] = ""
    """The resolver (C{host:port}, an address) that is asked where the ring is (an SRV record, docs/administration.md)
    when nobody answers who is known.  Empty means those of the system; C{none}: nobody is asked."""


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What mail programs connect to.  An empty string turns a service off.

    All are on loopback by default: the mail program runs on the same machine.  Log-ins without TLS are taken on
    loopback only, whatever is set here.
    """

    submission: Service = "127.0.0.1:1587"
    """SMTP submission (RFC 6409), with STARTTLS.  The standard port is 587; ports below 1024 need privileges that the
    node has no other use for."""

    submissions: Service = "127.0.0.1:1465"
    """SMTP submission over TLS from the first byte (RFC 8314).  The standard port is 465."""

    imap: Service = "127.0.0.1:1143"
    """IMAP, with STARTTLS.  The standard port is 143."""

    imaps: Service = "127.0.0.1:1993"
    """IMAP over TLS from the first byte (RFC 8314).  The standard port is 993."""

    pop3: Service = ""
    """POP3, with STLS.  Off by default: whatever knows IMAP sees more by that, folders and flags on every machine.  The
    standard port is 110."""

    pop3s: Service = ""
    """POP3 over TLS from the first byte (RFC 8314).  Off by default too.  The standard port is 995."""

    smtp: Service = ""
    """Where a gateway takes mail from the Internet; the standard port is 25, on all interfaces.  Only with the role
    C{gateway} in the node's certificate, and with C{gateway.postmaster} set."""

    web: Service = "127.0.0.1:1180"
    """The page that shows how the node and its people's mail are, and C{/metrics} (HTTP).  Anything but loopback needs
    C{web.tls}."""


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The page at C{mail.web}.
    """

    tls: bool = False
    """Serve it over HTTPS, with the certificate that mail programs see.  Needed where it is not on loopback: people log
    in with their mail passwords."""

    names: Annotated[tuple[Name, ...], Meta(max_length=10)] = ()
    """Host names under which it may be asked for, besides localhost, 127.0.0.1 and ::1.  Any other is refused, since a
    hostile page could give this machine's address to a name of its own, and read with the browser's eyes."""

    metrics: bool = True
    """Answer C{/metrics} without a log-in to whoever asks from this machine: counts, sizes and times, no names."""


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Where the node's membership is kept, if not in the data directory under the usual names.

    Relative names are relative to the data directory.  What differs from machine to machine, and is worth a setting, is
    where secrets are: a mounted key, or what systemd's C{LoadCredential} provides.
    """

    key: FileName = "node.key"
    """The node's private key, PEM.  Nobody else may be able to read it."""

    chain: FileName = "node.chain"
    """The node's certificate and that of the issuing authority, as C{post ca issue-node} wrote them."""

    root: FileName = "root.der"
    """The organization's root certificate: what everything else is verified against."""

    convergence: FileName = "convergence"
    """The secret that all members share, under which equal attachments become equal blocks.  Nobody else may be able to
    read it."""

    policy: FileName = "policy"
    """The organization's rules, signed by the authority."""

    directory: FileName = "directory"
    """The organization's names and members, signed by the authority.  A newer one that is put here is used within half
    a minute."""


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    How a node with the role C{gateway} deals with the Internet (docs/gateways.md).  Not used by others.
    """

    host: Annotated[str, Meta(max_length=253)] = ""
    """The name under which the Internet knows this machine: the one in the MX record, to which the address of the
    machine leads back (reverse DNS).  Empty means the mail domain itself."""

    postmaster: Annotated[str, Meta(max_length=320)] = ""
    """The address of the person who reads what is sent to C{postmaster}, as RFC 5321, 4.5.1, demands."""

    dns: Annotated[str, Meta(max_length=260)] = ""
    """The resolver (C{host:port}, an address) that is asked for names.  Empty means those of the system.  One on this
    machine that verifies DNSSEC is best: what it says decides what is believed about senders."""

    certificate: Annotated[str, Meta(max_length=1000)] = ""
    """The certificate (PEM, with those that lead to its authority behind it) that C{STARTTLS} shows on C{mail.smtp}.
    Empty means the one that mail programs see: the Internet's servers encrypt to any."""

    key: Annotated[str, Meta(max_length=1000)] = ""
    """Its private key, PEM.  Nobody else may be able to read it."""

    roots: Annotated[str, Meta(max_length=1000)] = ""
    """A file of trust roots, PEM, against which servers on the Internet are verified where they demand it.  Empty means
    the system's."""

    smtp_port: Annotated[int, Meta(ge=1, le=65_535)] = 25
    """On which port the servers that take mail for other domains are reached: another one is for trials."""

    sts_port: Annotated[int, Meta(ge=1, le=65_535)] = 443
    """On which port other domains' policies (MTA-STS) are fetched: another one is for trials."""

    retry_s: Annotated[int, Meta(ge=1, le=57_600)] = 450
    """Mail that another server does not take now is tried again after so many seconds, then after twice as many each
    time, 16 hours at most."""

    warn_s: Annotated[int, Meta(ge=1, le=1_000_000)] = 14_400
    """The sender is told when it takes longer than this."""

    give_up_s: Annotated[int, Meta(ge=1, le=1_000_000)] = 432_000
    """And gets it back as not delivered after this.  Five days, as RFC 5321 advises."""

    recipients_per_day: Annotated[int, Meta(ge=0, le=10_000_000)] = 2000
    """To how many recipients in other domains one member may send in a day through this gateway; what is more waits.
    Whoever has stolen a password should not have the whole domain refused everywhere.  0: as many as they like."""

    dmarc: Literal["honor", "junk", "note"] = "honor"
    """What is done with a message of which the domain in From says by DMARC that it is forged: C{honor} does what that
    domain wishes (refuse, or file into Junk), C{junk} refuses nothing, C{note} only writes into the header what was
    found."""

    greylist_s: Annotated[int, Meta(ge=0, le=86_400)] = 60
    """A stranger's first message to somebody is refused for so many seconds: servers try again, most senders of spam do
    not.  0 turns it off."""

    dnsbl: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=5)] = ()
    """Block lists asked about each source by DNS, such as C{zen.spamhaus.org}; who is listed is refused.  None by
    default: each learns who writes to you, and many may only be used by agreement."""

    connections_per_source: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Connections at once from one source: an IPv4 address, or a /64 of IPv6."""

    messages_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 600
    """Messages a minute from one source; more are told to come later."""


class Authority(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Where new certificates, the directory and the policy come from by themselves.  All empty: they are carried by hand.
    """

    doors: Annotated[tuple[Service, ...], Meta(max_length=10)] = ()
    """Where the authority is asked, the first that answers: at the start, once an hour, and when a node is met that the
    directory does not name.  C{post join} writes what stood in the code."""

    directory: Annotated[str, Meta(max_length=1000)] = ""
    """The directory of an authority that this node serves; relative to the data directory.  On one machine only: the
    issuing key is in it."""

    listen: Service = "0.0.0.0:7655"
    """Where it serves it, for newcomers and members: HTTPS.  Not used without C{directory}."""

    address: Service = ""
    """Under which address others reach it; C{post ca token} puts it into the codes.  Empty means the one in C{listen},
    which is enough if that names one interface."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What this node may use at most.
    """

    links: Annotated[int, Meta(ge=32, le=65_536)] = 1024
    """Links to other nodes that are kept up at once; for one more, the one unused for longest is closed.  Each takes
    about 50 KiB of memory and a file descriptor.  32 at least: the leaf set alone has 24."""

    link_queues_mib: Annotated[int, Meta(ge=16, le=65_536)] = 256
    """Memory for what waits to be sent to all other nodes together.  One 50 MB message on its way to three nodes waits
    in pieces, so this bounds how many large messages are under way at once, not how large they are."""


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    What the node writes about itself.  Never keys, passwords, codes, or what is in messages.
    """

    file: Annotated[str, Meta(max_length=1000)] = ""
    """Into which file, relative to the data directory.  It is turned over by size.  Empty: where twistd says, which is
    the terminal with C{-n}, and otherwise C{twistd.log} where it was started, which grows without end."""

    size_mib: Annotated[int, Meta(ge=1, le=1024)] = 10
    """How large the file gets before it is turned over."""

    keep: Annotated[int, Meta(ge=1, le=1000)] = 5
    """How many that were turned over are kept."""

    json: bool = False
    """One JSON object in each line, for programs.  Without C{file} to standard output, so with C{twistd -n} only."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    C{node.toml}.
    """

    name: Name = "node"
    """What this node is called in logs and by C{post status}.  Others never see it."""

    data: FileName = "."
    """The data directory: keys, blocks, accounts, control socket.  One process at a time uses it."""

    links: Links = Links()
    mail: Mail = Mail()
    web: Web = Web()
    files: Files = Files()
    authority: Authority = Authority()
    gateway: Gateway = Gateway()
    limits: Limits = Limits()
    log: Log = Log()


class Config(msgspec.Struct, frozen=True):
    """
    Settings, and where they came from.
    """

    file: Path
    settings: Settings

    @property
    def directory(self) -> Path:
        """
        The data directory.
        """
        return (self.file.parent / self.settings.data).resolve()


def load(file: Path) -> Config:
    """
    The settings in C{file}.

    @raise ConfigError: with the file, the key and the reason.
    """
    try:
        raw = tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise ConfigError(str(file), error.strerror or "cannot be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(file), f"is not TOML: {error}") from None
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise _refused(file, str(error)) from None
    _check(file, settings)
    return Config(file.absolute(), settings)


def _refused(file: Path, complaint: str) -> ConfigError:
    """
    What msgspec says (C{reason - at `$.key`}) in our order.
    """
    reason, _, place = complaint.partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    unknown = _UNKNOWN.fullmatch(reason)
    if unknown:
        key, reason = f"{key}.{unknown[1]}".lstrip("."), "is no setting"
    # A quoted key of TOML may hold anything; the complaint stays one line.
    return ConfigError(f"{file}: {key}" if key.isprintable() else f"{file}: {key!r}", reason)


def _check(file: Path, settings: Settings) -> None:
    for key in Mail.__struct_fields__:
        service = getattr(settings.mail, key)
        if service:
            _check_service(f"{file}: mail.{key}", service)
    if settings.mail.web and not settings.web.tls and not is_loopback(split_service(settings.mail.web)[0]):
        raise ConfigError(
            f"{file}: mail.web", "is not on loopback, where passwords can be overheard: set tls = true in [web]"
        )
    _check_service(f"{file}: links.listen", settings.links.listen)
    for key in ("addresses", "seeds"):
        for index, address in enumerate(getattr(settings.links, key)):
            _check_reached(f"{file}: links.{key}[{index}]", address)
    if settings.links.dns not in ("", "none"):
        check_resolver(f"{file}: links.dns", settings.links.dns)
    _check_service(f"{file}: authority.listen", settings.authority.listen)
    for index, address in enumerate(settings.authority.doors):
        _check_reached(f"{file}: authority.doors[{index}]", address)
    if settings.authority.address:
        _check_reached(f"{file}: authority.address", settings.authority.address)
    _check_gateway(file, settings)
    names = {f"files.{key}": getattr(settings.files, key) for key in Files.__struct_fields__}
    names |= {"data": settings.data, "authority.directory": settings.authority.directory, "log.file": settings.log.file}
    names |= {f"gateway.{key}": getattr(settings.gateway, key) for key in ("certificate", "key", "roots")}
    for key, value in names.items():
        if "\0" in value:
            raise ConfigError(f"{file}: {key}", "cannot be the name of a file")


def _check_gateway(file: Path, settings: Settings) -> None:
    gateway = settings.gateway
    if settings.mail.smtp and not gateway.postmaster:
        raise ConfigError(f"{file}: gateway.postmaster", "must name who reads mail to postmaster if mail.smtp is set")
    if gateway.dns:
        check_resolver(f"{file}: gateway.dns", gateway.dns)
    if bool(gateway.certificate) != bool(gateway.key):
        raise ConfigError(f"{file}: gateway.certificate", "needs gateway.key, and the other way round")
    for key in ("host", "postmaster"):
        if getattr(gateway, key):
            _check_name(f"{file}: gateway.{key}", getattr(gateway, key), key == "postmaster")
    for index, name in enumerate(gateway.dnsbl):
        _check_name(f"{file}: gateway.dnsbl[{index}]", name, False)


def check_resolver(where: str, dns: str) -> None:
    """
    @raise ConfigError: if C{dns} is not the C{address:port} of a resolver.
    """
    _check_reached(where, dns)
    if not is_address(split_service(dns)[0]):
        raise ConfigError(where, "must be an address: a name would have to be asked for first")


def _check_name(where: str, name: str, mailbox: bool) -> None:
    if not (_MAILBOX if mailbox else _HOST).fullmatch(name):
        raise ConfigError(where, f"{name!r} is not {'a mail address' if mailbox else 'the name of a host'}")


def _check_reached(where: str, address: str) -> None:
    _check_service(where, address)
    host, port = split_service(address)
    if port == 0 or host in _ANYWHERE:
        raise ConfigError(where, f"nobody can be reached at {address!r}")


def _check_service(where: str, service: str) -> None:
    match = _SERVICE.fullmatch(service)
    if match is None or int(match[1]) > 65535:
        raise ConfigError(where, f"{service!r} is not host:port")


def is_address(host: str) -> bool:
    """
    Whether C{host} is an IP address rather than a name.
    """
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """
    Whether what is said to C{host} does not leave this machine.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def split_service(service: str) -> tuple[str, int]:
    """
    Host and port of a checked C{host:port}.
    """
    host, _, port = service.rpartition(":")
    return host.strip("[]"), int(port)
