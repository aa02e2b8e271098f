"""
Tests for L{post.gateway.service}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.config import Config, Gateway, Mail, Settings
from post.crypto.certificates import NodeCertificate, read_node
from post.errors import ConfigError
from post.gateway.service import check_role
from tests.crypto.issued import Issuer


class RoleTests(SynchronousTestCase):
    """
    Tests for L{check_role}.
    """

    def setUp(self) -> None:
        self.member, self.gateway = (read_node(Issuer().node(roles)[0]) for roles in ((), ("gateway",)))

    def check(self, certificate: NodeCertificate, smtp: str, postmaster: str) -> None:
        """
        Of a node with these settings.
        """
        settings = Settings(mail=Mail(smtp=smtp), gateway=Gateway(postmaster=postmaster))
        check_role(Config(Path("node.toml"), settings), certificate, "example.org")

    def test_role(self) -> None:
        """
        A node without the role may not take mail from the Internet, and is told what to do; one with it may, and one
        that does not want to is not asked.
        """
        self.check(self.member, "", "")
        self.check(self.gateway, "127.0.0.1:25", "Alice+x@Example.ORG")
        error = self.assertRaises(ConfigError, self.check, self.member, "127.0.0.1:25", "alice@example.org")
        self.assertEqual("node.toml: mail.smtp", error.where)
        self.assertIn("role gateway", error.reason)

    def test_postmaster(self) -> None:
        """
        Who reads what is sent to postmaster is somebody of the domain.
        """
        for address in ("alice@elsewhere.example", "alice@", "@example.org"):
            error = self.assertRaises(ConfigError, self.check, self.gateway, "127.0.0.1:25", address)
            self.assertEqual("node.toml: gateway.postmaster", error.where)
