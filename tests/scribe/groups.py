"""
Rings whose nodes stand in groups, on an imaginary network, from one seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from post.crypto.keys import SigningKey
from post.messaging.account import AccountCredentials
from post.pastry.config import PastryConfig
from post.scribe.node import Scribe
from post.scribe.publication import Publication, group_of, sign
from post.sim.authority import Authority
from tests.pastry.rings import Member, Rings

AUTHORITY = Authority(b"groups", 1_800_000_000)
ALICE, MALLORY = AUTHORITY.account("alice"), AUTHORITY.account("mallory")
GROUP = group_of(ALICE.account)


class Groups:
    """
    A ring, and the group of Alice in it.

    @ivar heard: what each node was told, by its number in the ring.
    """

    def __init__(self, seed: int, count: int, config: PastryConfig | None = None) -> None:
        self.rings = Rings(seed, count, config)
        self.members = self.rings.members
        self.scribes: dict[Member, Scribe] = {}
        self.heard: dict[Member, list[bytes]] = {}
        self.number = 0
        self.boot(self.members)

    def boot(self, members: Iterable[Member]) -> None:
        """
        Start these, at once.
        """
        for member in members:
            member.boot(self.rings.seeds())
            random = Random(f"scribe {self.rings.seed} {member.contact.epoch} {member.address}")
            scribe = Scribe(member.rpc, member.pastry, member.clock, random, member.complaints, AUTHORITY.root)
            scribe.start()
            self.scribes[member] = scribe
            self.heard[member] = []

    def subscribe(self, members: Iterable[Member]) -> None:
        """
        Let these listen to Alice.
        """
        for member in members:
            self.scribes[member].subscribe(GROUP, self._listener(member))

    def _listener(self, member: Member):  # type: ignore[no-untyped-def]
        return lambda publication: self.heard[member].append(publication.payload)

    def publication(self, payload: bytes, account: AccountCredentials = ALICE, key: SigningKey | None = None) -> bytes:
        """
        What Alice says, or what somebody pretends that she does.
        """
        self.number += 1
        now = int(self.rings.clock.seconds() * 1000)
        publication = Publication(1, account.account, now + self.number, payload)
        return sign(publication, key or account.key, account.chain)

    def publish(self, member: Member, payload: bytes) -> None:
        """
        Let Alice's node, C{member}, say something, and everybody hear it.
        """
        self.scribes[member].publish(self.publication(payload))
        self.rings.advance(5)

    def deaf(self, payload: bytes, listeners: Iterable[Member]) -> list[str]:
        """
        Which of C{listeners} have not heard C{payload} exactly once.
        """
        return [
            f"{member.id} heard {self.heard[member].count(payload)}"
            for member in listeners
            if self.heard[member].count(payload) != 1
        ]

    def wrong(self) -> list[str]:
        """
        What is wrong with the tree: who hangs on nothing, on the dead, or on somebody that does not know.
        """
        living = [member for member in self.members if member.up]
        root = self.rings.root(GROUP, living)
        found = []
        for member in living:
            branch = self.scribes[member].forest.get(GROUP)
            if branch is None or not branch.is_needed:
                continue
            parent = self.rings.by_id[branch.parent.id] if branch.parent is not None else None
            if branch.is_root != (member is root):
                found.append(f"{member.id} is wrong about being the root")
            elif parent is None and not branch.is_root:
                found.append(f"{member.id} hangs on nothing")
            elif parent is not None:
                above = self.scribes[parent].forest.get(GROUP) if parent.up else None
                if above is None or member.id not in above.children:
                    found.append(f"{member.id} hangs on {parent.id}, which is dead or does not know")
        return found

    def grown(self, limit_s: float = 60) -> list[str]:
        """
        Let time pass until the tree is right; what is wrong in the end.
        """
        self.rings.until(lambda: not self.wrong(), limit_s)
        return self.wrong()
