"""
From a source into an account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from post.errors import PeerError
from post.moving.ledger import Ledger
from post.moving.lines import to_mail
from post.moving.link import Link, NotNow, NotTaken, check
from post.moving.requests import Answer, File, Filed, Folders, Provide, opened
from post.moving.source import Broken, Loaded, Source, SourceFolder, SourceMessage, Unfit

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before a message that the ring could not keep is tried again.  After a minute somebody has to look."""
FLAG_LENGTH = 100
"""Characters of a flag that an account can have."""
FLAGS_LIMIT = 100


@dataclass
class Tally:
    """
    How it went.  C{changed} messages had line ends that mail does not have.
    """

    filed: int = 0
    already: int = 0
    changed: int = 0
    octets: int = 0
    troubles: int = 0
    folders: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sent:
    """
    A message under way.
    """

    where: str
    body: File
    octets: bytes


class Importer:
    """
    Brings what C{source} has.

    C{link} is C{None} for a dry run, which reads everything and files nothing.  C{prefix} is a folder to put all into;
    C{step} is called after each message.
    """

    def __init__(
        self,
        link: Link | None,
        ledger: Ledger,
        prefix: str,
        sleep: Callable[[float], None],
        step: Callable[[], None],
    ) -> None:
        self._link = link
        self._ledger = ledger
        self._prefix = prefix.strip("/")
        self._sleep = sleep
        self._step = step
        self._again: list[_Sent] = []
        self._reason = ""
        self.tally = Tally()

    def run(self, source: Source) -> None:
        """
        All of it.

        @raise NotNow: if the node cannot go on; what is filed is filed, and another run goes on.
        @raise Unreachable, PeerError: if there is no talking to the node.
        """
        for folder in source.folders():
            try:
                target = self._target(folder)
            except (NotTaken, PeerError) as error:
                # Such as a name that no folder can have here.
                self._trouble(folder.where, f"{error}; nothing in it was imported")
                continue
            try:
                for message in source.messages(folder):
                    self._one(folder, target, message)
                    self._step()
            except Broken as error:
                self._trouble(folder.where, str(error))
        if self._link is not None:
            self._link.drain()
            self._retry()

    def _target(self, folder: SourceFolder) -> str:
        name, use = folder.name, folder.special_use
        if self._prefix:
            name, use = f"{self._prefix}/{name}", ""
        if self._link is not None:
            name = self._link.ask("provide", Provide(1, name, use), Folders).folders[0].name
        self.tally.folders.setdefault(name, 0)
        return name

    def _trouble(self, where: str, reason: str) -> None:
        self.tally.troubles += 1
        self._ledger.trouble(where, reason)

    def _one(self, folder: SourceFolder, target: str, message: SourceMessage | Unfit) -> None:
        if isinstance(message, Unfit):
            self._trouble(message.where, message.reason)
            return
        digest = self._ledger.digest(folder.where, message.name, message.stamp) if message.name else None
        copy = -1
        if digest is not None:
            copy = self._ledger.next_copy(target, digest)
            if self._ledger.is_taken(target, digest, copy):
                self.tally.already += 1
                return
        try:
            loaded = message.read()
        except Broken as error:
            if str(error):
                self._trouble(message.where, str(error))
            return
        octets = to_mail(loaded.octets)
        self.tally.changed += octets != loaded.octets
        found = sha256(octets).digest()
        if message.name and found != digest:
            self._ledger.found(folder.where, message.name, message.stamp, found)
        if found != digest:
            copy = self._ledger.next_copy(target, found)
            if self._ledger.is_taken(target, found, copy):
                self.tally.already += 1
                return
        self._file(message.where, target, octets, File(1, target, found, copy, _flags(loaded), loaded.date))

    def _file(self, where: str, target: str, octets: bytes, body: File) -> None:
        self.tally.folders[target] += 1
        if b"\0" in octets:
            self._trouble(where, "holds NUL, which no mail program could be given")
        elif self._link is None:
            self.tally.filed += 1
            self.tally.octets += len(octets)
        else:
            self._send(_Sent(where, body, octets))
            self._retry()

    def _send(self, sent: _Sent) -> None:
        assert self._link is not None
        self._link.send("file", sent.body, lambda answer, _: self._heard(sent, answer), sent.octets)

    def _heard(self, sent: _Sent, answer: Answer) -> None:
        try:
            check(answer)
        except NotTaken as error:
            self._trouble(sent.where, str(error))
        except NotNow as error:
            self._reason = str(error)
            self._again.append(sent)
        else:
            fresh = opened(Filed, answer.body).fresh
            self.tally.filed += fresh
            self.tally.already += not fresh
            self.tally.octets += len(sent.octets) if fresh else 0
            self._ledger.take(sent.body.folder, sent.body.digest, sent.body.copy)

    def _retry(self) -> None:
        """
        Try again what the node could not take, before anything else is sent.
        """
        assert self._link is not None
        if not self._again:
            return
        for pause in PAUSES_S:
            self._link.drain()
            self._sleep(pause)
            again, self._again = self._again, []
            for sent in again:
                self._send(sent)
            self._link.drain()
            if not self._again:
                return
        raise NotNow(self._reason)


def _flags(loaded: Loaded) -> tuple[str, ...]:
    """
    As many as an account can have; what a source has beyond that is no flag that anybody has set.
    """
    fit = sorted(flag for flag in loaded.flags if len(flag) <= FLAG_LENGTH and flag != "\\Recent")
    return tuple(fit[:FLAGS_LIMIT])
