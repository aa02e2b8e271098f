"""
A name server for tests: real DNS over UDP and TCP on loopback, in the test's own process or in one of its own.

    python -m tests.gateway.names 127.0.0.1:5353 zone.json

serves what is in C{zone.json} until it is killed, and reads it again when it changes.  A zone is
C{{"example.net": {"MX": [[10, "mx.example.net"]], "TXT": ["v=spf1 -all"], "A": ["127.0.0.2"]}}}; a name with the kind
C{"FAIL"} answers SERVFAIL, and one with C{"SILENT"} not at all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from twisted.internet import defer
from twisted.names import common, dns, error, server

Zone = Mapping[str, Mapping[str, Any]]
"""Records by name and kind."""

STRING = 255
"""Octets of one string of a TXT record; a longer text is cut into several."""
UDP_LIMIT = 512
"""Octets of an answer over UDP; a longer one is fetched over TCP."""


def records(kind: str, given: Any) -> list[Any]:
    """
    The records that a zone describes.
    """
    if kind == "A":
        return [dns.Record_A(address, 60) for address in given]
    if kind == "AAAA":
        return [dns.Record_AAAA(address, 60) for address in given]
    if kind == "MX":
        return [dns.Record_MX(preference, host, 60) for preference, host in given]
    if kind == "SRV":
        return [dns.Record_SRV(priority, weight, port, host, 60) for priority, weight, port, host in given]
    if kind == "PTR":
        return [dns.Record_PTR(name, 60) for name in given]
    if kind == "CNAME":
        return [dns.Record_CNAME(name, 60) for name in given]
    if kind == "TXT":
        texts = [text.encode() for text in given]
        return [
            dns.Record_TXT(*(text[start : start + STRING] for start in range(0, len(text), STRING)), ttl=60)
            for text in texts
        ]
    raise ValueError(kind)


class ZoneResolver(common.ResolverBase):
    """
    Answers from a zone; C{asked} are the questions so far, as (name, kind).
    """

    def __init__(self, zone: Zone) -> None:
        common.ResolverBase.__init__(self)
        self.zone = zone
        self.asked: list[tuple[str, str]] = []

    def _lookup(self, name: bytes, cls: int, type: int, timeout: object) -> defer.Deferred[Any]:
        wanted = name.decode("latin-1").lower()
        kind = dns.QUERY_TYPES.get(type, str(type))
        self.asked.append((wanted, kind))
        answers: list[dns.RRHeader] = []
        while True:
            here = self.zone.get(wanted)
            if here is None:
                if not answers:
                    return defer.fail(error.DNSNameError(wanted))
                break
            if "FAIL" in here:
                return defer.fail(error.ResolverError(wanted))
            if "SILENT" in here:
                return defer.Deferred()
            found = [(kind, record) for record in records(kind, here[kind])] if kind in here else []
            found = found or [("CNAME", record) for record in records("CNAME", here.get("CNAME", ()))]
            answers += [
                dns.RRHeader(wanted.encode(), record.TYPE, dns.IN, 60, record, auth=True) for _, record in found
            ]
            if not found or found[0][0] == kind:
                break
            wanted = here["CNAME"][0].lower()
        return defer.succeed((answers, [], []))


class Datagrams(dns.DNSDatagramProtocol):
    """
    Cuts answers as a real server does.
    """

    def writeMessage(self, message: dns.Message, address: tuple[str, int]) -> None:
        message.maxSize = UDP_LIMIT
        dns.DNSDatagramProtocol.writeMessage(self, message, address)


class Names:
    """
    A name server in this process; for tests with the real reactor.
    """

    def __init__(self, reactor: Any, zone: Zone, port: int = 0) -> None:
        self.resolver = ZoneResolver(zone)
        factory = server.DNSServerFactory(clients=[self.resolver])
        factory.noisy = False
        self._tcp = reactor.listenTCP(port, factory, interface="127.0.0.1")
        self.port = self._tcp.getHost().port
        self._udp = reactor.listenUDP(self.port, Datagrams(factory, reactor=reactor), interface="127.0.0.1")
        self._factory = factory

    @property
    def place(self) -> str:
        """
        C{address:port}.
        """
        return f"127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """
        Let go of the port.
        """
        await defer.maybeDeferred(self._tcp.stopListening)
        await defer.maybeDeferred(self._udp.stopListening)
        for connection in list(self._factory.connections):
            connection.transport.abortConnection()


class NameServer:
    """
    The same as a process; use it in a C{with} statement.  What L{zone} is set to is served from then on.
    """

    def __init__(self, directory: Path, port: int, zone: Zone) -> None:
        self._file = directory / "zone.json"
        self.place = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.set(zone)

    def set(self, zone: Zone) -> None:
        """
        Serve C{zone} from the next question on.
        """
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(zone))
        fresh.replace(self._file)

    def __enter__(self) -> NameServer:
        command = [sys.executable, "-m", "tests.gateway.names", self.place, os.fspath(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # It says that it serves.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process.kill()
            self._process.wait()


class _FileZone(dict[str, Mapping[str, Any]]):
    """
    A zone that is read again when its file has changed.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._read: tuple[int, int] | None = None

    def get(self, name: str, default: Any = None) -> Any:
        status = self._file.stat()
        if self._read != (status.st_mtime_ns, status.st_ino):
            self._read = (status.st_mtime_ns, status.st_ino)
            self.clear()
            self.update(json.loads(self._file.read_text()))
        return super().get(name, default)


def main(place: str, zone: str) -> None:
    """
    Serve a zone until killed.
    """
    from twisted.internet import reactor

    until = time.monotonic() + 10
    while True:
        try:
            Names(reactor, _FileZone(Path(zone)), int(place.rpartition(":")[2]))
            break
        except OSError:
            if time.monotonic() > until:
                raise
    reactor.callWhenRunning(os.write, sys.stdout.fileno(), b"serves\n")
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
