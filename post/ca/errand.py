"""
How a node asks its authority: over the network in a thread, or, if it serves the authority itself, by a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from post.ca.code import short_fingerprint
from post.ca.enrolment import Enrolment
from post.ca.upkeep import Ask
from post.ca.visit import Visit
from post.errors import PeerError, PostError, Unreachable
from post.ids import Address

THREADS_LIMIT = 4
"""At once.  One is enough; more are under way only where somebody in the middle answers slowly on purpose, or names are
not resolved, and then more would not help."""


def at_home(enrolment: Enrolment, now: Callable[[], float]) -> Ask:
    """
    Asks an authority in this process.
    """

    def ask(question: str, made: Callable[[bytes], bytes]) -> Deferred[bytes]:
        return maybeDeferred(lambda: enrolment.answer(question, made(enrolment.door), int(now())))

    return ask


def abroad(reactor: Any, doors: Sequence[Address], root: bytes) -> Ask:  # Any: threads.
    """
    Asks at the first of C{doors} that answers, and is of the authority of C{root}.

    In a thread of its own, which does not hinder the process from ending: what resolves a name may take half a minute.
    """

    running: set[object] = set()

    def ask(question: str, made: Callable[[bytes], bytes]) -> Deferred[bytes]:
        answered: Deferred[bytes] = Deferred(lambda _: None)
        if len(running) >= THREADS_LIMIT:
            return fail(Unreachable("earlier questions are still under way"))
        running.add(answered)

        def tell(result: object) -> None:
            running.discard(answered)
            if not answered.called:  # It may have been given up.
                answered.callback(result)  # type: ignore[arg-type]  # A failure too.

        def run() -> None:
            try:
                result: object = ask_first(doors, short_fingerprint(root), question, made)
            except Exception:
                result = Failure()
            reactor.callFromThread(tell, result)

        Thread(target=run, name="authority", daemon=True).start()
        return answered

    return ask


def ask_first(doors: Sequence[Address], fingerprint: bytes, question: str, made: Callable[[bytes], bytes]) -> bytes:
    """
    Ask at the first of C{doors} that answers, and is of the authority with that fingerprint, and wait for it.

    @raise Refused: if the answer is no.
    @raise PostError: if there is none.
    """
    trouble: PostError = Unreachable("no door is set")
    for door in doors:
        try:
            with Visit(door, fingerprint) as visit:
                return visit.ask(question, made(visit.door))
        except (Unreachable, PeerError) as error:
            trouble = error
    raise trouble
