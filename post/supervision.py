"""
What systemd is told (sd_notify(3), L{https://www.freedesktop.org/software/systemd/man/sd_notify.html}): when the node
serves, that it is still alive, that it ends.

Without systemd, C{NOTIFY_SOCKET} is not set, and nothing is told.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping

from twisted.internet.interfaces import IReactorTime

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


class Supervisor:
    """
    Whoever C{environment} says has started us.  Its variables are taken away: our children are not to speak for us.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        process = environment.pop("WATCHDOG_PID", "")
        ours = process in ("", str(os.getpid()))
        self._patience_s = int(microseconds) / 1e6 if ours and microseconds.isdecimal() else 0.0

    def tell(self, state: str) -> None:
        """
        Say it, if there is anybody.
        """
        if not self._address:
            return
        # An "@" stands for the NUL of an abstract socket.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.setblocking(False)
                connection.sendto(state.encode(), address)
        except OSError:
            pass  # Whoever does not listen is no reason to end.

    def watch(self, clock: IReactorTime, alive: Callable[[], bool]) -> None:
        """
        Say again and again that we are alive, while we are: three times as often as is asked for, so that one that
        comes late is no reason to be killed.
        """
        if self._patience_s and alive():
            self.tell(ALIVE)
            clock.callLater(self._patience_s / 3, self.watch, clock, alive)
