"""
Sending mail (POST, sections 4.2 and 4.3): from a submitted message to stored parts, notifications, and a copy in Sent.

Returning from L{Submission.submit} is the C{250} of promise 1: the message's blocks are on k nodes; for each recipient
there is a receipt or a pending notification on k nodes; and the record that files the sender's copy is on k nodes.
Everything is named by MACs over the message, so when the reply is lost and the mail program sends the same again, it
arrives once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.crypto.documents import Policy
from post.crypto.names import canonical, split
from post.hashes import Purpose, keyed
from post.ids import AccountId
from post.mail.authorship import is_authored
from post.mail.expansion import Expansion, Target
from post.mail.headers import addresses, all_fields, field
from post.mail.interfaces import (
    AuthorRefused,
    ISubmission,
    MessageTooLarge,
    Octets,
    PuzzleTooHard,
    SenderRefused,
    SenderRevoked,
)
from post.mail.journeys import Journey
from post.mail.letter import Letter, LetterBox
from post.mail.mailbox import Mailbox
from post.mail.mime import HEADER_LIMIT, header_end
from post.mail.notice import APPLICATION, SUBJECT_LIMIT, TRACE_LIMIT, MailNotice
from post.mail.outbox import Outbox
from post.mail.parts import blind_fields, fingerprint, whole_hash
from post.mail.puzzling import Allowance, Solver
from post.mail.records import Acquainted, Passage, Standing
from post.mail.sameness import Sameness
from post.mail.tracking import Tracking
from post.messaging.account import Account
from post.messaging.dispatch import Dispatch
from post.tasks import gather
from post.wire import pack

NOTICES_LIMIT = 64
"""Notifications of this account on their way at once: a list has hundreds of members."""


def _domain(address: str) -> str:
    try:
        return split(canonical(address))[1]
    except ValueError:
        return ""


def _is_refused(passage: Passage) -> bool:
    """
    Whether nothing waits anywhere: the sender is to be told at once.
    """
    return passage.standing == Standing.WAITING and passage.handle is None


@implementer(ISubmission)
class Submission:
    """
    Takes mail from one account.
    """

    log = Logger()

    def __init__(
        self,
        account: Account,
        mailbox: Mailbox,
        letters: LetterBox,
        dispatch: Dispatch,
        expansion: Expansion,
        policy: Policy,
        clock: IReactorTime,
        tracking: Tracking,
        solver: Solver,
        outbox: Outbox | None = None,
    ) -> None:
        self._account = account
        self._mailbox = mailbox
        self._letters = letters
        self._dispatch = dispatch
        self._expansion = expansion
        self._notices = DeferredSemaphore(NOTICES_LIMIT)
        self._sameness = Sameness(clock)
        self._policy = policy
        self._clock = clock
        self._tracking = tracking
        self._solver = solver
        self._outbox = outbox
        self._own = canonical(account.address)
        self.size_limit = policy.size_limit
        self.closed = ""
        """Why this account may send nothing any more, if that is so: everybody would refuse what it signs."""

    def use(self, policy: Policy) -> None:
        """
        Take mail by a newer policy from now on.
        """
        self._policy, self.size_limit = policy, policy.size_limit

    def check_sender(self, address: str) -> None:
        if self.closed:
            raise SenderRevoked(self.closed)
        if address and not self._is_own(address):
            raise SenderRefused(address)

    def _check_author(self, header: bytes) -> None:
        """
        From may not name somebody else of our domain, unless the header says that we sent it for them (RFC 5322, 3.6.2)
        or again (3.6.6).  The recipient's node does not rely on this: see L{post.mail.arrival}.

        @raise SenderRefused: if it does.
        """
        named = [address for value in all_fields(header, b"from") for address in addresses(value)]
        senders = [
            address
            for name in (b"sender", b"resent-from", b"resent-sender")
            for value in all_fields(header, name)
            for address in addresses(value)
        ]
        if any(self._is_own(address) for address in senders):
            return
        for address in named:
            if not self._is_own(address) and _domain(address) == self._policy.domain:
                raise SenderRefused(f"From is {address}")

    def _check_outside(self, header: bytes, recipients: Sequence[str]) -> None:
        """
        @raise AuthorRefused: if From is not ours, and ours alone: outside nobody sees who really sent it.
        @raise RecipientOutside, RecipientUnknown: as L{Outbox.check}.
        """
        assert self._outbox is not None
        if not is_authored(header, self._account.address):
            raise AuthorRefused("mail for outside with another From")
        for recipient in recipients:
            self._outbox.check(recipient)

    def _is_own(self, address: str) -> bool:
        try:
            return canonical(address) == self._own
        except ValueError:
            return False

    async def check_recipient(self, address: str) -> None:
        if self._outbox is not None and self._is_outside(address):
            self._outbox.check(address)
            return
        for target in await self._expansion.expand(self._account.id, [address]):
            if not target.header:
                await self._solver.demanded(target.account)

    def _is_outside(self, address: str) -> bool:
        domain = _domain(address)
        return domain not in ("", self._policy.domain)

    async def submit(self, sender: str, recipients: Sequence[str], message: Octets, trace: bytes) -> str:
        if len(message) > self.size_limit:
            raise MessageTooLarge(f"{len(message)} octets")
        self.check_sender(sender)
        header = header_end(message)
        if header > HEADER_LIMIT:
            raise MessageTooLarge(f"a header of {header} octets or more")
        self._check_author(bytes(message[:header]))
        self._tracking.check_room()
        outside = [each for each in recipients if self._outbox is not None and self._is_outside(each)]
        if outside:
            self._check_outside(bytes(message[:header]), outside)
        inside = [each for each in recipients if each not in outside]
        targets = await self._expansion.expand(self._account.id, inside)
        content = self._sameness.identified(whole_hash(message), bytes(message[:header]))
        # Whether it is too much for those who are addressed is known before anything is done.
        allowance = Allowance()
        for target in targets:
            if not target.header:
                await self._puzzle(target, allowance)
        letter = await self._letters.store(message)
        # What Bcc says is for nobody but the sender, whose own copy has it.
        shown = await self._letters.without(letter, blind_fields(bytes(message[:header])))
        notices = [
            self._notify(target, self._notice(sender, target.address, shown, target.header, trace), content, allowance)
            for target in targets
        ]
        key = keyed(self._account.naming, Purpose.NOTIFICATION_ID, b"sent", content)[:16]
        filing = self._file_sent(key, letter, message)
        done = await gather([*notices, self._send_out(sender, outside, shown, content), filing])
        await self._acquaint(target.account for target in targets if not target.header)
        passages = [passage for each in done for passage in each]
        await self._tracking.note(key, sender, letter, passages)
        await self._tracking.refuse(key, [each.address for each in passages if _is_refused(each)])
        return content[:8].hex()

    def sent(self) -> Sequence[Journey]:
        return self._tracking.sent()

    async def _acquaint(self, accounts: Iterable[AccountId]) -> None:
        """
        Whom we have written to is no stranger when they answer.
        """
        known = self._mailbox.state.preferences.written_to
        await self._mailbox.commit(Acquainted(account, True) for account in accounts if account not in known)

    def _notice(self, sender: str, recipient: str, letter: Letter, header: bytes, trace: bytes) -> MailNotice:
        now_ms = int(self._clock.seconds() * 1000)
        subject = (field(letter.header, b"subject") or b"").decode("utf-8", "replace")[:SUBJECT_LIMIT]
        # What a list is known by counts more than the way that the message has come.
        lines = header + trace if len(header + trace) <= TRACE_LIMIT else header or trace[:TRACE_LIMIT]
        return MailNotice(1, sender[:320], recipient[:320], subject, now_ms, letter.size, letter.reference, lines)

    async def _puzzle(self, target: Target, allowance: Allowance) -> int:
        """
        How many bits the puzzle has that C{target} demands of us.  Whoever has written to us knows us; and for members
        of a list is done what is not too much: it is their list.

        @raise PuzzleTooHard: if it is too much for one who is addressed themselves.
        """
        if target.account in allowance.granted:
            return allowance.granted[target.account]
        if target.account == self._account.id or target.account in self._mailbox.state.preferences.heard_of:
            return 0
        try:
            return allowance.take(target.account, await self._solver.demanded(target.account))
        except PuzzleTooHard:
            if not target.header:
                raise
            return 0

    async def _notify(
        self, target: Target, notice: MailNotice, content: bytes, allowance: Allowance
    ) -> Sequence[Passage]:
        person = target.person[:320]
        await self._notices.acquire()
        try:
            if not await self._expansion.receives(target):
                now = int(self._clock.seconds())
                return (Passage(person, Standing.WAITING, now, now, 0),)
            named = self._account.notification_id(APPLICATION, content, target.account)
            bits = await self._puzzle(target, allowance)
            notice = replace(notice, solution=await self._solver.solve(named, target.account, bits))
            notification = self._account.notification(APPLICATION, content, target.account, pack(notice))
            outcome = await self._dispatch.notify(self._account.signer, notification)
        finally:
            self._notices.release()
        self.log.debug(
            "notification {id}: {how}",
            id=notification.id[:4].hex(),
            how="delivered" if outcome.delivered else f"on {outcome.copies} nodes",
        )
        if outcome.delivered:
            return (Passage(person, Standing.DELIVERED, outcome.at, outcome.expires, outcome.copies),)
        now = int(self._clock.seconds())
        return (Passage(person, Standing.WAITING, now, outcome.expires, outcome.copies, outcome.handle),)

    async def _send_out(
        self, sender: str, recipients: Sequence[str], letter: Letter, content: bytes
    ) -> Sequence[Passage]:
        return await self._outbox.send(sender, recipients, letter, content) if self._outbox is not None else ()

    async def _file_sent(self, key: bytes, letter: Letter, message: Octets) -> Sequence[Passage]:
        await self._mailbox.file_sent(key, letter, fingerprint(message), self._tracking.take_fresh())
        return ()
