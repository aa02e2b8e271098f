"""
A node's facts for C{post status --json} and other programs (pure).
"""

from __future__ import annotations

from typing import Any

from post.health.alerts import alerts
from post.health.durability import Durability
from post.health.facts import Facts

# What can be written as JSON: Any is its type.
Json = dict[str, Any]


def summary(facts: Facts) -> Json:
    """
    What is said besides the node's own status.  Times are unix seconds, sizes bytes; what is not known is C{None}.
    """
    return {
        "ring_size": facts.ring_size,
        "round_trip_ms": facts.round_trip_ms(),
        "clock_ahead_s": facts.clock_ahead_s,
        "disk_free": facts.disk.free,
        "disk_total": facts.disk.total,
        "certificates": [{"kind": each.kind, "whose": each.whose, "ends": each.ends} for each in facts.certificates],
        "durability": {
            each.address: None if each.durability is None else _durability(each.durability) for each in facts.mailboxes
        },
        "public_log": None
        if facts.issuance is None
        else {"length": facts.issuance.length, "at": facts.issuance.checked},
        "alerts": [
            {
                "level": alert.level.name.lower(),
                "name": alert.name,
                "what": alert.what,
                "cure": alert.cure,
                "address": alert.address,
            }
            for alert in alerts(facts)
        ],
    }


def _durability(found: Durability) -> Json:
    return {
        "at": found.at,
        "wanted": found.wanted,
        "objects": found.total,
        "short": found.short,
        "missing": found.missing,
        "unknown": found.unknown,
        "away": found.away,
        "messages": found.messages,
        "sampled": found.sampled,
        "copies": {kind.name: {str(copies): number for copies, number in kind.copies.items()} for kind in found.kinds},
        "lost": [
            {
                "nodes": loss.nodes,
                "exposed": loss.exposed,
                "worst": loss.worst,
                "whose": list(loss.whose),
                "exact": loss.exact,
            }
            for loss in found.losses
        ],
    }
