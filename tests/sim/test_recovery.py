"""
A machine is lost, or is in a thief's hands, and its person goes on with new keys on another: whole nodes, from one
seed.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from post.ca.retrieval import VERSION, Recovering, account_copy, provided, renewed
from post.crypto.certificates import issue_identity, make_request, read_identity
from post.crypto.keys import SigningKey
from post.crypto.recovery import RecoveryKeys
from post.errors import PostError
from post.mail.mailbox import Mailbox
from post.messaging.account import AccountCredentials
from post.messaging.log import Log
from post.messaging.notification import letter_in
from post.messaging.pending import PENDING, envelope_in
from post.messaging.sealed_copy import open_copy
from post.node import Node
from post.sim.world import Machine, World

SECRET, SHARE = b"p" * 16, b"s" * 32
SEEDS = range(4)


def message(subject: str, sender: str = "bob") -> bytes:
    """
    One to alice.
    """
    return f"From: {sender}@example.org\r\nSubject: {subject}\r\n\r\n{subject}\r\n".encode()


def certified(world: World, old: AccountCredentials) -> Recovering:
    """
    What a new machine has of an account before it has opened the sealed copy: a new key, certified for it.
    """
    authority = world.authority
    key = SigningKey.generate(authority.entropy)
    before = read_identity(old.chain[0])
    now = int(world.clock.seconds())
    leaf = issue_identity(
        authority.issuing,
        authority.key,
        make_request(key),
        old.address,
        old.account,
        before.serial + 1,
        now - 3600,
        before.not_after,
        authority.entropy,
    )
    return Recovering(
        VERSION, SECRET, SHARE, authority.entropy(16), key.to_pem(), (leaf, authority.issuing), old.password_hash
    )


def recovered(world: World, old: AccountCredentials) -> AccountCredentials:
    """
    C{old} with new keys throughout, as if the authority had been told of the new code.
    """
    new = renewed(
        account_copy(old),
        certified(world, old),
        world.authority.root,
        world.authority.entropy,
        int(world.clock.seconds()),
    )
    assert new.deposit is not None
    return replace(new, deposit=msgspec.structs.replace(new.deposit, share=b""))


class Story:
    """
    Alice's machine is node1, and will be lost; bob writes to her.
    """

    def __init__(self, seed: int) -> None:
        self.world = World(seed, machines=6)
        self.world.start()
        self.old = self.world.machines["node1"]
        self.account = self.old.accounts[0]

    def take_over(self, name: str = "node7") -> Machine:
        """
        A new machine, which is hers from now on.
        """
        world = self.world
        new = Machine(world, name, [recovered(world, self.account)], 0.0)
        self.account = new.accounts[0]
        self.old.accounts = [] if self.old.node is None else self.old.accounts
        world.machines[name] = new
        return new

    @property
    def thief(self) -> Node:
        """
        The node that has the old keys.
        """
        assert self.old.node is not None
        return self.old.node


async def made_in(mailbox: Mailbox, name: str, log: Log) -> None:
    """
    Make a folder, and wait until the ring keeps that.
    """
    await mailbox.create(name)
    await log.kept_to(log.count - 1)


class RecoveryTests(SynchronousTestCase):
    """
    Tests of a mailbox that goes on under other keys.
    """

    def test_lost(self) -> None:
        """
        Folders, flags, UIDs and messages are as they were, and mail that came while nobody was there arrives.
        """
        for seed in SEEDS:
            story = Story(seed)
            world = story.world
            for number in range(3):
                world.finish(world.send("bob", ["alice"], message(f"before {number}")))
            mailbox = world.node("node1").accounts.mailbox("alice@example.org")
            world.do(mailbox.create("Work"))
            inbox = mailbox.folder("INBOX")
            uids = [entry.uid for entry in inbox.entries()]
            world.do(inbox.store(uids[:1], frozenset(["\\Flagged"]), frozenset()))
            world.do(inbox.move(uids[2:], "Work"))
            world.clock.advance(5)
            before = self.shown(world)
            story.old.crash(wipe=True)
            del world.machines["node1"]
            world.finish(world.send("bob", ["alice"], message("meanwhile")))
            story.take_over()
            world.start("node7")
            self.assertEqual(before, self.shown(world)[: len(before)], f"seed {seed}")
            self.wait_for(world, 3)
            self.assertTrue(world.folder("alice")[-1].endswith(b"meanwhile\r\n"))

    def wait_for(self, world: World, messages: int) -> None:
        """
        Until there are so many in alice's Inbox.
        """
        world.wait(lambda: len(world.folder("alice")) == messages, "the message")

    def shown(self, world: World) -> list[tuple[object, ...]]:
        """
        Everything in alice's folders, the Inbox last come first served.
        """
        node = world.home("alice").node
        assert node is not None
        mailbox = node.accounts.mailbox("alice@example.org")
        found: list[tuple[object, ...]] = []
        for status in sorted(mailbox.folders(), key=lambda each: each.name != "Work"):
            folder = mailbox.folder(status.name)
            found += [
                (status.name, status.uid_validity, entry.uid, entry.flags, entry.internal_date, entry.key)
                for entry in folder.entries()
            ]
        return found

    def test_thief(self) -> None:
        """
        The old machine runs on while a new one takes over: whatever it was told is kept is in the new mailbox, and from
        then on it is told that it is out of use, keeps nothing, and is not found by anybody.
        """
        for seed in SEEDS:
            self.tell(Story(seed))

    def tell(self, story: Story) -> None:
        """
        One such story.
        """
        world = story.world
        world.finish(world.send("bob", ["alice"], message("before")))
        old = story.thief.accounts.opened["alice@example.org"]
        new = story.take_over()
        booted = new.boot(world.seeds)
        kept: list[str] = []

        async def write(name: str) -> None:
            await old.mailbox.create(name)
            await old.log.kept_to(old.log.count - 1)
            kept.append(name)

        for number in range(200):
            name = f"Thief {number}"
            try:
                world.do(write(name))
            except PostError:
                break
            world.clock.advance(world.random.uniform(0, 0.1))
        else:
            self.fail(f"seed {world.seed}: the thief goes on writing")
        self.assertTrue(kept)
        world.finish(booted)
        world.wait(lambda: new.serves, "the mailbox")
        names = {each.name for each in world.node("node7").accounts.mailbox("alice@example.org").folders()}
        # The one that it was at may have got there or not; it was not told that it had.
        self.assertEqual(set(kept), {each for each in names if each.startswith("Thief")} - {name})
        self.assertRaises(PostError, world.do, write("Later"))
        story.old.accounts = []
        world.finish(world.send("bob", ["alice"], message("after")))
        world.wait(lambda: len(world.folder("alice")) == 2, "the message")

    def test_thief_later(self) -> None:
        """
        The old machine comes back after the new one has taken over: its mailbox is not opened, it publishes nothing,
        and what is sent to alice is not sealed to a key that it has.
        """
        for seed in SEEDS:
            story = Story(seed)
            world = story.world
            stolen = {held.key.key_id for held in story.account.sealing}
            world.finish(world.send("bob", ["alice"], message("before")))
            world.clock.advance(5)
            story.old.crash()
            story.take_over()
            world.start("node7")
            world.finish(story.old.boot(world.seeds))
            story.old.accounts = []
            world.clock.advance(60)
            status = story.thief.status().accounts
            world.finish(world.machines["node7"].stop())
            world.clock.advance(700)  # What bob's node knows of alice is asked anew.
            world.finish(world.send("bob", ["alice"], message("after")))
            waiting = [
                letter_in(envelope)
                for machine in world.machines.values()
                for item in machine.store.of_kind(PENDING)
                if (envelope := envelope_in(item.data)) is not None
            ]
            self.assertTrue(waiting)
            self.assertFalse(stolen & {letter.key_id for letter in waiting}, f"seed {seed}")
            self.assertEqual([], [each for each in status if each.open or each.published], f"seed {seed}")

    def test_twice(self) -> None:
        """
        The new machine is lost as well, before or after it has taken over: the next one has everything.
        """
        for seed in SEEDS:
            story = Story(seed)
            world = story.world
            world.finish(world.send("bob", ["alice"], message("before")))
            world.clock.advance(5)
            story.old.crash(wipe=True)
            del world.machines["node1"]
            second = story.take_over()
            booted = second.boot(world.seeds)
            booted.addErrback(lambda _: None)
            world.clock.advance(world.random.uniform(0.5, 4))
            second.crash(wipe=True)
            del world.machines["node7"]
            story.take_over("node8")
            world.start("node8")
            self.assertEqual(1, len(world.folder("alice")), f"seed {seed}")

    def test_alone(self) -> None:
        """
        Who has taken over once sees the mailbox after any start, like everybody else: also while most machines are off
        and another recovery code is not in force yet.
        """
        for seed in SEEDS:
            story = Story(seed)
            world = story.world
            world.finish(world.send("bob", ["alice"], message("before")))
            world.clock.advance(5)
            story.old.crash(wipe=True)
            del world.machines["node1"]
            new = story.take_over()
            world.start("node7")
            world.clock.advance(5)
            for name in ("node3", "node4", "node5", "node6", "node7"):
                world.machines[name].crash()
            keys = RecoveryKeys(b"n" * 16, b"f" * 16)
            new.accounts = [provided(story.account, keys, world.authority.entropy)]
            world.finish(new.boot(world.seeds))
            self.assertEqual(1, len(self.opened(world).folder("INBOX").entries()), f"seed {seed}")

    @staticmethod
    def opened(world: World) -> Mailbox:
        """
        Alice's mailbox on node7, as soon as it is open.
        """
        found = world.node("node7").accounts.opened["alice@example.org"]
        world.wait(lambda: found.ready, "the mailbox")
        return found.mailbox

    def test_two(self) -> None:
        """
        A copy of an account is started on another machine while the first one runs: one of the two says so, and stops;
        the other goes on, and nothing that either was told is kept is lost.
        """
        for seed in SEEDS:
            story = Story(seed)
            world = story.world
            world.finish(world.send("bob", ["alice"], message("before")))
            world.clock.advance(5)
            world.machines["node7"] = Machine(world, "node7", [story.account], 0.0)
            world.start("node7")
            accounts = [each.accounts.opened["alice@example.org"] for each in (story.thief, world.node("node7"))]
            made: list[str] = []
            for number in range(40):
                which = world.random.choice(accounts)
                name = f"Folder {number}"
                try:
                    world.do(made_in(which.mailbox, name, which.log))
                except PostError:
                    continue
                made.append(name)
                world.clock.advance(world.random.uniform(0, 30))
            world.clock.advance(400)
            troubles = [each.trouble for each in accounts if each.trouble]
            self.assertEqual(1, len(troubles), f"seed {seed}: {troubles}")
            self.assertIn("another copy of alice@example.org's files is in use", troubles[0])
            (survivor,) = (each for each in accounts if not each.trouble)
            world.do(made_in(survivor.mailbox, "Last", survivor.log))
            names = {each.name for each in survivor.mailbox.folders()}
            self.assertEqual(set(), {*made, "Last"} - names, f"seed {seed}")

    def test_copy(self) -> None:
        """
        The sealed copy is kept by k machines, none of which can open it, and comes back after they have crashed.
        """
        world = World(3, machines=6)
        owner = world.machines["node1"]
        keys = RecoveryKeys(SECRET, b"f" * 16)
        owner.accounts = [provided(owner.accounts[0], keys, world.authority.entropy)]
        deposit = owner.accounts[0].deposit
        assert deposit is not None
        world.start()
        custody = world.node("node1").accounts.opened["alice@example.org"].custody
        world.wait(lambda: custody.kept, "the copy")
        holding = [name for name, machine in world.machines.items() if machine.store.get(keys.handle) is not None]
        self.assertGreaterEqual(len(holding), world.authority.policy.k)
        self.assertEqual("waiting", custody.state)
        owner.crash(wipe=True)
        world.clock.advance(60)
        found = world.do(world.node("node2").past.newest(keys.handle, wide=True))
        assert found.data is not None
        copy = open_copy(found.data, keys, deposit.share)
        self.assertEqual(account_copy(owner.accounts[0]), copy)
        for wrong in (bytes(32), deposit.share[::-1]):
            self.assertRaises(PostError, open_copy, found.data, keys, wrong)
        self.assertRaises(PostError, open_copy, found.data, RecoveryKeys(SHARE[:16], b"f" * 16), deposit.share)
