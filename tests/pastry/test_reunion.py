"""
Tests for L{post.pastry.reunion}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.pastry.config import PastryConfig
from post.pastry.reunion import KEEP_S
from tests.pastry.rings import Member, Rings

SMALL = PastryConfig(half=3)


class ReunionTests(SynchronousTestCase):
    """
    Tests for L{Reunion}, in rings whose members have disks.
    """

    def setUp(self) -> None:
        self.disks: dict[Member, bytes] = {}
        self.writes = 0

    def boot(self, member: Member, *seeds: str) -> None:
        """
        Start C{member} with the seeds that are set for it, and with what its last life has written.
        """

        def save(data: bytes) -> None:
            self.writes += 1
            self.disks[member] = data

        member.boot(seeds, self.disks.get(member, b""), save)

    def formed(self, seed: int, count: int) -> Rings:
        """
        A ring of which every member has written whom it knows.
        """
        rings = Rings(seed, count, SMALL)
        for member in rings.members:
            self.boot(member, *rings.seeds())
            self.assertTrue(rings.until(lambda member=member: member.pastry.active, 60))  # type: ignore[misc]
        self.assertEqual([], rings.settle(30))
        rings.advance(30)
        self.assertEqual(set(rings.members), self.disks.keys())
        return rings

    def test_seeds_gone(self) -> None:
        """
        With all its seeds gone for good a node enters the ring again, through those it has seen; at once, too.
        """
        rings = self.formed(1, 12)
        for member in rings.members[:3]:
            member.crash(silent=True)
        rings.members[7].crash()
        self.assertEqual([], rings.settle(120))
        self.boot(rings.members[7], *rings.seeds())
        self.assertTrue(rings.until(lambda: rings.members[7].pastry.active, 10))
        self.assertEqual([], rings.settle(10))

    def test_without(self) -> None:
        """
        (Without what it has seen it does not: so the test above shows something.)
        """
        rings = self.formed(1, 12)
        for member in rings.members[:3]:
            member.crash(silent=True)
        rings.members[7].crash()
        rings.settle(120)
        del self.disks[rings.members[7]]
        self.boot(rings.members[7], *rings.seeds())
        self.assertFalse(rings.until(lambda: rings.members[7].pastry.active, 300))

    def test_founder(self) -> None:
        """
        The first node of an organisation, which has no seeds, does not found a second ring when it starts again; if
        those it has seen are gone, it does not wait for them.
        """
        rings = self.formed(2, 6)
        first = rings.members[0]
        for others_are_up in (True, False):
            for member in rings.members[1:] if not others_are_up else ():
                member.crash()
            first.crash()
            rings.advance(30)
            self.boot(first)
            self.assertTrue(rings.until(lambda: first.pastry.active, 4))
            self.assertEqual([], rings.settle(60))

    def test_two_halves(self) -> None:
        """
        Two rings, neither of which has a seed in the other, become one by what their members have seen in earlier
        lives.
        """
        rings = self.formed(3, 16)
        one, other = rings.members[:8], rings.members[8:]
        for member in rings.members:
            member.crash()
        rings.network.partition([[member.id for member in one]])
        for half in (one, other):
            for member in half:
                self.boot(member, half[0].address, half[1].address)
        rings.advance(600)
        for half in (one, other):
            self.assertEqual([], rings.settle(60, half))
        rings.network.heal()
        self.assertEqual([], rings.settle(120))
        self.assertEqual([], rings.misrouted(100))

    def test_written_rarely(self) -> None:
        """
        What is known already is not written again, and what is new not all the time.
        """
        rings = self.formed(4, 6)
        self.writes = 0
        rings.advance(2 * KEEP_S)
        written = self.writes
        self.assertLessEqual(written, len(rings.members))
        rings.advance(10 * KEEP_S)
        self.assertEqual(written, self.writes)

    def test_keep(self) -> None:
        """
        Who is stopped in order writes down whom it met last, though it has written shortly before.
        """
        rings = self.formed(5, 6)
        late = Member(rings, 6, rings.point())
        rings.members.append(late)
        self.boot(late, *rings.seeds())
        self.assertTrue(rings.until(lambda: late.pastry.active, 60))
        self.assertEqual([], rings.settle(30))
        first, name = rings.members[0], late.id.hex().encode()
        self.assertNotIn(name, self.disks[first])
        first.pastry.reunion.keep()
        self.assertIn(name, self.disks[first])

    def test_disk_full(self) -> None:
        """
        What cannot be written is said in one line and tried again; the node goes on.
        """
        rings = Rings(6, 2, SMALL)
        tried: list[int] = []

        def save(data: bytes) -> None:
            tried.append(len(data))
            raise OSError(28, "No space left on device")

        for member in rings.members:
            member.boot(rings.seeds(), b"", save)
        rings.advance(120)
        self.assertEqual(2, len(tried))
        rings.advance(KEEP_S)
        self.assertEqual(4, len(tried))
        self.assertEqual([], rings.wrong())
        self.assertEqual([], self.flushLoggedErrors())

    def test_quiet(self) -> None:
        """
        Where everybody is in sight, nobody is looked for.
        """
        rings = self.formed(7, 7)
        rings.advance(120)
        sought: list[str] = []

        async def visit(address: str) -> None:
            sought.append(address)

        for member in rings.members:
            member.pastry.reunion._visit = visit
        rings.advance(3600)
        self.assertEqual([], sought)
        rings.members[3].crash()
        rings.advance(7200)
        self.assertEqual([], sought)  # That is left to those who look after the dead.
