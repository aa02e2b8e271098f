"""
What nodes say to one another about notices.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.wire import Message, message

NOTICE_LIMIT = 400 * 1024
"""Octets of a notice."""

Kind = Annotated[int, Meta(ge=0, lt=1 << 16)]
Serial = Annotated[int, Meta(ge=0, lt=1 << 62)]


@message(0x60)
class Posted(Message, frozen=True):
    """
    The sender has the notice C{serial} of a kind.
    """

    kind: Kind
    serial: Serial


@message(0x61)
class Show(Message, frozen=True):
    """
    Show the newest notice of this kind.
    """

    kind: Kind


@message(0x62)
class Shown(Message, frozen=True):
    """
    The notice; also told unasked to whoever is about to be cut off because of it.
    """

    kind: Kind
    data: Annotated[bytes, Meta(max_length=NOTICE_LIMIT)]
