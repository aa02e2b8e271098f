"""
The parts of the page that are the same for everybody who is logged in: warnings, connection, ring, machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.template import Tag

from post.front.web.picture import GATEWAY, PRESENCES, ring_picture
from post.front.web.words import Child, count, el, short, size, span
from post.health.alerts import ENDS_SOON_S, Alert, Level
from post.health.facts import Certificate, Facts, Presence

LEVELS = {Level.NOTE: "note", Level.WARNING: "warning", Level.ALARM: "alarm"}
_ICONS = {"note": "i", "warning": "!", "alarm": "!", "good": "✓"}
CERTIFICATES = {
    "node": "This node",
    "identity": "",
    "directory": "List of people and machines",
    "mail": "For mail programs",
}


def card(title: str, name: str, *children: Child) -> Tag:
    """
    One box of the page.  C{name} is unique: what is shown is kept current box by box.
    """
    return el(
        "section",
        el("h2", title, id=f"{name}-title"),
        *children,
        id=name,
        class_="card",
        aria_labelledby=f"{name}-title",
        data_live=True,
    )


def definitions(*pairs: tuple[Child, Child]) -> Tag:
    """
    Words, and what is to be said of each.
    """
    return el("dl", [el("div", el("dt", word), el("dd", said)) for word, said in pairs])


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[Child]]) -> Tag:
    """
    The first cell of each row is its head.
    """
    return el(
        "div",
        el(
            "table",
            el("caption", caption, class_="unseen"),
            el("thead", el("tr", [el("th", head, scope="col") for head in heads])),
            el(
                "tbody",
                [el("tr", el("th", row[0], scope="row"), [el("td", cell) for cell in row[1:]]) for row in rows],
            ),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def pill(text: str, how: str) -> Tag:
    """
    A state in one word; C{how} is C{good}, C{warning}, C{alarm} or C{note}.
    """
    return el("span", text, class_=f"pill {how}")


def warnings(found: Sequence[Alert]) -> Tag:
    """
    What is wrong, each with its cure; that nothing is.
    """
    if not found:
        return el(
            "section",
            _icon("good"),
            el("p", el("strong", "All is well."), " Nothing needs your attention."),
            id="warnings",
            class_="well",
            aria_label="Warnings",
            aria_live="polite",
            data_live=True,
        )
    items = [
        el(
            "li",
            _icon(LEVELS[alert.level]),
            el("div", el("p", el("strong", alert.what)), el("p", alert.cure, class_="cure")),
            class_=LEVELS[alert.level],
            data_alert=alert.name,
        )
        for alert in found
    ]
    return el(
        "section",
        el("h2", "Warnings", class_="unseen"),
        el("ul", items, class_="alerts"),
        id="warnings",
        aria_label="Warnings",
        aria_live="polite",
        data_live=True,
    )


def _icon(how: str) -> Tag:
    return el("span", _ICONS[how], class_=f"icon {how}", aria_hidden="true")


def connection(facts: Facts) -> Tag:
    """
    How well this node is connected.
    """
    status = facts.status
    seen = {presence: sum(peer.presence is presence for peer in facts.peers) for presence in Presence}
    round_trip = facts.round_trip_ms()
    nodes: Child = count(facts.ring_size, "node")
    if away := seen[Presence.AWAY] + seen[Presence.SUSPECT]:
        nodes = f"{count(facts.ring_size, 'node')}, {away} more switched off or silent"
    clock = "not compared yet"
    if facts.clock_ahead_s is not None:
        off = abs(facts.clock_ahead_s)
        clock = (
            "agrees with the others'" if off <= 5 else f"{span(off)} {'slow' if facts.clock_ahead_s > 0 else 'fast'}"
        )
    return card(
        "Connection",
        "connection",
        el(
            "p",
            pill("Connected", "good") if status.active else pill("Connecting", "alarm"),
            " ",
            f"In the ring of {facts.domain}" if status.active else f"Looking for the ring of {facts.domain}",
            class_="lead",
        ),
        definitions(
            ("In the ring", nodes),
            ("Links", f"{status.links:,} up"),
            ("Round trip", "not measured" if round_trip is None else f"{round_trip:.1f} ms (median)"),
            ("Clock", clock),
            ("Running for", span(facts.now - facts.started)),
        ),
    )


def ring(facts: Facts) -> Tag:
    """
    Picture and table of the nodes.
    """
    rows = [
        (
            f"{short(peer.owner, 40) if peer.owner else peer.node_id[:8]}{' (this node)' if peer.ours else ''}",
            el("code", peer.node_id[:8]),
            PRESENCES[peer.presence],
            "gateway" if GATEWAY in peer.roles else "",
            "" if peer.round_trip_ms is None else f"{peer.round_trip_ms:.1f} ms",
        )
        for peer in facts.peers
    ]
    legend = [
        el("li", el("span", class_="dot ours", aria_hidden="true"), "this node"),
        el("li", el("span", class_="dot here", aria_hidden="true"), "in the ring"),
        el("li", el("span", class_="dot suspect", aria_hidden="true"), "does not answer"),
        el("li", el("span", class_="dot away", aria_hidden="true"), "away"),
    ]
    if any(GATEWAY in peer.roles for peer in facts.peers):
        legend.append(el("li", el("span", class_="dot gateway", aria_hidden="true"), "gateway"))
    return card(
        "The ring",
        "ring",
        ring_picture(facts.peers),
        el("ul", legend, class_="legend"),
        el(
            "details",
            el("summary", "All nodes"),
            table("The nodes of the ring", ("Owner", "Id", "State", "Role", "Round trip"), rows),
            id="ring-nodes",
        ),
    )


def machine(facts: Facts) -> Tag:
    """
    Disk given and used, and what waits here for others.
    """
    disk, status = facts.disk, facts.status
    used = max(0, disk.total - disk.free - status.block_bytes)
    whole = max(1, disk.total)
    ours, others = 100 * status.block_bytes / whole, 100 * used / whole
    bar = el(
        "svg",
        el("title", f"{size(disk.free)} of {size(disk.total)} are free"),
        el("rect", width=100, height=6, class_="track"),
        el("rect", width=f"{others:.2f}", height=6, class_="other"),
        el("rect", x=f"{others:.2f}", width=f"{max(ours, 0.6 if ours else 0):.2f}", height=6, class_="given"),
        viewBox="0 0 100 6",
        preserveAspectRatio="none",
        role="img",
        class_="bar",
    )
    return card(
        "This computer",
        "machine",
        el("p", f"Keeps {count(status.blocks, 'object')} for the ring, ", el("strong", size(status.block_bytes)), "."),
        bar,
        definitions(
            ("Free on the disk", f"{size(disk.free)} of {size(disk.total)}"),
            (
                "Waiting here for people who are off-line",
                count(status.notifications_waiting, "notification"),
            ),
            *(
                [("Leaving through this gateway (post queue)", count(facts.relaying, "message"))]
                if facts.relaying is not None
                else []
            ),
        ),
    )


def certificates(facts: Facts, address: str) -> Tag:
    """
    What ends, and when.
    """
    theirs = [each for each in facts.certificates if each.whose in ("", address)]
    rows = [(_named(each), _ends(each, facts.now)) for each in sorted(theirs, key=lambda each: each.ends)]
    how = "They are renewed by themselves." if facts.renews else "They have to be renewed by hand."
    return card("Certificates", "certificates", definitions(*rows), el("p", how, class_="quiet"))


def _named(certificate: Certificate) -> str:
    return certificate.whose or CERTIFICATES.get(certificate.kind, certificate.kind)


def _ends(certificate: Certificate, now: float) -> Child:
    left = certificate.ends - now
    if left <= 0:
        return pill("ended", "alarm")
    soon = certificate.kind != "directory" and left < ENDS_SOON_S
    return pill(f"{span(left)} left", "warning") if soon else f"{span(left)} left"
