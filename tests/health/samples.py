"""
Facts for tests: a node that is as it should be, to be changed by each test.
"""

from __future__ import annotations

from typing import Any

import msgspec

from post.accounts import AccountStatus
from post.health.durability import Durability, Kind, Loss
from post.health.facts import Certificate, Disk, Facts, Mailbox, Peer, Presence
from post.health.journeys import Sent
from post.mail.journeys import ShownJourney, ShownPassage
from post.node import Status

NOW = 1_700_000_000.0
DAY_S = 86400
ALICE, BOB = "alice@example.org", "bob@example.org"


def peer(number: int, owner: str, presence: Presence = Presence.HERE, ours: bool = False, *roles: str) -> Peer:
    """
    One of a ring of sixteen places.
    """
    linked = presence is Presence.HERE and not ours
    return Peer(f"{number:x}".ljust(40, "0"), owner, roles, presence, linked, 1.5 if linked else None, ours)


DURABILITY = Durability(
    NOW - 60,
    3,
    (Kind("log head", 1, {3: 1}), Kind("messages", 20, {3: 18, 4: 2})),
    (
        Loss(1, 0, 0, (), True),
        Loss(2, 0, 0, (), True),
        Loss(3, 19, 9, (peer(1, ALICE).node_id, peer(4, BOB).node_id, peer(9, "owner3").node_id), True),
    ),
    0,
    0,
    12,
    12,
)

SENT = (
    Sent(
        ShownJourney(
            "ab" * 16,
            int(NOW - 120),
            4500,
            3,
            (
                ShownPassage(BOB, "delivered", int(NOW - 119), 0, 0),
                ShownPassage("carol@example.org", "waiting", int(NOW - 120), int(NOW + 30 * DAY_S), 3),
                ShownPassage("dave@example.org", "expired", int(NOW - 5), int(NOW - 5), 3),
            ),
        ),
        "Minutes <of the meeting>",
    ),
)

MAILBOX = Mailbox(ALICE, True, True, "", 12, 5, 0, DURABILITY, False, SENT)

STATUS = Status(
    "node1",
    "1" + "0" * 39,
    True,
    5,
    4,
    1234,
    5_600_000,
    2,
    3,
    2,
    4,
    (
        AccountStatus(ALICE, True, True, 12, 5, 7, 7, recovery="in force"),
        AccountStatus(BOB, True, True, 1, 5, 7, 7, recovery="in force"),
    ),
    {"broken message": 1},
    int(NOW + 100 * DAY_S),
)

FACTS = Facts(
    NOW,
    NOW - 3600,
    "example.org",
    STATUS,
    True,
    (
        peer(1, ALICE, Presence.HERE, True),
        peer(4, BOB),
        peer(9, "owner3", Presence.HERE, False, "gateway"),
        peer(10, "owner4", Presence.SUSPECT),
        peer(15, "owner5", Presence.AWAY),
    ),
    5,
    Disk(100 << 30, 50 << 30),
    (
        Certificate("node", "", int(NOW + 100 * DAY_S)),
        Certificate("identity", ALICE, int(NOW + 100 * DAY_S)),
        Certificate("identity", BOB, int(NOW + 90 * DAY_S)),
        Certificate("directory", "", int(NOW + 30 * DAY_S)),
    ),
    (MAILBOX, Mailbox(BOB, True, True, "", 1, 5, 0)),
    0.5,
)


def facts(**changed: Any) -> Facts:  # Any: whatever the fields are.
    """
    L{FACTS}, but for what is C{changed}; fields of L{STATUS} may be named too.
    """
    status = {name: changed.pop(name) for name in list(changed) if name in Status.__struct_fields__}
    return msgspec.structs.replace(FACTS, status=msgspec.structs.replace(STATUS, **status), **changed)
