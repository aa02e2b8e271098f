"""
Tests for L{post.front.web.guard}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.web.guard import Forbidden, Guard

HOST = b"127.0.0.1:1180"


class GuardTests(SynchronousTestCase):
    """
    Tests of L{Guard.check}.
    """

    def setUp(self) -> None:
        self.guard = Guard(("Post.example.org",))

    def refused(
        self,
        *hosts: bytes,
        method: bytes = b"GET",
        origin: bytes | None = None,
        site: bytes | None = None,
        mode: bytes | None = None,
    ) -> int:
        """
        With which status, or 0.
        """
        try:
            self.guard.check(method, hosts, origin, site, mode)
        except Forbidden as forbidden:
            return forbidden.code
        return 0

    def test_names(self) -> None:
        """
        The machine's own names and those that are set are answered, with a port and without.
        """
        for host in (HOST, b"localhost", b"LOCALHOST:80", b"[::1]:1180", b"[::1]", b"post.example.org", b"127.0.0.1"):
            self.assertEqual(0, self.refused(host), host)

    def test_other_names(self) -> None:
        """
        Any other name is somebody else's, which he may have given to our address: it is not answered.
        """
        for host in (
            b"evil.example",
            b"evil.example:1180",
            b"localhost.evil.example",
            b"127.0.0.1.evil.example",
            b"evil.example:@localhost",
            b"localhost:evil",
            b"localhost:",
            b"[::1",
            b"[::1]x",
            b"",
            b"\xff",
        ):
            self.assertEqual(421, self.refused(host), host)
        self.assertEqual(421, self.refused())
        self.assertEqual(421, self.refused(HOST, HOST))
        self.assertEqual(421, self.refused(HOST, b"evil.example"))

    def test_forms(self) -> None:
        """
        A form is ours, or sent by something that is no browser.
        """
        ours = {"method": b"POST", "origin": b"http://" + HOST, "site": b"same-origin"}
        self.assertEqual(0, self.refused(HOST, **ours))
        self.assertEqual(0, self.refused(HOST, method=b"POST"))
        for origin in (b"http://evil.example", b"null", b"http://127.0.0.1:80", b"ftp://" + HOST, b""):
            self.assertEqual(403, self.refused(HOST, method=b"POST", origin=origin), origin)
        for site in (b"cross-site", b"same-site", b"anything"):
            self.assertEqual(403, self.refused(HOST, method=b"POST", site=site, mode=b"navigate"), site)

    def test_links(self) -> None:
        """
        Others' pages may link to ours, and not embed or fetch it.
        """
        self.assertEqual(0, self.refused(HOST, site=b"cross-site", mode=b"navigate"))
        self.assertEqual(403, self.refused(HOST, site=b"cross-site", mode=b"no-cors"))
        self.assertEqual(403, self.refused(HOST, site=b"cross-site"))
        self.assertEqual(0, self.refused(HOST, site=b"none", mode=b"navigate"))

    @given(st.lists(st.binary(max_size=40), max_size=3), st.binary(max_size=40) | st.none())
    def test_garbage(self, hosts: list[bytes], origin: bytes | None) -> None:
        """
        Whatever comes is answered or refused.
        """
        self.assertIn(self.refused(*hosts, method=b"POST", origin=origin), (0, 403, 421))
