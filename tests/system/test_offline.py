"""
Somebody who is off-line while others write and machines burn, on real processes (POST, section 3.3).

L{tests.system.soak_offline} does it again and again.
"""

from __future__ import annotations

import imaplib
import json
import random
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from post.messaging.pending import PENDING
from post.past.blocks import CONTENT, PUBLIC_KEY
from tests.system.rings import SECRETS, Ring, mail, place, wait_for

K = 3
"""Copies that the policy of C{post ring} asks for."""
NODES = 7
"""Twice k-1 machines burn, and then two are left besides the recipient's: the fewest that may keep what it files."""
MESSAGES = 500
SENDERS = 4
"""Connections over which they are submitted."""
HEALING_S = 120.0
"""For a ring to have all copies again, on a machine that does much else."""
ARRIVAL_S = 60.0
"""For the messages to arrive, likewise.  What is promised is L{PROMISED_S}; see L{tests.system.soak_offline}."""
PROMISED_S = 10.0


@dataclass(frozen=True)
class Return:
    """
    How somebody came back: seconds from when their node served until all was there, and what was.
    """

    seconds: float
    subjects: tuple[str, ...]


class OfflineTests(SynchronousTestCase):
    """
    Alice writes to Bob, whose computer is off; twice k-1 machines are lost.
    """

    def test_burning(self) -> None:
        """
        All that was accepted arrives exactly once when Bob is back, although any k-1 nodes were wiped at once, and any
        k-1 again when the ring had healed.
        """
        seed = random.SystemRandom().getrandbits(32)
        returned = absence(MESSAGES, random.Random(seed))
        print(f"seed {seed}: {MESSAGES} messages in {returned.seconds:.1f} s")
        self.assertEqual(expected(MESSAGES), sorted(returned.subjects), f"seed {seed}")
        self.assertLess(returned.seconds, ARRIVAL_S, f"seed {seed}")


def expected(messages: int) -> list[str]:
    """
    The subjects of so many messages.
    """
    return sorted(subject(number) for number in range(messages))


def subject(number: int | str) -> str:
    """
    Of a message.
    """
    return f"while away {number}"


def absence(messages: int, chance: random.Random) -> Return:
    """
    The story: so many messages while Bob is away, machines that burn, and his return.
    """
    with Ring(NODES) as ring:
        ring.stop_node("node2")
        submit(ring, messages)
        assert sent(ring)["waiting"] == messages, sent(ring)
        for _ in range(2):
            living = [name for name in names(ring) if name != "node2"]
            for name in chance.sample(living, K - 1):
                print(f"{name} is wiped")
                ring.kill(name, wipe=True)
            wait_for("copies", lambda: healed(ring), HEALING_S)
        ring.start_node("node2")
        began = time.monotonic()
        client = imaplib.IMAP4(*place(ring.home_of("bob")["imap"]), timeout=60)
        client.login("bob", SECRETS["bob"])
        wait_for("the messages", lambda: count(client) >= messages, 2 * ARRIVAL_S)
        seconds = time.monotonic() - began
        # Nothing comes a second time from those who have not heard yet that it has arrived.
        wait_for("the end of all waiting", lambda: not waiting(ring), HEALING_S)
        found = subjects(client)
        client.shutdown()
        if "node1" in names(ring):
            wait_for("the sender to know", lambda: sent(ring).get("waiting", 0) == 0, HEALING_S)
        return Return(seconds, found)


def submit(ring: Ring, messages: int) -> None:
    """
    Alice writes; returns when all are accepted.
    """
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            with ring.smtp("alice") as client:
                for number in range(start, messages, SENDERS):
                    client.sendmail("alice@example.org", ["bob@example.org"], mail(subject(number)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def sent(ring: Ring) -> dict[str, int]:
    """
    Where what Alice has sent stands, as C{post sent} says it: how many of each.
    """
    command = [sys.executable, "-m", "post.cli", "sent", "--json", "--limit", "5000", "--config"]
    home = ring.home_of("alice")["name"]
    said = json.loads(subprocess.check_output([*command, str(ring.home(home))]))
    counts: dict[str, int] = {}
    for message in said["alice@example.org"]:
        for recipient in message["recipients"]:
            counts[recipient["standing"]] = counts.get(recipient["standing"], 0) + 1
    return counts


def names(ring: Ring) -> list[str]:
    """
    The nodes that have a disk.
    """
    return [node["name"] for node in ring.nodes() if ring.home(node["name"]).exists()]


def healed(ring: Ring) -> bool:
    """
    Whether everything is on as many disks as it should be, of those that are on-line, or on all there are.
    """
    living = set(names(ring)) - {"node2"}
    holders: dict[tuple[int, bytes], set[str]] = {}
    for (kind, handle, _), found in ring.holdings((CONTENT, PUBLIC_KEY, PENDING)).items():
        holders.setdefault((kind, handle), set()).update(found & living)
    return all(len(found) >= min(K, len(living)) for found in holders.values())


def waiting(ring: Ring) -> int:
    """
    How many notifications the nodes think are still to be delivered.
    """
    total = 0
    for name in names(ring):
        command = [sys.executable, "-m", "post.cli", "status", "--json", "--config", str(ring.home(name))]
        said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout)
        total += said["notifications_waiting"]
    return total


def count(client: imaplib.IMAP4) -> int:
    """
    Messages in the Inbox.
    """
    return int(re.findall(rb"MESSAGES (\d+)", client.status("INBOX", "(MESSAGES)")[1][0])[0])


def subjects(client: imaplib.IMAP4) -> tuple[str, ...]:
    """
    Of the messages in the Inbox, but for the one with which every ring begins.
    """
    client.select("INBOX", readonly=True)
    parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    found = [part[1].decode().strip().partition(": ")[2] for part in parts if isinstance(part, tuple)]
    return tuple(each for each in found if each.startswith(subject("")))
