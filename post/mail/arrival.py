"""
Receiving mail (POST, section 4.3): what happens to an authentic notification before it is in the Inbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger

from post.crypto.certificates import IdentityCertificate, NodeCertificate
from post.crypto.keys import SigningKey
from post.crypto.names import canonical, split
from post.crypto.sealing import SealingKey
from post.errors import PeerError
from post.ids import AccountId
from post.mail.headers import addresses, all_fields, claims_results_of, field, results_host, spans
from post.mail.judging import ACCEPTED, decide, decide_stranger
from post.mail.letter import Letter, LetterBox
from post.mail.mailbox import Mailbox
from post.mail.notice import APPLICATION, REPORT, MailNotice
from post.mail.rules import Action, Described, Verdict
from post.messaging.account import Account, entry_key, outside_key
from post.messaging.notification import Notification
from post.messaging.reception import Arrival
from post.wire import unpack

VERIFIED = "$Verified"
UNVERIFIED = "$Unverified"
ORIGIN = b"X-POST-Origin: internet; not verified by POST\r\n"
ORIGIN_FIELD = b"x-post-origin"
JUNK = "$Junk"
"""What mail programs understand as unwanted (RFC 5788's registry)."""
_TRACE = (b"Return-Path", b"Received", b"List-Id", b"List-Post")
"""Header fields that a sender's node may put before a message."""
FETCHES_LIMIT = 16
"""Messages being fetched at once; each holds a block of up to 256 KiB."""
RESULTS_LIMIT = 100
"""Made-up results in one header; nobody has as many by accident."""


class MailArrival:
    """
    Files what comes for one account.  (A L{post.messaging.reception.Inbox}.)
    """

    log = Logger()

    def __init__(
        self,
        account: Account,
        mailbox: Mailbox,
        letters: LetterBox,
        filed: Callable[[MailNotice], None] | None = None,
        others: Callable[[], Mapping[str, frozenset[str]]] = dict,
    ) -> None:
        """
        @param filed: told of each message that has been filed.
        @param others: the block lists that this person follows, by the address of whoever publishes them.
        """
        self._filed = filed
        self._others = others
        self._account = account
        self._mailbox = mailbox
        self._letters = letters
        self._fetches = DeferredSemaphore(FETCHES_LIMIT)

    @property
    def key(self) -> SigningKey:
        """
        What signs receipts.
        """
        return self._account.key

    @property
    def chain(self) -> tuple[bytes, ...]:
        """
        The certificates of that key: those of now, since they are renewed.
        """
        return self._account.chain

    @property
    def sealing_keys(self) -> Sequence[SealingKey]:
        """
        The keys to which others may have sealed.
        """
        return self._account.sealing_keys

    async def deliver(self, arrival: Arrival) -> None:
        """
        File the message, once.

        @raise PeerError: if the notification is none of mail, or what it names is no message.
        @raise PostError: if the message cannot be fetched or filed now.
        """
        notification = arrival.notification
        is_report = notification.application == REPORT and isinstance(arrival.sender, NodeCertificate)
        if notification.application != APPLICATION and not is_report:
            raise PeerError(f"a notification for {notification.application!r}")
        key = _key(arrival)
        notice = unpack(MailNotice, notification.payload)
        if notice.version != 1:
            raise PeerError(f"a notice of version {notice.version}")
        # Before it is fetched: what came long ago may be expunged, and its blocks gone.
        if await self._mailbox.has_filed(key):
            return
        verified = arrival.sender.address if isinstance(arrival.sender, IdentityCertificate) else ""
        verdict = ACCEPTED
        if not is_report:
            described = Described(notice.sender, verified, notice.recipient, notice.subject, notice.size)
            verdict = decide(self._mailbox.state.preferences, self._others(), described)
            if verdict is ACCEPTED and isinstance(arrival.sender, IdentityCertificate):
                verdict = self._decide_stranger(arrival.sender.account, notification, notice.solution)
        if verdict.action == Action.IGNORE:
            # Nothing is fetched, and the receipt says no more than of what is filed: nothing bounces.
            await self._mailbox.ignore_arrival(key, notice.sender or verified, verdict.reason)
            return
        await self._fetches.acquire()
        try:
            # Fetched before it is filed: a message in the Inbox can be read, and From is the message's own.
            letter = await self._letters.fetch(notice.message, notice.size)
        finally:
            self._fetches.release()
        domain = split(canonical(self._account.address))[1]
        sender = arrival.sender
        if is_report:
            seen = from_gateway(notice, letter, domain)
        elif isinstance(sender, NodeCertificate):
            seen = from_outside(notice, letter, domain)
        else:
            seen = from_member(notice, letter, domain, sender.address)
        if verdict is ACCEPTED and seen.junk:
            verdict = Verdict(Action.QUARANTINE, "by the gateway")
        flags = {seen.flag, JUNK if verdict.action == Action.QUARANTINE else ""} - {""}
        await self._mailbox.file_arrival(key, letter, arrival, seen.prefix, seen.omitted, frozenset(flags), verdict)
        if self._filed is not None:
            self._filed(notice)

    def _decide_stranger(self, sender: AccountId, notification: Notification, solution: int) -> Verdict:
        if sender == self._account.id:
            return ACCEPTED
        return decide_stranger(self._mailbox.state.preferences, sender, notification, solution)


def _key(arrival: Arrival) -> bytes:
    if isinstance(arrival.sender, NodeCertificate):
        return outside_key(arrival.notification.id)
    return entry_key(arrival.sender.account, arrival.notification.id)


@dataclass(frozen=True)
class Seen:
    """
    How a message is shown: behind the lines C{prefix}, without the octets C{omitted} of its own header, with C{flag}
    (perhaps none), as C{junk} if no rule of the recipient's says where.
    """

    prefix: bytes
    omitted: tuple[tuple[int, int], ...]
    flag: str
    junk: bool = False


def from_member(notice: MailNotice, letter: Letter, domain: str, sender: str) -> Seen:
    """
    What a member of C{domain} sent, by their signature.
    """
    prefix = _safe(_return_path(notice) + notice.trace, _TRACE)
    flag = VERIFIED if is_from(letter, sender) else ""
    return Seen(_results(domain, sender) + prefix, forged_claims(letter.header, domain), flag)


def from_gateway(notice: MailNotice, letter: Letter, domain: str) -> Seen:
    """
    What a gateway itself says, by its signature.
    """
    return Seen(_safe(_return_path(notice), _TRACE), forged_claims(letter.header, domain), "")


def from_outside(notice: MailNotice, letter: Letter, domain: str) -> Seen:
    """
    What a gateway took from the Internet: its results stand in front, and that nobody's signature was verified.
    """
    prefix = _safe(_return_path(notice) + notice.trace, (*_TRACE, b"Authentication-Results"))
    # The gateway's host may be named outside the domain; then its name too is nobody else's to use.
    hosts = {host for value in all_fields(prefix, b"authentication-results") if (host := results_host(value))}
    omitted = forged_claims(letter.header, domain, *sorted(hosts))
    return Seen(ORIGIN + prefix, omitted, UNVERIFIED, notice.junk)


def _return_path(notice: MailNotice) -> bytes:
    return b"Return-Path: <" + notice.sender.encode("ascii", "replace") + b">\r\n"


def _results(domain: str, sender: str) -> bytes:
    """
    Who really sent it, by the signature that we verified, whatever From says (RFC 8601; "auth" is RFC 4954's method).
    """
    return f"Authentication-Results: {domain}; auth=pass smtp.auth={sender}\r\n".encode("ascii", "replace")


def forged_claims(header: bytes, *hosts: str) -> tuple[tuple[int, int], ...]:
    """
    Where in a header somebody says that one of C{hosts} (or of their domains) has examined the message, or what its
    origin is: nobody but us could know, and we say so in front of it (RFC 8601, section 5).

    @raise PeerError: if there are so many that the message is nothing else.
    """
    found = [
        (start, stop)
        for name, start, stop in spans(header)
        if name == ORIGIN_FIELD
        or (
            name == b"authentication-results"
            and any(claims_results_of(header[start:stop].partition(b":")[2], host) for host in hosts)
        )
    ]
    if len(found) > RESULTS_LIMIT:
        raise PeerError("a header of results")
    return tuple(found)


def is_from(letter: Letter, sender: str) -> bool:
    """
    Whether From is exactly one address, that of the certified sender, however a mail program may read the header.
    """
    header = letter.header
    if not header.endswith(b"\r\n\r\n") and len(header) < letter.size:
        return False  # It goes on, perhaps with another From, or ends where not every mail program sees it end.
    if set(b"\r\n\0") & set(header.replace(b"\r\n", b"")):
        return False
    value = field(header, b"from", only=True)
    if value is None:
        return False
    found = addresses(value)
    if len(found) != 1:
        return False
    try:
        return canonical(found[0]) == canonical(sender)
    except ValueError:
        return False


def _safe(prefix: bytes, allowed: Sequence[bytes]) -> bytes:
    """
    C{prefix} if it is nothing but the header lines that we put there, else nothing: a sender's node may lie about it.
    """
    lines = prefix.split(b"\r\n")
    if lines.pop() != b"" or any(set(b"\r\n\0") & set(line) for line in lines):
        return b""
    names = [line.partition(b":")[0] for line in lines if line[:1] not in (b" ", b"\t")]
    return prefix if all(name in allowed for name in names) else b""
