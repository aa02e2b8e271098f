"""
How a node gets its place in a tree, and keeps it.

It routes a L{Seek} towards the group's root.  Whoever meets that first and is nearer to the group answers, and steps
into the tree by doing the same, so trees are made of the reverse paths of such messages (Scribe, section 3.2).  A
routed message makes no state anywhere, since nobody knows who really sent it: only the question that follows over a
link, L{Attach}, does.

Heartbeats are questions of children, one to a parent for all groups that they share, and only where nothing else was
heard from it for a while; now and then one is asked anyway, because a parent forgets whom it has not heard of.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import Overloaded, PostError, Unreachable
from post.ids import Contact, GroupId, NodeId
from post.pastry.node import Pastry
from post.rpc import Rpc, expect
from post.scribe.messages import GROUPS_NAMED, Attach, Attached, Here, Leave, Remain, Remaining, Seek
from post.scribe.tree import Branch, Forest
from post.tasks import Tasks, sleep

SEEK_S = 3.0
"""For an answer to a routed question: twice what a hop over a link that has to be made first may take."""
ASK_S = 5.0
"""For a parent's answer, which waits for nothing."""
RETRY_FIRST_S = 1.0
RETRY_MOST_S = 60.0
"""Between two attempts to get into a tree; doubled from the first to the last.  One that fails means that the ring is
being repaired, which takes seconds."""
ATTACH_LIMIT = 32
"""Nodes asked in one attempt.  Below full ones it goes down step by step, five of them for a million members."""
SEEKING_LIMIT = 32
"""Groups in which a parent is looked for at once: a node that lost one for thousands of groups shall not flood the
ring."""
TICK_S = 5.0
"""Between two looks at what is due."""
SILENCE_S = 30.0
"""After which a parent of whom nothing was heard is asked."""
RENEW_S = 60.0
"""After which it is asked anyway.  It forgets a child that it was not asked by three times."""
CHILD_LIFE_S = 3 * RENEW_S + SILENCE_S


class Climber:
    """
    Finds parents for the branches of a forest.
    """

    log = Logger()

    def __init__(
        self, rpc: Rpc, pastry: Pastry, clock: IReactorTime, random: Random, forest: Forest, tasks: Tasks
    ) -> None:
        self._rpc = rpc
        self._pastry = pastry
        self._clock = clock
        self._random = random
        self._forest = forest
        self._tasks = tasks
        self._sought: dict[int, Deferred[Contact]] = {}
        self._asked: dict[NodeId, float] = {}
        self._asking: set[NodeId] = set()
        self._turns = DeferredSemaphore(SEEKING_LIMIT)
        rpc.serve(Here, self._here)
        rpc.watch(lost=self.doubt)

    # Looking for a node.

    async def seek(self, group: GroupId, member: bool = False) -> Contact | None:
        """
        The first node on the way to the root of C{group} that answers, perhaps we ourselves; C{None} if none does now.
        """
        number = self._random.getrandbits(62)
        answer: Deferred[Contact] = Deferred()
        self._sought[number] = answer
        try:
            self._pastry.route(group, Seek(group, number, self._pastry.local, member), stepwise=True)
            return await answer.addTimeout(SEEK_S, self._clock)
        except (Overloaded, TimeoutError) as error:
            self.log.debug("no way into group {group}: {error}", group=group, error=error)
            return None
        finally:
            del self._sought[number]

    def met(self, number: int, contact: Contact) -> None:
        """
        C{contact} answers to the question with C{number}.
        """
        waiting = self._sought.get(number)
        if waiting is not None and not waiting.called:
            waiting.callback(contact)

    def _here(self, peer: Contact, here: Here) -> None:
        # The number is known only on the way that the question went.
        self.met(here.number, peer)

    # Getting a place.

    def settle(self, branch: Branch) -> None:
        """
        See that C{branch} hangs on something.
        """
        if not branch.climbing and self._is_adrift(branch):
            branch.climbing = True
            self._tasks.spawn(self._climb(branch))

    def _is_adrift(self, branch: Branch) -> bool:
        return branch.is_needed and not branch.is_settled and self._forest.get(branch.group) is branch

    async def _climb(self, branch: Branch) -> None:
        pause_s = RETRY_FIRST_S
        try:
            while self._is_adrift(branch):
                await self._turns.acquire()
                try:
                    await self._climb_once(branch)
                finally:
                    self._turns.release()
                if self._is_adrift(branch):
                    await sleep(self._clock, pause_s * self._random.uniform(0.8, 1.2))
                    pause_s = min(2 * pause_s, RETRY_MOST_S)
        finally:
            branch.climbing = False

    async def _climb_once(self, branch: Branch) -> None:
        found, branch.hint = branch.hint, None
        if found is None:
            found = await self.seek(branch.group)
        if found is None or not self._is_adrift(branch):
            return
        if found.id == self._pastry.local.id:
            branch.is_root = True
        else:
            await self._attach(branch, found)

    async def _attach(self, branch: Branch, first: Contact) -> None:
        candidates = [first]
        asked: set[NodeId] = set()
        while candidates and len(asked) < ATTACH_LIMIT:
            candidate = candidates.pop()
            if candidate.id in asked or not branch.may_follow(candidate.id):
                continue
            asked.add(candidate.id)
            try:
                answer = expect(Attached, await self._rpc.ask(candidate, Attach(branch.group), ASK_S))
            except Unreachable:
                self._pastry.suspect(candidate)
                continue
            except PostError as error:
                self.log.debug("{peer} is no parent: {error}", peer=candidate, error=error)
                continue
            if answer.accepted:
                if self._is_adrift(branch):
                    self._forest.follow(branch, candidate)
                    self._asked[candidate.id] = self._clock.seconds()
                elif branch.parent is None or branch.parent.id != candidate.id:
                    self._rpc.tell(candidate, Leave((branch.group,)))
                return
            candidates += answer.elsewhere[::-1]

    def prune(self, branch: Branch) -> None:
        """
        Give C{branch} up if nobody needs it.
        """
        parent = branch.parent
        if self._forest.prune(branch) and parent is not None:
            self._rpc.tell(parent, Leave((branch.group,)))
            self._forget(parent.id)

    # Keeping it.

    def _forget(self, node: NodeId) -> None:
        if not self._forest.has_parent(node):
            self._asked.pop(node, None)

    def tick(self) -> None:
        """
        Ask the parents that are to be asked.
        """
        now = self._clock.seconds()
        for parent in self._forest.parents():
            silent_s = self._rpc.transport.silent_s(parent.id)
            if silent_s is None or abs(silent_s) > SILENCE_S or abs(now - self._asked.get(parent.id, 0.0)) > RENEW_S:
                self._ask(parent)

    def doubt(self, node: NodeId) -> None:
        """
        Something says that C{node} may be gone: if it is our parent, ask it.
        """
        for group in self._forest.below(node)[:1]:
            branch = self._forest.get(group)
            if branch is not None and branch.parent is not None:
                self._ask(branch.parent)

    def _ask(self, parent: Contact) -> None:
        if parent.id not in self._asking:
            self._asking.add(parent.id)
            self._tasks.spawn(self._ask_all(parent))

    async def _ask_all(self, parent: Contact) -> None:
        try:
            self._asked[parent.id] = self._clock.seconds()
            groups = self._forest.below(parent.id)
            for start in range(0, len(groups), GROUPS_NAMED):
                named = tuple(groups[start : start + GROUPS_NAMED])
                try:
                    gone = expect(Remaining, await self._rpc.ask(parent, Remain(named), ASK_S)).gone
                except Unreachable:
                    self._pastry.suspect(parent)
                    self._cut(parent, self._forest.below(parent.id))
                    return
                except PostError as error:
                    self.log.debug("{peer} does not say: {error}", peer=parent, error=error)
                    return
                self._cut(parent, [group for group in gone if group in named])
        finally:
            self._asking.discard(parent.id)
            self._forget(parent.id)

    def _cut(self, parent: Contact, groups: list[GroupId]) -> None:
        for group in groups:
            branch = self._forest.get(group)
            if branch is not None and branch.parent is not None and branch.parent.id == parent.id:
                self._forest.follow(branch, None)
                self.settle(branch)
