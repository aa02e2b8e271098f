"""
When mail for outside is tried again, and when nobody tries any longer.  Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

PAUSE_LIMIT_S = 16 * 3600
"""Between two attempts at most."""


@dataclass(frozen=True)
class Schedule:
    """
    After the first attempt C{first_s} seconds pass, then twice as many each time, to L{PAUSE_LIMIT_S} (as mox does it;
    RFC 5321, 4.5.4.1, wants thirty minutes or more once an attempt has failed twice).  The sender is told once when it
    takes longer than C{warn_s}, and gets it back after C{give_up_s}, both from when it was accepted.
    """

    first_s: int = 450
    warn_s: int = 4 * 3600
    give_up_s: int = 5 * 86400
    recipients_per_day: int = 0
    """Of each member, at one gateway (L{post.mail.quota}); 0 for as many as they like."""

    def pause_s(self, tries: int) -> int:
        """
        After so many attempts, one at least.
        """
        return int(min(PAUSE_LIMIT_S, self.first_s * 2 ** min(tries - 1, 30)))
