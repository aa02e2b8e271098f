"""
How fast a gateway takes mail from the Internet, beside a Postfix that takes the same, in turns in one run.

    python benchmarks/mx.py [--messages N] [--rounds N] [--json]

Each is an exchanger of its own domain and gets the same messages of 1 KB over one connection and over ten.  The gateway
verifies SPF, DKIM and DMARC (by a name server on loopback) and says 250 when k = 3 nodes have the message and the
recipient has filed it; Postfix verifies nothing and says 250 when it is in its queue on the disk.  Has to be started by
root, as Postfix has; greylisting is off.
"""

from __future__ import annotations

import argparse
import json
import smtplib
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # Postfix and the name server are those of the tests.

from tests.gateway.names import NameServer, Zone
from tests.system.ports import free_ports
from tests.system.postfix import Postfix
from tests.system.rings import Ring, place

ZONE: Zone = {
    "elsewhere.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
    "_dmarc.elsewhere.example": {"TXT": ["v=DMARC1; p=reject"]},
}
CONNECTIONS = (1, 10)
OPEN = "greylist_s = 0\nmessages_per_minute = 1000000\nconnections_per_source = 100"


def letter(number: int, run: str) -> bytes:
    """
    1 KB, each another.
    """
    head = f"From: eve@elsewhere.example\r\nSubject: {number}\r\nMessage-ID: <{run}.{number}@elsewhere.example>\r\n\r\n"
    return (head + "x" * 70 + "\r\n").encode() + (b"y" * 70 + b"\r\n") * 12


def rate(where: tuple[str, int], recipient: str, connections: int, messages: int, run: str) -> float:
    """
    Messages a second.
    """

    def send(first: int) -> None:
        with smtplib.SMTP(*where, timeout=120) as client:
            for number in range(first, messages, connections):
                client.sendmail("eve@elsewhere.example", [recipient], letter(number, run))

    threads = [threading.Thread(target=send, args=(first,)) for first in range(connections)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return messages / (time.monotonic() - began)


def measure(messages: int, rounds: int) -> dict[str, float]:
    """
    Medians over the rounds.
    """
    found: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        NameServer(Path(scratch), free_ports(1)[0], ZONE) as names,
        Ring(options=("--gateway", "--dns", names.place)) as ring,
        Postfix("other.example") as postfix,
    ):
        ring.configure("node5", OPEN)
        peers = {
            "post": (place(ring.node("node5")["smtp"]), "alice@example.org"),
            "postfix": (place(postfix.place), "alice@other.example"),
        }
        for turn in range(rounds):
            for connections in CONNECTIONS:
                for name, (where, recipient) in peers.items():
                    run = f"{name}.{connections}.{turn}"
                    speed = rate(where, recipient, connections, messages, run)
                    found.setdefault(f"{name}_{connections}_per_s", []).append(speed)
    results = {name: statistics.median(speeds) for name, speeds in found.items()}
    for connections in CONNECTIONS:
        ratio = results[f"post_{connections}_per_s"] / results[f"postfix_{connections}_per_s"]
        results[f"post_to_postfix_{connections}"] = ratio
    return results


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments.messages, arguments.rounds)
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for name, value in results.items():
        print(f"{name:<28}{value:>12.2f}")


if __name__ == "__main__":
    main()
