"""
The kind of PAST object that a pending notification is: an envelope that waits, replaced by the receipt that ends it.

The data begins with one byte: C{E}, an envelope follows; C{R}, a receipt.  Both have one handle, which follows from the
recipient, the sending node and the slot.  A receipt supersedes the envelope that it names and nothing supersedes a
receipt: an envelope that reaches a holder late finds that it has been delivered.
"""

from __future__ import annotations

from collections.abc import Callable

from post.errors import PeerError
from post.ids import Handle
from post.interfaces import Stored
from post.messaging.notification import (
    CLOCK_SKEW_S,
    check_envelope,
    check_receipt,
    envelope_hash,
    is_timely,
    letter_in,
    pending_handle,
    receipt_names,
    receipt_time,
)

PENDING = 4
"""Among the kinds of L{post.past.blocks}."""

WAITING, DELIVERED = 0, 1
_ENVELOPE, _RECEIPT = b"E", b"R"

LIFE_LIMIT_S = 400 * 86400
"""No envelope may ask to be kept for longer."""
RECEIPT_OUTLIVES_S = 60 * 86400
"""A receipt is kept for so long after the envelope would have expired: a sender whose computer was off then learns that
the message arrived, and not only that nobody knows."""


def waiting(envelope: bytes) -> tuple[Handle, bytes]:
    """
    The handle and the data of an envelope that waits.
    """
    return pending_handle(letter_in(envelope)), _ENVELOPE + envelope


def delivered(envelope: bytes, receipt: bytes) -> tuple[Handle, bytes]:
    """
    The handle and the data of the receipt for C{envelope}.
    """
    return pending_handle(letter_in(envelope)), _RECEIPT + receipt


def envelope_in(data: bytes) -> bytes | None:
    """
    The envelope in an object's data, if it still waits.
    """
    return data[1:] if data[:1] == _ENVELOPE else None


def receipt_in(data: bytes) -> bytes | None:
    """
    The receipt in an object's data, if it has one.
    """
    return data[1:] if data[:1] == _RECEIPT else None


class PendingKind:
    """
    What PAST needs to know of pending notifications.  (A C{BlockKind} of L{post.past.blocks}.)
    """

    kind = PENDING

    def __init__(self, root: bytes, told: Callable[[Stored], None]) -> None:
        self._root = root
        self._told = told

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        """
        @return: L{WAITING} or L{DELIVERED}.
        @raise PeerError: if C{data} is neither, or belongs under another handle.
        """
        body = data[1:]
        if data[:1] == _ENVELOPE:
            letter, _ = check_envelope(body, self._root, now)
            if letter.expires - letter.stamp > LIFE_LIMIT_S:
                raise PeerError("a notification that wants to live too long")
            expected, order = pending_handle(letter), WAITING
        elif data[:1] == _RECEIPT:
            expected, order = pending_handle(check_receipt(body, self._root, now)), DELIVERED
        else:
            raise PeerError("neither an envelope nor a receipt")
        if expected != handle:
            raise PeerError("a pending notification under another handle")
        return order

    def supersedes(self, new: Stored, old: Stored) -> bool:
        """
        The receipt for what waits ends the wait; the first one stays.
        """
        envelope, receipt = envelope_in(old.data), receipt_in(new.data)
        if envelope is None or receipt is None or receipt_names(receipt) != envelope_hash(envelope):
            return False
        return is_timely(receipt_time(receipt), letter_in(envelope))

    def latest(self, data: bytes) -> int | None:
        """
        An envelope says until when it may wait.  A receipt says when it was made: no envelope for which it is lives on
        after this, but for L{RECEIPT_OUTLIVES_S}.
        """
        envelope = envelope_in(data)
        if envelope is not None:
            return letter_in(envelope).expires
        return receipt_time(data[1:]) + CLOCK_SKEW_S + LIFE_LIMIT_S + RECEIPT_OUTLIVES_S

    def stored(self, item: Stored) -> None:
        """
        It is durable here: we are a delegate now, or need be one no longer.
        """
        self._told(item)
