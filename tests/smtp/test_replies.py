"""
Tests for L{post.smtp.replies}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.errors import Conflict, NotFound, Overloaded, PeerError, PostError, TooFewReplicas, Unconfirmed, Unreachable
from post.mail.interfaces import (
    AuthorRefused,
    DirectoryUnavailable,
    MessageTooLarge,
    RecipientOutside,
    RecipientUnknown,
    SenderRefused,
)
from post.smtp.replies import UNEXPECTED, reply_to

PERMANENT = (RecipientUnknown("x"), RecipientOutside("x"), AuthorRefused("x"), SenderRefused("x"), MessageTooLarge("x"))
TEMPORARY = (
    DirectoryUnavailable("x"),
    TooFewReplicas(1, 2),
    NotFound("x"),
    Unreachable("x"),
    Unconfirmed("x"),
    Overloaded("x"),
    Conflict(b"x"),
)


class ReplyTests(SynchronousTestCase):
    """
    Tests for L{reply_to}.
    """

    def test_permanent(self) -> None:
        """
        Only what trying again cannot change is refused for good: 5yz, with a status of the same class.
        """
        for error in PERMANENT:
            code, status, _ = reply_to(error) or UNEXPECTED
            self.assertEqual((5, "5."), (code // 100, status[:2]), error)

    def test_temporary(self) -> None:
        """
        What may be otherwise in a moment is 4yz: a mail program or its user tries again.
        """
        for error in (*TEMPORARY, PeerError("x")):
            code, status, _ = reply_to(error) or UNEXPECTED
            self.assertEqual((4, "4."), (code // 100, status[:2]), error)

    def test_unforeseen(self) -> None:
        """
        What is not in the table is left to the caller, who logs it.
        """
        self.assertIsNone(reply_to(PostError("x")))

    def test_kin(self) -> None:
        """
        A more special error gets the reply of its kind.
        """

        class Busy(Overloaded):
            """
            Any.
            """

        self.assertEqual(reply_to(Overloaded("x")), reply_to(Busy("x")))
