"""
Tests for L{post.ca.code}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ca.code import GROUP, JoinCode, check_where, short_fingerprint
from post.errors import PeerError

CODE = JoinCode("192.168.1.10:7655", b"f" * 16, b"s" * 16, 1_700_000_040)
PLACES = st.one_of(
    st.builds("{}.{}.{}.{}:{}".format, *[st.integers(0, 255)] * 4, st.integers(1, 65535)),
    st.sampled_from(
        ["a:1", "mail.example.org:7655", "[::1]:7655", "[fe80::1%eth0]:1", "999.1.1.1:5", "localhost:65535"]
    ),
)
CODES = st.builds(
    JoinCode,
    PLACES,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**32 - 1).map(lambda minutes: 60 * minutes),
)


class CodeTests(SynchronousTestCase):
    """
    Tests of L{JoinCode}.
    """

    @given(CODES)
    def test_round_trip(self, code: JoinCode) -> None:
        """
        What is printed is what is read.
        """
        self.assertEqual(code, JoinCode.from_text(code.to_text()))

    @given(CODES)
    def test_typed(self, code: JoinCode) -> None:
        """
        Case, spaces and dashes do not matter, nor letters that look like digits.
        """
        text = code.to_text()
        for typed in (text.lower(), text.replace("-", " "), text.replace("-", ""), f"  {text}\n"):
            self.assertEqual(code, JoinCode.from_text(typed))
        self.assertEqual(code, JoinCode.from_text(text.replace("0", "O").replace("1", "l")))
        self.assertFalse(set(text) & set("ILOU"))
        self.assertTrue(all(len(group) <= GROUP for group in text.split("-")))

    @given(CODES, st.data())
    def test_mistyped(self, code: JoinCode, data: st.DataObject) -> None:
        """
        One wrong letter, two that are swapped, or one that is missing is found out.
        """
        text = code.to_text().replace("-", "")
        at = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from([each for each in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" if each != text[at]]))
        wrong = {text[:at] + other + text[at + 1 :], text[:at] + text[at + 1 :], text[:at]}
        wrong |= {text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]} - {text}
        for each in wrong:
            self.assertRaises(PeerError, JoinCode.from_text, each)

    @given(st.text(max_size=200) | st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ- ", max_size=1100))
    def test_garbage(self, text: str) -> None:
        """
        Anything else is refused.
        """
        self.assertRaises(PeerError, JoinCode.from_text, text)

    def test_length(self) -> None:
        """
        A code for an IPv4 address is short enough to be typed: sixteen groups at most.
        """
        self.assertLessEqual(len(CODE.to_text().split("-")), 16)

    def test_places(self) -> None:
        """
        Only what somebody can be reached at becomes part of a code.
        """
        for where in ("", "a", "a:0", "a:65536", "a b:1", "a:1\n", "::1:5", f"{'a' * 300}:1"):
            self.assertFalse(check_where(where), where)
            self.assertRaises(ValueError, JoinCode(where, b"f" * 16, b"s" * 16, 0).to_text)

    def test_secret(self) -> None:
        """
        Name and key depend on the secret, and differ from it and from one another; the fingerprint is the root's.
        """
        other = JoinCode(CODE.where, CODE.fingerprint, b"t" * 16, CODE.expires)
        self.assertEqual(4, len({CODE.name, CODE.key[:16], other.name, other.key[:16]} - {CODE.secret, other.secret}))
        self.assertNotEqual(short_fingerprint(b"one"), short_fingerprint(b"other"))
