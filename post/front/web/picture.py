"""
The ring as a picture: a circle, each node at the place that its id has on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, cos, pi, sin, sqrt

from twisted.web.template import Tag

from post.front.web.words import el, short
from post.health.facts import Peer, Presence
from post.ids import RING

RADIUS = 108.0
"""Of the circle, in a picture that is 430 wide with its middle at (0, 0)."""
HALF = 145.0
"""From the middle to the upper edge and to the lower one, or farther where many names stand one below the other."""
NAMED = 24
"""Nodes up to which each has a name beside it; of more only our own and the gateways."""
APART = 17.0
"""From one name to the one below it; those of neighbors move apart, and a thin line says whose each is."""
LETTERS = 11
"""Of a name: there is room for no more."""
GATEWAY = "gateway"

PRESENCES = {
    Presence.HERE: "in the ring",
    Presence.SUSPECT: "does not answer",
    Presence.AWAY: "switched off or out of reach",
    Presence.UNSEEN: "out of this node's sight",
}


def ring_picture(peers: Sequence[Peer]) -> Tag:
    """
    The picture; the table beside it says the same in words.
    """
    angles = {peer.node_id: 2 * pi * int(peer.node_id, 16) / RING for peer in peers}
    ours = next((peer for peer in peers if peer.ours), None)
    here = sum(peer.presence is Presence.HERE for peer in peers)
    names = list(_places(peers, angles))
    half = ceil(max([HALF, *(abs(height) + APART / 2 for _, _, height in names)]))
    return el(
        "svg",
        el("title", "The ring", id="ring-title"),
        el("desc", f"A circle with {len(peers)} nodes on it, of which {here} are in the ring now.", id="ring-desc"),
        el("circle", r=RADIUS, class_="orbit"),
        [_link(angles[peer.node_id], angles[ours.node_id]) for peer in peers if peer.linked and ours is not None],
        [_node(peer, angles[peer.node_id]) for peer in sorted(peers, key=lambda peer: peer.ours)],
        [list(_name(peer, angles[peer.node_id], side, height)) for peer, side, height in names],
        viewBox=f"-215 {-half} 430 {2 * half}",
        role="img",
        aria_labelledby="ring-title ring-desc",
        class_="ring",
    )


def _at(angle: float, radius: float) -> tuple[float, float]:
    """
    Zero is at the top, and ids rise clockwise.
    """
    return radius * sin(angle), -radius * cos(angle)


def _link(theirs: float, ours: float) -> Tag:
    (x1, y1), (x2, y2) = _at(ours, RADIUS), _at(theirs, RADIUS)
    # Bent towards the middle, so that links of neighbors are seen too.
    middle_x, middle_y = (x1 + x2) * 0.18, (y1 + y2) * 0.18
    return el("path", d=f"M{x1:.1f} {y1:.1f}Q{middle_x:.1f} {middle_y:.1f} {x2:.1f} {y2:.1f}", class_="link")


def _node(peer: Peer, angle: float) -> Tag:
    x, y = _at(angle, RADIUS)
    classes = f"node {peer.presence.value}{' ours' if peer.ours else ''}"
    title = el("title", f"{peer.owner or peer.node_id[:8]}: {PRESENCES[peer.presence]}")
    if GATEWAY in peer.roles:
        side = 15.0
        turned = f"rotate(45 {x:.1f} {y:.1f})"
        corner = {"x": f"{x - side / 2:.1f}", "y": f"{y - side / 2:.1f}"}
        return el("rect", title, **corner, width=side, height=side, rx=2, transform=turned, class_=classes)
    return el("circle", title, cx=f"{x:.1f}", cy=f"{y:.1f}", r=9 if peer.ours else 7, class_=classes)


def _places(peers: Sequence[Peer], angles: dict[str, float]) -> Iterator[tuple[Peer, int, float]]:
    """
    Who has a name, on which side (1 is right), and how far below the middle.
    """
    shown = [peer for peer in peers if len(peers) <= NAMED or peer.ours or GATEWAY in peer.roles]
    for side in (1, -1):
        here = [peer for peer in shown if (sin(angles[peer.node_id]) >= 0) == (side > 0)]
        here.sort(key=lambda peer: _at(angles[peer.node_id], RADIUS)[1])
        heights = spread([_at(angles[peer.node_id], RADIUS + 14)[1] for peer in here], APART)
        for peer, height in zip(here, heights, strict=True):
            yield peer, side, height


def _name(peer: Peer, angle: float, side: int, height: float) -> Iterator[Tag]:
    x, y = _at(angle, RADIUS + 10)
    # Outside of the circle at the height that the name got, or of the node if that is farther out.
    rim = sqrt(max(0.0, (RADIUS + 18) ** 2 - height**2))
    out = side * max(rim, abs(x) + 8)
    yield el("path", d=f"M{x:.1f} {y:.1f}L{out - side * 3:.1f} {height:.1f}", class_="leader")
    label = "this node" if peer.ours else short(peer.owner, LETTERS) if peer.owner else peer.node_id[:8]
    anchor = "start" if side > 0 else "end"
    classes = f"name{' ours' if peer.ours else ''}"
    yield el("text", label, x=f"{out:.1f}", y=f"{height + 4.5:.1f}", text_anchor=anchor, class_=classes)


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """
    C{heights}, which rise, moved as little as need be so that any two are C{apart}.
    """
    groups: list[list[float]] = []  # Of those that touch: the sum of what each wants for the first, and their number.
    for height in heights:
        groups.append([height, 1])
        while len(groups) > 1 and _last(groups[-2], apart) + apart > _first(groups[-1]):
            wanted, number = groups.pop()
            # Each of the upper group's would stand farther below by as many as there are in front of it.
            groups[-1][0] += wanted - number * apart * groups[-1][1]
            groups[-1][1] += number
    return [_first(group) + place * apart for group in groups for place in range(int(group[1]))]


def _first(group: list[float]) -> float:
    return group[0] / group[1]


def _last(group: list[float], apart: float) -> float:
    return _first(group) + (group[1] - 1) * apart
