"""
What a node says to its own account about mail that waits for somebody in the organisation, as L{post.mail.report}
writes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.names import canonical, split
from post.errors import PostError
from post.hashes import Purpose, keyed
from post.mail.journeys import Journey
from post.mail.letter import LetterBox
from post.mail.mailbox import Mailbox
from post.mail.mime import HEADER_LIMIT
from post.mail.records import AnyOperation, Passage, Standing
from post.mail.report import RECIPIENTS_LIMIT, Action, Fate, Report, write_report
from post.messaging.account import Account


def ended(passage: Passage, standing: Standing) -> Fate:
    """
    Its time is over, and it was not fetched, or nobody knows whether it was; or it could not even be kept.
    """
    if standing == Standing.EXPIRED:
        return Fate(
            passage.address,
            Action.FAILED,
            "5.4.7",
            "their computer was not there to fetch your message in all that time.",
            until=passage.expires,
        )
    if standing == Standing.REFUSED:
        return Fate(
            passage.address,
            Action.FAILED,
            "5.2.1",
            "they are on a mailing list to which you wrote, but their computer has never been there, or has been away"
            " for so long that nothing can be kept for it.",
        )
    return Fate(
        passage.address,
        Action.RELAYED,
        "2.4.7",
        "your message was kept for them, but whether they fetched it can no longer be found out: your own computer was"
        " away for too long, or too many others were.",
        until=passage.expires,
    )


def unheard(passage: Passage) -> Fate:
    """
    It was for outside, and no gateway has said what became of it.
    """
    return Fate(
        passage.address,
        Action.RELAYED,
        "2.4.7",
        "your message was kept for the gateways to the Internet, and none has said what became of it in all that time.",
        until=passage.expires,
    )


def delayed(passage: Passage, now: int) -> Fate:
    """
    It waits on.
    """
    return Fate(
        passage.address,
        Action.DELAYED,
        "4.4.7",
        "their computer has not been there yet to fetch your message.",
        tried=now,
        until=passage.expires,
    )


class Notices:
    """
    Files notices to one account.
    """

    log = Logger()

    def __init__(self, account: Account, mailbox: Mailbox, letters: LetterBox, clock: IReactorTime) -> None:
        self._account = account
        self._mailbox = mailbox
        self._letters = letters
        self._clock = clock

    async def tell(self, journey: Journey, kind: str, told: Sequence[Fate], also: Sequence[AnyOperation]) -> None:
        """
        File a notice of one C{kind} about C{told}, and let C{also}, which fits one record, take effect with it.
        Nothing is filed if some of them wait no longer by then.

        @raise PostError: if the ring does not keep it now; to be tried again, which doubles nothing.
        """
        if not journey.sender:
            # Nobody is told what became of a message from nobody (RFC 5321, section 4.5.5).
            await self._mailbox.keep(also)
            return
        key = self._key(journey, kind, told[0])
        letter = await self._letters.store(await self._report(journey, key, told[:RECIPIENTS_LIMIT]))
        now = self._mailbox.state.journeys.by_key.get(journey.key)
        waiting = {passage.address for passage in now.waiting()} if now is not None else set()
        if waiting.issuperset(fate.recipient for fate in told):
            await self._mailbox.file_notice(key[:16], letter, tuple(also))
            self.log.info("message {key}: its sender was told: {kind}", key=journey.key[:4].hex(), kind=kind)

    def _key(self, journey: Journey, kind: str, first: Fate) -> bytes:
        """
        The same on whatever machine the notice is made.
        """
        # The same bytes may be sent again later: that is another message, with another end.
        last = max(passage.expires for passage in journey.passages)
        parts = (b"notice", kind.encode(), journey.key, str(last).encode(), first.recipient.encode())
        return keyed(self._account.naming, Purpose.NOTIFICATION_ID, *parts)

    async def _report(self, journey: Journey, key: bytes, told: Sequence[Fate]) -> bytes:
        try:
            header = await self._letters.read(journey.message, 0, min(journey.size, HEADER_LIMIT))
        except PostError as error:
            self.log.info("a notice has no header: {error}", error=error)
            header = b""
        name, domain = key[:12].hex(), split(canonical(self._account.address))[1]
        now = int(self._clock.seconds())
        return write_report(Report(name, domain, journey.sender, now, journey.at, tuple(told), header, journey.size))
