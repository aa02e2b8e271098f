"""
The parts of the page that are for one person: how safe their mail is, and where what they sent stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.template import Tag

from post.front.web.sections import card, definitions, pill, table
from post.front.web.words import Child, ago, count, el, listed, short, span
from post.health.durability import Durability, Kind, Loss
from post.health.facts import Facts, Mailbox
from post.health.journeys import Journey, Leg, Stage

NUMBERS = {1: "one", 2: "two", 3: "three"}
KINDS = {
    "log head": "Newest changes",
    "log history": "Folders and flags",
    "messages": "Messages",
    "identity": "Identity",
    "pending mail": "On its way to others",
}
"""By the survey's names for its classes."""


def mail(facts: Facts, mailbox: Mailbox) -> Tag:
    """
    How safe somebody's mail is.
    """
    found = mailbox.durability
    body: list[Child] = []
    if not mailbox.open:
        body.append(el("p", "The mailbox opens when enough of the ring answers.", class_="lead"))
    elif found is None:
        body.append(el("p", "The copies are being counted…", class_="lead"))
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
    else:
        safe = [loss for loss in found.losses if not loss.exposed]
        if not safe:
            how, said = "alarm", "The loss of a single computer would cost you mail."
        else:
            number = safe[-1].nodes
            how = "good" if number >= found.wanted - 1 else "warning"
            any_of = "Any computer" if number == 1 else f"Any {NUMBERS[number]} computers"
            said = f"{any_of} could vanish now, yours included, and nothing of your mail would be lost."
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
    rows = [(f"any {count(loss.nodes, 'computer')}", _lost(loss, names)) for loss in found.losses]
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
    return el("p", said, "; being counted anew" if mailbox.surveying else "", ".", class_="quiet")


def sent(facts: Facts, mailbox: Mailbox) -> Tag:
    """
    Where each message that somebody sent stands.
    """
    if not mailbox.journeys:
        return card("Sent", "sent", el("p", "Nothing was sent from here lately.", class_="quiet"))
    items = [el("li", _journey(journey, facts)) for journey in mailbox.journeys]
    return card("Sent", "sent", el("ol", items, class_="journeys"))


def _journey(journey: Journey, facts: Facts) -> Sequence[Child]:
    subject = journey.subject or "(no subject)"
    head = el("p", el("strong", subject), " ", el("span", ago(facts.now - journey.sent), class_="quiet"))
    return [head, el("ul", [el("li", *_leg(leg, facts), data_stage=leg.stage.value) for leg in journey.legs])]


def _leg(leg: Leg, facts: Facts) -> tuple[Child, ...]:
    if leg.stage is Stage.DELIVERED:
        said: Child = f"filed and receipted {ago(facts.now - leg.at)}"
        return pill("delivered", "good"), " ", leg.recipient, " ", el("span", said, class_="quiet")
    if leg.stage is Stage.WAITING:
        kept = f"kept by {count(leg.copies, 'node')}" if leg.copies else "kept by the ring"
        until = f", {span(leg.until - facts.now)} more at most" if leg.until else ""
        return pill("waiting", "note"), " ", leg.recipient, " ", el("span", kept + until, class_="quiet")
    return pill(leg.stage.value, "alarm"), " ", leg.recipient, " ", el("span", leg.why, class_="quiet")
