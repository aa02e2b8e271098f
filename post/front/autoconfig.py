"""
How a mail program is set up, for people and for programs: which servers there are, and the file that Thunderbird and
others look for (L{https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat}).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from twisted.web.server import Request

from post.front.web.site import Leaf

PATHS = ("mail/config-v1.1.xml", ".well-known/autoconfig/mail/config-v1.1.xml")
"""Where mail programs ask."""
ORDER = ("imaps", "imap", "pop3s", "pop3", "submissions", "submission")
"""The best first: TLS from the first octet cannot be prevented by anybody between."""
EVERYWHERE = ("0.0.0.0", "::")

Bound = Mapping[str, tuple[str, int]]
"""Host and port by the service's name in the settings."""


@dataclass(frozen=True)
class Server:
    """
    One that a mail program can use: C{kind} is C{imap}, C{pop3} or C{smtp}, C{security} is C{SSL} (TLS from the first
    octet) or C{STARTTLS}.
    """

    kind: str
    host: str
    port: int
    security: str


def servers(bound: Bound, host: str) -> list[Server]:
    """
    All that listen; C{host} is this machine's name, for those that listen at all its addresses.
    """
    found = []
    for name in ORDER:
        if name in bound:
            listens, port = bound[name]
            kind = "smtp" if name.startswith("submission") else name.removesuffix("s")
            security = "SSL" if name.endswith("s") else "STARTTLS"
            found.append(Server(kind, host if listens in EVERYWHERE else listens, port, security))
    return found


def client_config(domain: str, found: list[Server]) -> bytes:
    """
    The file, in version 1.1.
    """
    root = ElementTree.Element("clientConfig", version="1.1")
    provider = ElementTree.SubElement(root, "emailProvider", id=domain)
    for name, text in (("domain", domain), ("displayName", f"POST, {domain}"), ("displayShortName", "POST")):
        ElementTree.SubElement(provider, name).text = text
    for server in found:
        direction = "outgoingServer" if server.kind == "smtp" else "incomingServer"
        element = ElementTree.SubElement(provider, direction, type=server.kind)
        for name, text in (
            ("hostname", server.host),
            ("port", str(server.port)),
            ("socketType", server.security),
            ("username", "%EMAILADDRESS%"),
            # Under TLS; the node takes no other.
            ("authentication", "password-cleartext"),
        ):
            ElementTree.SubElement(element, name).text = text
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}\n'.encode()


class Autoconfig(Leaf):
    """
    Gives it to whoever asks: it says nothing but where our ports are.
    """

    isLeaf = True

    def __init__(self, domain: str, bound: Callable[[], Bound]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._domain = domain
        self._bound = bound

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", b"text/xml; charset=utf-8")
        # The name by which we were asked has been checked (L{post.front.web.guard}).
        host = request.getRequestHostname().decode("ascii", "replace")
        return client_config(self._domain, servers(self._bound(), host))
