"""
The way around to one node that is not reached: by which relays, and with which keys.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from post.crypto.certificates import NodeCertificate
from post.ids import Contact, NodeId
from post.relay.messages import SessionId
from post.relay.session import Hailing, Heard, Session

RELAYS_LIMIT = 3
"""Relays remembered for one node: one in use, the others for when that fails."""
SESSIONS_LIMIT = 4
"""Sessions with one node whose frames are still opened: both may have hailed at once, and one may have started anew."""
KNOCK_FIRST_S = 10.0
"""After a way around was found, until the direct way is tried again.  A router that starts takes a minute."""
KNOCK_MOST_S = 300.0
"""Where the doubling of that ends."""


class Detour:
    """
    To C{contact}.

    @ivar relays: who reaches both; the first is in use.
    @ivar current: the session with which we send.
    @ivar active: whether frames go this way; otherwise what comes this way is still understood.
    @ivar used_at: when a frame last came or went; C{heard_at}: when one came, or an answer to a greeting.
    @ivar round_trip_s: of the last greeting and its answer.
    """

    __slots__ = (
        "_offers",
        "_sessions",
        "active",
        "answered",
        "certificate",
        "chain",
        "contact",
        "current",
        "hailed_at",
        "hailed_by",
        "hailing",
        "heard_at",
        "knock_at",
        "knock_wait_s",
        "knocked_at",
        "relays",
        "round_trip_s",
        "used_at",
    )

    def __init__(self, contact: Contact, now: float) -> None:
        self.contact = contact
        self.relays: list[Contact] = []
        self.current: Session | None = None
        self.active = False
        self.certificate: NodeCertificate | None = None
        self.chain: tuple[bytes, ...] = ()
        self.used_at = self.heard_at = now
        self.round_trip_s: float | None = None
        self.hailing: Hailing | None = None
        self.hailed_at = float("-inf")
        self.hailed_by: NodeId | None = None
        self.answered: Deferred[bool] | None = None
        self.knock_wait_s = KNOCK_FIRST_S
        self.knock_at = now + KNOCK_FIRST_S
        self.knocked_at: float | None = None
        self._sessions: dict[SessionId, Session] = {}
        self._offers: dict[SessionId, Heard] = {}

    # Relays.

    def prefer(self, relay: Contact) -> None:
        """
        C{relay} is known to reach both.
        """
        if not self.relays or self.relays[0] != relay:
            self.relays = [relay, *(each for each in self.relays if each.id != relay.id)][:RELAYS_LIMIT]

    def forgo(self, relay: NodeId) -> None:
        """
        C{relay} does not, or no longer.
        """
        self.relays = [each for each in self.relays if each.id != relay]

    def rotate(self) -> None:
        """
        Something did not arrive: try the next relay, perhaps it is the relay's fault.
        """
        self.relays = self.relays[1:] + self.relays[:1]

    # Sessions.

    def offer(self, session: Session, heard: Heard) -> None:
        """
        We have answered C{heard}; the other end shows that it has got that by using the session.
        """
        self._keep(session)
        self._offers[session.id] = heard

    def establish(self, session: Session, heard: Heard) -> None:
        """
        Both ends have the session, and send with it.
        """
        self._keep(session)
        self._offers.pop(session.id, None)
        if heard.greeting.origin.epoch >= self.contact.epoch:
            self.contact = heard.greeting.origin
        self.certificate, self.chain = heard.certificate, tuple(heard.chain)
        self.current = session

    def session(self, name: SessionId) -> Session | None:
        """
        The session of this name.
        """
        return self._sessions.get(name)

    def offered(self, name: SessionId) -> Heard | None:
        """
        Whose greeting we answered with this session, if it has not been used yet.
        """
        return self._offers.get(name)

    def end_sessions(self) -> None:
        """
        Believe nothing any more that is sealed by what was agreed so far.
        """
        self._sessions.clear()
        self._offers.clear()
        self.current = None

    def _keep(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
        self._sessions[session.id] = session
        while len(self._sessions) > SESSIONS_LIMIT:
            oldest = next(each for each in self._sessions if self.current is None or each != self.current.id)
            del self._sessions[oldest]
            self._offers.pop(oldest, None)

    # The answer to our greeting.

    def settle(self, answered: bool) -> None:
        """
        Our greeting was answered, or will not be.
        """
        waiting, self.answered, self.hailing = self.answered, None, None
        if waiting is not None and not waiting.called:
            waiting.callback(answered)


def named(contacts: Sequence[Contact]) -> str:
    """
    For the log.
    """
    return ", ".join(str(each) for each in contacts)
