"""
The accounts that are open on a node: what belongs to each, and what mail programs may reach of them.

A node opens and closes them (L{post.node}); here they are found by name and password.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from post.crypto.documents import Policy
from post.crypto.names import canonical, split
from post.errors import NotFound, Refused, Unconfirmed
from post.interfaces import IJournal
from post.mail.interfaces import IMailAccounts, IMailbox, ISubmission
from post.mail.letter import LetterBox
from post.mail.mailbox import Mailbox
from post.mail.outbox import Outbox
from post.mail.person import Person
from post.mail.renewal import Renewal
from post.mail.submission import Submission
from post.mail.tracking import Tracking
from post.messaging.account import Account, AccountCredentials
from post.messaging.custody import Custody
from post.messaging.log import Log
from post.messaging.publishing import Publishing
from post.tasks import Rest, Tasks
from post.wire import RefusalCode

CheckPassword = Callable[[bytes, str], Deferred[bool]]
"""Compares a password with its stored hash; slow on purpose, so production does it in a thread."""


class AccountStatus(msgspec.Struct, frozen=True):
    """
    An account as C{post status} shows it: whether its mailbox is open, and whether others can find it.
    """

    address: str
    open: bool
    published: bool
    messages: int
    folders: int
    log_records: int
    log_kept: int
    trouble: str = ""
    waiting: int = 0
    """For how many recipients messages wait that were sent from here."""
    recovery: str = ""
    """Whether there is a recovery code: none, C{waiting} to be in force, or C{in force}."""


@dataclass
class Opened:
    """
    An account on this node.
    """

    credentials: AccountCredentials
    account: Account
    mailbox: Mailbox
    submission: Submission
    person: Person
    counted: ISubmission
    tracking: Tracking
    log: Log
    journal: IJournal
    custody: Custody
    outbox: Outbox
    letters: LetterBox
    rest: Rest
    """Until it is tried again to open the mailbox."""
    publishing: Publishing | None = None
    renewal: Renewal | None = None
    ready: bool = False
    published: bool = False
    trouble: str = ""
    tasks: Tasks = field(default_factory=Tasks)

    def use(self, policy: Policy) -> None:
        """
        Go by a newer policy from now on.
        """
        self.submission.use(policy)
        self.letters.use(policy.mail_s, policy.size_limit)
        self.log.lease_s = policy.head_s
        if self.publishing is not None:
            self.publishing.lease_s = policy.head_s
        if self.renewal is not None:
            self.renewal.lease_s = min(policy.mail_s, policy.head_s)

    def show(self) -> Deferred[None]:
        """
        Let the identity block say what the mailbox's log says now.
        """
        if self.publishing is None:
            return fail(Unconfirmed(f"{self.account.address} is not published yet"))
        return self.publishing.again()

    def status(self) -> AccountStatus:
        """
        As C{post status} shows it.
        """
        state = self.mailbox.state
        return AccountStatus(
            self.account.address,
            self.ready,
            self.published,
            len(state.by_key),
            len(state.folders),
            self.log.count,
            self.log.kept,
            self.trouble,
            state.journeys.outstanding,
            self.custody.state,
        )


@implementer(IMailAccounts)
class Accounts:
    """
    The accounts of a node, by address.
    """

    def __init__(self, check_password: CheckPassword) -> None:
        self._check_password = check_password
        self.opened: dict[str, Opened] = {}

    async def authenticate(self, login: str, password: bytes) -> str:
        opened = self._find(login)
        # A password is checked for a name that does not exist too, so that the time taken tells nothing.
        stored = opened.credentials.password_hash if opened is not None else ""
        if not await self._check_password(password, stored) or opened is None:
            raise Refused(RefusalCode.FORBIDDEN, "wrong name or password")
        return opened.credentials.address

    def _find(self, login: str) -> Opened | None:
        try:
            name = canonical(login) if "@" in login else login.casefold()
        except ValueError:
            return None
        found = [
            opened
            for address, opened in self.opened.items()
            if name in (canonical(address), split(canonical(address))[0])
        ]
        return found[0] if len(found) == 1 else None

    def mailbox(self, address: str) -> IMailbox:
        mailbox: IMailbox = self._ready(address).mailbox
        return mailbox

    def submission(self, address: str) -> ISubmission:
        return self._ready(address).counted

    def people(self) -> dict[str, Person]:
        """
        Those whose mailboxes are open, by address.
        """
        return {address: opened.person for address, opened in self.opened.items() if opened.ready}

    def _ready(self, address: str) -> Opened:
        opened = self.opened.get(address)
        if opened is None or not opened.ready:
            raise NotFound(f"{address} is not open here")
        return opened
