"""
A network that can break, of Linux's own parts: a namespace for each node, two switches (bridges) in one more, and a
cable between the switches.  Needs root, or whatever else may make namespaces.
"""

from __future__ import annotations

import os
import subprocess
from unittest import SkipTest

from tests.programs import need

PORT = 7654


class Net:
    """
    So many places, of which the even ones are at one switch, and the odd ones at the other.
    """

    def __init__(self, count: int) -> None:
        """
        @raise SkipTest: if this machine has no namespaces for us.
        """
        self._ip = need("ip")
        self._hub = f"post{os.getpid()}"
        self._count = count
        self._made: list[str] = []
        try:
            self._namespace(self._hub)
        except subprocess.CalledProcessError as error:
            raise SkipTest(f"no network namespaces: {error.stderr.decode().strip()}") from None
        try:
            self._wire()
        except BaseException:
            self.remove()
            raise

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._ip, *arguments], check=True, capture_output=True, timeout=30)

    def _namespace(self, name: str) -> None:
        self._run("netns", "add", name)
        self._made.append(name)
        self._run("-n", name, "link", "set", "lo", "up")

    def _wire(self) -> None:
        for switch in ("even", "odd"):
            self._run("-n", self._hub, "link", "add", switch, "type", "bridge")
            self._run("-n", self._hub, "link", "set", switch, "up")
        self._run("-n", self._hub, "link", "add", "cable0", "type", "veth", "peer", "name", "cable1")
        for end, switch in (("cable0", "even"), ("cable1", "odd")):
            self._run("-n", self._hub, "link", "set", end, "master", switch, "up")
        for index in range(self._count):
            name = f"{self._hub}n{index}"
            self._namespace(name)
            plug = f"p{index}"
            self._run("-n", self._hub, "link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", name)
            self._run("-n", self._hub, "link", "set", plug, "master", ("even", "odd")[index % 2], "up")
            self._run("-n", name, "address", "add", f"{self._host(index)}/24", "dev", "eth0")
            self._run("-n", name, "link", "set", "eth0", "up")

    def remove(self) -> None:
        """
        Take it all away.
        """
        for name in reversed(self._made):
            self._run("netns", "delete", name)
        self._made.clear()

    def _host(self, index: int) -> str:
        return f"10.77.0.{index + 1}"

    def place(self, index: int) -> str:
        """
        Where the node number C{index} listens.
        """
        return f"{self._host(index)}:{PORT}"

    def inside(self, index: int) -> tuple[str, ...]:
        """
        What goes before a command that is to run where the node number C{index} is.
        """
        return (self._ip, "netns", "exec", f"{self._hub}n{index}")

    def divide(self) -> None:
        """
        Pull the cable between the switches.
        """
        self._run("-n", self._hub, "link", "set", "cable0", "down")

    def heal(self) -> None:
        """
        Plug it in again.
        """
        self._run("-n", self._hub, "link", "set", "cable0", "up")

    def block(self, source: int, target: int) -> None:
        """
        Let nothing that C{source} sends come to C{target}; the other way packets go as they did.
        """
        self._run("-n", f"{self._hub}n{source}", "route", "add", "blackhole", f"{self._host(target)}/32")

    def unblock(self, source: int, target: int) -> None:
        """
        Let it come again.
        """
        self._run("-n", f"{self._hub}n{source}", "route", "delete", "blackhole", f"{self._host(target)}/32")
