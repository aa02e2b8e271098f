"""
Tests for L{post.gateway.body}: against the library's own forms.
"""

from __future__ import annotations

from hashlib import sha256

from dkim.canonicalization import Relaxed, Simple
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.gateway import body
from post.gateway.body import body_hash, canonical_body

LINES = st.lists(st.text(" \tab.", max_size=6).map(str.encode), max_size=8).map(lambda lines: b"\r\n".join(lines))


class BodyTests(SynchronousTestCase):
    """
    Tests of L{canonical_body}.
    """

    @given(LINES, st.sampled_from([b"\r\n", b"\r\n\r\n"]), st.integers(2, 9))
    def test_alike(self, text: bytes, end: bytes, piece: int) -> None:
        """
        However it is cut, it is what the library makes of the whole, which ends in a line end, as all mail does.
        """
        text += end
        before, body.PIECE = body.PIECE, piece
        try:
            for relaxed, library in ((True, Relaxed), (False, Simple)):
                expected = library.canonicalize_body(text)
                self.assertEqual(expected, b"".join(canonical_body(b"head" + text, 4, relaxed)), (text, relaxed))
        finally:
            body.PIECE = before

    def test_hash(self) -> None:
        """
        Of an empty body there is nothing, or one line end (RFC 6376, 3.4.3 and 3.4.4).
        """
        self.assertEqual(sha256(b"\r\n").digest(), body_hash(b"", 0, False))
        self.assertEqual(sha256(b"").digest(), body_hash(b"", 0, True))
