"""
Tests for L{post.front.web.picture}.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element, fromstring

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.template import flattenString

from post.front.web.picture import APART, HALF, LETTERS, NAMED, RADIUS, ring_picture, spread
from post.health.facts import Peer, Presence
from post.ids import RING

PLACES = st.integers(0, RING - 1)


def peer(place: int, owner: str = "", presence: Presence = Presence.HERE, ours: bool = False, role: str = "") -> Peer:
    """
    A node with the id C{place}, which we have a link to if it is here.
    """
    linked = presence is Presence.HERE and not ours
    return Peer(f"{place:040x}", owner, (role,) if role else (), presence, linked, None, ours)


def around(number: int, start: int = 0) -> list[Peer]:
    """
    So many nodes, as far from each other as can be.
    """
    return [peer(start + place * RING // number, f"owner{place}@example.org") for place in range(number)]


class RingTests(SynchronousTestCase):
    """
    Tests of L{ring_picture}.
    """

    def picture(self, peers: Sequence[Peer]) -> Element:
        """
        As it is sent, and read by a browser.
        """
        written: Deferred[bytes] = flattenString(None, ring_picture(peers))
        return fromstring(self.successResultOf(written))

    def some(self, peers: Sequence[Peer], kind: str) -> list[Element]:
        """
        The elements of one class.
        """
        return [each for each in self.picture(peers).iter() if kind in each.get("class", "").split()]

    def names(self, peers: Sequence[Peer]) -> list[str | None]:
        """
        What is written beside nodes.
        """
        return [each.text for each in self.some(peers, "name")]

    def test_places(self) -> None:
        """
        The least id is at the top, and they rise clockwise.
        """
        for quarter, x, y in ((0, 0, -RADIUS), (1, RADIUS, 0), (2, 0, RADIUS), (3, -RADIUS, 0)):
            (node,) = self.some([peer(quarter * RING // 4)], "node")
            self.assertEqual((x, y), (float(node.get("cx", "")), float(node.get("cy", ""))))

    def test_presence(self) -> None:
        """
        Of each node it is shown how it is, in colors and in words.
        """
        for presence, words in (
            (Presence.HERE, "in the ring"),
            (Presence.SUSPECT, "does not answer"),
            (Presence.AWAY, "switched off or out of reach"),
            (Presence.UNSEEN, "out of this node's sight"),
        ):
            (node,) = self.some([peer(5, "bob@example.org", presence)], "node")
            self.assertEqual((f"node {presence.value}", f"bob@example.org: {words}"), (node.get("class"), node[0].text))

    def test_summary(self) -> None:
        """
        Who cannot see it is told how many there are, and how many of them are there.
        """
        there = [peer(9, ours=True), *around(3)]
        gone = [peer(1, presence=Presence.AWAY), peer(2, presence=Presence.SUSPECT)]
        for peers, here in (([*there, *gone], 4), ([], 0)):
            said = f"{len(peers)} nodes on it, of which {here} are in the ring now"
            picture = self.picture(peers)
            self.assertIn(said, picture[1].text or "")
            self.assertEqual([each.get("id") for each in picture[:2]], (picture.get("aria-labelledby") or "").split())

    def test_ours(self) -> None:
        """
        Our own node is larger, is called so, and lies over the others.
        """
        peers = [peer(7, "alice@example.org", ours=True), *around(4)]
        *others, last = self.some(peers, "node")
        self.assertIn("ours", last.get("class", "").split())
        self.assertGreater(float(last.get("r", "")), max(float(each.get("r", "")) for each in others))
        self.assertEqual(["this node"], [each.text for each in self.some(peers, "ours") if each.tag == "text"])
        self.assertNotIn("alice", self.names(peers))

    def test_gateway(self) -> None:
        """
        A gateway has another form, in the same place.
        """
        (node,) = self.some([peer(RING // 4, "bob@example.org", role="gateway")], "node")
        x, y, side = (float(node.get(name, "")) for name in ("x", "y", "width"))
        self.assertEqual(("rect", RADIUS, 0.0), (node.tag, x + side / 2, y + side / 2))
        (node,) = self.some([peer(RING // 4, "bob@example.org", role="member")], "node")
        self.assertEqual("circle", node.tag)

    def test_links(self) -> None:
        """
        A line leads from our node to each that it has a link to, and to no other; without us there is none.
        """
        ours = peer(0, ours=True)
        right, away = peer(RING // 4), peer(RING // 2, presence=Presence.AWAY)
        (link,) = self.some([ours, right, away], "link")
        path = link.get("d", "")
        self.assertTrue(path.startswith(f"M0.0 {-RADIUS}Q"), path)
        self.assertTrue(path.endswith(f" {RADIUS} -0.0"), path)
        self.assertEqual([], self.some([right, away], "link"))

    def test_names(self) -> None:
        """
        A node is called by its owner's name, cut where it is long; one of unknown owner by the beginning of its id.
        """
        for owner, name in (
            ("bob@example.org", "bob"),
            ("m" * LETTERS + "@example.org", "m" * LETTERS),
            ("m" * (LETTERS + 1) + "@example.org", "m" * (LETTERS - 1) + "…"),
            ("", "abcdef01"),
            ("<b>&", "<b>&"),
        ):
            self.assertEqual([name], self.names([peer(0xABCDEF01 << 128, owner)]))

    def test_many(self) -> None:
        """
        In a large ring only our node and the gateways have names.
        """
        self.assertEqual(NAMED, len(self.names(around(NAMED))))
        ours, gateway = peer(5, ours=True), peer(RING // 2 + 5, "mx", role="gateway")
        many = [*around(NAMED), ours, gateway]
        self.assertEqual({"this node", "mx"}, set(self.names(many)))
        self.assertEqual(NAMED + 2, len(self.some(many, "node")))

    @given(st.lists(PLACES, unique=True, max_size=NAMED), st.integers(0, 63))
    def test_room(self, places: list[int], narrowed: int) -> None:
        """
        Wherever nodes are, and be they all in one place: their names lie neither on each other nor outside of the
        picture, and on the side of their node.
        """
        peers = [peer(place >> narrowed) for place in places]
        picture = self.picture(list({each.node_id: each for each in peers}.values()))
        left, top, width, height = (float(each) for each in picture.get("viewBox", "").split())
        self.assertEqual((-left, -top), (width / 2, height / 2))
        self.assertGreaterEqual(-top, HALF)
        for anchor, side in (("start", 1), ("end", -1)):
            texts = [each for each in picture.iter("text") if each.get("text-anchor") == anchor]
            heights = sorted(float(each.get("y", "")) for each in texts)
            for upper, lower in pairwise(heights):
                self.assertGreater(lower - upper, APART - 0.2)  # What is written is rounded.
            for each in texts:
                self.assertGreater(side * float(each.get("x", "")), 0)
                self.assertLess(top + APART / 2, float(each.get("y", "")))
                self.assertGreater(-top, float(each.get("y", "")))


class SpreadTests(SynchronousTestCase):
    """
    Tests of L{spread}.
    """

    def test_examples(self) -> None:
        """
        What is far enough apart stays; what is not moves by equal parts, and takes with it what it comes to touch.
        """
        for heights, moved in (
            ([], []),
            ([5.0], [5.0]),
            ([0.0, 10.0, 30.0], [0.0, 10.0, 30.0]),
            ([0.0, 4.0], [-3.0, 7.0]),
            ([0.0, 0.0, 0.0], [-10.0, 0.0, 10.0]),
            ([0.0, 12.0, 14.0], [-1.0 - 1 / 3, 8.0 + 2 / 3, 18.0 + 2 / 3]),
        ):
            for want, got in zip(moved, spread(heights, 10.0), strict=True):
                self.assertAlmostEqual(want, got)

    @given(st.lists(st.floats(-200, 200), max_size=12).map(sorted), st.lists(st.floats(-30, 30), min_size=12))
    def test_least(self, heights: list[float], nudges: list[float]) -> None:
        """
        All are apart, and no other arrangement that is has less to move, by squares.
        """
        apart = 10.0

        def moved(arrangement: Sequence[float]) -> float:
            return sum((new - old) ** 2 for new, old in zip(arrangement, heights, strict=True))

        found = spread(heights, apart)
        for upper, lower in pairwise(found):
            self.assertGreaterEqual(lower - upper, apart - 1e-6)
        other: list[float] = []
        for place, nudge in zip(found, nudges, strict=False):
            other.append(max(place + nudge, other[-1] + apart) if other else place + nudge)
        self.assertLessEqual(moved(found), moved(other) + 1e-6)
