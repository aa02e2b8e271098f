"""
Mail from the Internet (POST, section 5): from a message that a gateway has examined to notifications.

As L{post.mail.submission}, without an account: nobody outside has a key, so the gateway's node signs, and recipients
see that it did.  Returning from L{Inbound.accept} is the C{250} of promise 1.  A notification is named by a MAC over
the message, its envelope sender and its recipient, under the secret that the organisation shares: the sender's server
that did not see the C{250} tries again, perhaps at another gateway, and doubles nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.crypto.documents import Policy
from post.crypto.names import canonical, split
from post.hashes import Purpose, keyed
from post.ids import AccountId
from post.mail.expansion import Expansion, Target
from post.mail.headers import field
from post.mail.interfaces import DirectoryUnavailable, IInbound, MessageTooLarge, Octets
from post.mail.letter import Letter, LetterBox
from post.mail.mime import HEADER_LIMIT, header_end
from post.mail.notice import APPLICATION, SUBJECT_LIMIT, TRACE_LIMIT, MailNotice
from post.mail.parts import whole_hash
from post.mail.sameness import Sameness
from post.messaging.dispatch import Dispatch
from post.messaging.notification import Notification
from post.tasks import gather
from post.wire import pack

NOTICES_LIMIT = 256
"""Notifications on their way at once: a list has hundreds of members, and whoever keeps too much at once seems not to
answer."""
POSTMASTER = "postmaster"
"""Exists everywhere, in any case of letters (RFC 5321, 4.5.1)."""


@implementer(IInbound)
class Inbound:
    """
    Takes mail for everybody in the domain.
    """

    log = Logger()

    def __init__(
        self,
        letters: LetterBox,
        dispatch: Dispatch,
        expansion: Expansion,
        policy: Policy,
        secret: bytes,
        clock: IReactorTime,
    ) -> None:
        """
        @param secret: what all gateways share, and nobody outside knows.
        """
        self._letters = letters
        self._dispatch = dispatch
        self._expansion = expansion
        self._sameness = Sameness(clock)
        self._notices = DeferredSemaphore(NOTICES_LIMIT)
        self._secret = secret
        self._clock = clock
        self.domain = policy.domain
        self.size_limit = policy.size_limit
        self.postmaster = ""

    async def check_recipient(self, address: str) -> None:
        await self._expand([address])

    async def _expand(self, addresses: Sequence[str]) -> Sequence[Target]:
        """
        Whom it goes to; a list takes mail from outside only if anyone may write to it.
        """
        meant = {(self.postmaster if self._is_postmaster(address) else address): address for address in addresses}
        return [
            replace(target, address=meant.get(target.address, target.address))
            for target in await self._expansion.expand(None, list(meant))
        ]

    async def _receives(self, target: Target) -> bool:
        await self._notices.acquire()
        try:
            if await self._expansion.receives(target):
                return True
        finally:
            self._notices.release()
        self.log.info("a member of a mailing list cannot be notified: {account}", account=target.account)
        return False

    def _is_postmaster(self, address: str) -> bool:
        if not self.postmaster or not address.lower().startswith(POSTMASTER):
            return False
        try:
            return address.lower() == POSTMASTER or split(canonical(address)) == (POSTMASTER, self.domain)
        except ValueError:
            return False

    async def accept(
        self, sender: str, recipients: Sequence[str], message: Octets, trace: bytes, junk: bool = False
    ) -> str:
        if len(message) > self.size_limit:
            raise MessageTooLarge(f"{len(message)} octets")
        end = header_end(message)
        if end > HEADER_LIMIT:
            raise MessageTooLarge(f"a header of {end} octets or more")
        expanded = await self._expand(recipients)
        receiving = await gather(self._receives(target) for target in expanded)
        targets = [target for target, receives in zip(expanded, receiving, strict=True) if receives]
        if not targets:
            raise DirectoryUnavailable("a list of people of whom none can be reached")
        content = self._sameness.identified(whole_hash(message), bytes(message[:end]))
        letter = await self._letters.store(message)
        notices = [
            self._notify(
                target.account, self._notice(sender, target.address, letter, target.header + trace, junk), content
            )
            for target in targets
        ]
        await gather(notices)
        return content[:8].hex()

    def _notice(self, sender: str, recipient: str, letter: Letter, trace: bytes, junk: bool) -> MailNotice:
        now_ms = int(self._clock.seconds() * 1000)
        subject = (field(letter.header, b"subject") or b"").decode("utf-8", "replace")[:SUBJECT_LIMIT]
        return MailNotice(
            1, sender[:320], recipient[:320], subject, now_ms, letter.size, letter.reference, trace[:TRACE_LIMIT], junk
        )

    async def _notify(self, account: AccountId, notice: MailNotice, content: bytes) -> None:
        named = keyed(
            self._secret, Purpose.NOTIFICATION_ID, b"outside", account.packed(), notice.sender.encode(), content
        )
        now = int(self._clock.seconds())
        notification = Notification(1, named, account, now, APPLICATION, pack(notice))
        await self._notices.acquire()
        try:
            outcome = await self._dispatch.notify(None, notification)
        finally:
            self._notices.release()
        self.log.debug(
            "notification {id} from outside: {how}",
            id=named[:4].hex(),
            how="delivered" if outcome.delivered else f"on {outcome.copies} nodes",
        )
