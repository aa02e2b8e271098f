"""
Tests for L{post.config}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.config import Config, load, split_service
from post.errors import ConfigError
from tests.scratch import scratch


class LoadTests(SynchronousTestCase):
    """
    Tests of L{load}.
    """

    def setUp(self) -> None:
        self.file = scratch(self) / "node.toml"

    def load(self, text: str | bytes) -> Config:
        self.file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(self.file)

    def refused(self, text: str | bytes) -> str:
        """
        What is said of C{text}, without the name of the file: one line.
        """
        said = str(self.assertRaises(ConfigError, self.load, text))
        self.assertNotIn("\n", said)
        self.assertTrue(said.startswith(f"{self.file}: "), said)
        return said.removeprefix(f"{self.file}: ")

    def test_relative(self) -> None:
        """
        The data directory is relative to the file; without a word about it, it is the file's own.
        """
        self.assertEqual(self.file.parent.resolve(), self.load("").directory)
        self.assertEqual((self.file.parent / "x").resolve(), self.load('data = "x"').directory)

    def test_services(self) -> None:
        """
        Names, IPv4 and IPv6 addresses are taken, with the port; an empty one turns a service off.
        """
        for service in ("localhost:1", "127.0.0.1:65535", "[::1]:143", "[fe80::1%eth0]:143", "0.0.0.0:0"):
            self.assertEqual(service, self.load(f'mail.imap = "{service}"').settings.mail.imap)
        self.assertEqual("", self.load('mail.imap = ""').settings.mail.imap)
        self.assertEqual(
            [("::1", 143), ("localhost", 1)], [split_service(each) for each in ("[::1]:143", "localhost:1")]
        )

    def test_refused(self) -> None:
        """
        What is wrong is named by its key, with the reason.
        """
        for text, said in (
            ("colour = 1", "colour: is no setting"),
            ("[links]\ncolour = 1", "links.colour: is no setting"),
            ("name = 5", "name: Expected `str`, got `int`"),
            ('name = ""', "name: Expected `str` of length >= 1"),
            ("links = 5", "links: Expected `object`, got `int`"),
            ("limits.links = 5", "limits.links: Expected `int` >= 32"),
            ('links.listen = ""', "links.listen: '' is not host:port"),
            ('links.listen = "localhost"', "links.listen: 'localhost' is not host:port"),
            ('links.listen = "h:65536"', "links.listen: 'h:65536' is not host:port"),
            ('links.listen = "a b:1"', "links.listen: 'a b:1' is not host:port"),
            ('links.listen = "a\\u0000b:1"', "links.listen: 'a\\x00b:1' is not host:port"),
            ('links.listen = "::1:1"', "links.listen: '::1:1' is not host:port"),
            ('links.seeds = ["h:1", "h"]', "links.seeds[1]: 'h' is not host:port"),
            ('links.seeds = ["h:0"]', "links.seeds[0]: nobody can be reached at 'h:0'"),
            ('links.addresses = ["0.0.0.0:7"]', "links.addresses[0]: nobody can be reached at '0.0.0.0:7'"),
            (
                'links.addresses = ["a:1", "b:1", "c:1", "d:1", "e:1"]',
                "links.addresses: Expected `array` of length <= 4",
            ),
            ('authority.doors = ["h"]', "authority.doors[0]: 'h' is not host:port"),
            ('authority.doors = ["[::]:7"]', "authority.doors[0]: nobody can be reached at '[::]:7'"),
            ('authority.listen = "h"', "authority.listen: 'h' is not host:port"),
            ('authority.address = "h:0"', "authority.address: nobody can be reached at 'h:0'"),
            ('authority.directory = "a\\u0000b"', "authority.directory: cannot be the name of a file"),
            (
                'mail.smtp = "h:25"',
                "gateway.postmaster: must name who reads mail to postmaster if mail.smtp is set",
            ),
            ('links.dns = "none:0"', "links.dns: nobody can be reached at 'none:0'"),
            ('gateway.dns = "127.0.0.1"', "gateway.dns: '127.0.0.1' is not host:port"),
            (
                'gateway.dns = "resolver:53"',
                "gateway.dns: must be an address: a name would have to be asked for first",
            ),
            ('gateway.host = "a b"', "gateway.host: 'a b' is not the name of a host"),
            ('gateway.postmaster = "alice"', "gateway.postmaster: 'alice' is not a mail address"),
            ('gateway.certificate = "a"', "gateway.certificate: needs gateway.key, and the other way round"),
            ('gateway.dmarc = "maybe"', "gateway.dmarc: Invalid enum value 'maybe'"),
            ('gateway.dnsbl = ["a..b"]', "gateway.dnsbl[0]: 'a..b' is not the name of a host"),
            ('mail.web = "h"', "mail.web: 'h' is not host:port"),
            (
                'mail.web = "192.0.2.7:1180"',
                "mail.web: is not on loopback, where passwords can be overheard: set tls = true in [web]",
            ),
            ('data = "a\\u0000b"', "data: cannot be the name of a file"),
            ('files.key = "a\\u0000b"', "files.key: cannot be the name of a file"),
        ):
            self.assertEqual(said, self.refused(text))

    def test_web(self) -> None:
        """
        The page may be anywhere on loopback, and elsewhere with TLS.
        """
        for text in (
            'mail.web = "[::1]:80"',
            'mail.web = "localhost:80"',
            'mail.web = "h:80"\nweb.tls = true',
            'mail.web = ""',
        ):
            self.load(text.encode())

    def test_no_toml(self) -> None:
        """
        So is a file that is no TOML, or no text.
        """
        for text in ("name = ", "[links", b"\xff\xfe", 'name = "a"\nname = "b"', "x = " + "[" * 100_000):
            self.assertTrue(self.refused(text).startswith("is not TOML: "))

    def test_no_file(self) -> None:
        """
        And one that is not there, or no file.
        """
        for path in (self.file, self.file.parent):
            self.assertEqual(str(path), self.assertRaises(ConfigError, load, path).where)

    @given(st.text(max_size=60) | st.builds("{} = {}".format, st.text(max_size=10), st.text(max_size=20)))
    def test_garbage(self, text: str) -> None:
        """
        Whatever is in the file, it loads or is refused in one line.
        """
        try:
            self.load(text.encode("utf-8", "surrogatepass"))
        except ConfigError as error:
            self.assertEqual(1, len(str(error).splitlines()))
