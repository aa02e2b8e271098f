"""
The queue as people see it: what C{post queue} asks of a running node.

On a gateway it is all that the gateway sees to; on other nodes what their own people have sent.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from post.errors import NotFound, PeerError
from post.ids import Handle, Id
from post.mail.messages import DROP, RETRY
from post.mail.outbox import Shown
from post.mail.outside import Outside
from post.mail.stages import Work

NAME_LIMIT = 40
"""Hexadecimal digits of a whole name; the first few do, if they name one entry."""

LISTED_LIMIT = 5000
"""Entries listed at once, the oldest: some 2 MB, of which the socket allows 16."""

Verbs = dict[str, Callable[[dict[str, Any]], Coroutine[Any, Any, Any]]]  # Any: JSON.


class Running(Protocol):
    """
    A node, as far as the queue is concerned.
    """

    outside: Outside

    async def leaving(self) -> list[Shown]:
        """
        What the people of this node have sent, and has not left yet.
        """


def verbs(node: Callable[[], Running | None]) -> Verbs:
    """
    What can be asked over the control socket.
    """

    def running() -> Running:
        found = node()
        if found is None:
            raise NotFound("the node is not in the ring yet: try again in a moment")
        return found

    async def show(request: dict[str, Any]) -> list[dict[str, Any]]:
        return [describe(each) for each in await entries(running())]

    async def retry(request: dict[str, Any]) -> None:
        await prompt(running(), str(request.get("name", "")), RETRY)

    async def drop(request: dict[str, Any]) -> None:
        await prompt(running(), str(request.get("name", "")), DROP)

    return {"queue": show, "queue retry": retry, "queue drop": drop}


async def entries(node: Running) -> list[Shown]:
    """
    What waits, the oldest first.
    """
    found = {each.handle: each for each in await node.leaving()}
    if node.outside.relaying is not None:
        found |= {work.handle: _shown(work) for work in node.outside.relaying.works.values()}
    return sorted(found.values(), key=lambda each: (each.accepted, each.handle))[:LISTED_LIMIT]


def _shown(work: Work) -> Shown:
    outgoing, said = work.outgoing, work.said
    return Shown(
        work.handle,
        outgoing.accepted,
        outgoing.author,
        said.left if said is not None else outgoing.recipients,
        said.delivered if said is not None else (),
        said.failed if said is not None else (),
        work.tries,
        work.trying,
        int(work.due),
        said.words if said is not None else "",
    )


async def prompt(node: Running, name: str, what: int) -> None:
    """
    Have the entry called C{name} tried now, or given up.

    @raise PeerError: if that is no name of one entry.
    @raise NotFound: if nothing that waits has it.
    @raise PostError: if no gateway can be asked.
    """
    if not name or len(name) > NAME_LIMIT:
        raise PeerError("that is no name of mail that waits")
    if len(name) == NAME_LIMIT:
        try:
            await node.outside.prompt(Handle(Id.from_hex(name)), what)
        except ValueError:
            raise PeerError("that is no name of mail that waits") from None
        return
    found = [each for each in await entries(node) if each.handle.hex().startswith(name)]
    if not found:
        raise NotFound("nothing that waits has that name")
    if len(found) > 1:
        raise PeerError("several have names that begin so: write more of it")
    await node.outside.prompt(found[0].handle, what)


def describe(shown: Shown) -> dict[str, Any]:
    """
    As JSON has it.
    """
    return {
        "name": shown.handle.hex(),
        "accepted": shown.accepted,
        "sender": shown.sender,
        "left": list(shown.left),
        "delivered": list(shown.delivered),
        "failed": list(shown.failed),
        "tries": shown.tries,
        "trying": shown.trying,
        "due": shown.due,
        "words": shown.words,
    }
