"""
How fast waiting mail arrives: bob's node is off, alice writes, bob's node comes back.

    python benchmarks/pending.py [--messages N] [--nodes N] [--json]

Prints the rate at which mail for somebody who is off-line is accepted, the seconds from the start of his node until it
serves, and from then until everything is in his Inbox; and the rate over both together, from the start of the node.
"""

from __future__ import annotations

import argparse
import imaplib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mail import inbox_count, place, ring, submit, wait_for_count

CONNECTIONS = 10
PATIENCE_S = 300.0
"""Beyond which it counts as never."""


def command(directory: Path, *arguments: str) -> None:
    """
    C{post ring}, on the ring that runs.
    """
    subprocess.run([sys.executable, "-m", "post.cli", "ring", str(directory), *arguments], check=True)


def inbox(state: dict[str, Any]) -> imaplib.IMAP4:
    """
    Bob's.
    """
    client = imaplib.IMAP4(*place(state["nodes"][1]["imap"]))
    client.login("bob", "bob-secret")
    return client


def measure(messages: int, nodes: int) -> dict[str, float]:
    """
    All figures of one run.
    """
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch, ring(Path(scratch) / "ring", nodes) as (state, _):
        directory = Path(scratch) / "ring"
        there = inbox_count(inbox(state))
        command(directory, "--stop", "node2")
        began = time.monotonic()
        # The CPU of the one that is off cannot be asked for.
        running = {**state, "nodes": [node for node in state["nodes"] if node["name"] != "node2"]}
        submit(running, CONNECTIONS, messages)
        results["accepted_while_off"] = messages / (time.monotonic() - began)
        started = time.monotonic()
        command(directory, "--start", "node2")
        serves = time.monotonic()
        client = inbox(state)
        wait_for_count(client, there + messages, PATIENCE_S)
        arrived = time.monotonic()
        results["serves_s"] = serves - started
        results["arrived_s"] = arrived - serves
        results["arrived_per_s"] = messages / (arrived - serves)
        results["from_start_per_s"] = messages / (arrived - started)
    return results


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments.messages, arguments.nodes)
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for name, value in results.items():
        print(f"{name:<28}{value:>12.1f}")


if __name__ == "__main__":
    main()
