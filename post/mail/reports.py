"""
Telling a member what became of their mail for outside (RFC 3464), through the ring.

A report is a notification like one of mail from outside, signed by the gateway's node.  Its id follows from the entry
and from the recipients that it is about: however many gateways tell of it, and however often, it arrives once.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from post.errors import NotFound
from post.hashes import Purpose, keyed
from post.mail.headers import field
from post.mail.interfaces import RecipientUnknown
from post.mail.letter import LetterBox
from post.mail.notice import REPORT, SUBJECT_LIMIT, MailNotice
from post.mail.recipients import Recipients
from post.mail.relay import Outcome, Told, Verdict
from post.mail.report import Action, Fate, Report, write_report
from post.messaging.dispatch import Dispatch
from post.messaging.notification import Notification
from post.wire import pack

EXPIRED = "Nobody took it in all the time that it was tried."
DELAYED = "It could not be delivered yet."
REFUSED = "It was refused."


class Reports:
    """
    Tells senders.
    """

    def __init__(
        self,
        letters: LetterBox,
        dispatch: Dispatch,
        recipients: Recipients,
        domain: str,
        secret: bytes,
        clock: IReactorTime,
    ) -> None:
        """
        @param secret: what all gateways share.
        """
        self._letters = letters
        self._dispatch = dispatch
        self._recipients = recipients
        self._domain = domain
        self._secret = secret
        self._clock = clock

    async def tell(self, told: Told) -> None:
        """
        Tell the sender, once.  Returning means promise 1.

        @raise NotFound: if there is no such sender any longer.
        @raise PostError: if it cannot be told now.
        """
        try:
            account = await self._recipients.find(told.outgoing.author)
        except RecipientUnknown as error:
            raise NotFound(str(error)) from None
        about = [b"failed" if told.failed else b"delayed", *sorted(each.recipient.encode() for each in told.verdicts)]
        # Of a delay there is one report, whomever it is about by then.
        about = about if told.failed else about[:1]
        named = keyed(self._secret, Purpose.NOTIFICATION_ID, b"report", account.packed(), told.handle.packed(), *about)
        message = write_report(
            Report(
                named[:16].hex(),
                self._domain,
                told.outgoing.author,
                told.at,
                told.outgoing.accepted,
                tuple(self._fate(each, told) for each in told.verdicts),
                told.header,
                told.outgoing.size,
            )
        )
        letter = await self._letters.store(message)
        now = int(self._clock.seconds())
        subject = (field(message, b"subject") or b"").decode("utf-8", "replace")[:SUBJECT_LIMIT]
        notice = MailNotice(1, "", told.outgoing.author, subject, now * 1000, letter.size, letter.reference, b"")
        await self._dispatch.notify(None, Notification(1, named, account, now, REPORT, pack(notice)))

    @staticmethod
    def _fate(verdict: Verdict, told: Told) -> Fate:
        status = verdict.status
        if told.failed:
            words = REFUSED if verdict.outcome is Outcome.REFUSED else EXPIRED
            status = status if verdict.outcome is Outcome.REFUSED else "4.4.7"
        else:
            words = DELAYED
        diagnostic, remote = (verdict.words, verdict.remote) if verdict.remote else ("", "")
        if not verdict.remote and verdict.words:
            words = verdict.words
        action = Action.FAILED if told.failed else Action.DELAYED
        expired = verdict.outcome is not Outcome.REFUSED
        return Fate(
            verdict.recipient,
            action,
            status,
            words,
            diagnostic,
            remote=remote,
            tried=told.at,
            until=told.until if expired else None,
        )
