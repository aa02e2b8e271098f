"""
What people ask of their running node from a terminal (C{post rules}, C{post block}, C{post list}): requests of the
control socket, checked and passed on to L{post.mail.person}.

Only the owner of the node's directory can ask (L{post.control}), so there is no log-in; whose account is meant is said.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from post.control import EXIT_FAILED, Declined, Request, Verbs
from post.errors import PostError
from post.mail.lists import Posting
from post.mail.person import Person
from post.mail.personal import Unacceptable, Unfinished
from post.mail.records import MailingListSet
from post.mail.rules import Described

TEXTS_LIMIT = 1000
"""Texts in one request."""

Opened = dict[str, Person]
"""The people who live here, by address."""
Answer = dict[str, Any]


def verbs(people: Callable[[], Opened]) -> Verbs:
    """
    What can be asked; C{people} is asked each time.
    """

    def served(work: Callable[[Person, Request], Coroutine[Any, Any, Answer]]) -> Callable[[Request], Any]:
        return lambda request: _declining(work(_whose(people(), request), request))

    return {"rules": served(_rules), "block": served(_block), "list": served(_list)}


async def _declining(work: Coroutine[Any, Any, Answer]) -> Answer:
    """
    What went wrong on the way, in words for whoever asked.
    """
    try:
        return await work
    except (Unacceptable, Unfinished, Declined):
        raise
    except PostError as error:
        raise Declined(f"that cannot be done now ({error}): try again in a moment", EXIT_FAILED) from None


def _whose(people: Opened, request: Request) -> Person:
    named = text(request, "account")
    found = [each for each in people if not named or each == named or each.partition("@")[0] == named]
    if len(found) == 1:
        return people[found[0]]
    if not people:
        raise Declined("no mailbox is open here yet: try again in a moment", EXIT_FAILED)
    known = ", ".join(sorted(people))
    reason = (
        f"{named} does not live here: {known} do" if named and not found else f"say whose: --account one of {known}"
    )
    raise Declined(reason, EXIT_FAILED)


def text(request: Request, name: str) -> str:
    """
    A text in a request, empty if there is none.

    @raise Declined: if it is something else.
    """
    found = request.get(name, "")
    if not isinstance(found, str):
        raise Declined("no such request", EXIT_FAILED)
    return found


def number(request: Request, name: str) -> int | None:
    """
    A number in a request, or C{None}.

    @raise Declined: if it is something else.
    """
    found = request.get(name)
    if found is not None and (not isinstance(found, int) or isinstance(found, bool)):
        raise Declined("no such request", EXIT_FAILED)
    return found


def texts(request: Request, name: str) -> list[str]:
    """
    The texts in a request.

    @raise Declined: if it is something else.
    """
    found = request.get(name, [])
    if not isinstance(found, list) or len(found) > TEXTS_LIMIT or not all(isinstance(each, str) for each in found):
        raise Declined("no such request", EXIT_FAILED)
    return found


async def _rules(person: Person, request: Request) -> Answer:
    match text(request, "do"):
        case "list":
            return _shown(person)
        case "add":
            await person.wishes.add_rule(text(request, "rule"), number(request, "place"))
            return _shown(person)
        case "remove":
            removed = await person.wishes.remove_rule(number(request, "place") or 0)
            return _shown(person) | {"removed": removed}
        case "puzzle":
            bits = number(request, "bits")
            if bits is not None:
                await person.wishes.set_puzzle(bits)
            return {"bits": person.wishes.preferences.puzzle.bits}
        case "test":
            message = Described(
                text(request, "sender"),
                text(request, "verified") or text(request, "sender"),
                text(request, "to"),
                text(request, "subject"),
                number(request, "size") or 0,
            )
            verdict = person.wishes.test(message)
            return {"action": verdict.action.value, "folder": verdict.folder, "reason": verdict.reason}
    raise Declined("no such request", EXIT_FAILED)


def _shown(person: Person) -> Answer:
    ignored = [
        {"date": each.date // 1000, "sender": each.sender, "reason": each.reason}
        for each in person.wishes.preferences.ignored
    ]
    return {"rules": list(person.wishes.preferences.lines), "ignored": ignored}


async def _block(person: Person, request: Request) -> Answer:
    match text(request, "do"):
        case "list":
            pass
        case "add":
            await person.wishes.block(texts(request, "patterns"))
            await person.blocking.changed()
        case "remove":
            await person.wishes.unblock(texts(request, "patterns"))
            await person.blocking.changed()
        case "share":
            await person.blocking.share(True)
        case "unshare":
            await person.blocking.share(False)
        case "subscribe":
            await person.blocking.follow(text(request, "address"))
        case "unsubscribe":
            await person.blocking.give_up(text(request, "address"))
        case _:
            raise Declined("no such request", EXIT_FAILED)
    preferences = person.wishes.preferences
    others = person.blocking.others()
    return {
        "blocked": sorted(preferences.blocked),
        "shared": bool(preferences.shared),
        "subscribed": {address: len(others.get(address, ())) for address in preferences.followed},
    }


async def _list(person: Person, request: Request) -> Answer:
    lists, address = person.lists, text(request, "address")
    match text(request, "do"):
        case "show" if not address:
            return {"lists": [_described(each) for _, each in sorted(lists.preferences.lists.items())]}
        case "show":
            return _described(lists.named(address))
        case "create":
            posting = text(request, "posting") or Posting.MEMBERS
            return _described(await lists.create(address, posting, texts(request, "members")))
        case "add":
            return _described(await lists.add(address, texts(request, "members")))
        case "remove":
            return _described(await lists.remove(address, texts(request, "members")))
        case "delete":
            name = lists.named(address).address
            await lists.delete(address)
            return {"address": name}
    raise Declined("no such request", EXIT_FAILED)


def _described(mailing_list: MailingListSet) -> Answer:
    return {
        "address": mailing_list.address,
        "posting": mailing_list.posting,
        "members": list(mailing_list.members),
    }
