"""
What a client is told when something cannot be done: one table, temporary (4xx) unless proven permanent.

The text is ours, never that of the exception: what a peer said, or the name of a file, is nobody's business out there.
"""

from __future__ import annotations

from post.errors import Conflict, NotFound, Overloaded, PostError, TooFewReplicas, Unconfirmed, Unreachable
from post.mail.interfaces import (
    AuthorRefused,
    DirectoryUnavailable,
    ListTooLarge,
    MessageTooLarge,
    PostingRefused,
    PuzzleTooHard,
    RecipientOutside,
    RecipientUnknown,
    SenderRefused,
    SenderRevoked,
)
from post.messaging.identity import Lapsed

LATER = "Nothing is lost; try again in a moment."

Reply = tuple[int, str, str]
"""Code (RFC 5321, 4.2), enhanced status (RFC 3463), text."""

UNEXPECTED: Reply = (451, "4.3.0", f"Something is wrong here. {LATER}")

_REPLIES: tuple[tuple[type[PostError], Reply], ...] = (
    (RecipientUnknown, (550, "5.1.1", "There is no such person here.")),
    (
        RecipientOutside,
        (550, "5.7.1", "That address is outside this domain, and this ring has no gateway to the Internet."),
    ),
    (SenderRevoked, (550, "5.7.1", "This account has been revoked: ask whoever runs the authority.")),
    (AuthorRefused, (550, "5.7.1", "To other domains you may send only with your own address in From.")),
    (SenderRefused, (550, "5.7.1", "You may send only as yourself (From too, unless Sender is you).")),
    (PostingRefused, (550, "5.7.1", "Only those whom its maintainer lets may write to that mailing list.")),
    (PuzzleTooHard, (550, "5.7.1", "They demand more work of strangers than this node does for one message.")),
    (ListTooLarge, (550, "5.5.3", "That mailing list leads to more lists, or people, than one message may go to.")),
    (DirectoryUnavailable, (450, "4.3.0", "Whether that person exists cannot be known now.")),
    (MessageTooLarge, (552, "5.3.4", "The message is too large.")),
    (TooFewReplicas, (451, "4.3.1", f"Too few other machines answer to keep the message safely. {LATER}")),
    (NotFound, (451, "4.3.0", f"The recipient has never been on-line. {LATER}")),
    (Lapsed, (450, "4.2.1", "A recipient has been away for so long that nothing can be kept for them.")),
    (Unreachable, (451, "4.3.0", f"The ring does not answer. {LATER}")),
    (Unconfirmed, (451, "4.3.0", f"The ring does not answer. {LATER}")),
    (Overloaded, (451, "4.3.2", f"Too much at once. {LATER}")),
    (Conflict, (451, "4.3.0", f"The mailbox is changing elsewhere. {LATER}")),
)


def reply_to(error: PostError) -> Reply | None:
    """
    What to say of C{error}; C{None} if nothing is foreseen for it.
    """
    return next((reply for kind, reply in _REPLIES if isinstance(error, kind)), None)
