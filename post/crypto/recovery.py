"""
Pure: what a recovery code's secret stands for.

Three keys follow from the 128 random bits of a code and the fingerprint of its authority, each for a purpose of its
own:

  - the *copy key* (Ed25519) signs the sealed copy of an account, a public-key block: where the copy is follows from it,
    and nobody else can put anything there;
  - the *claim key* (Ed25519), whose public half the authority has, signs the request by which an empty machine gets
    certificates;
  - the *sealing key* also follows from a *share*, 32 random bytes that the authority keeps and gives to whoever proves
    the claim key.  The authority cannot open the copy, since it does not know the code.  Who has the code alone cannot
    either: when a code is renewed the authority forgets the old share, and what lies in the ring under the old code is
    noise from then on, wherever copies of it are.  No key that could destroy the copy has to stay on a machine that may
    be stolen.

The secret is random and long, so no slow function stands between it and the keys.
"""

from __future__ import annotations

from post.crypto.keys import LogKey
from post.hashes import Purpose, handle_of, keyed
from post.ids import Handle

SHARE_BYTES = 32


class RecoveryKeys:
    """
    The keys of one code.
    """

    def __init__(self, secret: bytes, fingerprint: bytes) -> None:
        self._secret = secret
        self._fingerprint = fingerprint
        self.copy = LogKey.from_secret(keyed(secret, Purpose.RECOVERY_COPY_KEY, fingerprint))
        self.claim = LogKey.from_secret(keyed(secret, Purpose.RECOVERY_CLAIM_KEY, fingerprint))

    @property
    def handle(self) -> Handle:
        """
        Where the sealed copy is.
        """
        return handle_of(Purpose.PUBLIC_KEY_BLOCK, self.copy.public)

    def sealing(self, share: bytes) -> bytes:
        """
        The 32 bytes under which the copy is boxed.
        """
        return keyed(self._secret, Purpose.RECOVERY_SEALING, self._fingerprint, share)
