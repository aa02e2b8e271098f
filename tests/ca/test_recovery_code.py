"""
Tests for L{post.ca.recovery_code}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ca.code import JoinCode
from post.ca.recovery_code import RecoveryCode
from post.errors import PeerError

CODE = RecoveryCode("192.0.2.7:7655", b"f" * 16, bytes(range(16)))


class RecoveryCodeTests(SynchronousTestCase):
    """
    Tests for L{RecoveryCode}.
    """

    @given(
        st.sampled_from(["192.0.2.7:7655", "ca.example.org:7655", "[2001:db8::1]:1"]),
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=16, max_size=16),
    )
    def test_text(self, where: str, fingerprint: bytes, secret: bytes) -> None:
        """
        What is printed is read back, however it is typed.
        """
        code = RecoveryCode(where, fingerprint, secret)
        text = code.to_text()
        for typed in (text, text.lower(), text.replace("-", " "), text.replace("0", "O").replace("1", "l")):
            self.assertEqual(code, RecoveryCode.from_text(typed))

    @given(st.data())
    def test_mistyped(self, data: st.DataObject) -> None:
        """
        A letter that is another one is found.
        """
        text = CODE.to_text().replace("-", "")
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from([each for each in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" if each != text[place]]))
        self.assertRaises(PeerError, RecoveryCode.from_text, text[:place] + other + text[place + 1 :])

    @given(st.text(max_size=120))
    def test_garbage(self, text: str) -> None:
        """
        Anything else is refused, and nothing else is raised.
        """
        self.assertRaises(PeerError, RecoveryCode.from_text, text)

    def test_kinds(self) -> None:
        """
        A join code is told from a recovery code, both ways, with the command that it is for.
        """
        joining = JoinCode(CODE.where, CODE.fingerprint, CODE.secret, 6000).to_text()
        error = self.assertRaises(PeerError, RecoveryCode.from_text, joining)
        self.assertIn("post join", str(error))
        error = self.assertRaises(PeerError, JoinCode.from_text, CODE.to_text())
        self.assertIn("post recover", str(error))

    def test_keys(self) -> None:
        """
        Each key follows from the secret, the authority, and its purpose; the sealing key also from the share.
        """
        keys, elsewhere = CODE.keys, RecoveryCode(CODE.where, b"g" * 16, CODE.secret).keys
        self.assertEqual(keys.handle, RecoveryCode.from_text(CODE.to_text()).keys.handle)
        public = {each.public for one in (keys, elsewhere) for each in (one.copy, one.claim)}
        self.assertEqual(4, len(public))
        sealing = {one.sealing(share) for one in (keys, elsewhere) for share in (bytes(32), b"s" * 32)}
        self.assertEqual(4, len(sealing))
