"""
What becomes of a message that is announced: rules and block lists together (POST, sections 4.3 and 4.5).  Pure.

In this order: the person's own block list (ignored), their rules, the block lists of others that they follow (put into
quarantine, never ignored: somebody else's list must not make mail vanish), the puzzle that strangers have to solve, and
for all the rest the Inbox.
"""

from __future__ import annotations

from collections.abc import Mapping

from post.crypto.puzzles import challenge, is_solved
from post.ids import AccountId
from post.mail.patterns import first_match
from post.mail.preferences import Preferences
from post.mail.rules import Action, Described, Verdict, judge
from post.messaging.notification import Notification

ACCEPTED = Verdict(Action.ACCEPT, "no rule")
UNSOLVED = Verdict(Action.QUARANTINE, "a stranger, without the puzzle solved")


def decide(preferences: Preferences, others: Mapping[str, frozenset[str]], message: Described) -> Verdict:
    """
    What C{preferences} say of C{message}; C{others} has the patterns that somebody followed blocks, by their address.
    """
    senders = (message.verified, message.sender)
    found = first_match(senders, preferences.blocked)
    if found is not None:
        return Verdict(Action.IGNORE, f"blocked: {found}")
    verdict = judge(preferences.rules, message)
    if verdict is not None:
        return verdict
    for address in preferences.followed:
        found = first_match(senders, others.get(address, frozenset()))
        if found is not None:
            return Verdict(Action.QUARANTINE, f"blocked by {address}: {found}")
    return ACCEPTED


def decide_stranger(preferences: Preferences, sender: AccountId, notification: Notification, solution: int) -> Verdict:
    """
    What becomes of a message of which nothing else says it: one of a stranger who did not do what C{preferences} demand
    is put into quarantine.  It is not lost, because their program may be an older one.
    """
    bits = preferences.demands(sender, notification.sent)
    solved = is_solved(challenge(notification.id, notification.recipient), bits, solution)
    return ACCEPTED if solved else UNSOLVED
