"""
What C{post doctor} finds by connecting: ports, other nodes, the authority and its clock.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from post.ca.code import short_fingerprint
from post.ca.visit import Visit
from post.cli.findings import Finding, State
from post.config import Config, Mail, split_service
from post.crypto.documents import Directory, Policy
from post.errors import ConfigError, PostError
from post.health.alerts import CLOCK_FAR_S, CLOCK_S
from post.home import Home
from post.ids import Address
from post.occupant import occupant
from post.process import check_ports

PORTS, RING, CLOCK = "ports", "ring", "clock"
DAY_S = 86400
PATIENCE_S = 3.0
"""For a connection; whoever takes longer is as good as away."""
AT_ONCE = 16
"""Connections tried at the same time."""
SHOWN = 5
"""Nodes that do not answer, of which the names are said."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def answers(service: str) -> str:
    """
    Why nobody can be reached at C{host:port}; empty if somebody can.
    """
    host, port = split_service(service)
    try:
        with socket.create_connection((_ANYWHERE.get(host, host), port), PATIENCE_S):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _try_all(services: Sequence[str]) -> dict[str, str]:
    """
    The same of many at once.
    """
    if not services:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(services))) as threads:
        return dict(zip(services, threads.map(answers, services), strict=True))


def listening(config: Config) -> dict[str, str]:
    """
    What the node is to listen on, by the setting that says so.
    """
    settings = config.settings
    wanted = {"links.listen": settings.links.listen}
    if settings.authority.directory:
        wanted["authority.listen"] = settings.authority.listen
    wanted |= {f"mail.{key}": getattr(settings.mail, key) for key in Mail.__struct_fields__}
    return {key: service for key, service in wanted.items() if service}


def check_listening(config: Config, status: dict[str, Any] | None) -> Iterator[Finding]:
    """
    Whether the node's ports answer, and it is the node that does; or, if it does not run (C{status} is C{None}),
    whether it could have them.
    """
    wanted = listening(config)
    if status is None:
        for key, service in wanted.items():
            try:
                check_ports(config.file, {key: service})
            except ConfigError as error:
                yield Finding(PORTS, State.FAILED, f"{key}: {error.reason}", port_cure(key, error.reason))
            else:
                yield Finding(PORTS, State.OK, f"{key}: {service} is free for the node")
        return
    found = _try_all(list(wanted.values()))
    for key, service in wanted.items():
        other = _usurper(service, status)
        if trouble := found[service]:
            cure = "See what the node's log says of this port, and whether a firewall of this machine is in the way."
            yield Finding(PORTS, State.FAILED, f"{key}: nobody answers at {service}: {trouble}", cure)
        elif other:
            cure = f"Stop that, or set {key} to another port; then start the node again."
            yield Finding(PORTS, State.FAILED, f"{key}: {service} is answered by {other}, not by the node", cure)
        else:
            yield Finding(PORTS, State.OK, f"{key}: {service} answers")


def _usurper(service: str, status: dict[str, Any]) -> str:
    """
    Who else listens where the running node should; empty if that cannot be known.
    """
    pid, found = status.get("pid"), occupant(split_service(service)[1])
    return found.words if pid and found is not None and found.pid and found.pid != pid else ""


def port_cure(key: str, reason: str) -> str:
    """
    What to do about a port of the setting C{key} that cannot be had for this C{reason}.
    """
    if os.strerror(errno.EACCES) in reason:
        return (
            "A port below 1024 needs a privilege (AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit);"
            f" or set {key} to another port."
        )
    if os.strerror(errno.EADDRNOTAVAIL) in reason:
        return f"This machine has no such address: see 'ip address', and set {key} to one that it has."
    return f"Stop whatever listens there, or set {key} to another port."


def check_addresses(config: Config, running: bool) -> Iterator[Finding]:
    """
    Whether the addresses that others are told lead here, as far as that can be seen from here.
    """
    addresses = config.settings.links.addresses
    if not running or not addresses:
        return
    for address, trouble in _try_all(list(addresses)).items():
        if trouble:
            said = f"this node cannot be reached at {address}, which others are told: {trouble}"
            cure = (
                "Forward that port to this machine, or set links.addresses right. Some routers do not let machines"
                " behind them try this: then ask from outside."
            )
            yield Finding(PORTS, State.WARNING, said, cure)
        else:
            yield Finding(PORTS, State.OK, f"{address}, which others are told, leads to a listener")


def check_seeds(config: Config, told: Sequence[str]) -> Iterator[Finding]:
    """
    Whether the ring can be entered: C{told} are the addresses that the authority has told.
    """
    links = config.settings.links
    ours = {links.listen, *links.addresses}
    seeds = [seed for seed in dict.fromkeys((*links.seeds, *told)) if seed not in ours]
    if not seeds:
        yield Finding(RING, State.NOTE, "no other node is known: this one founds a ring, or is found by others")
        return
    silent = {seed: trouble for seed, trouble in _try_all(seeds).items() if trouble}
    said = f"{len(seeds) - len(silent)} of {len(seeds)} nodes through which the ring is entered can be reached"
    named = ", ".join(f"{seed} ({silent[seed]})" for seed in list(silent)[:SHOWN])
    if len(silent) == len(seeds):
        cure = f"Switch one of them on, or see whether this machine is on-line: {named}"
        yield Finding(RING, State.FAILED, said, cure)
    elif silent:
        yield Finding(RING, State.NOTE, f"{said}; not {named}")
    else:
        yield Finding(RING, State.OK, said)


def check_members(policy: Policy, directory: Directory, status: dict[str, Any] | None) -> Iterator[Finding]:
    """
    Whether there can be k copies of everything.  C{status} is the running node's.
    """
    owners = len({member.owner for member in directory.members})
    if owners < policy.k:
        cure = "Let more people join (post ca token), or have the authority lower k; until then there are fewer copies."
        said = f"{owners} people have nodes, and {policy.k} copies of everything are wanted, each with somebody else"
        yield Finding(RING, State.WARNING, said, cure)
    else:
        yield Finding(RING, State.OK, f"{owners} people have nodes: enough for {policy.k} copies of everything")
    if status is None:
        yield Finding(RING, State.WARNING, "the node does not run", "Start it: twistd post --config FILE.")
    elif not status["active"]:
        yield Finding(RING, State.FAILED, "the node is not in the ring", "It keeps trying: see above who answers.")
    else:
        yield Finding(RING, State.OK, f"the node is in a ring of {status['ring_size']}")
    if status is not None and (indirect := status.get("indirect", 0)):
        cure = "Mail gets there, more slowly.  See that the port of links is open on both sides (links.listen)."
        yield Finding(RING, State.NOTE, f"{indirect} of them it reaches only by way of others", cure)


def time_at(door: Address, root: bytes) -> int:
    """
    What the clock of the authority says that is asked at C{door} and has C{root}.

    @raise PostError: if that cannot be known.
    """
    with Visit(door, short_fingerprint(root)) as visit:
        return visit.time


def check_clock(
    config: Config,
    home: Home,
    now: float,
    status: dict[str, Any] | None,
    time_at: Callable[[Address, bytes], int] = time_at,
) -> Iterator[Finding]:
    """
    Whether this machine's clock agrees with the other nodes', or the authority's.
    """
    ahead = None if status is None else status.get("clock_ahead_s")
    if ahead is not None:
        yield _judge_clock(ahead, "the other nodes'")
        return
    trouble = "no other clock is known"
    for door in config.settings.authority.doors:
        try:
            # Not with the node's credentials, which a wrong clock takes for ended: who it is, the root alone says.
            yield _judge_clock(time_at(door, home.root()) - now, "the authority's")
            return
        except PostError as error:
            trouble = f"the authority cannot be asked: {error}"
    yield Finding(CLOCK, State.NOTE, f"it was not compared: {trouble}")


def _judge_clock(ahead: float, whose: str) -> Finding:
    off = abs(ahead)
    if off <= CLOCK_S:
        return Finding(CLOCK, State.OK, f"it agrees with {whose} ({off:.0f} s apart)")
    said = f"it is {off:,.0f} s {'behind' if ahead > 0 else 'ahead of'} {whose}"
    if off >= DAY_S:
        said += f" ({off / DAY_S:.1f} days)"
    cure = "Set it by the network: timedatectl set-ntp true, or the settings of date and time."
    if off > CLOCK_FAR_S:
        cure += " Until then others refuse what this node signs, and certificates seem to have ended or not begun."
    return Finding(CLOCK, State.FAILED if off > CLOCK_FAR_S else State.WARNING, said, cure)
