"""
What is not as it should be, each with its cure (pure).

One list for the page, C{post status} and C{post doctor}, so that all of them say the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from enum import IntEnum

import msgspec

from post.health.facts import Certificate, Facts, Mailbox, Unasked

DAY_S = 86400
ENDS_SOON_S = 20 * DAY_S
"""Before the end of a certificate.  One that renews itself has done so ten days before that."""
DIRECTORY_SOON_S = 3 * DAY_S
"""Before the directory ends: it is signed anew far more often."""
CLOCK_S, CLOCK_FAR_S = 30.0, 300.0
"""Clocks that are apart by so much: worth setting; and soon to be refused by others."""
DISK_LOW, DISK_FULL = 1 << 30, 100 << 20
"""Bytes free: the first is a day's notice on a busy node, below the second nothing large is taken any more."""
DISK_SHARE = 0.03
"""Of a small disk, free: the same as the first."""


class Level(IntEnum):
    """
    How bad it is.
    """

    NOTE = 0
    """It passes by itself."""
    WARNING = 1
    """Somebody has to do something, in time."""
    ALARM = 2
    """Something does not work now, or is lost."""


class Alert(msgspec.Struct, frozen=True):
    """
    One thing that is wrong.

    @ivar name: short, constant: for programs.
    @ivar what: one sentence.
    @ivar cure: what to do about it, one sentence or two.
    @ivar address: whose affair it is, if it is one person's.
    """

    level: Level
    name: str
    what: str
    cure: str
    address: str = ""


def alerts(facts: Facts) -> list[Alert]:
    """
    Everything that is wrong, the worst first.
    """
    found = [*_ring(facts), *_machine(facts), *_certificates(facts), *_recovery(facts), *_issuance(facts)]
    for mailbox in facts.mailboxes:
        found += _mailbox(mailbox)
    return sorted(found, key=lambda alert: -alert.level)


def _ring(facts: Facts) -> Iterator[Alert]:
    status = facts.status
    if not status.active:
        yield Alert(
            Level.ALARM,
            "not-in-ring",
            "This node is not in the ring yet.",
            "It keeps trying. If it stays so: see that this computer is on-line and that another node of the"
            " organisation runs; post doctor says which of them can be reached.",
        )
    elif status.others < status.minimum:
        yield Alert(
            Level.ALARM,
            "cannot-accept",
            f"Mail cannot be accepted now: copies are needed on {_count(status.minimum, 'other node')}, and"
            f" {status.others} can be reached.",
            "Switch on more of the organisation's computers, or see whether this one's network works."
            " Nothing is lost meanwhile: mail programs keep what they cannot send.",
        )
    elif status.others + 1 < status.copies:
        yield Alert(
            Level.WARNING,
            "few-nodes",
            f"There are only {_count(status.others + 1, 'node')}, and {_count(status.copies, 'copy')} of everything"
            " are wanted.",
            "Switch on more of the organisation's computers; missing copies are then made by themselves.",
        )
    for liar in status.liars:
        yield Alert(
            Level.WARNING,
            "proven-liar",
            f"The node {liar} has signed contradictory lists of its neighbors: it lies to others, or its key is"
            " used by somebody else.",
            "Give the file evidence in this node's directory to whoever runs the authority, who can verify it and"
            f" revoke the node's key: post ca revoke {liar.partition(' ')[0]}.",
        )


def _machine(facts: Facts) -> Iterator[Alert]:
    ahead = facts.clock_ahead_s
    if ahead is not None and abs(ahead) > CLOCK_S:
        how = "behind" if ahead > 0 else "ahead of"
        yield Alert(
            Level.ALARM if abs(ahead) > CLOCK_FAR_S else Level.WARNING,
            "clock",
            f"The clock of this computer is {_span(abs(ahead))} {how} those of the other nodes.",
            "Set it by the network: timedatectl set-ntp true, or the settings of date and time.",
        )
    free = facts.disk.free
    if free < DISK_LOW or free < DISK_SHARE * facts.disk.total:
        full = free < DISK_FULL
        yield Alert(
            Level.ALARM if full else Level.WARNING,
            "disk",
            f"The disk is {'full' if full else 'nearly full'}: {free / 1e6:,.0f} MB are free.",
            "Make room on the disk with the data directory, or move the directory to a larger one.",
        )
    if 0 < facts.revoked_until < facts.now:
        yield Alert(
            Level.WARNING,
            "revocations-late",
            "The list of revoked keys should have been replaced"
            f" {_span(facts.now - facts.revoked_until)} ago: a stolen machine may still be believed here.",
            "See that the authority is served, and that this computer or another one that it reaches gets its answers."
            if facts.renews
            else "Bring a newer one: post ca export, where the authority is, and post node update here.",
        )
    if facts.status.policy_waiting:
        yield Alert(
            Level.WARNING,
            "policy-waits",
            f"Policy {facts.status.policy_waiting} is not in force here yet; {facts.status.policy} is.",
            "Start this node again: the newer one names another secret, which is read at the start.",
        )
    if facts.authority_trouble:
        yield Alert(
            Level.WARNING,
            "authority",
            f"The authority cannot be asked: {facts.authority_trouble.rstrip('.')}.",
            "Certificates, new people and machines come from there. Tell whoever runs it, before something ends.",
        )


def _certificates(facts: Facts) -> Iterator[Alert]:
    for each in facts.certificates:
        left = each.ends - facts.now
        if left < (DIRECTORY_SOON_S if each.kind == "directory" else ENDS_SOON_S):
            when = f"ends in {_span(left)}" if left > 0 else "has ended"
            yield Alert(
                Level.WARNING if left > 0 else Level.ALARM,
                f"{each.kind}-ends",
                f"{_subject(each)} {when}.",
                _renewal(each, facts.renews),
                each.whose,
            )


def _subject(certificate: Certificate) -> str:
    if certificate.kind == "node":
        return "The certificate of this node"
    if certificate.kind == "identity":
        return f"The certificate of {certificate.whose}"
    if certificate.kind == "mail":
        return "The certificate that mail programs see"
    return "The list of people and machines"


def _renewal(certificate: Certificate, renews: bool) -> str:
    if certificate.kind == "mail":
        return "Remove mail.pem from the data directory and start the node again: it makes another one."
    if renews:
        return (
            "It should have been renewed by itself: see what the log says of the authority, and tell whoever runs it."
        )
    return "Have the authority renew it: post ca renew-node and post ca renew-user; docs/administration.md tells how."


def _recovery(facts: Facts) -> Iterator[Alert]:
    """
    Where there is no authority to ask, a code would lead nowhere.
    """
    for account in facts.status.accounts:
        if facts.renews and account.open and not account.recovery:
            yield Alert(
                Level.WARNING,
                "no-recovery-code",
                f"{account.address} has no recovery code: if this computer is lost, so is the mailbox.",
                'Make one with "post recover --new-code", and keep it elsewhere.',
                account.address,
            )


def _issuance(facts: Facts) -> Iterator[Alert]:
    """
    What the public log shows.
    """
    found = facts.issuance
    if found is None:
        return
    if found.split or found.shorter:
        yield Alert(
            Level.ALARM,
            "log-split",
            "The authority has shown other nodes another public log than this one."
            if found.split
            else "The authority's public log is shorter than it was.",
            "Ask whoever runs it what happened, before you trust a new certificate. If it was put back from a backup,"
            " docs/administration.md tells what to do about its log.",
        )
    for each in found.unasked:
        yield Alert(
            Level.ALARM,
            "certified-elsewhere",
            f"{_certified(each)}, on {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(each.at))}.",
            "If it was not for you, tell everybody not to trust the authority, and whoever runs it."
            f" If you know of it: post ca log --known {each.number}.",
            each.name if "@" in each.name else each.of if "@" in each.of else "",
        )
    for name in found.unlogged:
        yield Alert(
            Level.WARNING,
            "not-logged",
            f"The certificate of {name or 'this node'} is not in the authority's public log.",
            "Tell whoever runs the authority: it may have been put back from a backup, or its records altered.",
            name,
        )


def _certified(entry: Unasked) -> str:
    if entry.kind == "identity":
        return f"Another key was certified for {entry.name}: its holder can read new mail"
    if entry.kind == "recovery":
        return f"A recovery code that was not made here was made known for {entry.name}"
    whose = f" of {entry.of}" if entry.of else ""
    return f"Another key was certified for a machine{whose} ({entry.name[:8]})"


def _mailbox(mailbox: Mailbox) -> Iterator[Alert]:
    address = mailbox.address
    if not mailbox.open:
        yield Alert(
            Level.ALARM,
            "not-open",
            f"The mailbox of {address} is not open yet.",
            "It opens when enough of the ring answers to know what is in it. Switch on more computers if it stays so.",
            address,
        )
    if mailbox.trouble:
        yield Alert(
            Level.ALARM,
            "superseded",
            f"{mailbox.trouble}.",
            "If you moved to another machine, use that one and erase this; if not, tell the authority at once.",
            address,
        )
    elif mailbox.open and not mailbox.published:
        yield Alert(
            Level.WARNING,
            "not-published",
            f"Others cannot see yet where {address} is.",
            "It is tried again every few seconds. Mail that is sent meanwhile waits and is not lost.",
            address,
        )
    if mailbox.durability is not None:
        yield from _durability(mailbox)


def _durability(mailbox: Mailbox) -> Iterator[Alert]:
    found, address = mailbox.durability, mailbox.address
    assert found is not None
    if found.missing:
        yield Alert(
            Level.ALARM,
            "missing",
            f"Of {_count(found.missing, 'object')} of {address} no copy can be found among the nodes that are there.",
            "Switch on the computers that are off: one of them may have it.",
            address,
        )
    if found.short - found.missing - found.unknown > 0:
        yield Alert(
            Level.WARNING,
            "short",
            f"Of {_count(found.short - found.missing - found.unknown, 'object')} of {address} there are fewer than"
            f" {found.wanted} copies.",
            "They are made by themselves within minutes where there are nodes to keep them.",
            address,
        )
    single = found.losses[0].exposed if found.losses else 0
    if single:
        yield Alert(
            Level.ALARM,
            "one-copy",
            f"{_count(single, 'object')} of {address} would be lost with a single node.",
            "Keep all computers that run now on, and switch on more.",
            address,
        )
    if found.unknown:
        yield Alert(
            Level.NOTE,
            "unknown",
            f"Of {_count(found.unknown, 'object')} of {address} nobody could say where the copies are.",
            "It is asked again in some minutes.",
            address,
        )


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("py") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _span(seconds: float) -> str:
    """
    Roughly how long.
    """
    for unit, size in (("day", DAY_S), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return _count(int(seconds // size), unit)
    return _count(max(1, int(seconds)), "second")
