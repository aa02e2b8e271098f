"""
What nodes say to one another about mail for outside.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.ids import Handle
from post.wire import Message, message

RETRY, DROP = 1, 2
"""What L{Prompt} asks for."""


@message(0x50)
class Relay(Message, frozen=True):
    """
    There is mail for outside under this handle, and you are a gateway.  Answered by L{Relaying}; refused as not ready
    by a gateway that relays nothing now, as not found by one to which it is not sealed.
    """

    handle: Handle


@message(0x51)
class Relaying(Message, frozen=True):
    """
    The gateway sees to it; it need not be asked again for C{pause} seconds.
    """

    pause: Annotated[int, Meta(ge=0, lt=1 << 24)]


@message(0x52)
class Prompt(Message, frozen=True):
    """
    Try it now, or give it up (C{what}).  From the node that sent it only.  Answered by L{Prompted}.
    """

    handle: Handle
    what: Annotated[int, Meta(ge=RETRY, le=DROP)]


@message(0x53)
class Prompted(Message, frozen=True):
    """
    It is done, or being done.
    """
