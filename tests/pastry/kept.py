"""
What a node keeps: each collection that it has, by the class and the name of the attribute, how large it is, and how
large it may become whatever others say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from post import complaints, rpc
from post.ids import DIGITS
from post.pastry import (
    entrance,
    evidence,
    failures,
    gossip,
    indirect,
    informants,
    join,
    news,
    node,
    proximity,
    repair,
    ring,
    roster,
    vouching,
    wider,
)
from post.pastry.config import PastryConfig
from post.pastry.node import Pastry
from post.pastry.table import COLUMNS
from post.relay import carrier, detour, sources, transport
from post.rpc import Rpc

COLLECTIONS = (dict, list, set, frozenset, deque)
APART = frozenset({"_applications", "_clock", "clock", "_inner", "_receiver", "log", "_random"})
"""Not ours, or the world's."""
LINKED = 64
"""More than the other nodes of any ring in these tests: some things are kept for each that is linked (so certified)."""
KINDS = 64
"""Kinds of messages that a node serves, complaints that it makes, and watchers that it has: as many as are written."""


def limits(config: PastryConfig) -> dict[str, int]:
    """
    How large each of L{kept} may become.  What is not named here must not be there.
    """
    leaves = 2 * config.half
    contacts = leaves + DIGITS * COLUMNS + roster.ROSTER_LIMIT
    entering = dict.fromkeys(("Entrance._entering", "Entrance._unseen"), config.join_limit)
    pool = dict.fromkeys(("_pool", "_namers", "_strangers", "_dormant", "_probing", "_idle"), repair.POOL_LIMIT)
    named = dict.fromkeys(("_named", "_rumors", "_awaited", "_befriended"), indirect.NAMED_LIMIT)
    deaths = dict.fromkeys(("_deaths", "_reported", "_shunned"), roster.DEATHS_LIMIT)
    linked = ("Gossip._brought", "Rpc._peers", "Shares._by", "Quota._counts", "_Rumors.sources")
    few = ("Complaints.counts", "Pastry._returned", "Rpc._handlers", "Rpc._found", "Rpc._lost", "Tasks._recurring")
    return {
        **entering,
        **dict.fromkeys(linked, LINKED),
        **dict.fromkeys(few, KINDS),
        **{f"Repair.{name}": limit for name, limit in pool.items()},
        **{f"Indirect.{name}": limit for name, limit in named.items()},
        **{f"Roster.{name}": limit for name, limit in deaths.items()},
        "Carrier._askers": carrier.PEERS_LIMIT,
        "Carrier._customers": carrier.PEERS_LIMIT,
        "Complaints._last": complaints.PEERS_LIMIT,
        "ConstrainedTable._rows": DIGITS,
        "Detour._offers": detour.SESSIONS_LIMIT,
        "Detour._sessions": detour.SESSIONS_LIMIT,
        "Detour.relays": detour.RELAYS_LIMIT,
        "Entrance._waiting": entrance.WAITING_LIMIT,
        "Evidence._heard": evidence.HEARD_LIMIT,
        "Evidence.proofs": evidence.PROOFS_LIMIT,
        "FailureRate._deaths": failures.KEPT,
        "Indirect._confirmed": contacts + repair.POOL_LIMIT,
        "Informants._debts": informants.INFORMANTS_LIMIT,
        "Join._inviters": join.INVITERS_LIMIT,
        "Join._rumored": join.SEEDS_LIMIT,
        "Join._seeds": join.SEEDS_LIMIT,
        "LeafSet._ids": leaves,
        "LeafSet._ways": leaves,
        "Liveness._answered_at": leaves,
        "Liveness._disagreeing": contacts + LINKED,
        "Liveness._examined": contacts + LINKED + repair.POOL_LIMIT,
        "Lookup._asked": config.held_limit,
        "Lookup._known": config.cache_ranges,
        "Pastry._holding": 2 * config.held_limit,
        "Proximity._asked": proximity.ASKED_LIMIT,
        "Proximity._candidates": proximity.CANDIDATES_LIMIT,
        "RelayTransport._detours": transport.DETOURS_LIMIT,
        "Remembered._by": node.DELIVERED_KEPT,
        "Ring._digests": ring.DIGESTS_LIMIT,
        "Ring.absent": config.absent_limit,
        "Ring.contacts": contacts,
        "Ring.shunned": evidence.HEARD_LIMIT,
        "Ring.suspects": contacts,
        "Roster._entries": roster.ROSTER_LIMIT,
        "Roster._ids": roster.ROSTER_LIMIT,
        "RoutingTable._rows": DIGITS,
        "Sources._known": sources.SOURCES_LIMIT,
        # Of messages, questions and looks that are under way, each of which has a limit of its own.
        "Tasks._running": 2 * config.held_limit + contacts + repair.POOL_LIMIT + gossip.LOOKED_FOR_LIMIT,
        "Telling._recent": news.RECENT_LIMIT,
        "Telling._reports": news.RECENT_LIMIT,
        "Vouching._bringers": vouching.PEERS_LIMIT,
        "Vouching._claims": KINDS,
        "Vouching._peers": vouching.PEERS_LIMIT,
        "Wider._doubted": wider.DOUBTED_LIMIT,
        "Wider._since": wider.DOUBTED_LIMIT,
        "_Gathered.entries": news.RECENT_LIMIT,
        "_Examination.asked": indirect.RUNNING_LIMIT,
        "_Examination.waiting": KINDS,
        "_Peer.asked": rpc.ASKED_LIMIT,
        "_Peer.partial": rpc.PARTIAL_LIMIT_BYTES // rpc.PIECE_BYTES,
        "_Question._callbacks": 8,
    }


def kept(pastry: Pastry, rpc: Rpc) -> dict[str, int]:
    """
    The size of the largest of each, of all that is reached from C{pastry} and C{rpc}.
    """
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    waiting: list[Any] = [pastry, rpc]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, COLLECTIONS):
            waiting += [*each.keys(), *each.values()] if isinstance(each, Mapping) else list(each)
        elif type(each).__module__.startswith("post.") and not type(each).__module__.startswith("post.sim"):
            for name, value in _attributes(each):
                if isinstance(value, COLLECTIONS):
                    label = f"{type(each).__name__}.{name}"
                    sizes[label] = max(sizes.get(label, 0), len(value))
                waiting.append(value)
    return sizes


def too_large(pastry: Pastry, rpc: Rpc) -> list[str]:
    """
    What is larger than it may be, or has no limit.
    """
    most = limits(pastry.config)
    sizes = kept(pastry, rpc)
    return [f"{name}: {size} of {most.get(name)}" for name, size in sizes.items() if size > most.get(name, -1)]


def _attributes(each: Any) -> Iterator[tuple[str, Any]]:
    names = [name for base in type(each).__mro__ for name in getattr(base, "__slots__", ())]
    for name in dict.fromkeys([*names, *getattr(each, "__dict__", ())]):
        if name not in APART and hasattr(each, name):
            yield name, getattr(each, name)
