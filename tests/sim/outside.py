"""
The Internet, for imaginary worlds: other domains' servers, of which a test decides what they say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from post.mail.outbound import Outgoing
from post.mail.relay import IRelay, Outcome, Verdict
from post.mail.schedule import Schedule
from post.sim.world import World

SCHEDULE = Schedule(first_s=60, warn_s=600, give_up_s=3600)


class Internet:
    """
    Takes whatever it is given, unless C{says} has another answer for a recipient.  C{taken} counts the messages that
    were taken, by recipient.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.taken: Counter[str] = Counter()
        self.messages: list[bytes] = []
        self.tried: list[tuple[str, float]] = []
        self.pause_s = 1.0
        """Before a server answers, and before it hangs up."""
        self.says: Callable[[str], Verdict | None] = lambda recipient: None
        self.before: Callable[[str], None] = lambda gateway: None
        self.after: Callable[[str], None] = lambda gateway: None

    def connect(self, *names: str, schedule: Schedule = SCHEDULE) -> None:
        """
        Let the gateways of these names relay, once they run.
        """
        for name in names:
            self.world.node(name).outside.relay(Relay(self, name), schedule)


@implementer(IRelay)
class Relay:
    """
    One gateway's way there.
    """

    def __init__(self, internet: Internet, name: str) -> None:
        self._internet = internet
        self._name = name

    async def deliver(self, outgoing: Outgoing, recipients: Sequence[str], message: bytes) -> Sequence[Verdict]:
        internet = self._internet
        internet.tried.append((self._name, internet.world.clock.seconds()))
        internet.before(self._name)
        await self._pause()
        verdicts = []
        for recipient in recipients:
            verdict = internet.says(recipient) or Verdict(recipient, Outcome.DELIVERED, "2.0.0", "ok", "mx")
            if verdict.outcome is Outcome.DELIVERED:
                internet.taken[recipient] += 1
                internet.messages.append(message)
            verdicts.append(verdict)
        internet.after(self._name)
        await self._pause()
        return verdicts

    async def _pause(self) -> None:
        machine = self._internet.world.machines[self._name]
        done: Deferred[None] = Deferred()
        # On the machine's own clock: when that is gone, nothing goes on.
        machine.clock.callLater(self._internet.pause_s, done.callback, None)
        await done
