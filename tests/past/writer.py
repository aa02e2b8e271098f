"""
A process that puts blocks as fast as its disk takes them, and says on standard output, before and after, which.

It is started by L{tests.past.test_crash}, which kills it, or lets its disk fail.  A line is written by one call, so
that it is there whole or not at all, and so that it shows in a trace.
"""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from twisted.python.failure import Failure

from post.ids import Handle, Id
from post.interfaces import Stored
from post.past.store import SqliteBlockStore

AT_ONCE = 16
"""Puts under way, so that commits have several."""


def block(number: int) -> Stored:
    """
    The block with this number: from 200 octets to 16 KiB, and each tenth number takes the place of the one before.
    """
    place = number - 1 if number % 10 == 9 else number
    data = number.to_bytes(8, "big") + sha256(b"%d" % number).digest() * (6 + number % 500)
    return Stored(Handle(Id(place * 0x1234567 + 1)), 1, 2, 1 << 32, number, data)


def say(text: str) -> None:
    """
    One line, at once.
    """
    os.write(1, text.encode() + b"\n")


def main(path: str, count: str, at_once: str) -> None:
    """
    Put C{count} blocks into the store at C{path}.
    """
    calls: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    store = SqliteBlockStore(Path(path), lambda *call: calls.put(call))
    waiting = 0

    def ended(result: object, number: int) -> None:
        nonlocal waiting
        waiting -= 1
        say(f"failed {number} {result.getErrorMessage()}" if isinstance(result, Failure) else f"kept {number}")

    number = 0
    while number < int(count) or waiting:
        if number < int(count) and waiting < int(at_once):
            waiting += 1
            say(f"put {number}")
            store.put(block(number)).addBoth(ended, number)
            number += 1
        else:
            function, *arguments = calls.get()
            function(*arguments)
    say("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
