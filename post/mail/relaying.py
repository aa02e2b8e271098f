"""
A gateway's work on the mail for outside that the ring keeps (POST, section 5).

It keeps nothing itself.  Holders tell it of entries; before each attempt it reads how far the entry is and writes into
the ring that it is trying, and after it what came of it: so another one goes on where it stopped, with the same
schedule.  While one says that it is trying, no other does.

What is promised is I{at least once}.  A message goes out twice if a gateway is lost between the moment when a server
has taken it and the moment when that is written into the ring; and if the ring is in parts, each with a gateway and
holders of the entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.complaints import Complaints
from post.crypto.names import canonical_domain, split
from post.crypto.trust import Revoked, check_revoked
from post.errors import BadSignature, NotFound, Overloaded, PostError, Refused
from post.ids import Contact, Handle, NodeId
from post.interfaces import Entropy
from post.mail import messages
from post.mail.authorship import is_author, is_authored
from post.mail.gateways import sealing_key
from post.mail.letter import LetterBox
from post.mail.mime import HEADER_LIMIT, header_end
from post.mail.outbound import (
    ENDED,
    OUTBOUND,
    TRYING,
    Outgoing,
    Queued,
    Said,
    open_entry,
    open_said,
    open_secret,
    progress_in,
    waybill_in,
)
from post.mail.quota import Quota
from post.mail.relay import IRelay, Outcome, Tell, Told, Verdict
from post.mail.schedule import Schedule
from post.mail.stages import Stages, Work, latest, noted
from post.messaging.dispatch import Signer
from post.past.node import Past
from post.rpc import Rpc
from post.tasks import Tasks, sleep
from post.wire import RefusalCode, unpack

ATTEMPT_S = 900.0
"""One attempt, with all servers that are tried: the end of the message alone may take ten minutes (RFC 5321,
4.5.3.2.6)."""
AT_ONCE = 50
"""Attempts at once."""
DOMAIN_AT_ONCE = 5
"""And to one domain: one whose servers take minutes to answer does not keep the others waiting."""
MEMBER_AT_ONCE = 20
"""And for one member: whoever writes to a thousand domains that are not there does not keep the others waiting."""
ASIDE_S = 2.0
"""Before what had to wait for others to its domain, or of its member, looks again."""
LARGE_BYTES = 2_000_000
LARGE_AT_ONCE = 2
"""Messages longer than that in memory at once, whole and signed: half a gigabyte at the usual limit of 50 MB."""
WORKS_LIMIT = 50_000
"""Entries that one gateway sees to; about 50 MB."""
DONE_PAUSE_S = 600
"""What is done need not be heard of again: whoever told us of it has been told."""
AGAIN_S = 30.0
"""After the ring did not let us read or write."""
HURRY_S = 1.0
"""Between two turns of what somebody wants done now, while another gateway is trying."""
PIECE_BYTES = 256 * 1024


class Relaying:
    """
    This node as a gateway to outside.
    """

    log = Logger()

    def __init__(
        self,
        past: Past,
        rpc: Rpc,
        letters: LetterBox,
        node_id: NodeId,
        signer: Callable[[], Signer],
        root: bytes,
        domain: str,
        tell: Tell,
        clock: IReactorTime,
        random: Random,
        entropy: Entropy,
        complaints: Complaints,
        tasks: Tasks,
    ) -> None:
        self._stages = Stages(past, node_id, signer, clock, random, entropy)
        self._past = past
        self._letters = letters
        self._node_id = node_id
        self._signer = signer
        self._root = root
        self._domain = domain
        self._tell = tell
        self._clock = clock
        self._random = random
        self._complaints = complaints
        self._tasks = tasks
        self._relay: IRelay | None = None
        self._schedule = Schedule()
        self._quota = Quota(0)
        self._at_once = DeferredSemaphore(AT_ONCE)
        self._busy: Counter[str] = Counter()
        """Turns under way, by domain and by member."""
        self._large = DeferredSemaphore(LARGE_AT_ONCE)
        self._stopped = False
        self.works: dict[Handle, Work] = {}
        rpc.serve(messages.Relay, self._asked)
        rpc.serve(messages.Prompt, self._asked_to_hurry)

    def start(self, relay: IRelay, schedule: Schedule) -> None:
        """
        Relay from now on.
        """
        self._relay, self._schedule, self._quota = relay, schedule, Quota(schedule.recipients_per_day)

    def stop(self) -> None:
        """
        Begin nothing any more.
        """
        self._stopped = True
        self._stages.stop()
        for work in self.works.values():
            if work.timer is not None and work.timer.active():
                work.timer.cancel()

    # Hearing of entries.

    async def _asked(self, peer: Contact, message: messages.Relay) -> messages.Relaying:
        return messages.Relaying(await self.offered(message.handle))

    async def offered(self, handle: Handle) -> int:
        """
        There is mail for outside under C{handle}; returns after how many seconds we want to hear of it again.

        @raise Refused: if nothing is relayed here.
        @raise NotFound: if it is not for us.
        @raise PostError: if it cannot be read now.
        """
        if self._relay is None or self._stopped:
            raise Refused(RefusalCode.NOT_READY, "nothing is relayed here")
        work = self.works.get(handle)
        if work is None:
            if len(self.works) >= WORKS_LIMIT:
                raise Overloaded("too much mail for outside")
            work = await self._take_up(handle)
            if work is None:
                return DONE_PAUSE_S
        return max(0, int(work.due - self._clock.seconds()))

    async def _take_up(self, handle: Handle) -> Work | None:
        data = await self._past.furthest(OUTBOUND, handle, wide=True)
        queued, progress = unpack(Queued, data), progress_in(data)
        if progress is not None and progress.state == ENDED:
            await self._stages.store(handle, data)  # Whoever told us of it does not know that it is done.
            return None
        waybill = waybill_in(queued.entry)
        try:
            secret = open_secret(waybill, sealing_key(self._signer().key))
        except BadSignature:
            raise NotFound("mail for other gateways") from None
        outgoing, author = open_entry(waybill, secret, self._root)
        # Whoever has stolen a key that is revoked can still sign with a time before that.
        check_revoked(self._root, author.public_key, self._clock.seconds())
        if not self._may_relay(outgoing):
            self._complaints.note(author.address, "mail for outside that is not to be relayed")
            raise NotFound("mail that is not to be relayed")
        known = self.works.get(handle)
        if known is not None or self._stopped:
            return known
        said = open_said(progress, secret, outgoing.recipients)
        tries = progress.tries if progress is not None else 0
        work = Work(
            handle, queued.entry, author.public_key, waybill, secret, outgoing, self._clock.seconds(), tries, said
        )
        self.works[handle] = work
        self._wait(work)
        return work

    def _may_relay(self, outgoing: Outgoing) -> bool:
        """
        Never an open relay: it goes out of our domain, from a member under their own address, whose certificate
        L{open_entry} has verified.
        """
        try:
            domains = {canonical_domain(recipient.rpartition("@")[2]) for recipient in outgoing.recipients}
        except ValueError:
            return False
        return (
            domains == {outgoing.domain}
            and outgoing.domain != self._domain
            and split(outgoing.author)[1] == self._domain
            and (not outgoing.sender or is_author(outgoing.sender, outgoing.author))
        )

    # Working on them.

    def _wait(self, work: Work) -> None:
        delay_s = max(0.0, work.due - self._clock.seconds())
        if work.prompted or work.dropped:
            delay_s = min(delay_s, HURRY_S)
        work.timer = self._clock.callLater(delay_s, lambda: self._tasks.spawn(self._turn(work)))

    async def _turn(self, work: Work) -> None:
        domain, author = work.outgoing.domain, work.outgoing.author
        if self._busy[domain] >= DOMAIN_AT_ONCE or self._busy[author] >= MEMBER_AT_ONCE:
            work.due = self._clock.seconds() + ASIDE_S * self._random.uniform(0.5, 1.0)
            self._wait(work)
            return
        self._busy.update((domain, author))
        await self._at_once.acquire()
        ended = False
        work.due = self._clock.seconds() + AGAIN_S
        try:
            ended = await self._once(work)
        except (NotFound, Revoked):
            ended = True  # Nobody has it any longer, or whoever has tells us of it again; or it must not leave.
        except PostError as error:
            self.log.info("{handle} waits: {error}", handle=work.handle, error=error)
        finally:
            self._at_once.release()
            self._busy.subtract((domain, author))
            self._busy = +self._busy
            work.trying = False
            if ended:
                self.works.pop(work.handle, None)
            elif not self._stopped:
                self._wait(work)

    async def _once(self, work: Work) -> bool:
        """
        Do what is to be done now; whether that was all.
        """
        data = await self._past.furthest(OUTBOUND, work.handle, wide=True)
        progress = progress_in(data)
        now = int(self._clock.seconds())
        if progress is not None:
            if progress.state == ENDED:
                await self._stages.store(work.handle, data)
                return True
            is_ours = progress.gateway == self._node_id
            hurries = work.prompted or work.dropped
            if progress.due > now and not (is_ours if progress.state == TRYING else hurries):
                work.due, work.tries = progress.due, progress.tries
                work.said = open_said(progress, work.secret, work.outgoing.recipients)
                return False
            work.tries = progress.tries
        check_revoked(self._root, work.author_key, now)
        said = open_said(progress, work.secret, work.outgoing.recipients)
        # A first attempt only: who has been waited for once need not wait for their place again.
        wait_s = self._quota.wait_s(work.outgoing.author, len(said.left), now) if progress is None else 0
        if wait_s and not work.dropped:
            work.prompted, work.due = False, now + wait_s
            work.said = structs.replace(said, words="Its sender has sent as much as is sent on in a day.")
            return False
        if not await self._stages.claim(work, progress, said):
            work.due = now + 1 + self._random.random()
            return False
        work.prompted, work.trying = False, True
        self._tasks.spawn(self._stages.hold(work, said))
        return await self._attempt(work, said)

    async def _attempt(self, work: Work, said: Said) -> bool:
        outgoing = work.outgoing
        header = b""
        verdicts: Sequence[Verdict] = ()
        is_large = outgoing.size > LARGE_BYTES
        if is_large:
            await self._large.acquire()
        try:
            if said.left and not work.dropped:
                message = await self._message(outgoing)
                header, verdicts = message[0], await self._deliver(work, said, *message)
        except PostError as error:
            words = "The ring does not give the message now."
            self.log.warn("{handle} cannot be read: {error}", handle=work.handle, error=error)
            verdicts = [Verdict(each, Outcome.LATER, "4.3.0", words) for each in said.left]
        finally:
            if is_large:
                self._large.release()
        tries = work.tries + 1
        work.verdicts |= {verdict.recipient: verdict for verdict in verdicts}
        said = noted(said, verdicts, int(self._clock.seconds()))
        now = int(self._clock.seconds())
        schedule, until = self._schedule, outgoing.accepted + self._schedule.give_up_s
        due = now + int(schedule.pause_s(tries) * self._random.uniform(1.0, 1.05))
        over = said.left if work.dropped or due > until else ()
        failed = [each for each in verdicts if each.outcome is Outcome.REFUSED]
        if not work.dropped:
            failed += [latest(work, said, each) for each in over]
        if over:
            said = structs.replace(said, left=(), failed=(*said.failed, *over))
        warns = bool(said.left) and not said.warned and now - outgoing.accepted >= schedule.warn_s
        # The sender is told before it is written that they were: if we are lost in between, they are told again, and
        # that is the same report.
        if failed:
            await self._tell_surely(Told(work.handle, outgoing, tuple(failed), True, now, until, header))
        if warns:
            late = tuple(latest(work, said, each) for each in said.left)
            await self._tell_surely(Told(work.handle, outgoing, late, False, now, until, header))
            said = structs.replace(said, warned=True)
        # Only now does L{Stages.hold} end: however long it took to tell the sender, nobody else has tried meanwhile.
        work.tries = tries
        work.said, work.due = await self._stages.write(work, said, due), due
        said = work.said
        self.log.info(
            "{handle} to {domain}: {delivered} delivered, {failed} failed, {left} left after {tries} attempts",
            handle=work.handle,
            domain=outgoing.domain,
            delivered=len(said.delivered),
            failed=len(said.failed),
            left=len(said.left),
            tries=work.tries,
        )
        return not said.left

    async def _message(self, outgoing: Outgoing) -> tuple[bytes, bytes]:
        letter = await self._letters.fetch(outgoing.message, outgoing.size)
        content = self._letters.content(b"", outgoing.message, b"", outgoing.size)
        pieces = [await content.read(at, at + PIECE_BYTES) for at in range(0, outgoing.size, PIECE_BYTES)]
        return letter.header, b"".join(pieces)

    async def _deliver(self, work: Work, said: Said, header: bytes, message: bytes) -> Sequence[Verdict]:
        relay = self._relay
        assert relay is not None
        # Behind what we look at of a header there may be another From.
        if header_end(message) > HEADER_LIMIT or not is_authored(header, work.outgoing.author):
            words = "From must be the address of whoever sends it."
            return [Verdict(each, Outcome.REFUSED, "5.7.1", words) for each in said.left]
        attempt = Deferred.fromCoroutine(relay.deliver(work.outgoing, said.left, message))
        try:
            return await attempt.addTimeout(ATTEMPT_S, self._clock)
        except TimeoutError:
            return [Verdict(each, Outcome.LATER, "4.4.7", "It took too long.") for each in said.left]
        except CancelledError:
            raise  # Our service stops.
        except Exception:
            # A bug of ours.  What the server made of it is not known, so it counts as an attempt, and the pauses grow.
            self.log.failure("{handle} could not be tried", handle=work.handle)
            return [Verdict(each, Outcome.LATER, "4.3.0", "Something is wrong here.") for each in said.left]

    async def _tell_surely(self, told: Told) -> None:
        # Nobody is told what became of a message from nobody (RFC 5321, 4.5.5).
        while not self._stopped and told.outgoing.sender:
            try:
                await self._tell(told)
            except NotFound as error:
                self.log.warn("nobody to tell of {handle}: {error}", handle=told.handle, error=error)
            except PostError as error:
                self.log.info("the sender of {handle} waits: {error}", handle=told.handle, error=error)
                await sleep(self._clock, AGAIN_S)
                continue
            return

    # Being asked to hurry, or to give up.

    async def _asked_to_hurry(self, peer: Contact, message: messages.Prompt) -> messages.Prompted:
        await self.prompt(message.handle, message.what, peer.id)
        return messages.Prompted()

    async def prompt(self, handle: Handle, what: int, sender: NodeId | None = None) -> None:
        """
        Try what is under C{handle} now, or give it up.

        @param sender: the node that asks, if it is another one; then it has to be the one that sent it.
        @raise NotFound: if it is not here, or done already.
        @raise Refused: if somebody else than its sender asks.
        """
        await self.offered(handle)
        work = self.works.get(handle)
        if work is None:
            raise NotFound("it is done already")
        if sender is not None and sender != work.waybill.node:
            raise Refused(RefusalCode.FORBIDDEN, "somebody else sent it")
        if work.trying:
            if what == messages.DROP:
                raise Refused(RefusalCode.NOT_READY, "it is being tried just now: ask again when that is over")
            return
        work.prompted, work.dropped = True, what == messages.DROP
        if work.timer is not None and work.timer.active():
            work.timer.cancel()
            work.due = self._clock.seconds()
            self._wait(work)
