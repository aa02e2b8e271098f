"""
What a node trusts: its organisation's root certificate, less the keys that the authority under it has revoked.

A L{Trust} is the root's bytes, so that it goes wherever a root goes, and whoever verifies certificates to it also sees
what has been revoked since; a mere root knows of nothing revoked.  Each node has its own: what one has heard, another
in the same process has not.

Keys are revoked, and not certificates or names: a certificate renewed for a stolen key is worth no more than the one
before, and whoever is certified anew under the same name, with another key, is not meant.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from post.errors import BadSignature


class Revoked(BadSignature):
    """
    A certificate whose key has been revoked.
    """


@dataclass(frozen=True)
class Taken:
    """
    Since when (unix seconds) a key is not believed, and why.
    """

    since: int
    reason: str = ""

    def __str__(self) -> str:
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.since))
        return f"revoked on {day}" + (f" ({self.reason})" if self.reason else "")


class Trust(bytes):
    """
    A root certificate (DER) that knows of revoked keys.
    """

    def __init__(self, root: bytes) -> None:
        self._revoked: dict[bytes, Taken] = {}

    @classmethod
    def of(cls, root: bytes) -> Trust:
        """
        C{root}, if it is one, or one that knows of nothing yet.
        """
        return root if isinstance(root, Trust) else cls(root)

    def revoke(self, keys: Mapping[bytes, Taken], now: int) -> None:
        """
        Believe none of C{keys} from C{now} on, nor what they did after the time that each says; and all others again.

        @param now: our own clock, which may be behind the authority's: what is known to be revoked is refused at once.
        """
        self._revoked = {key: Taken(min(now, taken.since), taken.reason) for key, taken in keys.items()}

    def taken(self, public_key: bytes) -> Taken | None:
        """
        Since when a key is revoked, if it is.
        """
        return self._revoked.get(public_key)


def check_revoked(root: bytes, public_key: bytes, at: float) -> None:
    """
    @raise Revoked: if C{public_key} is known to be revoked, and was at C{at}.
    """
    taken = root.taken(public_key) if isinstance(root, Trust) else None
    if taken is not None and at >= taken.since:
        raise Revoked(f"a certificate that was {taken}")
