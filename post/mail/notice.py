"""
What a mail's notification says (POST, section 4.3): enough to decide what to do with the message before fetching it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.wire import Document

APPLICATION = "mail"
REPORT = "report"
"""The application of what a gateway says itself about mail that it relays."""
SUBJECT_LIMIT = 256
TRACE_LIMIT = 4096


class MailNotice(Document, frozen=True):
    """
    C{message} is the packed L{post.crypto.convergent.Reference} of the message's skeleton, C{size} its octets.
    C{sender} is the envelope's, C{recipient} as it was addressed, C{trace} the header lines to put before the message.
    C{junk} is a gateway's advice to file it apart, C{solution} what a stranger may have to find
    (L{post.crypto.puzzles}).
    """

    version: int
    sender: Annotated[str, Meta(max_length=320)]
    recipient: Annotated[str, Meta(max_length=320)]
    subject: Annotated[str, Meta(max_length=SUBJECT_LIMIT)]
    date: int
    size: Annotated[int, Meta(ge=0, lt=1 << 40)]
    message: Annotated[bytes, Meta(max_length=512)]
    trace: Annotated[bytes, Meta(max_length=TRACE_LIMIT)]
    junk: bool = False
    solution: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0
