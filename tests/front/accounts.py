"""
Accounts for tests of what mail programs talk to: they answer when the test lets them.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from post.errors import NotFound, PostError, Refused
from post.mail.interfaces import IMailAccounts, IMailbox, ISubmission, Octets, SenderRefused
from post.mail.journeys import Journey
from post.wire import RefusalCode

ALICE, PASSWORD = "alice@example.org", b"secret"


class Gate:
    """
    What a fake waits for: open, or opened by the test for one after the other.
    """

    def __init__(self) -> None:
        self.closed = False
        self.waiting: list[Deferred[None]] = []
        self.reached: Deferred[None] = Deferred()
        """Fires when the first one waits."""

    async def passed(self) -> None:
        """
        Returns at once, or when the test says so.
        """
        if self.closed:
            turn: Deferred[None] = Deferred()
            self.waiting.append(turn)
            if not self.reached.called:
                self.reached.callback(None)
            await turn

    def let_one(self) -> None:
        """
        Let the one pass that has waited longest.
        """
        self.waiting.pop(0).callback(None)


@implementer(ISubmission)
class FakeSubmission:
    """
    Takes mail as C{address}, and remembers it.  C{errors} are raised for a sender, a recipient, or (under C{"submit"})
    for the message.
    """

    def __init__(self, address: str, gate: Gate) -> None:
        self.address = address
        self.size_limit = 5000
        self.gate = gate
        self.errors: dict[str, Exception] = {}
        self.taken: list[tuple[str, list[str], bytes]] = []
        self.traces: list[bytes] = []

    def check_sender(self, address: str) -> None:
        if address in self.errors:
            raise self.errors[address]
        if address not in ("", self.address):
            raise SenderRefused(address)

    async def check_recipient(self, address: str) -> None:
        await self.gate.passed()
        if address in self.errors:
            raise self.errors[address]

    async def submit(self, sender: str, recipients: Sequence[str], message: Octets, trace: bytes) -> str:
        await self.gate.passed()
        if "submit" in self.errors:
            raise self.errors["submit"]
        self.taken.append((sender, list(recipients), bytes(message)))
        self.traces.append(trace)
        return f"m{len(self.taken)}"

    def sent(self) -> Sequence[Journey]:
        return []


@implementer(IMailAccounts)
class FakeAccounts:
    """
    Alice and her password.
    """

    def __init__(self) -> None:
        self.gate = Gate()
        """What the ring's answers wait for."""
        self.door = Gate()
        """What the judging of passwords waits for."""
        self.error: Exception | None = None
        self.ready = True
        self.judged: list[tuple[str, bytes]] = []
        self.alice = FakeSubmission(ALICE, self.gate)

    async def authenticate(self, login: str, password: bytes) -> str:
        self.judged.append((login, password))
        await self.door.passed()
        if self.error is not None:
            raise self.error
        if login not in ("alice", ALICE) or password != PASSWORD:
            raise Refused(RefusalCode.FORBIDDEN, "wrong name or password")
        return ALICE

    def mailbox(self, address: str) -> IMailbox:
        raise NotFound(address)

    def submission(self, address: str) -> ISubmission:
        if not self.ready:
            raise NotFound(address)
        submission: ISubmission = self.alice
        return submission

    def refuse(self, what: str, error: PostError) -> None:
        """
        Let C{what} be refused with C{error}.
        """
        self.alice.errors[what] = error
