"""
How fast POST carries mail: five real nodes on this machine, driven over SMTP and IMAP.

    python benchmarks/mail.py [--messages N] [--json]

Prints the rate of accepted messages (1 and 10 connections), the time from C{250} to IDLE's EXISTS, the rate into one
Inbox, the rate of FETCH, memory and start-up time of a node, and CPU per message summed over all nodes.  Beside each
figure stands what the Java original did on a 2-core machine.  Machines are noisy: compare ratios, not absolute times.
"""

from __future__ import annotations

import argparse
import imaplib
import json
import os
import smtplib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
ORIGINAL = {
    "accepted_1": "7.0",
    "accepted_10": "13.7",
    "exists_ms_p50": "127,000 (first)",
    "into_inbox": "0.08",
    "rss_mb": "95-109",
    "start_s": "17",
}


@contextmanager
def ring(directory: Path, nodes: int) -> Iterator[tuple[dict[str, Any], float]]:
    """
    A running ring, and how long it took to start when its certificates existed already.
    """
    command = [sys.executable, "-m", "post.cli", "ring", str(directory)]
    made = ["--nodes", str(nodes), "--user", "alice:alice-secret", "--user", "bob:bob-secret"]
    make_ring([*command, *made], directory)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        state = wait_for(directory / "ring.json", process)
        yield state, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(30)


def make_ring(command: list[str], directory: Path) -> None:
    """
    Start and stop once, so that keys and certificates exist.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for(directory / "ring.json", process)
    process.terminate()
    process.wait(30)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """
    The contents of ring.json as soon as it is there.
    """
    while not path.exists():
        if process.poll() is not None:
            raise SystemExit(f"the ring ended with {process.returncode}")
        time.sleep(0.02)
    state: dict[str, Any] = json.loads(path.read_text())
    return state


def place(service: str) -> tuple[str, int]:
    """
    Of "host:port".
    """
    host, port = service.rsplit(":", 1)
    return host, int(port)


def cpu_s(state: dict[str, Any]) -> float:
    """
    CPU seconds used so far by all nodes.
    """
    total = 0
    for node in state["nodes"]:
        fields = Path(f"/proc/{node['pid']}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def rss_mb(pid: int) -> float:
    """
    Resident memory of a process.
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def body(number: int) -> bytes:
    """
    A small text message.
    """
    head = f"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: number {number}\r\n"
    head += f"Message-ID: <{number}.{time.time()}@bench>\r\n\r\n"
    return head.encode() + b"A line of text such as people write.\r\n" * 25


def submit(state: dict[str, Any], connections: int, messages: int) -> tuple[float, float, list[float]]:
    """
    Accepted messages per second over so many connections, CPU milliseconds per message, and every latency in ms.
    """
    latencies: list[float] = []
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            with smtplib.SMTP(*place(state["nodes"][0]["submission"])) as client:
                client.login("alice", "alice-secret")
                barrier.wait()
                for number in range(start, messages, connections):
                    began = time.monotonic()
                    client.sendmail("alice@example.org", ["bob@example.org"], body(number))
                    latencies.append((time.monotonic() - began) * 1000)
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    barrier = threading.Barrier(connections + 1)
    threads = [threading.Thread(target=work, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began, cpu = time.monotonic(), cpu_s(state)
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    elapsed = time.monotonic() - began
    return messages / elapsed, (cpu_s(state) - cpu) / messages * 1000, latencies


def inbox_count(client: imaplib.IMAP4) -> int:
    """
    Messages in the Inbox.
    """
    return int(client.status("INBOX", "(MESSAGES)")[1][0].decode().rpartition(" ")[2].rstrip(")"))


def wait_for_count(client: imaplib.IMAP4, count: int, limit_s: float = 60) -> None:
    """
    Until the Inbox holds so many.
    """
    until = time.monotonic() + limit_s
    while inbox_count(client) < count:
        if time.monotonic() > until:
            raise SystemExit(f"only {inbox_count(client)} of {count} messages arrived")
        time.sleep(0.01)


def exists_latency(state: dict[str, Any], times: int) -> list[float]:
    """
    Milliseconds from C{250} to IDLE's EXISTS.
    """
    results = []
    idle = socket.create_connection(place(state["nodes"][1]["imap"]))
    lines = idle.makefile("rb")
    lines.readline()

    def command(text: bytes, until: bytes) -> None:
        idle.sendall(text + b"\r\n")
        while not lines.readline().startswith(until):
            pass

    command(b"a LOGIN bob bob-secret", b"a OK")
    command(b"b SELECT INBOX", b"b OK")
    command(b"c IDLE", b"+")
    with smtplib.SMTP(*place(state["nodes"][0]["submission"])) as client:
        client.login("alice", "alice-secret")
        for number in range(times):
            client.sendmail("alice@example.org", ["bob@example.org"], body(number))
            accepted = time.monotonic()
            while b"EXISTS" not in lines.readline():
                pass
            results.append(max(0.0, (time.monotonic() - accepted) * 1000))
    idle.close()
    return results


def fetch_rate(client: imaplib.IMAP4) -> tuple[float, float]:
    """
    Messages per second: envelopes of all, then whole bodies of all.
    """
    client.select("INBOX", readonly=True)
    count = inbox_count(client)
    rates = []
    for items in ("(UID FLAGS ENVELOPE)", "(BODY.PEEK[])"):
        began = time.monotonic()
        client.fetch(f"1:{count}", items)
        rates.append(count / (time.monotonic() - began))
    return rates[0], rates[1]


def measure(messages: int, nodes: int) -> dict[str, float]:
    """
    All figures of one run.
    """
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as directory, ring(Path(directory) / "ring", nodes) as (state, start_s):
        results["start_s"] = start_s
        results["rss_mb"] = statistics.median(rss_mb(node["pid"]) for node in state["nodes"])
        client = imaplib.IMAP4(*place(state["nodes"][1]["imap"]))
        client.login("bob", "bob-secret")
        there = inbox_count(client)
        submit(state, 1, 20)
        wait_for_count(client, there + 20)
        for connections in (1, 10):
            there = inbox_count(client)
            began = time.monotonic()
            rate, cpu_ms, latencies = submit(state, connections, messages)
            results[f"accepted_{connections}"] = rate
            results[f"accept_ms_p50_{connections}"] = statistics.median(latencies)
            results[f"accept_ms_p99_{connections}"] = sorted(latencies)[int(len(latencies) * 0.99)]
            wait_for_count(client, there + messages)
            results[f"into_inbox_{connections}"] = messages / (time.monotonic() - began)
            results[f"cpu_ms_per_message_{connections}"] = cpu_ms
        waits = exists_latency(state, 50)
        results["exists_ms_p50"] = statistics.median(waits)
        results["exists_ms_p95"] = sorted(waits)[int(len(waits) * 0.95)]
        results["fetch_envelopes"], results["fetch_bodies"] = fetch_rate(client)
        results["rss_mb_after"] = statistics.median(rss_mb(node["pid"]) for node in state["nodes"])
    return results


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=400)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments.messages, arguments.nodes)
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    print(f"{'figure':<28}{'here':>12}   original")
    for name, value in results.items():
        original = ORIGINAL.get(name, ORIGINAL.get(name.rpartition("_")[0], ""))
        print(f"{name:<28}{value:>12.1f}   {original}")


if __name__ == "__main__":
    main()
