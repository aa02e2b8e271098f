"""
What becomes of a message that is announced: rules and block lists together (POST, sections 4.3 and 4.5).  Pure.

In this order: the person's block list (ignored), their rules, and for all the rest the Inbox.
"""

from __future__ import annotations

from post.mail.patterns import first_match
from post.mail.preferences import Preferences
from post.mail.rules import Action, Described, Verdict, judge

ACCEPTED = Verdict(Action.ACCEPT, "no rule")


def decide(preferences: Preferences, message: Described) -> Verdict:
    """
    What C{preferences} say of C{message}.
    """
    senders = (message.verified, message.sender)
    found = first_match(senders, preferences.blocked)
    if found is not None:
        return Verdict(Action.IGNORE, f"blocked: {found}")
    return judge(preferences.rules, message) or ACCEPTED
