"""
Tests for L{post.front.autoconfig}, on the site that serves it.
"""

from __future__ import annotations

from xml.etree import ElementTree

from post.front.autoconfig import PATHS, Autoconfig
from tests.front.web.browser import SiteTestCase

BOUND = {
    "submission": ("127.0.0.1", 1587),
    "submissions": ("0.0.0.0", 1465),
    "imap": ("127.0.0.1", 1143),
    "imaps": ("::", 1993),
    "pop3": ("127.0.0.1", 1110),
}


class AutoconfigTests(SiteTestCase):
    """
    A mail program that asks.
    """

    def setUp(self) -> None:
        super().setUp()
        self.bound = dict(BOUND)
        for path in PATHS:
            self.site.hang(path, Autoconfig("exämple.org", lambda: self.bound))

    def servers(self, path: str, host: str = "localhost:1180") -> list[tuple[str, ...]]:
        """
        What it is told.
        """
        answer = self.get(path, host=host)
        self.assertEqual((200, "text/xml; charset=utf-8"), (answer.code, answer.headers["content-type"]))
        root = ElementTree.fromstring(answer.text.encode())
        self.assertEqual(("clientConfig", "1.1"), (root.tag, root.get("version")))
        self.assertEqual("exämple.org", root.findtext("emailProvider/domain"))
        names = ("hostname", "port", "socketType", "username", "authentication")
        return [
            (element.tag[:8], element.get("type", ""), *(element.findtext(name, "") for name in names))
            for element in root.findall("emailProvider/*[hostname]")
        ]

    def test_told(self) -> None:
        """
        Without a log-in, at both places: where each service is, the best of each kind first.
        """
        rest = ("%EMAILADDRESS%", "password-cleartext")
        expected = [
            ("incoming", "imap", "localhost", "1993", "SSL", *rest),
            ("incoming", "imap", "127.0.0.1", "1143", "STARTTLS", *rest),
            ("incoming", "pop3", "127.0.0.1", "1110", "STARTTLS", *rest),
            ("outgoing", "smtp", "localhost", "1465", "SSL", *rest),
            ("outgoing", "smtp", "127.0.0.1", "1587", "STARTTLS", *rest),
        ]
        for path in PATHS:
            self.assertEqual(expected, self.servers(f"/{path}?emailaddress=alice%40example.org"))

    def test_by_name(self) -> None:
        """
        What listens everywhere is at the name by which the program asked, if that is ours; by another name nothing is
        told.
        """
        found = self.servers(f"/{PATHS[0]}", "post.example.org:1180")
        self.assertEqual("post.example.org", found[0][2])
        self.assertEqual(421, self.get(f"/{PATHS[0]}", host="evil.example").code)

    def test_now(self) -> None:
        """
        What is not served is not told.
        """
        self.bound.clear()
        self.assertEqual([], self.servers(f"/{PATHS[0]}"))
