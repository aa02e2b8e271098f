"""
A machine is lost, and its person comes back on an empty one by the recovery code: real processes.
"""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
import time

from twisted.trial.unittest import SynchronousTestCase

from post.ca.code import short_fingerprint
from post.ca.recovery_code import RecoveryCode
from post.crypto.keys import LogKey
from post.errors import PeerError
from post.hashes import Purpose, handle_of
from post.home import Home
from post.ids import Handle
from post.messaging.account import AccountCredentials
from post.messaging.history import LogKeys
from post.messaging.notification import disclose, letter_in
from post.messaging.pending import PENDING, envelope_in
from post.node import WRITER
from post.past.blocks import FINAL_NUMBER, PUBLIC_KEY, read_signed_block
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import mail, wait_for
from tests.system.test_mail import NESTED, attachment

Shown = dict[str, tuple[bytes, list[tuple[bytes, bytes]]]]


class RecoveryCase(SynchronousTestCase):
    """
    Four machines; that of alice serves the authority, bob's is the one that gets lost.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.alice = Machine(self, self.directory, "alice")
        self.alice.init(4)
        self.alice.start()
        self.alice.wait("active")
        self.bob, self.carol, self.dave = (self.joined(name) for name in ("bob", "carol", "dave"))
        for each in (self.alice, self.bob, self.carol, self.dave):
            each.wait("serving")
        wait_for("bob's code is in force", lambda: self.bob.recovery == "in force")

    def joined(self, name: str) -> Machine:
        """
        Another one.
        """
        machine = Machine(self, self.directory, name)
        code, said = machine.join(self.alice.token(name))
        self.assertEqual(0, code, said)
        machine.start()
        machine.wait("active")
        return machine

    def empty(self, name: str = "new") -> Machine:
        """
        An empty machine for bob.
        """
        return Machine(self, self.directory / name, "bob")

    def lose(self) -> Machine:
        """
        SIGKILL, and a thief has all that was on bob's machine.
        """
        self.bob.kill()
        thief = self.empty("thief")
        shutil.copytree(self.bob.home, thief.home, ignore=shutil.ignore_patterns("control", "moving"))
        shutil.rmtree(self.bob.home)
        return thief


class LostTests(RecoveryCase):
    """
    Tests of a machine that is lost.
    """

    def test_lost(self) -> None:
        """
        Every folder, flag, UID and octet is as before, and mail that came meanwhile is there; the old machine is shut
        out: it neither serves nor writes the mailbox, and what is sent from then on is not sealed to its keys.
        """
        self.fill()
        before = shown(self.bob)
        thief = self.lose()
        self.carol.send("bob", "meanwhile")
        new = self.empty()
        exit_code, said = new.recover(self.bob.recovery_code)
        self.assertEqual(0, exit_code, said)
        self.assertNotEqual(self.bob.recovery_code, new.recovery_code)
        new.start()
        new.wait("serving")
        new.wait_for_mail("meanwhile")
        self.assertEqual("in force", new.recovery)
        wait_for("bob is found", lambda: new.published)
        after = shown(new)
        inbox = after["INBOX"][1]
        self.assertIn(b"meanwhile", inbox.pop()[1])
        self.assertEqual(before, after)
        self.shut_out(thief)
        self.sealed_anew(new, thief)
        # The code that was used is worth nothing now.
        exit_code, said = self.empty("third").recover(self.bob.recovery_code)
        self.assertEqual(1, exit_code)
        self.assertIn("has been renewed", said)

    def fill(self) -> None:
        """
        Folders within folders, flags, gaps between UIDs, moved and copied mail, nested MIME, a large attachment.
        """
        bob = self.bob
        for number in range(5):
            self.carol.send("bob", f"letter {number}")
        bob.wait_for_mail("letter 4")
        with bob.logged_in() as client:
            for name in ("Work", "Work/2026", '"Gr&APwA3w-e"'):
                client.create(name)
            large = attachment(random.Random(5).randbytes(3_000_000), 76, "carol", "bob", "large")
            client.append("Work/2026", r"(\Seen $Label1)", '"24-Nov-2026 10:00:00 +0100"', NESTED)
            client.append('"Gr&APwA3w-e"', r"(\Flagged)", None, large)
            client.append("Work/2026", "", None, mail("draft"))
            client.select()
            client.uid("STORE", "1", "+FLAGS", r"(\Answered \Seen)")
            client.uid("MOVE", "2", "Work")
            client.uid("COPY", "3", "Work")
            client.uid("STORE", "4", "+FLAGS", r"(\Deleted)")
            client.expunge()
            client.delete("Drafts")
        wait_for("all is kept", lambda: bob.behind == 0)

    def shut_out(self, thief: Machine) -> None:
        """
        The old machine is started again: it ends, or serves nobody, and the head of the mailbox stays as it was.
        """
        before = heads(self, self.log_handle(thief))
        thief.start()
        wait_for("the thief is told", lambda: "revoked" in thief.log or "out of use" in thief.log)
        self.assertFalse(thief.status().get("serving"))
        thief.stop()
        # A machine that was nearest once, and is not any more, may have one from then.
        self.assertEqual(FINAL_NUMBER, max(before))
        self.assertEqual(before, heads(self, self.log_handle(thief)))

    def log_handle(self, machine: Machine) -> Handle:
        """
        Where the head of the mailbox log is, whose keys are on a machine.
        """
        account = credentials(machine)
        return handle_of(Purpose.PUBLIC_KEY_BLOCK, LogKey.derive(account.master, WRITER, account.epoch).public)

    def sealed_anew(self, new: Machine, thief: Machine) -> None:
        """
        Mail that waits for bob, and the log that his new machine writes, cannot be opened with any key of the old one.
        """
        stolen = credentials(thief)
        old = LogKeys(stolen.master, WRITER, stolen.epoch)
        handle = self.log_handle(new)
        for machine in (self.alice, self.carol, self.dave):
            for data in stored(machine, PUBLIC_KEY, handle):
                self.assertRaises(PeerError, old.open, data)
        new.stop()
        since = int(time.time())
        self.carol.send("bob", "after")
        found = [
            letter_in(envelope)
            for machine in (self.alice, self.carol, self.dave)
            for data in stored(machine, PENDING)
            if (envelope := envelope_in(data)) is not None
        ]
        found = [letter for letter in found if letter.stamp >= since]
        self.assertTrue(found)
        keys = [held.key for held in stolen.sealing]
        for letter in found:
            self.assertEqual(stolen.account, letter.recipient)
            self.assertRaises(PeerError, disclose, letter, keys)
            self.assertRaises(PeerError, keys[0].open, b"", letter.sealed)
        new.start()
        new.wait("serving")
        new.wait_for_mail("after")


class RefusedTests(RecoveryCase):
    """
    Tests of codes that are wrong, and of a recovery that is cut short.
    """

    def test_refused(self) -> None:
        """
        A code that is mistyped, invented, renewed, or for something else: one line, and nothing is made.  While the
        authority is off-line that is said, and the same command goes on when it is back; the ring may come later.
        """
        first = self.bob.recovery_code
        self.assertIn("in force, and the one before leads nowhere", self.bob.renew_code())
        good = self.bob.recovery_code
        self.bob.kill()
        shutil.rmtree(self.bob.home)
        new = self.empty()
        code = RecoveryCode.from_text(good)
        invented = RecoveryCode(code.where, code.fingerprint, bytes(16)).to_text()
        foreign = RecoveryCode(code.where, short_fingerprint(b"another"), code.secret).to_text()
        for text, exit_code, said in (
            (good[:-1] + ("0" if good[-1] != "0" else "1"), 78, "a letter is wrong"),
            (good[:30], 78, "is not right"),
            (self.alice.token("eve"), 78, 'which is for "post join"'),
            (invented, 1, "knows no such recovery code"),
            (first, 1, "has been renewed"),
            (foreign, 1, "belongs to another authority"),
        ):
            ended, words = new.recover(text)
            self.assertEqual((exit_code, 1), (ended, len(words.splitlines())), words)
            self.assertIn(said, words)
            self.assertFalse((new.home / "version").exists())
        self.alice.stop()
        ended, words = new.recover(good)
        self.assertEqual((69, 1), (ended, len(words.splitlines())), words)
        keys = [(new.home / name).read_bytes() for name in ("node.key", "joining/person.key")]
        self.alice.start()
        self.alice.wait("active")
        self.assertEqual(0, new.recover(good)[0])
        self.assertEqual(keys[0], (new.home / "node.key").read_bytes())
        self.assertIn("is a node's already", new.recover(good)[1])
        # Cut short before the directory was complete, it is gone on with, with the same keys.
        (new.home / "version").unlink()
        (new.home / "joining").mkdir()
        (new.home / "joining" / "person.key").write_bytes(keys[1])
        (new.home / "joining" / "person.key").chmod(0o600)
        before = (new.home / "node.chain").read_bytes()
        self.assertEqual(0, new.recover(good)[0])
        self.assertEqual(before, (new.home / "node.chain").read_bytes())
        self.ring_later(new)

    def ring_later(self, new: Machine) -> None:
        """
        The node starts while most machines are off: it says what it waits for, and goes on when they are back.
        """
        for each in (self.carol, self.dave):
            each.stop()
        new.start()
        wait_for("what it waits for", lambda: new.status().get("recovering"))
        self.assertFalse(new.status()["serving"])
        new.kill()
        for each in (self.carol, self.dave):
            each.start()
        new.start()
        new.wait("serving")
        self.assertEqual({}, new.status()["recovering"])
        self.assertFalse(list(new.home.rglob("recovering")))


def credentials(machine: Machine) -> AccountCredentials:
    """
    The account on a machine that does not run.
    """
    home = Home(machine.home)
    root = (machine.home / "root.der").read_bytes()
    return home.accounts(root)[0]


def stored(machine: Machine, kind: int, handle: Handle | None = None) -> list[bytes]:
    """
    The objects of a kind on a machine's disk.
    """
    connection = sqlite3.connect(f"file:{machine.home / 'blocks.sqlite'}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT handle, data FROM blocks WHERE kind = ?", (kind,)).fetchall()
        return [bytes(data) for found, data in rows if handle is None or bytes(found) == handle.packed()]
    finally:
        connection.close()


def heads(case: RecoveryCase, handle: Handle) -> set[int]:
    """
    The numbers of the versions under a handle.
    """
    return {
        read_signed_block(data).number
        for machine in (case.alice, case.carol, case.dave)
        for data in stored(machine, PUBLIC_KEY, handle)
    }


def shown(machine: Machine) -> Shown:
    """
    Everything that a mail program sees: by folder its UIDVALIDITY, and of each message, in order, UID, flags and date,
    and the octets.
    """
    found: Shown = {}
    with machine.logged_in() as client:
        lines = [bytes(line) for line in client.list()[1] if isinstance(line, bytes)]
        for line in lines:
            name = line.decode().rpartition(' "/" ')[2]
            client.select(name, readonly=True)
            validity = client.response("UIDVALIDITY")[1][0]
            messages: list[tuple[bytes, bytes]] = []
            if client.search(None, "ALL")[1][0]:
                answer = client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]
                messages = [(without_number(each[0]), each[1]) for each in answer if isinstance(each, tuple)]
            found[name.strip('"')] = (validity, messages)
    return found


def without_number(line: bytes) -> bytes:
    """
    What FETCH says of a message, its flags in order.
    """
    flags = re.search(rb"FLAGS \(([^)]*)\)", line)
    assert flags is not None
    ordered = b" ".join(sorted(flags[1].replace(b"\\Recent", b"").split()))
    return line.partition(b"(")[2].replace(flags[1], ordered)
