"""
The trees of groups, as one node stands in them (pure).

One rule keeps them free of circles, whatever is lost, late or restarted: I{a parent is nearer to the group's id than
its child}.  The root is the nearest of all, so from wherever one starts the way up ends there.

A node has few children in each group.  Whoever comes to one that is full is sent on to children that are nearer to the
group than itself; where there are none it takes the place of the farthest child, which goes below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from post.errors import Overloaded
from post.ids import Contact, GroupId, NodeId
from post.scribe.messages import ELSEWHERE_LIMIT

CHILDREN_LIMIT = 16
"""In one group.  A publication leaves a node at most so often, and 4,000 members are three steps from their root."""
GROUPS_LIMIT = 20_000
"""Groups in whose trees a node stands; with their newest publications about 60 MB."""
PER_CHILD_LIMIT = 5_000
"""Groups in which one node may be our child: a quarter of all, so that no single one shuts out the others."""


@dataclass(slots=True)
class Child:
    """
    Somebody below us, until C{until} if nothing more is heard of it.
    """

    contact: Contact
    until: float


@dataclass(frozen=True)
class Admission:
    """
    What became of somebody who wants to be our child: it is, in the place of C{displaced} if that is somebody, or it is
    to try C{elsewhere}.
    """

    accepted: bool
    elsewhere: tuple[Contact, ...] = ()
    displaced: Contact | None = None


@dataclass(slots=True)
class Branch:
    """
    A node in the tree of one group.

    @ivar newest: the number of the newest publication seen, which is C{latest} and was seen at C{latest_at}.
    @ivar hint: whom to try first as a parent.
    @ivar climbing: whether a parent is being looked for.
    """

    group: GroupId
    owner: NodeId
    parent: Contact | None = None
    is_root: bool = False
    subscribed: bool = False
    children: dict[NodeId, Child] = field(default_factory=dict)
    newest: int = -1
    latest: bytes = b""
    latest_at: float = 0.0
    hint: Contact | None = None
    climbing: bool = False

    @property
    def is_needed(self) -> bool:
        """
        Whether anybody would miss it.
        """
        return self.subscribed or bool(self.children)

    @property
    def is_settled(self) -> bool:
        """
        Whether it hangs on something.
        """
        return self.is_root or self.parent is not None

    def may_follow(self, node: NodeId) -> bool:
        """
        Whether C{node} can be our parent.
        """
        return is_nearer(self.group, node, self.owner)

    def may_lead(self, node: NodeId) -> bool:
        """
        Whether C{node} can be our child.
        """
        return is_nearer(self.group, self.owner, node)


def is_nearer(group: GroupId, node: NodeId, than: NodeId) -> bool:
    """
    Whether C{node} comes before C{than} on the way to the root of C{group}.  (Of two that are equally far the smaller
    one, as everywhere in Pastry.)
    """
    return (group.distance(node), node) < (group.distance(than), than)


class Forest:
    """
    All the groups of one node.
    """

    def __init__(self, owner: NodeId) -> None:
        self._owner = owner
        self._branches: dict[GroupId, Branch] = {}
        self._below: dict[NodeId, dict[GroupId, None]] = {}
        self._shared: Counter[NodeId] = Counter()

    def __len__(self) -> int:
        return len(self._branches)

    def __iter__(self) -> Iterator[Branch]:
        return iter(list(self._branches.values()))

    @property
    def is_full(self) -> bool:
        """
        Whether no more groups are taken.
        """
        return len(self._branches) >= GROUPS_LIMIT

    def get(self, group: GroupId) -> Branch | None:
        """
        How we stand in C{group}, if we do.
        """
        return self._branches.get(group)

    def grow(self, group: GroupId) -> Branch:
        """
        The same; from now on, if we did not.

        @raise Overloaded: if these are too many groups.
        """
        branch = self._branches.get(group)
        if branch is None:
            if self.is_full:
                raise Overloaded(f"{GROUPS_LIMIT} groups")
            branch = self._branches[group] = Branch(group, self._owner)
        return branch

    def prune(self, branch: Branch) -> bool:
        """
        Forget C{branch} if nobody needs it.  Whoever was its parent does not know yet.

        @return: whether it is gone.
        """
        if branch.is_needed:
            return False
        self.follow(branch, None)
        if self._branches.get(branch.group) is branch:
            del self._branches[branch.group]
        return True

    # Above us.

    def follow(self, branch: Branch, parent: Contact | None) -> None:
        """
        C{branch} hangs on C{parent} from now on, or on nothing.
        """
        if parent is not None and not branch.may_follow(parent.id):
            raise ValueError("a parent that is farther from the group than its child")
        former = branch.parent
        if former is not None:
            groups = self._below[former.id]
            groups.pop(branch.group, None)
            if not groups:
                del self._below[former.id]
        branch.parent = parent
        branch.is_root = False
        if parent is not None:
            self._below.setdefault(parent.id, {})[branch.group] = None

    def parents(self) -> list[Contact]:
        """
        Everybody on whom we hang.
        """
        found = []
        for groups in self._below.values():
            parent = self._branches[next(iter(groups))].parent
            assert parent is not None
            found.append(parent)
        return found

    def has_parent(self, node: NodeId) -> bool:
        """
        Whether we hang on C{node} anywhere.
        """
        return node in self._below

    def below(self, node: NodeId) -> list[GroupId]:
        """
        The groups in which C{node} is our parent.
        """
        return list(self._below.get(node, ()))

    # Below us.

    def admit(self, branch: Branch, child: Contact, until: float) -> Admission:
        """
        C{child}, which is farther from the group than we, wants to be below us.

        @raise Overloaded: if it is so in too many groups already.
        """
        known = branch.children.get(child.id)
        if known is not None:
            known.contact, known.until = child, until
            return Admission(True)
        displaced = None
        if len(branch.children) >= CHILDREN_LIMIT:
            nearer = [each for each in branch.children if is_nearer(branch.group, each, child.id)]
            if nearer:
                # Its id, which nobody chooses, spreads those that come over the children.
                start = child.id % len(nearer)
                chosen = (nearer[start:] + nearer[:start])[:ELSEWHERE_LIMIT]
                return Admission(False, tuple(branch.children[each].contact for each in chosen))
            farthest = max(branch.children, key=lambda each: (branch.group.distance(each), each))
            displaced = branch.children[farthest].contact
        if self._shared[child.id] >= PER_CHILD_LIMIT:
            raise Overloaded(f"a child in {PER_CHILD_LIMIT} groups")
        if displaced is not None:
            self.lose(branch, displaced.id)
        branch.children[child.id] = Child(child, until)
        self._shared[child.id] += 1
        return Admission(True, (), displaced)

    def renew(self, branch: Branch, node: NodeId, until: float) -> bool:
        """
        C{node} is still there.

        @return: whether it is our child.
        """
        child = branch.children.get(node)
        if child is not None:
            child.until = until
        return child is not None

    def lose(self, branch: Branch, node: NodeId) -> None:
        """
        C{node} is no longer our child.
        """
        if branch.children.pop(node, None) is not None:
            self._shared[node] -= 1
            if not self._shared[node]:
                del self._shared[node]
