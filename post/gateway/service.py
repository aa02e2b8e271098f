"""
What a node with the role C{gateway} runs beside its mail services.
"""

from __future__ import annotations

from post.config import Config
from post.crypto.certificates import NodeCertificate
from post.crypto.names import canonical, split
from post.errors import ConfigError

ROLE = "gateway"
"""As the node's certificate has it."""


def check_role(config: Config, certificate: NodeCertificate, domain: str) -> None:
    """
    See that a node that is set to take mail from the Internet may do so.

    @raise ConfigError: if its certificate has not that role, or postmaster is nobody of C{domain}.
    """
    if not config.settings.mail.smtp:
        return
    if ROLE not in certificate.roles:
        raise ConfigError(
            f"{config.file}: mail.smtp",
            "needs the role gateway in this node's certificate: leave it empty, or join with a code from"
            " 'post ca token --role gateway'",
        )
    postmaster = config.settings.gateway.postmaster
    try:
        known = split(canonical(postmaster))[1] == domain
    except ValueError:
        known = False
    if not known:
        raise ConfigError(f"{config.file}: gateway.postmaster", f"{postmaster!r} is no address of {domain}")
