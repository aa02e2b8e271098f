"""
Pure: pings of one link, the round-trip time they show, and whether the peer is silent.
"""

from __future__ import annotations


class Pulse:
    """
    Says when to ping, and learns from what is heard.

    @ivar round_trip_s: the smoothed round-trip time, if one was measured.
    """

    __slots__ = ("_every_s", "_next", "_number", "_sent_at", "round_trip_s")

    def __init__(self, every_s: float) -> None:
        self.round_trip_s: float | None = None
        self._every_s = every_s
        self._next = float("-inf")
        self._number = 0
        self._sent_at: float | None = None

    def due(self, now: float, waiting: bool) -> bool:
        """
        Whether it is time for a ping: the first, one to follow another that was not answered, or one because something
        was sent and nothing came since (C{waiting}).  A link on which nothing is said needs none.
        """
        return now >= self._next and (waiting or self._number == 0 or self._sent_at is not None)

    def silent(self, heard_at: float) -> bool:
        """
        Whether nothing at all came since the last ping, the last thing having been heard at C{heard_at}.
        """
        return self._sent_at is not None and heard_at < self._sent_at

    def ping(self, now: float) -> int:
        """
        A ping goes now: its number.
        """
        self._number += 1
        self._sent_at = now
        self._next = now + self._every_s
        return self._number

    def pong(self, number: int, now: float) -> None:
        """
        A ping was answered.  Only the last one counts.
        """
        if number != self._number or self._sent_at is None:
            return
        sample = max(now - self._sent_at, 0.0)
        self._sent_at = None
        # The gain of TCP's estimator (RFC 6298, section 2).
        before = sample if self.round_trip_s is None else self.round_trip_s
        self.round_trip_s = before + (sample - before) / 8
