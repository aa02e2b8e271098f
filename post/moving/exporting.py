"""
Out of an account into files.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from post.errors import PeerError
from post.moving.link import IN_FLIGHT, Link, NotNow, NotTaken, check
from post.moving.requests import (
    PIECE_LIMIT,
    Answer,
    Entries,
    Folder,
    Folders,
    Listed,
    ListEntries,
    ReadOctets,
    Survey,
)


@dataclass
class ExportTally:
    """
    How it went.
    """

    written: int = 0
    already: int = 0
    octets: int = 0
    troubles: int = 0


class Sink(Protocol):
    """
    Where messages go to.
    """

    def begin(self, folder: Folder) -> int:
        """
        A folder comes; the UID after which to go on.

        @raise NotTaken: if it cannot have a place here.
        """

    def has(self, entry: Listed) -> bool:
        """
        Whether this message of the folder is there already; its flags are made those of C{entry}.
        """

    def put(self, entry: Listed, octets: bytes) -> Sequence[str]:
        """
        Keep a message, whole or not at all; returns what of it could not be kept, in words.
        """

    def end(self) -> None:
        """
        The folder is complete.
        """


class Exporter:
    """
    Brings everything to C{sink}; C{trouble} is told what could not be, C{step} after each message.
    """

    def __init__(self, link: Link, sink: Sink, trouble: Callable[[str, str], None], step: Callable[[], None]) -> None:
        self._link = link
        self._sink = sink
        self._trouble = trouble
        self._step = step
        self.tally = ExportTally()

    def run(self, wanted: Callable[[Folder], bool]) -> None:
        """
        All folders for which C{wanted} says so.

        @raise Unreachable, PeerError: if there is no talking to the node.
        """
        for folder in self._link.ask("survey", Survey(1), Folders).folders:
            if wanted(folder):
                try:
                    self._folder(folder)
                except (NotTaken, NotNow) as error:
                    self._note(folder.name, str(error))

    def _note(self, where: str, reason: str) -> None:
        self.tally.troubles += 1
        self._trouble(where, reason)

    def _folder(self, folder: Folder) -> None:
        after = self._sink.begin(folder)
        more = True
        while more:
            asked = ListEntries(1, folder.name, folder.uid_validity, after)
            page = self._link.ask("entries", asked, Entries)
            self._write(folder, [entry for entry in page.entries if not self._had(entry)])
            more, after = page.last > after, page.last
        self._sink.end()

    def _had(self, entry: Listed) -> bool:
        if not self._sink.has(entry):
            return False
        self.tally.already += 1
        self._step()
        return True

    def _write(self, folder: Folder, entries: Sequence[Listed]) -> None:
        wanted = (
            ReadOctets(1, folder.name, folder.uid_validity, entry.uid, start, min(start + PIECE_LIMIT, entry.size))
            for entry in entries
            for start in range(0, entry.size, PIECE_LIMIT)
        )
        pieces = self._ahead(wanted)
        for entry in entries:
            found: list[bytes] = []
            reason = ""
            for _ in range(0, entry.size, PIECE_LIMIT):
                answer, octets = next(pieces)
                try:
                    check(answer)
                    found.append(octets)
                except (NotTaken, NotNow, PeerError) as error:
                    reason, found = str(error), []
            where = f"{folder.name}, UID {entry.uid}"
            if reason:
                self._note(where, reason)
            elif sum(map(len, found)) != entry.size:
                self._note(where, "has other octets than announced")
            else:
                for lost in self._sink.put(entry, b"".join(found)):
                    self._note(where, lost)
                self.tally.written += 1
                self.tally.octets += entry.size
            self._step()

    def _ahead(self, wanted: Iterator[ReadOctets]) -> Iterator[tuple[Answer, bytes]]:
        """
        The answers in order, asked for some ahead.
        """
        slots: deque[list[tuple[Answer, bytes]]] = deque()
        more = True
        while more or slots:
            while more and len(slots) < IN_FLIGHT:
                request = next(wanted, None)
                if request is None:
                    more = False
                else:
                    slots.append(self._asked(request))
            if slots:
                first = slots.popleft()
                while not first:
                    self._link.hear()
                yield first[0]

    def _asked(self, request: ReadOctets) -> list[tuple[Answer, bytes]]:
        slot: list[tuple[Answer, bytes]] = []
        self._link.send("read", request, lambda answer, octets: slot.append((answer, octets)))
        return slot
