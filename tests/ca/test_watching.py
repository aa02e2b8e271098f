"""
Tests for L{post.ca.watching}: a member's node reads the public log, and sees what it did not ask for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import Authority
from post.ca.enrolment import Enrolment
from post.ca.membership import Membership
from post.ca.questions import LOG, VERSION, Page, read
from post.ca.watching import OTHERS_LIMIT, PAGES, Watching, know
from post.crypto.certificates import make_request
from post.crypto.convergent import Convergence
from post.crypto.entropy import SeededEntropy
from post.crypto.issuance import Head, open_head, read_head, sign_head
from post.crypto.keys import SigningKey
from post.crypto.recovery import RecoveryKeys
from post.errors import PeerError, PostError, Refused
from post.health.facts import Issuance
from post.home import Home
from post.messaging.account import AccountCredentials
from post.messaging.sealed_copy import Deposit
from post.wire import RefusalCode, pack
from tests.ca.heads import FakeHeads
from tests.ca.members import Newcomer, Office, claim
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch

BOB = "bob@example.org"
OTHER = SigningKey.generate(SeededEntropy(b"somebody else"))


class WatchingCase(SynchronousTestCase):
    """
    Bob's node, and the authority.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.office = Office(self.directory)
        self.office.joined("alice")
        self.bob = Newcomer("bob")
        self.home = self.live(self.bob, "bob")
        self.now = NOW
        self.hurried = 0
        self.heads = FakeHeads()
        self.asked = 0
        self.watching = self.start()

    def live(self, member: Newcomer, name: str) -> Home:
        """
        The home of somebody who joins.
        """
        membership = Membership.from_bytes(member.join(self.office, self.office.code(f"{name}@example.org")).membership)
        home = Home(self.directory / name)
        shared = Convergence(1, bytes(32))
        home.create(member.key, member.chain, membership.root, shared, membership.policy, membership.directory)
        home.write_account(self.account(member, name))
        return home

    def account(self, member: Newcomer, name: str, deposit: Deposit | None = None) -> AccountCredentials:
        """
        Somebody's account.
        """
        account = self.office.authority.members(NOW).account(f"{name}@example.org")
        assert account is not None
        return AccountCredentials(
            f"{name}@example.org", account, member.person, member.person_chain, b"m" * 32, (), "", 0, (), deposit
        )

    def start(self) -> Watching:
        """
        The node's watch, after a (new) start.
        """

        def hurry() -> None:
            self.hurried += 1

        return Watching(
            self.home,
            self.office.authority.root,
            lambda: self.now,
            lambda: (self.bob.key, self.bob.chain),
            self.heads,  # type: ignore[arg-type]  # What is used of it.
            hurry,
        )

    async def ask(self, question: str, made: Callable[[bytes], bytes]) -> bytes:
        """
        The authority that is served in this process.
        """
        self.asked += 1
        self.assertEqual(LOG, question)
        return self.office.enrolment.answer(question, made(self.office.enrolment.door), self.now)

    def look(self) -> Issuance:
        """
        What there is to tell after a look.
        """
        self.successResultOf(Deferred.fromCoroutine(self.watching.look(self.ask)))
        found = self.watching.facts()
        assert found is not None
        return found

    def refused(self) -> PostError:
        """
        Why a look fails.
        """
        error = self.failureResultOf(Deferred.fromCoroutine(self.watching.look(self.ask)), PostError).value
        assert isinstance(error, PostError)
        return error

    def certify(self, address: str = BOB, key: SigningKey = OTHER) -> None:
        """
        The authority's operator certifies a key.
        """
        self.office.authority.issue_user(make_request(key), address, self.now)

    def unasked(self) -> list[tuple[str, str]]:
        """
        What is told of, by kind and name, after a look.
        """
        return [(each.kind, each.name) for each in self.look().unasked]


class WatchingTests(WatchingCase):
    """
    An honest log.
    """

    def test_well(self) -> None:
        """
        Where all is as it should be there is nothing to tell; the copy survives, and only what is new is fetched.
        """
        self.assertIsNone(self.watching.facts())
        self.assertEqual(Issuance(4, NOW), self.look())
        self.assertEqual([4], [head.length for head in self.heads.used])
        self.watching = self.start()
        self.assertEqual(Issuance(4, 0), self.watching.facts())
        self.office.joined("carol")
        self.assertEqual(6, self.look().length)

    def test_second_key(self) -> None:
        """
        A second key for bob is told of, once, in spite of its renewals, until it is revoked, or has ended.
        """
        self.look()
        self.certify("alice@example.org")
        self.assertEqual([], self.unasked())
        self.certify()
        self.certify()
        [told] = self.look().unasked
        self.assertEqual(("identity", BOB, NOW, 5), (told.kind, told.name, told.at, told.number))
        self.watching = self.start()
        [told] = self.look().unasked
        self.assertEqual(5, told.number)
        self.office.authority.revoke("identity", BOB, NOW, keeping=self.bob.person.public)
        self.assertEqual([], self.unasked())

    def test_ended(self) -> None:
        """
        A key whose certificate has ended does no harm any more.
        """
        self.office.authority.issue_user(make_request(OTHER), BOB, NOW, DAY)
        self.assertEqual([("identity", BOB)], self.unasked())
        self.now += 2 * DAY
        self.assertEqual([], self.unasked())

    def test_earlier_key(self) -> None:
        """
        A key that had bob's name before him, and still could be used, is told of too.
        """
        self.office.authority.issue_user(make_request(OTHER), "dave@example.org", NOW)
        dave = Newcomer("dave")
        dave.join(self.office, self.office.code("dave@example.org", replace=True))
        self.home.write_account(self.account(dave, "dave"))
        self.assertIn(("identity", "dave@example.org"), self.unasked())

    def test_machines(self) -> None:
        """
        A key in this node's place is told of, and another machine in bob's name that came after this one.
        """
        authority = self.office.authority
        authority.issue_node(make_request(OTHER), BOB, NOW, index=1)
        authority.issue_node(make_request(OTHER), "alice@example.org", NOW, index=1)
        place = authority.node_id(BOB, 1).hex()
        self.assertEqual([("node", place)], self.unasked())
        authority.issue_node(make_request(SigningKey.generate(SeededEntropy(b"3"))), BOB, NOW)
        self.assertEqual([("node", place), ("node", authority.node_id(BOB, 0).hex())], self.unasked())

    def test_known(self) -> None:
        """
        What its owner has said to know of is told of no more; another key is.
        """
        self.certify()
        self.look()
        know(self.home, self.watching.copy.entries[4])
        self.assertEqual([], self.unasked())
        self.certify(key=SigningKey.generate(SeededEntropy(b"4")))
        self.assertEqual([("identity", BOB)], self.unasked())

    def test_recovery(self) -> None:
        """
        A recovery code that is not this machine's is told of; one that is about to take its place is waited for.
        """
        mine, other = (RecoveryKeys(letter * 16, b"f" * 16) for letter in (b"m", b"o"))
        self.home.write_account(self.account(self.bob, "bob", Deposit(1, b"", mine.claim.public, b"s" * 32)))
        self.bob.entrust(self.office, other)
        self.assertEqual([], self.unasked())
        self.home.write_account(self.account(self.bob, "bob", Deposit(1, b"", mine.claim.public, b"")))
        self.assertEqual([("recovery", BOB)], self.unasked())
        self.bob.entrust(self.office, mine)
        self.assertEqual([], self.unasked())

    def test_recovered(self) -> None:
        """
        A machine that has taken the place of a lost one has nothing to tell: its predecessor's keys are revoked.
        """
        lost, made = (RecoveryKeys(letter * 16, b"f" * 16) for letter in (b"l", b"m"))
        self.bob.entrust(self.office, lost)
        replaced = Newcomer("bob's new machine")
        claim(self.office, lost, replaced)
        self.bob = replaced
        self.home.write_account(self.account(self.bob, "bob", Deposit(1, b"", made.claim.public, b"s" * 32)))
        self.watching = self.start()
        self.assertEqual(((), ()), (self.look().unasked, self.look().unlogged))
        self.bob.entrust(self.office, made)
        self.home.write_account(self.account(self.bob, "bob", Deposit(1, b"", made.claim.public, b"")))
        self.assertEqual((), self.look().unasked)

    def test_unlogged(self) -> None:
        """
        Our own certificate that is not in the log is told of.
        """
        before = self.fork_before_renewal()
        self.now += 60 * DAY
        self.bob.chain = self.bob.renew(self.office, self.now)
        self.assertEqual((), self.look().unlogged)
        shutil.rmtree(self.home.path / "issuance")
        self.office.enrolment = Enrolment(before, self.now)
        self.watching = self.start()
        self.assertEqual(("",), self.look().unlogged)

    def fork_before_renewal(self) -> Authority:
        """
        The authority as it is now, in another directory.
        """
        self.office.authority.public_log.head(NOW)
        shutil.copytree(self.office.authority.path, self.directory / "before")
        return Authority.open(self.directory / "before", SeededEntropy(b"before"))

    def test_none(self) -> None:
        """
        An authority of before there was a log is no trouble; one that had a log and says it has none is.
        """

        async def no(question: str, made: Callable[[bytes], bytes]) -> bytes:
            raise Refused(RefusalCode.UNSUPPORTED, "this authority does not know that question")

        self.successResultOf(Deferred.fromCoroutine(self.watching.look(no)))
        self.assertIsNone(self.watching.facts())
        self.look()
        self.failureResultOf(Deferred.fromCoroutine(self.watching.look(no)), Refused)

    def test_long(self) -> None:
        """
        Of a long log a few pages are fetched at a time, each verified, and the rest soon after.
        """
        for number in range(10):
            self.certify(f"person{number}@example.org")
        public = self.office.authority.public_log

        async def answer(question: str, made: Callable[[bytes], bytes]) -> bytes:
            entries, head, length = public.page(len(self.watching.copy), 2, NOW)
            self.asked += 1
            return pack(Page(VERSION, head, entries, length))

        self.successResultOf(Deferred.fromCoroutine(self.watching.look(answer)))
        self.assertEqual((PAGES, 2 * PAGES, 1), (self.asked, len(self.watching.copy), self.hurried))
        for _ in range(2):
            self.successResultOf(Deferred.fromCoroutine(self.watching.look(answer)))
        self.assertEqual(Issuance(14, NOW), self.watching.facts())


class SplitTests(WatchingCase):
    """
    An authority, or whoever has its key, that shows two logs.
    """

    def fork(self, *more: str) -> Authority:
        """
        The authority as it is now, in another directory, where it goes another way.
        """
        self.office.authority.public_log.head(NOW)
        path = self.directory / f"fork{len(list(self.directory.iterdir()))}"
        shutil.copytree(self.office.authority.path, path)
        other = Authority.open(path, SeededEntropy(b"fork"))
        for name in more:
            other.issue_user(make_request(OTHER), f"{name}@example.org", NOW)
        return other

    def follow(self, authority: Authority) -> None:
        """
        Let bob's node be answered by another.
        """
        self.office.authority = authority
        self.office.enrolment = Enrolment(authority, NOW)

    def test_same_length(self) -> None:
        """
        A head of the same length that differs is kept, told of, and shown to the others together with ours; also after
        a restart.
        """
        other = self.fork("mallory")
        self.office.joined("carol")
        self.look()
        before = other.public_log.head(NOW)
        self.heads.take(before)
        self.heads.take(before)
        self.assertEqual([(before, self.watching.copy.head())], self.heads.shown)
        found = self.watching.facts()
        assert found is not None
        self.assertEqual(1, found.split)
        self.heads = FakeHeads()
        self.watching = self.start()
        self.assertEqual(1, self.look().split)

    def test_longer(self) -> None:
        """
        A longer head is looked into at once; what the authority then does not show has been kept from us.
        """
        other = self.fork("mallory", "mallet")
        self.look()
        self.heads.take(other.public_log.head(NOW))
        self.assertEqual((1, 0), (self.hurried, len(self.heads.shown)))
        self.assertEqual((1, 1), (self.look().split, len(self.heads.shown)))
        self.follow(other)  # It was slow, and not dishonest.
        self.assertEqual(0, self.look().split)

    def test_same(self) -> None:
        """
        Heads of our own log, old ones and newer ones, are no trouble.
        """
        old = self.office.authority.public_log.head(NOW)
        self.look()
        self.office.joined("carol")
        self.heads.take(old)
        self.heads.take(self.office.authority.public_log.head(NOW))
        self.assertEqual((Issuance(6, NOW), []), (self.look(), self.heads.shown))

    def test_rewritten(self) -> None:
        """
        Answers that are no continuation of our copy are refused, and kept; the copy stays as it was.
        """
        other = self.fork("mallory", "mallet")
        self.office.joined("carol")
        self.look()
        self.office.joined("dave")
        self.look()
        before = self.watching.copy.head()
        self.follow(other)
        self.assertIn("another public log than before", str(self.refused()))
        self.assertEqual((before, 8), (self.watching.copy.head(), len(self.watching.copy)))
        found = self.watching.facts()
        assert found is not None
        self.assertEqual(1, found.split)

    def test_put_back(self) -> None:
        """
        An authority that is put back from a backup goes on with the log that a member has, and nobody is alarmed.
        """
        backup = self.fork()
        self.office.joined("carol")
        self.look()
        for name in ("entries", "head"):
            shutil.copyfile(self.home.path / "issuance" / name, backup.path / "issuance" / name)
        self.follow(Authority.open(backup.path, SeededEntropy(b"put back")))
        self.office.joined("dave")
        self.assertEqual(Issuance(8, NOW), self.look())

    def test_truncated(self) -> None:
        """
        A log that has become shorter is told of.
        """
        short = self.fork()
        self.office.joined("carol")
        self.assertFalse(self.look().shorter)
        self.follow(short)
        self.assertEqual((True, 6), (self.look().shorter, self.watching.copy.entries[-1].number + 1))

    def test_hostile_pages(self) -> None:
        """
        Entries that do not lead to the head, are not there, or are none, are refused and not written.
        """
        whole = read(Page, self.office.enrolment.answer(LOG, self.watching._made(self.office.enrolment.door), NOW))
        entries = whole.entries
        for page in (
            msgspec.structs.replace(whole, entries=entries[:-1]),
            msgspec.structs.replace(whole, entries=(*entries[:-1], entries[0])),
            msgspec.structs.replace(whole, entries=(*entries[:-1], b"\xc0")),
            msgspec.structs.replace(whole, entries=(*entries[:-1], entries[-1].replace(b"bob", b"rob"))),
            msgspec.structs.replace(whole, entries=()),
            msgspec.structs.replace(whole, head=b"no head"),
        ):

            async def answer(question: str, made: Callable[[bytes], bytes], page: Page = page) -> bytes:
                return pack(page)

            self.failureResultOf(Deferred.fromCoroutine(self.watching.look(answer)), PeerError)
            self.assertEqual((0, b""), (len(self.watching.copy), self.watching.copy.head()))
        self.assertEqual(4, self.look().length)

    def test_again(self) -> None:
        """
        The same head, signed at another time, is no other.
        """
        self.look()
        authority = self.office.authority
        for at in range(5):
            self.heads.take(
                sign_head(Head(1, "example.org", 2, bytes(32), NOW + at), authority.issuing, authority._key)
            )
        self.assertEqual(1, len(self.heads.shown))

    def test_bounded(self) -> None:
        """
        However many heads there are that are not of our log, few are kept.
        """
        self.look()
        authority = self.office.authority
        for number in range(2 * OTHERS_LIMIT):
            head = Head(1, "example.org", 2, bytes([number]) * 32, NOW)
            self.heads.take(sign_head(head, authority.issuing, authority._key))
        found = self.watching.facts()
        assert found is not None
        self.assertEqual(OTHERS_LIMIT, found.split)
        self.assertEqual(OTHERS_LIMIT, len(self.heads.shown))

    def test_damaged(self) -> None:
        """
        A damaged copy is put aside, and fetched anew.
        """
        self.look()
        path: Path = self.home.path / "issuance" / "entries"
        path.write_bytes(path.read_bytes().replace(b"bob", b"rob"))
        self.watching = self.start()
        self.assertEqual(1, len(list(self.home.path.glob("issuance.damaged.*"))))
        self.flushLoggedErrors()
        self.assertEqual(4, self.look().length)
        head = open_head(self.watching.copy.head(), self.office.authority.root, NOW)
        self.assertEqual(head, read_head(self.watching.copy.head()))
