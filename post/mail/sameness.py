"""
When a message is the same as one that came before: by which a retry doubles nothing.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

from post.hashes import Purpose, tagged
from post.mail.headers import field

AGAIN_S = 3600.0
"""For so long a message that nothing tells from another like it is a retry when it comes again."""
UNNAMED_LIMIT = 1000
TELLING = (b"message-id", b"date", b"received")
"""Fields that nobody writes the same in two messages: whoever repeats themselves has another moment in it."""


class Sameness:
    """
    Names messages by their content; remembers those that have no name of their own.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._unnamed: OrderedDict[bytes, float] = OrderedDict()
        """Messages with none of L{TELLING}, and when they were first seen."""

    def identified(self, content: bytes, header: bytes) -> bytes:
        """
        By which the same message, sent again, is recognised.  One with none of L{TELLING}, such as a job's daily
        report, is the same only within L{AGAIN_S}, and to this node until it ends: its sender repeats itself on
        purpose.
        """
        if any(field(header, name) is not None for name in TELLING):
            return content
        now = self._clock.seconds()
        while self._unnamed and next(iter(self._unnamed.values())) < now - AGAIN_S:
            self._unnamed.popitem(last=False)
        first = self._unnamed.setdefault(content, now)
        if len(self._unnamed) > UNNAMED_LIMIT:
            self._unnamed.popitem(last=False)
        return tagged(Purpose.MESSAGE_BODY, b"again", content, str(int(first)).encode())
