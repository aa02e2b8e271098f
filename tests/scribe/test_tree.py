"""
Tests for L{post.scribe.tree}: places in trees, without any network.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Overloaded
from post.ids import Contact, GroupId, Id, Key, NodeId
from post.scribe import tree
from post.scribe.tree import CHILDREN_LIMIT, Branch, Forest, is_nearer
from tests.pastry.strategies import node, nodes, points

GROUP = GroupId(Key(Id(0)))
groups = points.map(lambda point: GroupId(Key(Id(point))))


def contact(point: int) -> Contact:
    """
    The node at C{point}.
    """
    return Contact(node(point), ("host:1",), 1)


class ForestTests(SynchronousTestCase):
    """
    Tests of what a node knows of its groups.
    """

    def setUp(self) -> None:
        self.forest = Forest(node(1))
        self.branch = self.forest.grow(GROUP)

    def full(self, first: int = 100) -> None:
        """
        Give the branch as many children as it may have.
        """
        for point in range(first, first + CHILDREN_LIMIT):
            self.assertTrue(self.forest.admit(self.branch, contact(point), 10.0).accepted)

    def test_farther_child(self) -> None:
        """
        Who comes to a full node is sent to children that are nearer to the group than itself.
        """
        self.full()
        admission = self.forest.admit(self.branch, contact(1000), 10.0)
        self.assertFalse(admission.accepted)
        self.assertIsNone(admission.displaced)
        self.assertTrue(admission.elsewhere)
        for other in admission.elsewhere:
            self.assertIn(other.id, self.branch.children)
            self.assertTrue(is_nearer(GROUP, other.id, node(1000)))

    def test_spread_out(self) -> None:
        """
        Those that are sent on go to different children.
        """
        self.full()
        first = {self.forest.admit(self.branch, contact(point), 1.0).elsewhere[0].id for point in range(1000, 1100)}
        self.assertEqual(set(self.branch.children), first)

    def test_nearest_child(self) -> None:
        """
        Who is nearer than all children of a full node takes the place of the farthest.
        """
        self.full()
        admission = self.forest.admit(self.branch, contact(50), 10.0)
        self.assertTrue(admission.accepted)
        self.assertEqual(contact(100 + CHILDREN_LIMIT - 1), admission.displaced)
        self.assertEqual(CHILDREN_LIMIT, len(self.branch.children))

    def test_again(self) -> None:
        """
        A child that comes again stays, also where no room is, and what it says of its addresses counts.
        """
        self.full()
        moved = Contact(node(100), ("elsewhere:1",), 2)
        self.assertTrue(self.forest.admit(self.branch, moved, 99.0).accepted)
        self.assertEqual(
            (moved, 99.0), (self.branch.children[node(100)].contact, self.branch.children[node(100)].until)
        )

    def test_limits(self) -> None:
        """
        Neither groups nor the groups of one child grow without end; who leaves makes room.
        """
        self.patch(tree, "GROUPS_LIMIT", 3)
        self.patch(tree, "PER_CHILD_LIMIT", 2)
        branches = [self.branch, *(self.forest.grow(GroupId(Key(Id(number)))) for number in (1, 2))]
        self.assertRaises(Overloaded, self.forest.grow, GroupId(Key(Id(3))))
        for branch in branches[:2]:
            self.forest.admit(branch, contact(500), 1.0)
        self.assertRaises(Overloaded, self.forest.admit, branches[2], contact(500), 1.0)
        self.assertEqual({}, branches[2].children)
        self.forest.lose(branches[0], node(500))
        self.assertTrue(self.forest.admit(branches[2], contact(500), 1.0).accepted)
        self.assertTrue(self.forest.prune(branches[0]))
        self.forest.grow(GroupId(Key(Id(3))))

    def test_displacing_one_too_many(self) -> None:
        """
        Somebody who is in too many groups displaces nobody.
        """
        self.patch(tree, "PER_CHILD_LIMIT", 1)
        self.full()
        self.forest.admit(self.forest.grow(GroupId(Key(Id(5)))), contact(50), 1.0)
        self.assertRaises(Overloaded, self.forest.admit, self.branch, contact(50), 1.0)
        self.assertEqual(CHILDREN_LIMIT, len(self.branch.children))

    def test_parents(self) -> None:
        """
        A parent is known for as long as one group hangs on it.
        """
        other = self.forest.grow(GroupId(Key(Id(2))))
        self.assertRaises(ValueError, self.forest.follow, self.branch, contact(9))
        self.forest.follow(self.branch, contact(0))
        self.branch.subscribed = True
        forest = Forest(node(9))
        one, two = forest.grow(GROUP), forest.grow(GroupId(Key(Id(1))))
        for branch in (one, two):
            forest.follow(branch, contact(1))
        self.assertEqual([GROUP, GroupId(Key(Id(1)))], forest.below(node(1)))
        self.assertEqual([contact(1)], forest.parents())
        forest.prune(one)
        forest.follow(two, None)
        self.assertEqual(([], False), (forest.parents(), forest.has_parent(node(1))))
        self.assertFalse(self.forest.prune(self.branch))
        self.assertTrue(self.forest.prune(other))

    @given(groups, st.lists(nodes, unique=True, min_size=1, max_size=60), st.data())
    def test_trees(self, group: GroupId, members: list[NodeId], data: st.DataObject) -> None:
        """
        In whatever order nodes come to the root and are sent on, each gets a place, no node has more children than it
        may, and every way up ends at the root.
        """
        members.sort(key=lambda each: (group.distance(each), each))
        forests = {each: Forest(each) for each in members}
        branches = {each: forests[each].grow(group) for each in members}
        root = members[0]
        todo = data.draw(st.permutations(members[1:]))
        way = {each: root for each in todo}
        while todo:
            comer = todo.pop()
            at = way[comer]
            admission = forests[at].admit(branches[at], contact(comer), 1.0)
            if admission.accepted:
                forests[comer].follow(branches[comer], contact(at))
            else:
                way[comer] = admission.elsewhere[0].id
                todo.append(comer)
            if admission.displaced is not None:
                moved = admission.displaced.id
                forests[moved].follow(branches[moved], None)
                way[moved] = comer
                todo.append(moved)
        for each in members[1:]:
            steps, at = 0, each
            while at != root:
                parent = branches[at].parent
                assert parent is not None
                self.assertIn(at, branches[parent.id].children)
                at, steps = parent.id, steps + 1
            self.assertLess(steps, len(members))
        self.assertTrue(all(len(branch.children) <= CHILDREN_LIMIT for branch in branches.values()))


class BranchTests(SynchronousTestCase):
    """
    Tests of one place.
    """

    @given(groups, nodes, nodes)
    def test_one_way(self, group: GroupId, one: NodeId, other: NodeId) -> None:
        """
        Of two nodes exactly one may be the parent of the other, and none its own.
        """
        branch = Branch(group, one)
        self.assertEqual(one != other, branch.may_follow(other) != branch.may_lead(other))
