"""
Where messages come from, whatever form they have there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol


class Broken(Exception):
    """
    One message cannot be read: why, in words that follow its name.  With no words it is none, and is passed over.
    """


@dataclass(frozen=True)
class SourceFolder:
    """
    A folder of the source: its name here, its use if it is known, and what the source calls it.
    """

    name: str
    special_use: str
    where: str


@dataclass(frozen=True)
class Loaded:
    """
    A message: its octets as they are in the source, and C{date}, when it came, in milliseconds since 1970.
    """

    octets: bytes
    flags: frozenset[str]
    date: int


@dataclass(frozen=True)
class SourceMessage:
    """
    A message that has been found.

    C{where} is how it is called in a report.  C{name} in its folder, with C{stamp}, says cheaply that it is the same as
    in an earlier run; both are empty where nothing does.
    """

    where: str
    read: Callable[[], Loaded]
    name: str = ""
    stamp: str = ""


@dataclass(frozen=True)
class Unfit:
    """
    Something in a folder that is no message, and should be one.
    """

    where: str
    reason: str


class Source(Protocol):
    """
    A mailbox of another program.
    """

    def folders(self) -> Iterator[SourceFolder]:
        """
        All of them.
        """

    def count(self, folder: SourceFolder) -> int:
        """
        About how many messages are in it, for the progress bar.
        """

    def messages(self, folder: SourceFolder) -> Iterator[SourceMessage | Unfit]:
        """
        Those of one folder, the oldest first.

        @raise Broken: if it cannot be read on.
        """
