"""
The parts of the page that are for one person: how safe their mail is, and where what they sent stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from twisted.web.template import Tag

from post.front.web.sections import card, definitions, pill, table
from post.front.web.words import Child, ago, count, el, listed, short, size, span
from post.health.durability import Durability, Kind, Loss
from post.health.facts import Facts, Mailbox, Presence
from post.health.journeys import RECIPIENTS_LIMIT, Sent
from post.health.leaving import Leaving
from post.mail.journeys import ShownPassage

QUEUED = 12
"""Digits of a name that C{post queue} takes, as it prints it."""
NUMBERS = {1: "one", 2: "two", 3: "three"}
KINDS = {
    "log head": "Newest changes",
    "log history": "Folders and flags",
    "messages": "Messages",
    "identity": "Identity",
    "pending mail": "On its way to others",
}
"""By the survey's names for its classes."""
STANDINGS = {
    "waiting": ("waiting", "note"),
    "delivered": ("delivered", "good"),
    "handed_on": ("handed on", "good"),
    "expired": ("not delivered", "alarm"),
    "refused": ("refused", "alarm"),
    "unknown": ("not known", "warning"),
}
"""How a message stands with one recipient: what it is called, and how it is shown."""


def mail(facts: Facts, mailbox: Mailbox) -> Tag:
    """
    How safe somebody's mail is.
    """
    found = mailbox.durability
    body: list[Child] = []
    if not mailbox.open:
        body.append(el("p", "The mailbox opens when enough of the ring answers.", class_="lead"))
    elif found is None:
        said = "The copies have not been counted yet since this node started: that takes some seconds."
        body.append(el("p", said, class_="lead"))
    else:
        body += [_verdict(found), _bars(found), _losses(found, facts), _age(found, mailbox, facts)]
    unconfirmed = count(mailbox.unconfirmed, "change")
    kept = "everything is kept by the ring" if not mailbox.unconfirmed else f"{unconfirmed} not yet kept by the ring"
    where = f"{count(mailbox.messages, 'message')} in {count(mailbox.folders, 'folder')}; {kept}"
    return card("Your mail", "mail", el("p", where, class_="quiet"), *body)


def _verdict(found: Durability) -> Tag:
    """
    The one sentence that people look for.
    """
    if found.missing:
        how, said = "alarm", f"Of {count(found.missing, 'object')} no copy can be found now."
    elif not found.spared:
        how, said = "alarm", "The loss of a single computer would cost you mail."
    else:
        how = "good" if found.spared >= found.wanted - 1 else "warning"
        any_of = "Any computer" if found.spared == 1 else f"Any {NUMBERS[found.spared]} computers"
        said = f"{any_of} could vanish now, yours included, and nothing of your mail would be lost."
    if found.unknown and not found.missing:
        how = "warning" if how == "good" else how
        others = f" Of the others: {said}" if found.unknown < found.total else ""
        said = f"Of {count(found.unknown, 'object')} it is not known now where the copies are.{others}"
    return el("p", said, class_=f"verdict {how}", data_verdict=how)


def _bars(found: Durability) -> Tag:
    rows = [(KINDS.get(kind.name, kind.name), _bar(kind, found.wanted), _copies(kind)) for kind in found.kinds]
    return table(f"Copies of your {count(found.total, 'object')}", ("What", "Copies", "In numbers"), rows)


def _bar(kind: Kind, wanted: int) -> Tag:
    parts, x = [], 0.0
    for copies, number in sorted(kind.copies.items(), reverse=True):
        width = 100 * number / kind.total
        how = "good" if copies >= wanted else "warning" if copies > 1 else "alarm"
        parts.append(el("rect", x=f"{x:.2f}", width=f"{width:.2f}", height=6, class_=how))
        x += width
    title = el("title", _copies(kind))
    return el("svg", title, *parts, viewBox="0 0 100 6", preserveAspectRatio="none", role="img", class_="bar")


def _copies(kind: Kind) -> str:
    fewest, most = min(kind.copies), max(kind.copies)
    between = f"{fewest} to {most}" if fewest != most else f"{most}"
    each = " each" if kind.total > 1 else ""
    return f"{kind.total:,} with {between} {'copy' if most == 1 else 'copies'}{each}"


def _losses(found: Durability, facts: Facts) -> Tag:
    names = {peer.node_id: short(peer.owner) if peer.owner else peer.node_id[:8] for peer in facts.peers}
    # Of two that are there no three can vanish.
    there = sum(peer.presence in (Presence.HERE, Presence.UNSEEN) for peer in facts.peers)
    some = [loss for loss in found.losses if loss.nodes <= max(1, there)]
    rows = [(f"any {count(loss.nodes, 'computer')}", _lost(loss, names)) for loss in some]
    return el("div", el("h3", "What would be lost if these vanished now"), definitions(*rows), class_="losses")


def _lost(loss: Loss, names: dict[str, str]) -> Child:
    if not loss.exposed:
        return pill("nothing", "good")
    whose = listed(names.get(node, node[:8]) for node in loss.whose)
    most = "at most" if loss.exact else "at least"
    return f"{most} {count(loss.worst, 'object')} at once (those of {whose})"


def _age(found: Durability, mailbox: Mailbox, facts: Facts) -> Tag:
    said = f"Counted {ago(facts.now - found.at)}"
    if found.sampled < found.messages:
        said += f", over {found.sampled:,} of {count(found.messages, 'message')}: the newest, and others by chance"
    if found.away:
        said += f"; copies on {count(found.away, 'computer')} that went away since do not count"
    if mailbox.surveying:
        said += "; being counted anew"
    elif mailbox.behind:
        said += "; mail or computers came or went since, so it is counted anew within a minute"
    return el("p", f"{said}.", class_="quiet")


def sent(facts: Facts, mailbox: Mailbox) -> Tag:
    """
    Where each message that somebody sent stands.
    """
    if not mailbox.sent:
        return card("Sent", "sent", el("p", "Nothing was sent from here lately.", class_="quiet"))
    items = [el("li", _message(each, facts)) for each in mailbox.sent]
    return card("Sent", "sent", el("ol", items, class_="journeys"))


def _message(message: Sent, facts: Facts) -> Sequence[Child]:
    journey = message.journey
    subject = _title(message.subject, message.gone, [each.address for each in journey.recipients])
    kept = f"stored on {count(journey.copies, 'node')}, " if journey.copies else ""
    when = f"{kept}{size(journey.size)}, {ago(facts.now - journey.at)}"
    head = el("p", el("strong", subject), " ", el("span", when, class_="quiet"))
    if message.gone:
        head(el("span", "; its copy in Sent has been deleted", class_="quiet"))
    # Who has it is what people look for least.
    recipients = sorted(journey.recipients, key=lambda each: STANDINGS.get(each.standing, ("", ""))[1] == "good")
    items = [el("li", *_way(each, facts), data_stage=each.standing) for each in recipients[:RECIPIENTS_LIMIT]]
    if rest := recipients[RECIPIENTS_LIMIT:]:
        standings = Counter(each.standing for each in rest)
        said = listed(f"{number} {STANDINGS.get(name, (name, ''))[0]}" for name, number in standings.items())
        items.append(el("li", f"{count(len(rest), 'more recipient')}: {said}", class_="quiet"))
    return [head, el("ul", items)]


def _title(subject: str | None, gone: bool, recipients: Sequence[str]) -> str:
    """
    What a message is called.
    """
    if gone:
        others = f" and {count(len(recipients) - 1, 'other')}" if len(recipients) > 1 else ""
        return f"To {recipients[0]}{others}" if recipients else "A message"
    return "…" if subject is None else subject or "(no subject)"


def leaving(facts: Facts, mailbox: Mailbox) -> Tag:
    """
    What of somebody's mail has not left for the Internet yet; nothing where all has.
    """
    if not mailbox.leaving and not mailbox.leaving_more:
        # It is there all the same, so that it can be kept current.
        return el("section", id="leaving", hidden=True, data_live=True)
    items = [el("li", _departure(each, facts), data_queued=each.name) for each in mailbox.leaving]
    if mailbox.leaving_more:
        items.append(el("li", f"{count(mailbox.leaving_more, 'older message')} besides.", class_="quiet"))
    how = (
        "A gateway tries again by itself, and tells you if it gives up. To have it done at once, or given up: ",
        el("code", "post queue retry NAME"),
        ", ",
        el("code", "post queue drop NAME"),
        ".",
    )
    return card("Leaving for the Internet", "leaving", el("ol", items, class_="journeys"), el("p", how, class_="quiet"))


def _departure(each: Leaving, facts: Facts) -> Sequence[Child]:
    head = el("p", el("strong", _title(each.subject, False, each.left)), " ", el("code", each.name[:QUEUED]))
    for_whom = f"for {listed(each.left[:RECIPIENTS_LIMIT])}, since {span(facts.now - each.accepted)}"
    if each.trying:
        word, how, said = "being tried", "good", ""
    elif not each.tries:
        word, how, said = "waiting", "note", "not tried yet" if each.known else "being asked how far it is"
    else:
        again = f"again in {span(each.due - facts.now)}" if each.due > facts.now else "again now"
        word, how, said = "delayed", "warning", f"tried {count(each.tries, 'time')}, {again}"
    if each.words:
        said = f"{said}: {each.words}" if said else each.words
    line = el("li", pill(word, how), f" {for_whom} ", el("span", said, class_="quiet"))
    return [head, el("ul", line)]


def _way(passage: ShownPassage, facts: Facts) -> tuple[Child, ...]:
    word, how = STANDINGS.get(passage.standing, (passage.standing, "note"))
    said = ago(facts.now - passage.since)
    if passage.standing == "waiting":
        if passage.address.rpartition("@")[2].casefold() != facts.domain.casefold():
            return pill("leaving", how), " ", passage.address, " ", el("span", "through a gateway", class_="quiet")
        kept = f"the notification is on {count(passage.copies, 'node')}" if passage.copies else "the ring keeps it"
        until = f", for {span(passage.expires - facts.now)} at most" if passage.expires else ""
        said = f"until they are back: {kept}{until}"
    elif passage.standing == "unknown":
        said = "it waited to the end; nobody knows whether it was fetched"
    elif passage.standing == "expired":
        said = "they were not there for all the time that it waited"
    return pill(word, how), " ", passage.address, " ", el("span", said, class_="quiet")
