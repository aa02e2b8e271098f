"""
Tests for L{post.crypto.names}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.names import canonical, canonical_domain, split


class CanonicalTests(SynchronousTestCase):
    """
    Tests of L{canonical}.
    """

    def test_spellings(self) -> None:
        """
        All spellings of one address are one person.
        """
        for spelling in (
            "alice@example.org",
            "Alice@Example.ORG",
            "alice+lists@example.org",
            "alice@example.org.",
            "ＡＬＩＣＥ@example.org",
            "alice＠example.org",
        ):
            self.assertEqual("alice@example.org", canonical(spelling))

    def test_international(self) -> None:
        """
        A domain has its letters for machines, a name keeps its own, composed.
        """
        self.assertEqual("jo@xn--bcher-kva.example", canonical("jo@Bücher.example"))
        self.assertEqual(canonical("jo\u0308rg@example.org"), canonical("JÖRG@example.org"))

    def test_none(self) -> None:
        """
        What is no address, or one that no account can have, is refused.
        """
        for text in (
            "", "@", "alice", "@example.org", "alice@", "+x@example.org", "a b@example.org", ".a@example.org",
            "a.@example.org", "a..b@example.org", '"a"@example.org', "a\0@example.org", "a@b@example.org", "a@-x.org",
            "a@x..org", "a@[127.0.0.1]", "a\u2028b@example.org", "a,b@example.org", "a@" + "x" * 64 + ".org",
            "x" * 65 + "@example.org", "a@" + ".".join(["x" * 60] * 5), "é" * 33 + "@example.org", "a@ü" + "ü" * 300,
        ):  # fmt: skip
            self.assertRaises(ValueError, canonical, text)

    @given(st.text(max_size=40) | st.builds("{}@{}".format, st.text(max_size=20), st.text(max_size=20)))
    def test_any_text(self, text: str) -> None:
        """
        Any text is an address or a C{ValueError}; the canonical form is its own canonical form.
        """
        try:
            found = canonical(text)
        except ValueError:
            return
        self.assertEqual(found, canonical(found))
        local, domain = split(found)
        self.assertEqual((found, domain), (f"{local}@{domain}", canonical_domain(domain)))
