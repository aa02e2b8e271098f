"""
C{post doctor}: looks a node over from outside, whether it runs or not, and says how what is wrong is mended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from post import control
from post.cli.dns_checks import check_dns
from post.cli.findings import Finding, State, machine_readable, report
from post.cli.local_checks import check_certificates, check_disk
from post.cli.reach_checks import check_addresses, check_clock, check_listening, check_members, check_seeds
from post.cli.status import PATIENCE_S, config_option, node_config
from post.config import Config
from post.crypto.certificates import read_node
from post.errors import ConfigError, Unreachable
from post.gateway.service import ROLE
from post.home import Home

EXIT_FAILED = 1
NODE = "the running node"
_SAID = {"not-in-ring", "clock", "disk", "node-ends", "identity-ends", "directory-ends", "mail-ends"}
"""Warnings of the node about what is looked at here anyway."""


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(config: Path | None, as_json: bool) -> None:
    """
    Look a node over: disk, certificates, clock, ports, ring, DNS.

    It need not run.  Exit code: 0 if nothing failed, 1 if something did, 78 if its settings cannot be read.
    """
    found = list(examine(node_config(config), time.time()))
    click.echo(json.dumps(machine_readable(found), indent=1) if as_json else report(found))
    if any(finding.state is State.FAILED for finding in found):
        raise SystemExit(EXIT_FAILED)


def examine(config: Config, now: float) -> Iterator[Finding]:
    """
    Everything, area by area.
    """
    on_disk = list(check_disk(config))
    yield from on_disk
    if on_disk[0].state is State.FAILED and len(on_disk) == 1:
        return  # There is no node here.
    try:
        status, home = _ask(config), Home(config.directory, config.settings.files)
    except control.Silent:
        cure = "Let it go on, if it has been stopped (kill -CONT), or end it and start it again."
        yield Finding(NODE, State.FAILED, "the node runs, and does not answer", cure)
        return
    # First: with a wrong clock, much of what follows seems to have ended, or not to have begun.
    yield from check_clock(config, home, now, status)
    yield from check_certificates(config, int(now))
    yield from check_listening(config, status)
    yield from check_addresses(config, status is not None)
    yield from check_seeds(config, home.seeds())
    try:
        credentials = home.credentials(int(now))
        policy, directory = home.policy(credentials.root, int(now)), home.directory(credentials.root, int(now))
    except ConfigError:
        return  # It has been said why.
    yield from check_members(policy, directory, status)
    certificate = read_node(credentials.chain[0])
    if ROLE in certificate.roles:
        yield from check_dns(config, directory, certificate.node_id)
    if status is not None:
        yield from _alerts(status)


def _ask(config: Config) -> dict[str, Any] | None:
    """
    The status of the node, if it runs.

    @raise control.Silent: if it does not answer.
    """
    try:
        found: dict[str, Any] = control.ask(control.find(config.directory), {"verb": "status"}, PATIENCE_S)
    except control.Silent:
        raise
    except Unreachable:
        return None
    return found


def _alerts(status: dict[str, Any]) -> Iterator[Finding]:
    states = {"note": State.NOTE, "warning": State.WARNING, "alarm": State.FAILED}
    said = [alert for alert in status.get("alerts", ()) if alert["name"] not in _SAID]
    for alert in said:
        yield Finding(NODE, states.get(alert["level"], State.WARNING), alert["what"], alert["cure"])
    if not said:
        yield Finding(NODE, State.OK, "it warns of nothing else")
