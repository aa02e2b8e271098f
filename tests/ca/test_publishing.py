"""
Tests for L{post.ca.publishing} and L{post.ca.issuance}: the authority's public log.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import Authority
from post.ca.issuance import IssuanceLog
from post.ca.questions import LOG, VERSION, AskLog, Page, read, sign_question
from post.crypto.certificates import make_request
from post.crypto.entropy import SeededEntropy
from post.crypto.issuance import Entry, certificate_hash, key_hash, link, open_head
from post.crypto.keys import SigningKey
from post.crypto.recovery import RecoveryKeys
from post.errors import ConfigError, PeerError, Refused
from post.files import lock
from tests.ca.members import Newcomer, Office
from tests.crypto.issued import NOW
from tests.scratch import scratch

KEY = SigningKey.generate(SeededEntropy(b"key"))
REQUEST = make_request(KEY)


class PublicLogTests(SynchronousTestCase):
    """
    What an authority writes down in public.
    """

    def setUp(self) -> None:
        self.path = scratch(self) / "authority"
        self.authority = Authority.create(self.path, "example.org", SeededEntropy(b"authority"), NOW)

    def reopen(self) -> Authority:
        """
        The same, after a restart.
        """
        return Authority.open(self.path, SeededEntropy(b"again"))

    def entries(self, authority: Authority | None = None) -> list[Entry]:
        """
        Those that a head names.
        """
        used = authority or self.authority
        head = open_head(used.public_log.head(NOW), used.root, NOW)
        log = used.public_log.log
        self.assertEqual((len(log), log.link(len(log))), (head.length, head.link))
        return log.entries

    def test_everything(self) -> None:
        """
        Certificates of nodes and people and what is revoked are in it, in order, and the head is signed.
        """
        self.assertEqual([], self.entries())
        node, _ = self.authority.issue_node(REQUEST, "bob@example.org", NOW)
        person, _ = self.authority.issue_user(REQUEST, "bob@example.org", NOW)
        self.authority.revoke("identity", "bob@example.org", NOW + 5)
        one, two, three = self.entries()
        self.assertEqual(("node", certificate_hash(node), key_hash(KEY.public)), (one.kind, one.certificate, one.key))
        self.assertEqual(("identity", certificate_hash(person)), (two.kind, two.certificate))
        self.assertEqual(("revocation", "bob@example.org", NOW + 5), (three.kind, three.name, three.at))
        self.assertEqual(key_hash(KEY.public), three.key)
        self.assertEqual([one, two, three], self.entries(self.reopen()))

    def test_first(self) -> None:
        """
        What cannot be written into the log is not issued: neither the records nor the directory name it.
        """
        self.entries()
        shutil.rmtree(self.path / "issuance")
        (self.path / "issuance").write_bytes(b"in the way")
        self.assertRaises((OSError, ConfigError), self.authority.issue_user, REQUEST, "bob@example.org", NOW)
        self.assertIsNone(self.authority.newest("identity", "bob@example.org"))
        self.assertIsNone(self.authority.members(NOW).account("bob@example.org"))

    def test_cut_short(self) -> None:
        """
        A crash after the entry and before the records leaves an entry for what nobody was given; asked again, another
        is issued and entered.
        """
        self.authority.issue_user(REQUEST, "bob@example.org", NOW)
        self.entries()
        (self.path / "issued.jsonl").write_bytes(b'{"kind": "iden')  # The records lost what the log has.
        self.reopen().issue_user(REQUEST, "bob@example.org", NOW + 1)
        one, two = self.entries(self.reopen())
        self.assertEqual((one.name, one.key, False), (two.name, two.key, two.late))

    def test_torn(self) -> None:
        """
        An entry that a crash has cut off, and no head names, makes room for the next.
        """
        self.authority.issue_user(REQUEST, "bob@example.org", NOW)
        self.entries()
        with (self.path / "issuance" / "entries").open("ab") as file:
            file.write(b"\0\0\0\x40half of it")
        again = self.reopen()
        again.issue_user(REQUEST, "carol@example.org", NOW)
        self.assertEqual(["bob@example.org", "carol@example.org"], [entry.name for entry in self.entries(again)])

    def test_before(self) -> None:
        """
        An authority that was made before there was a log gets one from its records, once, and it says so.
        """
        self.authority.issue_node(REQUEST, "bob@example.org", NOW)
        self.authority.issue_user(REQUEST, "bob@example.org", NOW + 1)
        self.authority.revoke("identity", "bob@example.org", NOW + 2)
        shutil.rmtree(self.path / "issuance")
        again = self.reopen()
        again.issue_user(make_request(SigningKey.generate(SeededEntropy(b"2"))), "carol@example.org", NOW + 3)
        found = [(entry.kind, entry.at, entry.late) for entry in self.entries(again)]
        late = [("node", NOW, True), ("identity", NOW + 1, True), ("revocation", NOW + 2, True)]
        self.assertEqual([*late, ("identity", NOW + 3, False)], found)
        self.assertEqual(4, len(self.entries(self.reopen())))

    def test_altered(self) -> None:
        """
        No second log is begun where entries that a head names are gone or others: one line says what to do, and
        nothing is issued.
        """
        self.authority.issue_user(REQUEST, "bob@example.org", NOW)
        self.authority.issue_user(REQUEST, "carol@example.org", NOW)
        self.entries()
        path = self.path / "issuance" / "entries"
        whole = path.read_bytes()
        for altered in (b"", whole[: len(whole) // 2], whole.replace(b"bob", b"rob"), b"\xff" + whole[1:]):
            path.write_bytes(altered)
            again = self.reopen()
            error = self.assertRaises(ConfigError, again.issue_user, REQUEST, "dave@example.org", NOW)
            self.assertIn("issuance/entries", str(error))
            self.assertRaises(ConfigError, again.public_log.head, NOW)
            self.assertEqual(altered, path.read_bytes())
        path.unlink()
        self.assertRaises(ConfigError, self.reopen().public_log.head, NOW)
        path.write_bytes(whole)
        self.reopen().public_log.head(NOW)
        (path.parent / "head").write_bytes(b"no head")
        self.assertRaises(ConfigError, self.reopen().public_log.head, NOW)

    def test_busy(self) -> None:
        """
        While another process issues something no head is signed; one that is there already is shown.
        """
        signed = self.authority.public_log.head(NOW)
        self.authority.issue_user(REQUEST, "bob@example.org", NOW)
        held = lock(self.path / "lock")
        self.assertRaises(ConfigError, self.authority.public_log.head, NOW)
        os.close(held)
        self.assertNotEqual(signed, self.authority.public_log.head(NOW))

    def test_other_process(self) -> None:
        """
        What a command issues is in the log that the running node serves.
        """
        self.entries()
        self.reopen().issue_user(REQUEST, "bob@example.org", NOW)
        self.assertEqual(["bob@example.org"], [entry.name for entry in self.entries()])


class PageTests(SynchronousTestCase):
    """
    The log, asked for by members.
    """

    def setUp(self) -> None:
        self.office = Office(scratch(self))
        self.bob = self.office.joined("bob")

    def page(self, start: int, asker: Newcomer | None = None) -> Page:
        """
        What is answered.
        """
        member = asker or self.bob
        asked = AskLog(VERSION, self.office.enrolment.door, NOW, start)
        return read(Page, self.office.enrolment.answer(LOG, sign_question(asked, member.key, member.chain), NOW))

    def test_pages(self) -> None:
        """
        Each answer's entries lead from where they begin to its own head, and it says how many there are in all.
        """
        self.office.joined("carol")
        whole = self.page(0)
        self.assertEqual((4, 4), (len(whole.entries), whole.length))
        rest = self.page(3)
        self.assertEqual((whole.entries[3:], whole.head, 4), (rest.entries, rest.head, rest.length))
        entries, signed, length = self.office.authority.public_log.page(1, 2, NOW)
        head = open_head(signed, self.office.authority.root, NOW)
        reached = bytes(32)
        for packed in (whole.entries[0], *entries):
            reached = link(reached, packed)
        self.assertEqual((3, reached, 4), (head.length, head.link, length))
        self.assertEqual((), self.page(400).entries)

    def test_strangers(self) -> None:
        """
        Only members are answered.
        """
        other = Office(scratch(self), b"other").joined("bob")
        self.assertRaises(PeerError, self.page, 0, other)

    def test_recovery(self) -> None:
        """
        A recovery code that is made known is in it; the same one again is not.
        """
        keys = RecoveryKeys(b"s" * 16, b"f" * 16)
        self.bob.entrust(self.office, keys)
        self.bob.entrust(self.office, keys)
        log = self.office.authority.public_log.log
        [entry] = [entry for entry in log.entries if entry.kind == "recovery"]
        self.assertEqual(("bob@example.org", key_hash(keys.claim.public)), (entry.name, entry.key))

    def test_rate(self) -> None:
        """
        Who asks without end is refused.
        """

        def ask() -> None:
            for _ in range(100):
                self.page(0)

        self.assertRaises(Refused, ask)


class CopyTests(SynchronousTestCase):
    """
    Tests of L{IssuanceLog}.
    """

    def test_nothing(self) -> None:
        """
        Where there is no log there are no entries, and no head.
        """
        log = IssuanceLog(Path(scratch(self)) / "issuance")
        log.refresh()
        self.assertEqual((0, b"", bytes(32), False), (len(log), log.head(), log.link(0), log.exists))
