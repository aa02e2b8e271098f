"""
What nodes say to one another about notifications.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.messaging.notification import ENVELOPE_LIMIT
from post.wire import Message, message


@message(0x40)
class Push(Message, frozen=True):
    """
    Here is a notification for an account that lives with you.  Answered by L{Filed} once it survives you.
    """

    envelope: Annotated[bytes, Meta(max_length=ENVELOPE_LIMIT)]


@message(0x41)
class Filed(Message, frozen=True):
    """
    The recipient's receipt (L{post.messaging.notification.Receipt}).
    """

    receipt: Annotated[bytes, Meta(max_length=ENVELOPE_LIMIT)]


@message(0x42)
class Arrived(Message, frozen=True):
    """
    A notification that your node sent has arrived: the recipient's receipt.  Told by the delegate that delivered it,
    and not answered: whoever misses it finds the receipt in the ring.
    """

    receipt: Annotated[bytes, Meta(max_length=ENVELOPE_LIMIT)]
