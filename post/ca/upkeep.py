"""
What a member's node asks of the authority by itself: newer certificates, directory and policy, and where others are.

At the start, once an hour, and when a node is met that the directory does not name.  What comes is verified to the root
and written to the node's directory before it is used; what is older than what is there is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.ca.code import check_where
from post.ca.questions import NEWS, RENEW, VERSION, AskNews, News, Renew, Renewed, read, sign_question
from post.crypto.certificates import make_request, read_identity, read_node
from post.crypto.documents import DAY_S, Directory, Policy, open_directory, open_policy
from post.crypto.keys import SigningKey
from post.crypto.revocations import open_revocations
from post.errors import PostError, Refused
from post.home import Home
from post.ids import Address
from post.tasks import Tasks, sleep

HOUR_S = 3600.0
"""Between two questions, when all is well.  Mail to somebody who joined since is refused for no longer; who joined with
a machine of their own is known at once, because that enters the ring."""
RETRY_S = 60.0
"""After a question that was not answered; doubled each time, up to an hour."""
HURRY_S = 10.0
"""Between two questions because of nodes that were met."""
SOON_S = 2.0
"""From meeting a node to the question: several may come at once."""
PATIENCE_S = 90.0
"""For an answer, with all the steps to it."""
SHARE = 3
"""A certificate is renewed when a third of its life is left: with 90 days, a machine that is off for three weeks still
comes back in time, and an authority that is broken can be mended within a month."""

RENEW_S = 30 * DAY_S
"""But never so early that a long certificate, carried by hand, would be exchanged for one that ends sooner."""

Ask = Callable[[str, Callable[[bytes], bytes]], Deferred[bytes]]
"""Asks the authority a question, which is made when it is known at which door: fails with a L{PostError}."""


Errand = Callable[[Callable[[str, Callable[[bytes], bytes]], Coroutine[Any, Any, bytes]]], Coroutine[Any, Any, None]]
"""Something to ask with the function that it is given, which waits for the answer."""


@dataclass(frozen=True)
class Holder:
    """
    A key whose certificates are to be renewed, and what to do with the new ones.
    """

    key: SigningKey
    chain: tuple[bytes, ...]
    use: Callable[[tuple[bytes, ...]], None]
    stale: bool = False
    """Whether the directory has it that the next certificate says something else than this one."""


class Upkeep:
    """
    The questions of one node.

    @ivar trouble: what hindered the last question; empty if nothing did.
    """

    log = Logger()

    def __init__(
        self,
        home: Home,
        root: bytes,
        ask: Ask,
        clock: IReactorTime,
        chance: Random,
        addresses: Callable[[], tuple[Address, ...]],
        holders: Callable[[], list[Holder]],
        use_directory: Callable[[Directory], None],
        use_revocations: Callable[[bytes], object],
        use_policy: Callable[[Policy], None],
        errands: Callable[[], Sequence[Errand]] = tuple,
        watch: Sequence[Errand] = (),
    ) -> None:
        """
        @param holders: the node's own first.
        @param use_revocations: writes and uses a signed list that is newer than the one here.
        @param errands: what else the authority is to be asked or told now.
        @param watch: what it is asked each time, last.
        """
        self.trouble = ""
        self._home = home
        self._root = root
        self._ask = ask
        self._clock = clock
        self._chance = chance
        self._addresses = addresses
        self._holders = holders
        self._use_directory = use_directory
        self._use_revocations = use_revocations
        self._use_policy = use_policy
        self._errands = errands
        self._watch = watch
        self._tasks = Tasks()
        self._running = self._again = self._hurried = self._on_errands = False
        self._asked_at = float("-inf")
        self._failures = 0

    def start(self) -> None:
        """
        Ask now, and again and again.
        """
        self._tasks.spawn(self._run())

    def stop(self) -> None:
        """
        Ask no more.
        """
        self._tasks.stop()

    def hurry(self, spread_s: float = 0.0) -> None:
        """
        Ask soon, because somebody is there who is not known, or something has happened that many hear of at once: then
        at some time within C{spread_s}.
        """
        if not self._hurried:
            self._hurried = True
            pause_s = max(SOON_S, self._asked_at + HURRY_S - self._clock.seconds())
            self._tasks.spawn(self._later(pause_s + self._chance.uniform(0, spread_s)))

    def run_errands(self) -> None:
        """
        Do the errands that there are, at once, and what fails again and again: somebody waits for them.
        """
        if not self._on_errands:
            self._on_errands = True
            self._tasks.spawn(self._errands_alone())

    async def _errands_alone(self) -> None:
        pause_s = SOON_S
        try:
            while errands := self._errands():
                try:
                    for errand in errands:
                        await errand(self._question)
                except (PostError, TimeoutError, OSError) as error:
                    self.trouble = error.text if isinstance(error, Refused) else str(error) or "no answer in time"
                if not self._errands():
                    self.trouble = ""  # It answers.
                    return
                await sleep(self._clock, pause_s)
                pause_s = min(2 * pause_s, RETRY_S)
        finally:
            self._on_errands = False

    async def _later(self, seconds: float) -> None:
        await sleep(self._clock, seconds)
        self._hurried = False
        await self.look()

    async def _run(self) -> None:
        while True:
            await self.look()
            pause_s = min(HOUR_S, RETRY_S * 2.0 ** min(self._failures - 1, 10)) if self._failures else HOUR_S
            await sleep(self._clock, pause_s * self._chance.uniform(0.8, 1.0))

    async def look(self) -> None:
        """
        Ask for everything once.
        """
        if self._running:
            self._again = True  # What is being answered may be older than what this is about.
            return
        self._running = self._again = True
        try:
            while self._again:
                self._again = False
                self._asked_at = self._clock.seconds()
                self._judge(await self._look())
        finally:
            self._running = False

    async def _look(self) -> str:
        """
        Returns what hindered it; a certificate that cannot be renewed does not keep news away.
        """
        works: list[Callable[[], Coroutine[Any, Any, None]]] = []
        works += [partial(self._renew, holder) for holder in self._holders()]
        works += [partial(errand, self._question) for errand in self._errands()]
        troubles = []
        works += [self._news, *(partial(each, self._question) for each in self._watch)]
        for work in works:
            try:
                await work()
            except (PostError, TimeoutError, OSError) as error:
                troubles.append(error.text if isinstance(error, Refused) else str(error) or "no answer in time")
            except CancelledError:
                raise
            except Exception:
                # A bug of ours, which must not end the asking: certificates would end with it.
                self.log.failure("a question to the authority failed")
                troubles.append("a question failed, of which the log says more")
        return troubles[0] if troubles else ""

    def _judge(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            self.log.warn("the authority cannot be asked: {trouble}", trouble=trouble)
        elif self.trouble and not trouble:
            self.log.info("the authority answers again")
        self._failures = self._failures + 1 if trouble else 0
        self.trouble = trouble

    def _now(self) -> int:
        return int(self._clock.seconds())

    async def _question(self, question: str, made: Callable[[bytes], bytes]) -> bytes:
        return await self._ask(question, made).addTimeout(PATIENCE_S, self._clock)

    async def _renew(self, holder: Holder) -> None:
        start, end = _dates(holder.chain[0])
        if not holder.stale and end - self._now() > min((end - start) / SHARE, RENEW_S):
            return

        def made(door: bytes) -> bytes:
            body = Renew(VERSION, door, self._now(), make_request(holder.key))
            return sign_question(body, holder.key, holder.chain)

        renewed = read(Renewed, await self._question(RENEW, made))
        holder.use(renewed.chain)  # It checks them.

    async def _news(self) -> None:
        node = self._holders()[0]
        before = self._now()
        policy, directory = self._home.policy(self._root, before), self._home.directory(self._root, before)
        revocations = self._home.revocations(self._root, before)
        revoked = revocations.serial if revocations is not None else 0

        def made(door: bytes) -> bytes:
            body = AskNews(VERSION, door, self._now(), policy.serial, directory.serial, self._addresses(), revoked)
            return sign_question(body, node.key, node.chain)

        news = read(News, await self._question(NEWS, made))
        # All of it is checked before any of it is written.
        now = self._now()
        newer_policy = open_policy(news.policy, self._root, now) if news.policy else None
        newer = open_directory(news.directory, self._root, now) if news.directory else None
        if news.revoked and open_revocations(news.revoked, self._root, now).serial > revoked:
            # First: it may be about this very node.
            self._use_revocations(news.revoked)
        seeds = tuple(filter(check_where, news.seeds))
        if seeds and seeds != self._home.seeds():
            self._home.write_seeds(seeds)
        # Somebody may have brought one by hand meanwhile.
        if newer_policy is not None and newer_policy.serial > self._home.policy(self._root, now).serial:
            self._home.write_policy(news.policy)
            self._use_policy(newer_policy)
        if newer is not None and newer.serial > self._home.directory(self._root, now).serial:
            self._home.write_directory(news.directory)
            self._use_directory(newer)


def _dates(certificate: bytes) -> tuple[int, int]:
    try:
        node = read_node(certificate)
        return node.not_before, node.not_after
    except PostError:
        person = read_identity(certificate)
        return person.not_before, person.not_after
