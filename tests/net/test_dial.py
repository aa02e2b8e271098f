"""
Tests for L{post.net.dial}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Unreachable
from post.net.dial import join_address, split_address


class AddressTests(SynchronousTestCase):
    """
    Tests for L{split_address} and L{join_address}.
    """

    def test_split(self) -> None:
        """
        Names, IPv4 and IPv6 addresses are understood.
        """
        for address, parts in (
            ("desk.example.org:4190", ("desk.example.org", 4190)),
            ("10.0.0.1:1", ("10.0.0.1", 1)),
            ("[fe80::1]:65535", ("fe80::1", 65535)),
        ):
            self.assertEqual(parts, split_address(address))
            self.assertEqual(address, join_address(*parts))

    def test_nonsense(self) -> None:
        """
        Anything else is no address.
        """
        for address in ("", ":", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "host:1x", "::1:5", "h:１"):
            with self.assertRaises(Unreachable):
                split_address(address)

    @given(st.text("0159[]:.-h \0٣１", max_size=80))
    def test_any_text(self, text: str) -> None:
        """
        Any text is an address, or L{Unreachable}.
        """
        try:
            _, port = split_address(text)
        except Unreachable:
            return
        self.assertTrue(0 < port < 65536)
